"""What training and evaluation read: one data set's tables and features, brought into memory once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from cir_assets.assets.pipeline import EncodedDataset, Pipeline
from cir_assets.assets.tables import read_table
from cir_assets.resources import Storage
from cir_assets.store.ledger import Ledger, digest, digest_frame

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from cir_assets.models.backbone import Backbone
    from cir_assets.retrieval.protocols import QueryGroup
    from cir_assets.retrieval.validation import Validation
    from cir_assets.training.triplets import TrainingTriplets


@dataclass(frozen=True)
class PipelineInputs:
    """Tables of a data set and the raw features of its pictures under one backbone.

    ``feature_images`` has the columns image and image_key; its row i is the picture of row i of ``features``,
    float32 (pictures, D), raw, on the device. Pictures that do not decode have no row.
    """

    galleries: pl.DataFrame
    triplets: pl.DataFrame
    feature_images: pl.DataFrame
    features: Tensor

    def training_triplets(self) -> TrainingTriplets:
        """The train split as rows of ``features`` and caption variants.

        Raises:
            ValueError: when it is empty.
        """
        from cir_assets.datasets.captions import training_captions
        from cir_assets.training.triplets import TrainingTriplets

        row = self.feature_images.select("image").with_row_index("row")
        train = self.triplets.filter((pl.col("split") == "train") & pl.col("target").is_not_null())
        for side in ("reference", "target"):
            train = train.join(
                row.rename({"image": side, "row": f"{side}_row"}), on=side, maintain_order="left"
            )
        if train.is_empty():
            raise ValueError(
                "there is no triplet to train on: the train split is empty, or none of its pictures decode "
                "(see data_issues)"
            )
        return TrainingTriplets(
            reference=train["reference_row"].cast(pl.Int64).to_numpy(),
            target=train["target_row"].cast(pl.Int64).to_numpy(),
            captions=[training_captions(captions) for captions in train["captions"].to_list()],
        )

    def query_groups(self, protocol: str, split: str) -> list[QueryGroup]:
        """The queries of a split under a protocol, one group a category."""
        from cir_assets.retrieval.protocols import query_groups

        images = self.feature_images["image"].to_list()
        return query_groups(protocol, split, images, self.galleries, self.triplets)

    def validation(self, protocol: str) -> Validation:
        """The val split, ready to be scored after each epoch."""
        from cir_assets.retrieval.validation import Validation

        return Validation(self.query_groups(protocol, "val"), self.features, protocol)

    def splits_with_targets(self) -> list[str]:
        """Of val and test, those whose triplets have targets to rank."""
        answered = self.triplets.filter(pl.col("target").is_not_null())["split"].unique().to_list()
        return [split for split in ("val", "test") if split in answered]

    def content_of_splits(self, *splits: str) -> str:
        """Digest of what a training sees of these splits: triplets, galleries and the pictures in them.

        Finer than the tables' own versions: an edited caption of test trains nothing again.
        """
        triplets = self.triplets.filter(pl.col("split").is_in(splits))
        galleries = self.galleries.filter(pl.col("split").is_in(splits))
        named = pl.concat([galleries["image"], triplets["reference"], triplets["target"].drop_nulls()])
        pictures = self.feature_images.filter(pl.col("image").is_in(named.unique().implode())).sort("image")
        return digest([digest_frame(triplets), digest_frame(galleries), digest_frame(pictures)])


def resolved_device(device: str) -> str:
    """``auto`` as cuda where there is a device, else cpu."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def installed_backbone(storage: Storage, encoded: EncodedDataset) -> Backbone:
    """The backbone as ``backbones/<backbone>`` installed it, on the data set's device."""
    from cir_assets.models.backbone import Backbone

    return Backbone.load(storage.backbone(encoded.backbone), resolved_device(encoded.graph.device))


def load_inputs(storage: Storage, encoded: EncodedDataset, backbone: Backbone) -> PipelineInputs:
    """Read tables and features; the features go to the backbone's device."""
    import torch

    from cir_assets.models.preprocessing import preprocessing_name
    from cir_assets.store.feature_cache import FeatureCache

    tables = storage.tables(encoded.graph.dataset)
    settings = encoded.settings
    preprocessing = preprocessing_name(backbone.resolution, settings.padding, settings.target_ratio)
    cache = FeatureCache(storage.features(encoded.graph.dataset, encoded.backbone))
    images = read_table(tables, "images").select("image", "image_key")
    unreadable = list(cache.unreadable(images["image_key"].to_list(), preprocessing))
    images = images.filter(~pl.col("image_key").is_in(unreadable))
    matrix = cache.matrix(images["image_key"].to_list(), preprocessing, backbone.weights_digest)
    return PipelineInputs(
        galleries=read_table(tables, "galleries"),
        triplets=read_table(tables, "triplets"),
        feature_images=images,
        features=torch.from_numpy(matrix).to(backbone.device),
    )


def model_folder(storage: Storage, pipeline: Pipeline, step: str) -> Path:
    """The folder of a trained model's newest version.

    Raises:
        FileNotFoundError: when it was never trained, or its folder is gone.
    """
    entry = Ledger(storage.ledger).latest(pipeline.name(step))
    folder = storage.models(*pipeline.place, step) / (entry.fingerprint if entry else "none")
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{pipeline.name(step)} has no model in {folder.parent}; materialize it first"
        )
    return folder
