"""``…/<recipe>/search``: what the search server reads, for the champion and the gallery of today."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cir_assets.datasets.captions import evaluation_caption, says_something, strip_caption
from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.pipeline.checks import GALLERY_SEARCHABLE
from cir_assets.pipeline.encoding import encode_missing, tuned_encoder
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.inputs import PipelineInputs, load_backbone, load_inputs, load_tuned
from cir_assets.pipeline.judging import model_folders
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.retrieval.methods import METHODS, SPHERICAL, Method
from cir_assets.store.contracts import IMAGES
from cir_assets.store.digests import digest, digest_array, digest_frame
from cir_assets.store.made import Made, versions_of
from cir_assets.store.promotions import PromotionLog
from cir_assets.store.tables import read_table

if TYPE_CHECKING:
    from cir_assets.models.backbone import Backbone
    from cir_assets.models.combiner import Combiner

EXAMPLES = 12
"""Queries of val with known answers, offered to be tried."""

SHOWN_TO_RANK = 5
FAILED_FROM_RANK = 50
"""Examples have their target among the first of these ranks, and the one that fails behind the second."""

LOOKED_AT = 200
"""Queries of a category among which examples are sought."""

SUGGESTED = 12
"""Things often said that are offered, of each category."""

LITTLE_WORDS = {
    "and",
    "are",
    "been",
    "but",
    "has",
    "have",
    "more",
    "one",
    "same",
    "that",
    "the",
    "this",
    "with",
}
"""Words that tell nothing about what is meant; nor do those of one or two letters."""


def search_step(pipeline: Pipeline) -> Step:
    """The export of one pipeline for searching."""
    settings = pipeline.encoded.settings

    def plan(work: Work) -> Plan:
        champion = PromotionLog(work.storage.promotions(*pipeline.place)).reign()
        versions = versions_of(work.storage, *searched_in(pipeline))
        versions["champion"] = champion.digest if champion else "none"
        return Plan(versions, lambda version: make_export(work, pipeline, version))

    configuration = {
        "padding": settings.padding,
        "target_ratio": settings.target_ratio,
        "pixel_limit": pipeline.data.pixel_limit,
        "share_without_val": settings.share_without_val,
    }
    return Step(pipeline.name("search"), 3, plan, configuration)


def searched_in(pipeline: Pipeline) -> list[str]:
    """The steps that make the gallery and its features."""
    data = pipeline.data
    return [data.name("images"), data.name("triplets"), pipeline.encoded.name("image_features")]


def make_export(work: Work, pipeline: Pipeline, version: str) -> Made:
    """Write a version of what search reads, and make it the current one."""
    from cir_assets.models.saving import load_combiners
    from cir_assets.serving.export import Exported, export

    data, settings = pipeline.data, pipeline.encoded.settings
    log = PromotionLog(work.storage.promotions(*pipeline.place))
    champion = log.reign()
    models = champion.models if champion else {}
    folders = {name.rpartition("/")[2]: folder for name, folder in model_folders(work, models).items()}
    backbone = load_backbone(work, pipeline.encoded)
    backbone_version = backbone.weights_digest
    inputs = load_inputs(work, pipeline.encoded, backbone)
    if TEXT_ENCODER in folders:
        if pipeline.tunes_images:
            encode_missing(work, pipeline.encoded, tuned_encoder(work, pipeline, folders[TEXT_ENCODER]))
        inputs = load_tuned(work, pipeline, backbone, inputs, folders[TEXT_ENCODER])
    features = inputs.features.cpu().numpy()
    pictures = gallery_pictures(work, data.dataset, inputs)
    reign = log.reigns().row(-1, named=True) if champion else None
    method = METHODS[champion.method if champion else SPHERICAL.name]
    share = champion.share if champion else settings.share_without_val
    combiners = load_combiners({name: folders[name] for name in method.models}, backbone.feature_dimension)
    examples = example_queries(inputs, backbone, method, combiners, share)
    suggestions = suggested_words(inputs.triplets)
    destination = export(
        work.storage.search(*pipeline.place),
        version,
        Exported(
            dataset=data.dataset,
            backbone=pipeline.encoded.backbone,
            recipe=pipeline.recipe_name,
            method=method.name,
            share=share,
            champion=reign["challenger"] if reign else None,
            champion_since=reign["decided_at"].isoformat(timespec="seconds") if reign else None,
            headline=reign["challenger_headline"] if reign else None,
            models={model: _relative(work, folder) for model, folder in folders.items()},
            backbone_folder=_relative(work, work.storage.backbone(pipeline.encoded.backbone)),
            backbone_version=backbone_version,
            picture_root=_relative(work, data.source.picture_root(work.storage.raw(data.dataset))),
            padding=settings.padding,
            target_ratio=settings.target_ratio,
            pixel_limit=data.pixel_limit,
        ),
        features,
        pictures,
        examples,
        suggestions,
    )
    return Made(
        data_version=digest(
            [
                champion.digest if champion else "none",
                digest_array(features),
                digest_frame(pictures),
                digest_frame(examples),
                digest_frame(suggestions),
            ]
        ),
        metadata={
            "pictures": pictures.height,
            "champion": reign["challenger"] if reign else "none: CLIP as it came",
            "megabytes": round(sum(file.stat().st_size for file in destination.iterdir()) / 1e6, 1),
            "folder": {"path": str(destination)},
        },
        checks=GALLERY_SEARCHABLE(pictures.height),
        files=sorted(destination.iterdir()),
    )


def gallery_pictures(work: Work, dataset: str, inputs: PipelineInputs) -> pl.DataFrame:
    """image, path, category and image_key of every picture with a feature, in the features' order."""
    paths = read_table(work.storage.tables(dataset), IMAGES).select("image", "path")
    categories = inputs.galleries.group_by("image", maintain_order=True).agg(pl.col("category").first())
    return (
        inputs.feature_images.select("image", "image_key")
        .join(paths, on="image", how="left", maintain_order="left")
        .join(categories, on="image", how="left", maintain_order="left")
    )


def example_queries(
    inputs: PipelineInputs,
    backbone: Backbone,
    method: Method,
    combiners: Mapping[str, Combiner],
    share: float | None = None,
) -> pl.DataFrame:
    """A few queries of val to try, which show what the method can do, and the last of them where it fails.

    Of the shortest that are well worded, in every category, those whose target ranks 1 to 5 in its category, as the
    search page ranks it, and one far behind; they are sought for no longer than among ``LOOKED_AT`` of a category.

    Returns:
        Columns query_id, reference, caption, target, category, and rank, int64 from 1.
    """
    there = inputs.feature_images["image"].implode()
    asked = inputs.triplets.filter(
        (pl.col("split") == "val") & pl.col("reference").is_in(there) & pl.col("target").is_in(there)
    )
    asked = asked.select(
        query_id="triplet_id",
        reference="reference",
        caption=pl.Series([evaluation_caption(captions) for captions in asked["captions"]], dtype=pl.String),
        target="target",
        category="category",
    )
    good = asked.filter(
        pl.col("caption").map_elements(is_well_worded, pl.Boolean), pl.col("reference") != pl.col("target")
    )
    looked_at = (good if good.height else asked).sort(pl.col("caption").str.len_chars(), maintain_order=True)
    looked_at = looked_at.filter(pl.int_range(pl.len()).over("category") < LOOKED_AT)
    ranks = _ranks(inputs, backbone, method, combiners, share, looked_at)
    found = looked_at.with_columns(rank=pl.Series(ranks, dtype=pl.Int64))
    shown = found.filter(pl.col("rank") <= SHOWN_TO_RANK)
    # In turn from every category, of each the shortest.
    turn = pl.int_range(pl.len()).over("category")
    shown = shown.unique("reference", keep="first", maintain_order=True).sort(turn, maintain_order=True)
    failures = found.filter(pl.col("rank") > FAILED_FROM_RANK)
    return pl.concat([shown.head(EXAMPLES - 1), failures.head(1)])


def is_well_worded(caption: str) -> bool:
    """Whether a caption reads as people ask: 3 to 12 words, of which none that tells something comes twice."""
    words = caption.casefold().replace(",", " ").split()
    told = _telling(words)
    return 3 <= len(words) <= 12 and len(told) == len(set(told)) and says_something(caption)


def _telling(words: Iterable[str]) -> list[str]:
    return [word for word in words if len(word) > 2 and word not in LITTLE_WORDS]


def _ranks(
    inputs: PipelineInputs,
    backbone: Backbone,
    method: Method,
    combiners: Mapping[str, Combiner],
    share: float | None,
    asked: pl.DataFrame,
) -> list[int]:
    """The target's place, from 1, in its category's pictures without the reference, for each query asked."""
    import torch

    from cir_assets.retrieval.ranking import search, unit_length

    row_of = {image: row for row, image in enumerate(inputs.feature_images["image"])}
    gallery_rows = {
        category: [row_of[image] for image in images if image in row_of]
        for category, images in inputs.galleries.group_by("category", maintain_order=True)
        .agg("image")
        .iter_rows()
    }
    features = inputs.features.float()
    ranks = np.zeros(asked.height, dtype=np.int64)
    for (category,), some in asked.with_row_index("place").group_by("category", maintain_order=True):
        references = [row_of[image] for image in some["reference"]]
        targets = [row_of[image] for image in some["target"]]
        rows = sorted({*gallery_rows.get(category, range(len(features))), *references, *targets})
        place_of = {row: place for place, row in enumerate(rows)}
        with torch.inference_mode():
            words = backbone.text_features(some["caption"].to_list())
            queries, _ = method.compose(features[references], words, combiners, share=share)
        found = search(
            queries,
            unit_length(features[rows]),
            np.array([place_of[row] for row in targets]),
            np.array([place_of[row] for row in references]),
            k=0,
            with_scores=False,
        )
        ranks[some["place"].to_numpy()] = found.target_rank + 1
    return ranks.tolist()


def suggested_words(triplets: pl.DataFrame) -> pl.DataFrame:
    """What people often say in the train captions, in few words, for each category and for all.

    Returns:
        Columns category (null for all), caption and times, int64: the commonest first, no two of them with the same
        words.
    """
    train = (
        triplets.filter(pl.col("split") == "train").select("category", caption="captions").explode("caption")
    )
    said = pl.Series([strip_caption(caption).casefold() for caption in train["caption"]], dtype=pl.String)
    train = train.with_columns(caption=said).filter(
        said.str.count_matches(r"\S+").is_between(2, 6) & said.map_elements(says_something, pl.Boolean)
    )
    every = pl.concat([train, train.with_columns(category=pl.lit(None, pl.String))])
    counted = every.group_by("category", "caption", maintain_order=True).len("times")
    counted = counted.with_columns(pl.col("times").cast(pl.Int64)).sort(
        "times", descending=True, maintain_order=True
    )
    kept: list[dict[str, object]] = []
    for _, its in counted.group_by("category", maintain_order=True):
        seen: set[frozenset[str]] = set()
        for row in its.iter_rows(named=True):
            telling = frozenset(_telling(row["caption"].split()))
            if telling and not any(telling <= other or other <= telling for other in seen):
                seen.add(telling)
                kept.append(row)
            if len(seen) == SUGGESTED:
                break
    return pl.DataFrame(kept, schema={"category": pl.String, "caption": pl.String, "times": pl.Int64})


def _relative(work: Work, folder: Path) -> str:
    """Relative to the storage folder where it lies in it, so that the whole folder may be moved."""
    return str(
        folder.relative_to(work.storage.root)
        if folder.is_relative_to(work.storage.root)
        else folder.absolute()
    )
