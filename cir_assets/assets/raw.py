"""``<dataset>/raw``: a data set's files, fetched or rendered, checked."""

import dagster as dg

from cir_assets.assets.pipeline import DatasetGraph
from cir_assets.assets.scanning import scanned
from cir_assets.assets.step import Made, Step, logged_progress, materialize_result
from cir_assets.checks import Check
from cir_assets.resources import Storage
from cir_assets.store.ledger import Ledger, LedgerEntry, digest, digest_frame

GENERATION = 1


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
                description="There are annotations, and at least one picture they name.",
            )
        ],
        description=(
            f"The files of `{graph.dataset}` as they were rendered, fetched or found: annotations and pictures. "
            f"Rendered and fetched files lie in `storage/raw/{graph.dataset}/`; a local folder is read where it "
            "is. The version is the digest of every annotation and every picture's bytes."
        ),
    )
    def raw(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        from cir_assets.datasets.sources import prepare

        progress = logged_progress(context)
        prepare(graph.source, storage.raw(graph.dataset), progress)
        annotations, images, issues = scanned(storage, graph, progress)
        version = digest(
            {
                "galleries": digest_frame(annotations.galleries),
                "triplets": digest_frame(annotations.triplets),
                "images": digest_frame(images),
                "issues": digest_frame(issues),
            }
        )
        made = Made(
            data_version=version,
            metadata={
                "folder": {"path": str(annotations.picture_root)},
                "pictures": images.height,
                "triplets": annotations.triplets.height,
                "megabytes": round(float(images["bytes"].sum()) / 1e6, 1),
            },
            checks={
                "pictures_present": Check(
                    images.height > 0,
                    f"{images.height:,} of {annotations.pictures.height:,} named pictures found",
                )
            },
            files=[],
        )
        Ledger(storage.ledger).record(step.name, LedgerEntry(version, version, made.to_detail()))
        return materialize_result(step, made, reused=False, severity={})

    return raw
