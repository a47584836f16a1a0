"""What every step of the graph shares: its identity, its versions, and finding what it made before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from cir_assets.checks import Check
from cir_assets.progress import Progress, ProgressFactory
from cir_assets.resources import Storage
from cir_assets.store.ledger import Ledger, LedgerEntry, digest


@dataclass(frozen=True)
class Step:
    """One asset's identity and what decides whether it must be made again.

    ``generation`` is raised by hand when the code of the step changes what it makes;
    ``configuration`` is everything resolved from YAML that this step depends on, as JSON values.
    ``keeps_versions`` says that every version has files of its own, so that an older one can be taken again; the
    others write over what they made before, and only their newest result is still there.
    """

    key: dg.AssetKey
    generation: int
    configuration: Mapping[str, Any] = field(default_factory=dict)
    keeps_versions: bool = False

    @property
    def name(self) -> str:
        """The key as a path: ``wardrobe/tiny_clip/image_features``."""
        return "/".join(self.key.path)

    @property
    def code_version(self) -> str:
        """Digest of the code generation and the resolved configuration."""
        return digest({"generation": self.generation, "configuration": dict(self.configuration)})


@dataclass(frozen=True)
class Made:
    """What a step made: the version of its content, figures for the UI, check outcomes, and its files."""

    data_version: str
    metadata: Mapping[str, Any]
    checks: Mapping[str, Check]
    files: Sequence[Path]
    """Files that must still be there for the result to be used again."""
    unworked: Mapping[str, Any] = field(default_factory=dict)
    """Figures of ``metadata`` that count work, as they are when the result is used again and nothing was done."""
    complete: bool = True
    """Whether nothing was left for another time; else it is made again when it is next asked for."""

    def to_detail(self) -> dict[str, Any]:
        """As JSON values, for the ledger."""
        return {
            "metadata": dict(self.metadata),
            "checks": {
                name: {"passed": c.passed, "description": c.description, "figures": dict(c.figures)}
                for name, c in self.checks.items()
            },
            "files": [str(file) for file in self.files],
            "unworked": dict(self.unworked),
            "complete": self.complete,
        }

    @classmethod
    def from_entry(cls, entry: LedgerEntry) -> Made:
        """Back from the ledger, with no work done."""
        return cls(
            data_version=entry.data_version,
            metadata={**entry.detail["metadata"], **entry.detail.get("unworked", {})},
            checks={name: Check(**check) for name, check in entry.detail["checks"].items()},
            files=[Path(file) for file in entry.detail["files"]],
        )


def make_or_reuse(
    context: dg.AssetExecutionContext,
    storage: Storage,
    step: Step,
    inputs: Mapping[str, str],
    make: Callable[[str], Made],
    *,
    severity: Mapping[str, dg.AssetCheckSeverity] | None = None,
) -> dg.MaterializeResult:
    """Make the step's result, or take the one already made from the same inputs, configuration and code.

    Inside one run Dagster skips nothing; looking the step's fingerprint up in the ledger first is what
    makes "materialize all" on an unchanged graph cost seconds. ``inputs`` are content versions by name;
    ``make`` is given the fingerprint, which names the version of what it makes.
    """
    ledger = Ledger(storage.ledger)
    fingerprint = digest({"code": step.code_version, "inputs": dict(inputs)})
    entry = ledger.look_up(step.name, fingerprint) if step.keeps_versions else ledger.latest(step.name)
    if entry is not None and (entry.fingerprint != fingerprint or not entry.detail.get("complete", True)):
        entry = None
    reused = entry is not None and all(Path(file).exists() for file in entry.detail["files"])
    if entry is not None and reused:
        context.log.info(f"{step.name}: nothing changed since version {entry.data_version}; reused")
        made = Made.from_entry(entry)
        ledger.record(step.name, entry)
    else:
        made = make(fingerprint)
        ledger.record(step.name, LedgerEntry(fingerprint, made.data_version, made.to_detail()))
    return materialize_result(step, made, reused=reused, severity=severity or {})


def materialize_result(
    step: Step, made: Made, *, reused: bool, severity: Mapping[str, dg.AssetCheckSeverity]
) -> dg.MaterializeResult:
    """What Dagster is told: data version, metadata and check outcomes."""
    return dg.MaterializeResult(
        data_version=dg.DataVersion(made.data_version),
        metadata={**{k: ui_value(v) for k, v in made.metadata.items()}, "reused": reused},
        check_results=[
            check_result(name, check, severity.get(name, dg.AssetCheckSeverity.ERROR))
            for name, check in made.checks.items()
        ],
    )


def check_result(name: str, check: Check, severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    """A check's outcome as Dagster is told it."""
    return dg.AssetCheckResult(
        check_name=name,
        passed=check.passed,
        description=check.description,
        metadata=dict(check.figures),
        severity=severity,
    )


def ui_value(value: Any) -> Any:
    """A JSON value as metadata: ``{"markdown": …}``, ``{"path": …}`` and ``{"url": …}`` become such values."""
    if isinstance(value, dict) and len(value) == 1:
        [(kind, content)] = value.items()
        if kind == "markdown":
            return dg.MetadataValue.md(content)
        if kind == "path":
            return dg.MetadataValue.path(content)
        if kind == "url":
            return dg.MetadataValue.url(content)
    return value


def content_versions(storage: Storage, *steps: str) -> dict[str, str]:
    """The content version of each named step's newest result.

    Raises:
        dagster.Failure: when one was never made, naming it and the command that makes it.
    """
    ledger = Ledger(storage.ledger)
    versions: dict[str, str] = {}
    for step in steps:
        entry = ledger.latest(step)
        if entry is None:
            raise dg.Failure(
                f"{step} was never made in {storage.root}; materialize it first: "
                f"dagster asset materialize --select 'key:\"{step}\"' -m cir_assets.definitions"
            )
        versions[step] = entry.data_version
    return versions


def logged_progress(context: dg.AssetExecutionContext) -> ProgressFactory:
    """Progress for a step: a log line every few seconds, which the UI shows."""
    return partial(_logged, context)


def _logged(context: dg.AssetExecutionContext, description: str, total: int, unit: str) -> Progress:
    return Progress(description, total, unit, log=context.log.info)
