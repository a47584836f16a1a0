"""``<dataset>/raw``: a data set's files, fetched or rendered, checked."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from cir_assets.assets.pipeline import DatasetGraph
from cir_assets.assets.scanning import content_version, scanned
from cir_assets.assets.step import Made, Step, logged_progress, materialize_result
from cir_assets.assets.tables import write_table
from cir_assets.checks import Check
from cir_assets.datasets.tables import Annotations, pictures_by_split
from cir_assets.resources import Storage
from cir_assets.store.ledger import Ledger, LedgerEntry

if TYPE_CHECKING:
    from cir_assets.datasets.fetching import FetchReport

GENERATION = 2


def raw_asset(graph: DatasetGraph) -> dg.AssetsDefinition:
    """The root asset of one data set."""
    step = Step(graph.key("raw"), GENERATION, graph.source.model_dump(mode="json"))

    @dg.asset(
        key=step.key,
        group_name=graph.dataset,
        kinds={graph.source.kind, "files"},
        owners=list(graph.owners),
        code_version=step.code_version,
        check_specs=[
            dg.AssetCheckSpec(
                "pictures_present",
                asset=step.key,
                blocking=True,
                description=(
                    "There are annotations, and pictures they name; some of each split that is trained on or judged by."
                ),
            )
        ],
        description=(
            f"The files of `{graph.dataset}` as they were rendered, fetched or found: annotations and pictures. "
            f"Rendered and fetched files lie in `storage/raw/{graph.dataset}/`; a local folder is read where it "
            "is. The version is the digest of every annotation and every picture's bytes."
        ),
    )
    def raw(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        progress = logged_progress(context)
        fetched = graph.source.prepare(storage.raw(graph.dataset), progress)
        not_fetched = unfetched_issues(fetched)
        annotations, images, issues = scanned(storage, graph, progress)
        version = content_version(annotations, images, pl.concat([issues, not_fetched]))
        made = Made(
            data_version=version,
            metadata={
                "folder": {"path": str(annotations.picture_root)},
                "pictures": images.height,
                "triplets": annotations.triplets.height,
                "megabytes": round(float(images["bytes"].sum()) / 1e6, 1),
                **(fetch_metadata(fetched) if fetched else {}),
            },
            checks={
                "pictures_present": pictures_present(
                    annotations, images, needed=("train", "val") if graph.trains else ()
                )
            },
            files=[write_table(not_fetched, storage.tables(graph.dataset), "data_issues/raw")],
        )
        ledger = Ledger(storage.ledger)
        before = ledger.latest(step.name)
        ledger.record(step.name, LedgerEntry(version, version, made.to_detail()))
        # The files were looked at all the same; what they say is what was known.
        unchanged = before is not None and before.data_version == version
        return materialize_result(step, made, reused=unchanged, severity={})

    return raw


def pictures_present(annotations: Annotations, images: pl.DataFrame, needed: Collection[str]) -> Check:
    """Whether there are pictures, and of every needed split that has triplets."""
    found = pictures_by_split(annotations.galleries, images)
    with_triplets = set(annotations.triplets["split"])
    empty = [split for split, (there, _) in found.items() if not there and split in with_triplets & {*needed}]
    counts = ", ".join(
        f"{'none' if not there else 'all' if there == named else f'{there:,}'} of {split}'s {named:,}"
        for split, (there, named) in found.items()
    )
    told = (
        f"{images.height:,} of {annotations.pictures.height:,} named pictures found: {counts or 'no gallery'}"
    )
    if empty:
        lost = annotations.galleries.filter(split=empty[0]).join(annotations.pictures, on="image")["path"]
        told += (
            f"; put those of {' and '.join(empty)} into {annotations.picture_root} (the first is {lost[0]})"
        )
    return Check(images.height > 0 and not empty, told)


def unfetched_issues(fetched: "FetchReport | None") -> pl.DataFrame:
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
    return pl.DataFrame(rows, schema={"kind": pl.String, "subject": pl.String, "detail": pl.String})


def fetch_metadata(fetched: "FetchReport") -> dict[str, float | int | str]:
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
