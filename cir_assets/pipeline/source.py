"""``<dataset>/raw``: a data set's files, fetched or rendered where that is asked for, looked at each time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cir_assets.pipeline.checks import PICTURES_KEPT, RAW_PICTURES_PRESENT
from cir_assets.pipeline.holding import (
    HeldRefresh,
    Loss,
    accept,
    held_refresh,
    hold,
    loss_of_pictures,
    memory_of,
)
from cir_assets.pipeline.identity import DatasetPlan
from cir_assets.pipeline.scanning import content_version, scan
from cir_assets.pipeline.step import Plan, Refused, Step, Work
from cir_assets.store.contracts import DATA_ISSUES
from cir_assets.store.layout import Storage
from cir_assets.store.ledger import Ledger
from cir_assets.store.made import Made, NotMade
from cir_assets.store.tables import write_table

if TYPE_CHECKING:
    from cir_assets.datasets.fetching import FetchReport
    from cir_assets.datasets.tables import Annotations

FILES = "state_of_files"
"""What the state of watched files that a look found is called."""


def raw_step(data: DatasetPlan) -> Step:
    """The files of a data set as they are; its version is the digest of every annotation and every picture's bytes."""
    return Step(
        data.name("raw"),
        2,
        lambda work: Plan({}, lambda version: make_raw(work, data, version)),
        data.source.model_dump(mode="json"),
        looks_each_time=True,
    )


def make_raw(work: Work, data: DatasetPlan, version: str) -> Made:
    """Fetch or render what is asked for, and look at every file.

    Raises:
        Refused: when more is gone since the last refresh of the same ``version`` than may go without a person.
    """
    # Before anything is read: what is written meanwhile differs from it, and is seen.
    files = data.source.watched.state() if data.source.watched is not None else None
    fetched = data.source.prepare(work.storage.raw(data.dataset), work.progress)
    not_fetched = unfetched_issues(fetched)
    annotations, images, issues = scan(work, data)
    loss, share = loss_since(work, data, version, annotations, images), data.hold_when_pictures_shrink_by
    held = held_refresh(work.storage, data.dataset)
    accepted = work.by_a_person and held is not None and list(held.gone) == list(loss.gone)
    checks = RAW_PICTURES_PRESENT(annotations, images, ("train", "val") if data.batches else ())
    checks |= PICTURES_KEPT(loss, share, data.name("raw"), accepted)
    if loss.exceeds(share) and not accepted:
        hold(work.storage, data.dataset, HeldRefresh(loss.gone, files))
        raise Refused(f"{data.name('raw')} is held: {checks[PICTURES_KEPT.name].description}", checks)
    accept(work.storage, data.dataset, images)
    return Made(
        data_version=content_version(annotations, images, pl.concat([issues, not_fetched])),
        metadata={
            "folder": {"path": str(annotations.picture_root)},
            "pictures": images.height,
            "triplets": annotations.triplets.height,
            "megabytes": round(float(images["bytes"].sum()) / 1e6, 1),
            **({FILES: files} if files else {}),
            **(fetch_metadata(fetched) if fetched else {}),
        },
        checks=checks,
        files=[write_table(not_fetched, work.storage.tables(data.dataset), DATA_ISSUES, of="raw")],
    )


def loss_since(
    work: Work, data: DatasetPlan, version: str, annotations: Annotations, images: pl.DataFrame
) -> Loss:
    """What is gone since the last refresh; nothing where that was of another ``version``, so of another source."""
    before = Ledger(work.storage.ledger).latest(data.name("raw"))
    if before is None or before.fingerprint != version:
        return Loss()
    pictures, gone = loss_of_pictures(memory_of(work.storage, data.dataset), images)
    triplets = before.detail["metadata"]["triplets"]
    return Loss(pictures, gone, triplets, max(0, triplets - annotations.triplets.height))


def picture_root_of(storage: Storage, dataset: str) -> Path:
    """The folder the paths of a data set's pictures begin at, as its files were last found.

    Raises:
        NotMade: when they never were.
    """
    entry = Ledger(storage.ledger).latest(f"{dataset}/raw")
    if entry is None:
        raise NotMade(
            f"{dataset}/raw was never made in {storage.root}, so nobody knows where its pictures lie"
        )
    return Path(Made.from_entry(entry, storage.root).metadata["folder"]["path"])


def unfetched_issues(fetched: FetchReport | None) -> pl.DataFrame:
    """Pictures that could not be fetched as rows of ``data_issues``: dead for good, or failed this time."""
    rows = (
        [
            {"kind": kind, "subject": image, "detail": reason}
            for kind, reasons in (("dead_link", fetched.dead), ("fetch_failed", fetched.failed))
            for image, reason in sorted(reasons.items())
        ]
        if fetched
        else []
    )
    return pl.DataFrame(rows, schema=DATA_ISSUES.schema)


def fetch_metadata(fetched: FetchReport) -> dict[str, float | int | str]:
    """A fetch in figures, for the UI."""
    return {
        "fetched": fetched.fetched,
        "already_there": fetched.already_there,
        "dead_links": len(fetched.dead),
        "failed_this_time": len(fetched.failed),
        "fetch_seconds": round(fetched.seconds, 1),
        **({"misnamed": said_of_misnamed(fetched.misnamed)} if fetched.misnamed else {}),
    }


def said_of_misnamed(misnamed: Mapping[str, str]) -> str:
    """Pictures that are something else than their name or their server says: how many, and some of them."""
    some = ", ".join(f"{image} is {what}" for image, what in sorted(misnamed.items())[:5])
    return f"{len(misnamed):,}: {some}" + (", …" if len(misnamed) > 5 else "")
