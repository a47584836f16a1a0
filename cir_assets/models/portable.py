"""A whole pipeline in one folder: both encoders, the head, how pictures are prepared; ``pipeline(image, text)``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cir_assets.models.backbone import Backbone
from cir_assets.models.files import CONFIG, BrokenModel, model_files, read_object
from cir_assets.models.saving import load_combiners, load_text_encoder
from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.pictures.opening import open_picture
from cir_assets.pictures.preparing import prepare_picture
from cir_assets.pictures.settings import PIXEL_LIMIT, Padding, Reading
from cir_assets.retrieval.methods import METHODS
from cir_assets.store.files import write_folder_whole

BACKBONE = "backbone"
MODEL_TYPE = "composed_image_retrieval"


@dataclass(frozen=True)
class Portable:
    """What a folder says of itself in ``config.json``.

    Attributes:
        dataset: it was trained on.
        backbone: name of the dual encoder.
        recipe: name of the hyper-parameters.
        method: of the ladder, how a query is composed.
        padding: how pictures are prepared.
        target_ratio: of targetpad.
        resolution: side of the prepared picture, in pixels.
        feature_dimension: D.
        share: of a method that weighs two parts, what val chose; None where it has none.
        template: how several captions of one query become the text that is read; one stands as it is.
    """

    dataset: str
    backbone: str
    recipe: str
    method: str
    padding: str
    target_ratio: float
    resolution: int
    feature_dimension: int
    share: float | None = None
    template: str = "{first caption, begun with a capital} and {second caption}"


def write_portable(
    folder: Path, about: Portable, backbone: Path, models: Mapping[str, Path], card: str
) -> list[Path]:
    """Write a pipeline as one folder, whole or not at all.

    Args:
        folder: to be made.
        about: what it is.
        backbone: the backbone's folder.
        models: model -> its folder, of those the method needs.
        card: the text of ``README.md``.

    Returns:
        The files that were written.
    """
    with write_folder_whole(folder) as beside:
        (beside / BACKBONE).mkdir()
        for file in model_files(backbone):
            shutil.copy2(file, beside / BACKBONE)
        for model, place in models.items():
            (beside / model).mkdir()
            for file in place.iterdir():
                # Its curve is of those who train.
                if file.is_file() and file.suffix != ".parquet":
                    shutil.copy2(file, beside / model)
        config = {"model_type": MODEL_TYPE, **asdict(about)}
        (beside / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (beside / "README.md").write_text(card, encoding="utf-8")
    return sorted(file for file in folder.rglob("*") if file.is_file())


class ComposedRetrieval:
    """A pipeline from its folder: composes queries, encodes pictures, ranks them. On a CPU unless told otherwise.

    Attributes:
        about: what it is.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Load a folder that ``cir-assets export`` wrote.

        Raises:
            BrokenModel: when it holds something else, or a model in it is not what was written.
        """
        self.about = about = read_portable(folder)
        self.backbone = Backbone.load(folder / BACKBONE, device)
        method = METHODS[about.method]
        if TEXT_ENCODER in method.models:
            load_text_encoder(folder / TEXT_ENCODER, self.backbone)
        places = {model: folder / model for model in method.models}
        self.combiners = {
            name: combiner.to(device)
            for name, combiner in load_combiners(places, self.backbone.feature_dimension).items()
        }
        self.method = method

    @classmethod
    def from_pretrained(
        cls, place: str | Path, revision: str | None = None, device: str = "cpu"
    ) -> ComposedRetrieval:
        """Load a folder, or a repository of the Hub by its name.

        Raises:
            BrokenModel: as the constructor.
            Exception: the Hub client's, when there is no such repository or no net.
        """
        if Path(place).is_dir():
            return cls(Path(place), device)
        from huggingface_hub import snapshot_download

        return cls(Path(snapshot_download(str(place), revision=revision)), device)

    def __call__(self, image: Image.Image | Path | str, text: str) -> NDArray[np.float32]:
        """The query, float32 (D,) of unit length, of a reference picture and what should differ."""
        return cast("NDArray[np.float32]", self.compose(self.image_features([image]), [text])[0])

    @torch.no_grad()
    def compose(self, image: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
        """Queries, float32 (n, D) of unit length, of raw image features (n, D) and as many texts."""
        features = torch.from_numpy(image).to(self.backbone.device)
        text = self.backbone.text_features(texts)
        return cast(
            "NDArray[np.float32]",
            self.method.compose(features, text, self.combiners, share=self.about.share)[0].cpu().numpy(),
        )

    def image_features(
        self, images: Sequence[Image.Image | Path | str], reading: Reading = "as_seen"
    ) -> NDArray[np.float32]:
        """Raw image features, float32 (n, D), of pictures or their files.

        Args:
            images: files are opened as ``reading`` says; a picture that is open already is taken as it is.
            reading: as people see them, or with the pixels as they are stored.

        Raises:
            UnreadablePicture: when a file is no picture.
        """
        about = self.about
        pixels = [
            prepare_picture(
                image if isinstance(image, Image.Image) else open_picture(Path(image), PIXEL_LIMIT, reading),
                about.resolution,
                cast("Padding", about.padding),
                about.target_ratio,
            )
            for image in images
        ]
        return cast("NDArray[np.float32]", self.backbone.encode_images(np.stack(pixels)).cpu().numpy())

    @staticmethod
    def rank(query: NDArray[np.float32], gallery: NDArray[np.float32], top: int = 10) -> NDArray[np.int64]:
        """Rows of a gallery's raw image features (N, D) most like a query (D,), best first; of equals the first."""
        cosines = gallery @ query / np.linalg.norm(gallery, axis=1)
        return np.argsort(-cosines, kind="stable")[:top]


def read_portable(folder: Path) -> Portable:
    """What an exported folder says of itself.

    Raises:
        BrokenModel: when it is none, naming what it lacks.
    """
    file = folder / CONFIG
    said = read_object(file) if file.is_file() else {}
    known = {each.name for each in fields(Portable)}
    if said.get("model_type") != MODEL_TYPE or known - said.keys() or said["method"] not in METHODS:
        raise BrokenModel(
            f"{folder} holds no pipeline as cir-assets export writes it: its {CONFIG} must say model_type "
            f"{MODEL_TYPE}, {', '.join(sorted(known))}"
        )
    about = Portable(**{name: said[name] for name in known})
    for model in METHODS[about.method].models:
        if not (folder / model / CONFIG).is_file():
            raise BrokenModel(
                f"{folder} lacks {model}/, which its method {about.method} needs; export it again"
            )
    return about
