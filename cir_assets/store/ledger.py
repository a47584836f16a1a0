"""The ledger: what each step made, from which inputs, so that the same work is never done twice."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cir_assets.store.files import write_whole


@dataclass(frozen=True)
class LedgerEntry:
    """One result: the fingerprint of what it was made from, the version of its content, and what it said."""

    fingerprint: str
    data_version: str
    detail: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """One folder a step below ``root``: its latest entry, and one a version that is kept beside it.

    Files are written beside and renamed, so a reader never sees half an entry; one that a failing disk left broken
    counts as none, and its step is made again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def record(self, step: str, entry: LedgerEntry, *, alone: bool = False) -> None:
        """Write an entry and make it the step's latest; ``alone``: in place of all before it, else beside them."""
        text = json.dumps(asdict(entry), indent=2, sort_keys=True, ensure_ascii=False)
        for name in ("latest",) if alone else (entry.fingerprint, "latest"):
            with write_whole(self.root / step / f"{name}.json") as beside:
                beside.write_text(text, encoding="utf-8")
        if alone:
            self.keep_only(step)

    def keep_only(self, step: str, fingerprints: Collection[str] = ()) -> None:
        """Forget every entry of a step but its latest and those of some fingerprints: what they tell of is gone."""
        kept = {f"{name}.json" for name in ("latest", *fingerprints)}
        for file in (self.root / step).glob("*.json"):
            if file.name not in kept:
                file.unlink(missing_ok=True)

    def look_up(self, step: str, fingerprint: str) -> LedgerEntry | None:
        """The result made from exactly these inputs, whenever that was; None where there is none, or not any more."""
        return _read(self.root / step / f"{fingerprint}.json")

    def latest(self, step: str) -> LedgerEntry | None:
        """The step's newest result; None where it was never made."""
        return _read(self.root / step / "latest.json")


def _read(file: Path) -> LedgerEntry | None:
    try:
        return LedgerEntry(**json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
