"""The cards of a pipeline's trained models, written once they are evaluated: figures belong on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from cir_assets.models.files import CARD, CONFIG, read_object
from cir_assets.models.settings import BackboneSettings, ModelsOf
from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.inputs import newest_models
from cir_assets.pipeline.step import Work
from cir_assets.store.files import write_whole

COMBINER_LOADING = """\
from cir_assets.models.combiner import Combiner

combiner = Combiner.from_pretrained("this folder, or its repository on the Hub")
# raw image and text features, float32 (B, {dimension}) each -> the query, (B, {dimension}) of unit length
query = combiner(image_features, text_features)"""

TEXT_LOADING = """\
from transformers import AutoTokenizer, {architecture}

encoder = {architecture}.from_pretrained("this folder, or its repository on the Hub")
tokenizer = AutoTokenizer.from_pretrained("this folder, or its repository on the Hub")
features = encoder(**tokenizer(["is red"], return_tensors="pt")).{output}"""

OTHER_TEXT_LOADING = """\
from pathlib import Path
from cir_assets.models.backbone import Backbone
from cir_assets.models.saving import load_text_encoder

backbone = Backbone.load(Path("the backbone's folder"))
load_text_encoder(Path("this folder"), backbone)"""


def write_cards(work: Work, pipeline: Pipeline, results: Mapping[str, pl.DataFrame]) -> list[Path]:
    """Write ``README.md`` into the newest version of each of a pipeline's own models.

    A version's content is its weights alone, so that a card changes no version and nothing is trained again.

    Args:
        work: the storage folder.
        pipeline: one whose models are trained or imported here; those of another data set keep their own cards.
        results: tables ``evaluations`` and ``metrics`` by name.
    """
    from cir_assets.reporting.card import MEANINGS, Subject, model_card
    from cir_assets.retrieval.methods import LADDER

    if isinstance(pipeline.recipe, ModelsOf):
        return []
    cards = []
    dataset, backbone, recipe = pipeline.place
    for model, folder in newest_models(work, pipeline, pipeline.models).items():
        config = read_object(folder / CONFIG)
        made = config.get("cir_assets")
        subject = Subject(
            title=f"{model} of {dataset}/{backbone}/{recipe}",
            meaning=MEANINGS[model],
            dataset=dataset,
            backbone=backbone,
            base=base_of(pipeline.encoded.settings),
            methods=[method.name for method in LADDER if model in method.models],
            made={key: made[key] for key in ("settings", "protocol", "checkpoint") if key in made}
            if isinstance(made, dict)
            else {},
            loading=_loading(model, config),
            library="transformers" if model == TEXT_ENCODER else "cir_assets",
            embedded=pipeline.encoded.settings.kind == "embedded" and pipeline.data.source.kind == "wardrobe",
        )
        with write_whole(folder / CARD) as beside:
            beside.write_text(
                model_card(subject, results["evaluations"], results["metrics"]), encoding="utf-8"
            )
        cards.append(folder / CARD)
    return cards


def base_of(settings: BackboneSettings) -> str:
    """Where a backbone comes from: a repository, or words."""
    match settings.kind:
        case "embedded":
            return f"embedded in cir_assets as {settings.place}"
        case "hub":
            return settings.place
        case "open_clip":
            return f"{settings.place} of open_clip, weights {settings.pretrained}"
    return "a folder of one's own"


def _loading(model: str, config: Mapping[str, object]) -> str:
    if model != TEXT_ENCODER:
        return COMBINER_LOADING.format(dimension=config["feature_dimension"])
    match config.get("architectures"):
        case [str(architecture)]:
            output = "text_embeds" if "Projection" in architecture else "pooler_output"
            return TEXT_LOADING.format(architecture=architecture, output=output)
    return OTHER_TEXT_LOADING
