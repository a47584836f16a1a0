"""A step: its identity, what it is made from, how it is made, and finding what it made before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cir_assets.engines.progress import ProgressFactory, terminal_progress
from cir_assets.store.digests import digest
from cir_assets.store.layout import Storage
from cir_assets.store.ledger import Ledger
from cir_assets.store.made import Check, Made, is_intact


@dataclass(frozen=True)
class Work:
    """What a step works with.

    Attributes:
        storage: where everything lies.
        progress: where it is told how far long work is.
        say: takes a sentence about what was done.
        warn: takes a sentence about what is wrong.
        run_id: of the run the work is done in; empty outside of one.
        also_made: is told of another step that had to be made first.
        by_a_person: whether a person asked for it, not a sensor or a schedule.
    """

    storage: Storage
    progress: ProgressFactory = terminal_progress
    say: Callable[[str], object] = print
    warn: Callable[[str], object] = print
    run_id: str = ""
    also_made: Callable[[Step, Made], object] = lambda step, made: None
    by_a_person: bool = True


@dataclass(frozen=True)
class Plan:
    """What a step would be made from now, and how.

    Attributes:
        inputs: content versions by name.
        make: given the fingerprint of all it is made from, which names the version, it makes the result.
    """

    inputs: Mapping[str, str]
    make: Callable[[str], Made]


@dataclass(frozen=True)
class Step:
    """One step's identity and what decides whether it must be made again.

    Attributes:
        name: as a path: ``wardrobe/tiny_clip/image_features``.
        generation: raised by hand when the code of the step changes what it makes.
        plan: looks at the inputs as they are now.
        configuration: everything resolved from YAML that this step depends on, as JSON values.
        keeps_versions: every version has files of its own, so that an older one can be taken again; the others write
            over what they made before, and only their newest result is still there.
        looks_each_time: it is a root: whether anything changed outside is seen by making it.
    """

    name: str
    generation: int
    plan: Callable[[Work], Plan]
    configuration: Mapping[str, Any] = field(default_factory=dict)
    keeps_versions: bool = False
    looks_each_time: bool = False

    @property
    def code_version(self) -> str:
        """Digest of the code generation and the resolved configuration."""
        return digest({"generation": self.generation, "configuration": dict(self.configuration)})


class Refused(RuntimeError):
    """A step that decided, as it should, to leave things as they were; the message says why.

    Attributes:
        checks: the outcomes of its checks, by name.
    """

    def __init__(self, message: str, checks: Mapping[str, Check]) -> None:
        super().__init__(message)
        self.checks = checks


def run(step: Step, work: Work) -> tuple[Made, bool]:
    """Make the step's result, or take the one already made from the same inputs, configuration and code.

    Looking the step's fingerprint up in the ledger first is what makes everything once more, where nothing changed,
    cost seconds.

    Returns:
        What was made, and whether it is what was there before.

    Raises:
        NotMade: when what it is made from is not there.
        Refused: when it leaves things as they were.
    """
    ledger, root = Ledger(work.storage.ledger), work.storage.root
    plan = step.plan(work)
    if step.looks_each_time:
        before = ledger.latest(step.name)
        made = plan.make(step.code_version)
        ledger.record(step.name, made.to_entry(step.code_version, root), alone=True)
        return made, before is not None and before.data_version == made.data_version
    fingerprint = digest({"code": step.code_version, "inputs": dict(plan.inputs)})
    entry = ledger.look_up(step.name, fingerprint) if step.keeps_versions else ledger.latest(step.name)
    complete = entry is not None and entry.detail.get("complete", True)
    if entry is not None and complete and entry.fingerprint == fingerprint and is_intact(entry, root):
        work.say(f"{step.name}: nothing changed since version {entry.data_version}; reused")
        ledger.record(step.name, entry, alone=not step.keeps_versions)
        return Made.from_entry(entry, root), True
    made = plan.make(fingerprint)
    ledger.record(step.name, made.to_entry(fingerprint, root), alone=not step.keeps_versions)
    return made, False
