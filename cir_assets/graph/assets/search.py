"""``…/<recipe>/search``: what the search server reads, for the champion and the gallery of today."""

import dagster as dg

from cir_assets.graph.conditions import on_upstream_change
from cir_assets.graph.step import asset_key, step_asset
from cir_assets.pipeline.checks import GALLERY_SEARCHABLE
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.searching import search_step, searched_in


def search_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The export of one pipeline for searching."""
    # Decided there; what hangs on the asset champion would be skipped with it in a run that ends in a refusal.
    decisions = [pipeline.name("challenger")] if pipeline.models else []
    return step_asset(
        search_step(pipeline),
        deps=[*decisions, *searched_in(pipeline)],
        of=pipeline,
        kinds={"numpy", "parquet"},
        condition=on_upstream_change(may_be_missing=[asset_key(name) for name in decisions]),
        checks=[GALLERY_SEARCHABLE],
        description=(
            "The champion of this pipeline and the gallery's features under it, as `make search` serves them: "
            f"`storage/search/{'/'.join(pipeline.place)}/<version>/`. A running server takes a new version within "
            "seconds. Where there is no champion, as for pictures without a triplet, CLIP searches as it came."
        ),
    )
