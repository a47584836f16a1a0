"""Who is champion, and why: one log of decisions a pipeline, from which the champion follows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import polars as pl

from cir_assets.store.contracts import PROMOTIONS
from cir_assets.store.digests import digest
from cir_assets.store.files import hold, write_whole

WAIT_SECONDS = 30.0
"""How long a decision waits for another that is being written."""


class NoChampion(LookupError):
    """There is no champion, or none before the present one; the message says how one comes to be."""


class DamagedLog(ValueError):
    """A log of decisions does not read; the message names it and says what to do."""


class ChampionChanged(RuntimeError):
    """Another decision changed the champion while this one was made; the message says what to do."""


@dataclass(frozen=True)
class Decision:
    """One row of the log; see ``PROMOTIONS``."""

    dataset: str
    backbone: str
    recipe: str
    decided_at: datetime
    decision: Literal["promoted", "refused", "rolled_back"]
    reason: str
    models: Mapping[str, str]
    champion: str | None
    method: str
    split: str
    protocol: str
    queries: int
    share: float | None = None
    challenger_headline: float | None = None
    champion_headline: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    run_id: str | None = None
    text_template: str | None = None

    @property
    def challenger(self) -> str:
        """Digest of the models judged, and of the method's share where it has one."""
        return models_digest(self.models, self.method, self.share)


def models_digest(models: Mapping[str, str], method: str = "", share: float | None = None) -> str:
    """One name for a set of models and their versions, under a method whose share is not said by its models."""
    return digest(dict(models) if share is None else {**models, "method": method, "share": share})


@dataclass(frozen=True)
class Champion:
    """What serves: the models, name -> version, and the method that makes queries of them.

    ``share`` is that of a method which has shares.
    """

    models: Mapping[str, str]
    method: str
    share: float | None

    @property
    def digest(self) -> str:
        """One name for it."""
        return models_digest(self.models, self.method, self.share)


class PromotionLog:
    """The decisions of one pipeline, oldest first, in one Parquet file that is replaced whole."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def rows(self) -> pl.DataFrame:
        """Every decision, oldest first; as ``PROMOTIONS``."""
        if not self.file.is_file():
            return pl.DataFrame(schema=PROMOTIONS.schema)
        # Read at once: Polars may open a path twice, and another process may put a new file there between.
        content = self.file.read_bytes()
        try:
            rows = pl.read_parquet(content)
            if "text_template" not in rows.columns:  # Written before decisions told which text was read.
                rows = rows.with_columns(text_template=pl.lit(None))
            if "share" not in rows.columns:
                # Of an older version, whose methods had none.
                rows = rows.with_columns(share=pl.lit(None))
            return rows.select(PROMOTIONS.names).cast(PROMOTIONS.schema)
        except pl.exceptions.PolarsError as error:
            raise DamagedLog(
                f"{self.file} is damaged ({error}): bytes of it changed after they were written. Put it back from a "
                "copy; or move it away, and the newest models of its pipeline become its first champion when its "
                "challenger is materialized"
            ) from error

    def add(self, decision: Decision) -> None:
        """Append a decision; the file is written beside and renamed, by one process at a time.

        Raises:
            ChampionChanged: when the champion is to change and ``decision.champion`` is it no longer; nothing is
                written.
        """
        values = {**asdict(decision), "challenger": decision.challenger}
        values["models"] = json.dumps(dict(decision.models), sort_keys=True)
        fresh = pl.DataFrame([{name: values[name] for name in PROMOTIONS.names}], schema=PROMOTIONS.schema)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with hold(self.file, WAIT_SECONDS):
            champion = self.reign()
            present = champion.digest if champion else None
            if decision.decision != "refused" and present != decision.champion:
                raise ChampionChanged(
                    f"{self.file}: while this was decided against the champion {decision.champion}, {present} became "
                    "champion; nothing was written, decide again"
                )
            with write_whole(self.file) as beside:
                pl.concat([self.rows(), fresh]).write_parquet(beside)

    def reigns(self) -> pl.DataFrame:
        """The decisions that changed the champion, oldest first; the last row's is the present one."""
        return self.rows().filter(pl.col("decision") != "refused")

    def champion(self) -> dict[str, str] | None:
        """The present champion's models, name -> version; None where there never was one."""
        reign = self.reign()
        return dict(reign.models) if reign else None

    def reign(self) -> Champion | None:
        """The present champion; None where there never was one."""
        reigns = self.reigns()
        if reigns.is_empty():
            return None
        last = reigns.row(-1, named=True)
        return Champion(_models(last["models"]), last["method"], last["share"])

    def rolled_back(self) -> set[str]:
        """Digests of models a person took back; they are not promoted again by themselves."""
        taken_back = self.rows().filter(decision="rolled_back")["champion"].drop_nulls().to_list()
        champion = self.reign()
        return set(taken_back) - ({champion.digest} if champion else set())

    def previous(self) -> dict[str, object]:
        """The row of the reign before the present one: the newest of other models that was not taken back.

        Raises:
            NoChampion: when there is none to go back to.
        """
        reigns = self.reigns()
        if reigns.is_empty():
            raise NoChampion(
                f"there is no champion in {self.file}; materialize the pipeline's challenger first"
            )
        gone = self.rolled_back() | {reigns["challenger"][-1]}
        earlier = reigns.filter(~pl.col("challenger").is_in(list(gone)))
        if earlier.is_empty():
            raise NoChampion(
                "the present champion is the only one there ever was; there is none to go back to"
            )
        return earlier.row(-1, named=True)


def roll_back(log: PromotionLog, reason: str, now: datetime) -> Decision:
    """Make the champion before the present one champion again, and write that down.

    Raises:
        NoChampion: when there is none to go back to.
        ChampionChanged: when another decision came between.
    """
    before = log.previous()
    present = log.reign()
    assert present is not None
    # A rollback to models that were rolled back to before may stand there without one.
    headlines = log.reigns().filter(challenger=before["challenger"])["challenger_headline"].drop_nulls()
    decision = Decision(
        dataset=str(before["dataset"]),
        backbone=str(before["backbone"]),
        recipe=str(before["recipe"]),
        decided_at=now,
        decision="rolled_back",
        reason=reason,
        models=_models(str(before["models"])),
        champion=present.digest,
        method=str(before["method"]),
        share=before["share"],  # type: ignore[arg-type]
        split=str(before["split"]),
        protocol=str(before["protocol"]),
        queries=0,
        challenger_headline=headlines[-1] if len(headlines) else None,
        text_template=None if before["text_template"] is None else str(before["text_template"]),
    )
    log.add(decision)
    return decision


def every_champion(root: Path) -> Iterator[tuple[str, str]]:
    """(model, version) of every champion there ever was, of every pipeline below ``storage/champions``."""
    for file in sorted(root.rglob("*.parquet")):
        for models in PromotionLog(file).reigns()["models"]:
            yield from _models(models).items()


def _models(text: str) -> dict[str, str]:
    models: dict[str, str] = json.loads(text)
    return models
