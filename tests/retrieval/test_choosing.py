"""What is served is what is best on val; the ladder decides only what val cannot tell apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest

from cir_assets.retrieval.choosing import choose_served
from cir_assets.retrieval.evaluation import RANKINGS_SCHEMA, Evaluation, metric_frame
from cir_assets.retrieval.protocols import HEADLINE, protocol_named

QUERIES = 400


def evaluated(hits: Mapping[str, int]) -> dict[str, Evaluation]:
    """Methods that each find so many of 400 targets first, and the others nowhere: always the same ones first."""
    protocol = protocol_named("fashioniq")
    found = {}
    for method, count in hits.items():
        values = np.zeros((QUERIES, len(protocol.metrics)))
        values[:count] = 1
        metrics = metric_frame(protocol, values, ["all"] * QUERIES, np.zeros_like(values), resamples=50)
        found[method] = Evaluation(
            protocol=protocol,
            rankings=pl.DataFrame(
                [{"query_id": str(query), "category": "all"} for query in range(QUERIES)],
                schema={name: RANKINGS_SCHEMA[name] for name in ("query_id", "category")},
            ),
            retrieved=pl.DataFrame(),
            metrics=metrics,
            headline=metrics.filter(metric=HEADLINE)["value"].item(),
            gallery_sizes={"all": QUERIES},
            left_out={},
            values=values,
        )
    return found


@pytest.mark.parametrize(
    ("hits", "served"),
    [
        ({"sum": 100, "text_encoder_sum": 150, "combiner_frozen_clip": 200, "combiner": 250}, "combiner"),
        (
            {"sum": 100, "text_encoder_sum": 300, "combiner_frozen_clip": 200, "combiner": 250},
            "text_encoder_sum",
        ),
        ({"sum": 300, "text_encoder_sum": 150, "combiner_frozen_clip": 200, "combiner": 250}, "sum"),
        # A query of 400 more is no difference: the ladder's later rung is taken, but stage 1 has to help.
        ({"sum": 249, "text_encoder_sum": 250, "combiner": 250}, "combiner"),
        ({"text_encoder_sum": 150, "combiner_frozen_clip": 249, "combiner": 250}, "combiner_frozen_clip"),
        ({"combiner_frozen_clip": 250, "combiner": 150, "image_only": 390}, "combiner_frozen_clip"),
        ({"combiner_frozen_clip": 150, "combiner": 250, "merged": 300}, "merged"),
    ],
)
def test_the_best_on_val_is_served(hits: dict[str, int], served: str) -> None:
    assert choose_served(evaluated(hits)).method.name == served


@pytest.mark.parametrize(("combiner", "helps"), [(250, True), (201, False), (150, False)])
def test_it_says_whether_stage_1_helps_the_combiner(combiner: int, helps: bool) -> None:
    choice = choose_served(evaluated({"combiner_frozen_clip": 200, "combiner": combiner}))
    assert choice.stage_1_helps is helps
    assert choice.stage_1 is not None
    said = f"stage 1 {'helps' if helps else 'does not help'} the Combiner: {(combiner - 200) / 4:+.2f} points"
    assert choice.stage_1.startswith(said)
    assert choose_served(evaluated({"sum": 3})).stage_1 is None


def test_what_is_never_served_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="image_only is ever served"):
        choose_served(evaluated({"image_only": 390}))
