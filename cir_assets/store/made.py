"""What a step made and was found true of it, kept in the ledger so that it can be taken again wherever it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cir_assets.store.database import log_of
from cir_assets.store.digests import digest_file
from cir_assets.store.layout import Storage
from cir_assets.store.ledger import Ledger, LedgerEntry


@dataclass(frozen=True)
class Check:
    """The outcome of one check: whether it passed, said in a sentence, with its figures."""

    passed: bool
    description: str
    figures: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """What a step made: the version of its content, figures for the UI, check outcomes, and where it lies.

    Attributes:
        data_version: digest of the content.
        metadata: JSON values; ``{"path": …}``, ``{"page": …}`` and ``{"markdown": …}`` are shown as such.
        checks: outcome of each check by name.
        files: files that nobody changes until the step makes them again; the result is used again only while they
            are, byte for byte, what was made. Folders must be there.
        grown: files that others add to (a cache, a log): they must be there.
        unworked: figures of ``metadata`` that count work, as they are when the result is used again.
        complete: nothing was left for another time; else it is made again when it is next asked for.
    """

    data_version: str
    metadata: Mapping[str, Any]
    checks: Mapping[str, Check]
    files: Sequence[Path] = ()
    grown: Sequence[Path] = ()
    unworked: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = True

    def to_entry(self, fingerprint: str, root: Path) -> LedgerEntry:
        """For the ledger of the storage folder ``root``: paths below it are told from there, so that it may move."""
        return LedgerEntry(
            fingerprint,
            self.data_version,
            {
                "metadata": {name: _told_from(value, root) for name, value in self.metadata.items()},
                "checks": {
                    name: {"passed": c.passed, "description": c.description, "figures": dict(c.figures)}
                    for name, c in self.checks.items()
                },
                "files": {
                    **{
                        _below(file, root): digest_file(file) if file.is_file() else None
                        for file in self.files
                    },
                    **{_below(file, root): None for file in self.grown},
                },
                "unworked": dict(self.unworked),
                "complete": self.complete,
            },
        )

    @classmethod
    def from_entry(cls, entry: LedgerEntry, root: Path) -> Made:
        """Back from the ledger, with no work done."""
        detail = entry.detail
        return cls(
            data_version=entry.data_version,
            metadata={
                name: _found_below(value, root)
                for name, value in {**detail["metadata"], **detail.get("unworked", {})}.items()
            },
            checks={name: Check(**check) for name, check in detail["checks"].items()},
            files=[root / file for file in detail["files"]],
        )


class NotMade(LookupError):
    """What a step needs was never made, or is not what was made; the message names it and what makes it."""


def versions_of(storage: Storage, *steps: str) -> dict[str, str]:
    """The content version of each named step's newest result.

    Raises:
        NotMade: when one was never made, or its files are no longer what it made: naming it and the command that makes
            it.
    """
    versions: dict[str, str] = {}
    for step in steps:
        entry = Ledger(storage.ledger).latest(step)
        mend = f"dagster asset materialize --select 'key:\"{step}\"' -m cir_assets.definitions"
        if entry is None:
            raise NotMade(f"{step} was never made in {storage.root}; materialize it first: {mend}")
        if not is_intact(entry, storage.root):
            raise NotMade(
                f"what {step} made in {storage.root} is gone or was changed since; make it again: {mend}"
            )
        versions[step] = entry.data_version
    return versions


def is_intact(entry: LedgerEntry, root: Path) -> bool:
    """Whether what an entry tells of lies below ``root``, as it was made.

    A file elsewhere counts as none: it is another storage folder's, from which this one was copied. So does a
    database beside which somebody's unfinished changes lie.
    """
    files: Mapping[str, str | None] | Sequence[str] = entry.detail.get("files", {})
    # Written before digests were kept: a list of absolute paths.
    digests = files if isinstance(files, Mapping) else dict.fromkeys(files)
    return all(_is_as_made(root / file, digest, root) for file, digest in digests.items())


def _is_as_made(file: Path, digest: str | None, root: Path) -> bool:
    if not file.is_relative_to(root) or not file.exists():
        return False
    return digest is None or (file.is_file() and not log_of(file).exists() and digest_file(file) == digest)


def _below(file: Path, root: Path) -> str:
    return str(file.relative_to(root) if file.is_relative_to(root) else file)


def _told_from(value: Any, root: Path) -> Any:
    if isinstance(value, dict) and value.keys() == {"path"}:
        return {"path": _below(Path(value["path"]), root)}
    return value


def _found_below(value: Any, root: Path) -> Any:
    if isinstance(value, dict) and value.keys() == {"path"}:
        return {"path": str(root / value["path"])}
    return value
