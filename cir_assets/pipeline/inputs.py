"""What training and evaluation read: one data set's tables and features, brought into memory once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cir_assets.models.files import require_version, weights_version
from cir_assets.pipeline.backbones import require_installed
from cir_assets.pipeline.given_features import require_pictures
from cir_assets.pipeline.identity import EncodedDataset, Pipeline
from cir_assets.pipeline.step import Work
from cir_assets.store.contracts import GALLERIES, IMAGES, TRIPLETS
from cir_assets.store.digests import digest, digest_frame
from cir_assets.store.ledger import Ledger
from cir_assets.store.tables import read_table

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from cir_assets.models.backbone import Backbone
    from cir_assets.retrieval.protocols import QueryGroup
    from cir_assets.retrieval.validation import Validation
    from cir_assets.store.feature_cache import FeatureCache
    from cir_assets.training.pictures import PictureFiles
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

    def training_triplets(
        self, caption_variants: Literal["paper", "joined", "evaluation"] = "paper"
    ) -> TrainingTriplets:
        """The train split as rows of ``features`` and caption variants, with its galleries and exact copies.

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
            reference=train["reference_row"].cast(pl.Int64).to_numpy(writable=True),
            target=train["target_row"].cast(pl.Int64).to_numpy(writable=True),
            captions=[
                training_captions(captions, caption_variants) for captions in train["captions"].to_list()
            ],
            gallery=self._rows_of_train(),
            contents=self.feature_images["image_key"].rank("dense").cast(pl.Int64).to_numpy(writable=True),
        )

    def _rows_of_train(self) -> NDArray[np.int64]:
        """Rows of every picture of the train galleries, and of the train triplets, each once."""
        train = pl.col("split") == "train"
        answers = self.triplets.filter(train)["target"].drop_nulls()
        named = pl.concat([self.galleries.filter(train)["image"], answers]).unique()
        images = self.feature_images.select("image").with_row_index("row")
        rows: NDArray[np.int64] = (
            images.filter(pl.col("image").is_in(named.implode()))["row"]
            .cast(pl.Int64)
            .to_numpy(writable=True)
        )
        return rows

    def query_groups(self, protocol: str, split: str, *, with_targets: bool = True) -> list[QueryGroup]:
        """The queries of a split under a protocol, one group a category."""
        from cir_assets.retrieval.protocols import query_groups

        images = self.feature_images["image"].to_list()
        return query_groups(protocol, split, images, self.galleries, self.triplets, with_targets=with_targets)

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
        # Nor does what only another text template reads.
        read = self.triplets.drop("shared_concept", "reference_caption", strict=False)
        triplets = read.filter(pl.col("split").is_in(splits))
        galleries = self.galleries.filter(pl.col("split").is_in(splits))
        named = pl.concat([galleries["image"], triplets["reference"], triplets["target"].drop_nulls()])
        pictures = self.feature_images.filter(pl.col("image").is_in(named.unique().implode())).sort("image")
        return digest([digest_frame(triplets), digest_frame(galleries), digest_frame(pictures)])


def resolved_device(device: str) -> str:
    """``auto`` as cuda where there is a device, else cpu."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def load_backbone(work: Work, encoded: EncodedDataset) -> Backbone:
    """The backbone as ``backbones/<backbone>`` installed it, on the data set's device.

    Raises:
        BrokenModel: when what lies there is not what the settings name, or not what was installed.
    """
    from cir_assets.models.backbone import Backbone

    folder = work.storage.backbone(encoded.backbone)
    backbone = Backbone.load(folder, resolved_device(encoded.data.device))
    require_installed(work, encoded.backbone, encoded.settings, backbone.weights_digest)
    return backbone


def load_inputs(
    work: Work, encoded: EncodedDataset, backbone: Backbone, cache: FeatureCache | None = None
) -> PipelineInputs:
    """Read tables and features; the features go to the backbone's device.

    Args:
        work: where they lie.
        encoded: the data set and its backbone.
        backbone: features are those of its ``weights_digest``.
        cache: where the features are; None: the data set's own under this backbone.
    """
    import torch

    from cir_assets.pictures.preparing import preprocessing_name
    from cir_assets.store.feature_cache import FeatureCache

    tables = work.storage.tables(encoded.data.dataset)
    settings = encoded.settings
    preprocessing = preprocessing_name(
        backbone.resolution, settings.padding, settings.target_ratio, encoded.data.source.reading
    )
    cache = cache or FeatureCache(work.storage.features(encoded.data.dataset, encoded.backbone))
    images = read_table(tables, IMAGES).select("image", "image_key")
    left_out = cache.not_encoded(images["image_key"].to_list(), preprocessing, backbone.weights_digest)
    images = images.filter(~pl.col("image_key").is_in(list(left_out)))
    matrix = cache.matrix(images["image_key"].to_list(), preprocessing, backbone.weights_digest)
    return PipelineInputs(
        galleries=read_table(tables, GALLERIES),
        triplets=read_table(tables, TRIPLETS),
        feature_images=images,
        features=torch.from_numpy(matrix).to(backbone.device),
    )


def load_tuned(
    work: Work, pipeline: Pipeline, backbone: Backbone, inputs: PipelineInputs, text_encoder: Path
) -> PipelineInputs:
    """Put stage 1's encoders, saved as ``text_encoder``, into the backbone, and give its image encoder's features.

    Where the image encoder stayed frozen they are ``inputs`` themselves.
    """
    from cir_assets.models.saving import load_text_encoder
    from cir_assets.store.feature_cache import FeatureCache

    load_text_encoder(text_encoder, backbone)
    if not pipeline.tunes_images:
        return inputs
    backbone.weights_digest = weights_version(text_encoder)
    cache = FeatureCache(work.storage.tuned_features(*pipeline.place))
    return load_inputs(work, pipeline.encoded, backbone, cache)


def picture_files(work: Work, encoded: EncodedDataset, inputs: PipelineInputs) -> PictureFiles:
    """The files of the features' rows, for training an image encoder."""
    from cir_assets.training.pictures import PictureFiles

    data, settings = encoded.data, encoded.settings
    root = data.source.picture_root(work.storage.raw(data.dataset))
    images = read_table(work.storage.tables(data.dataset), IMAGES)
    require_pictures(images, data.dataset)
    paths = dict(images.select("image", "path").iter_rows())
    return PictureFiles(
        [root / paths[image] for image in inputs.feature_images["image"]],
        padding=settings.padding,
        target_ratio=settings.target_ratio,
        workers=data.decoding_workers,
        pixel_limit=data.pixel_limit,
        reading=data.source.reading,
    )


def model_folder(work: Work, pipeline: Pipeline, step: str) -> Path:
    """The folder of a trained model's newest version.

    Raises:
        FileNotFoundError: when it was never trained, or its folder is gone.
        BrokenModel: when the weights in it are not those that were trained.
    """
    entry = Ledger(work.storage.ledger).latest(pipeline.model_name(step))
    folder = work.storage.models(*pipeline.models_place, step) / (entry.fingerprint if entry else "none")
    if entry is None or not folder.is_dir():
        raise FileNotFoundError(
            f"{pipeline.model_name(step)} has no model in {folder.parent}; materialize it first"
        )
    require_version(folder, entry.data_version)
    return folder


def newest_models(work: Work, pipeline: Pipeline, models: Iterable[str]) -> dict[str, Path]:
    """The folders of the newest versions of some of a pipeline's models, by name.

    Raises:
        FileNotFoundError: when one was never made, or its folder is gone.
    """
    return {model: model_folder(work, pipeline, model) for model in models}
