"""Features of a data set's pictures as a file that leaves the storage folder, or comes from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cir_assets.store.files import write_whole

COLUMNS = ("image", "image_key", "preprocessing", "backbone", "feature")
"""Of a Parquet file: the picture's id; the SHA-256 of its bytes, which may lack; padding and resolution; the digest of
the weights; and the raw feature, a list of numbers."""

TENSOR = "features"
"""Of a safetensors file: the features, with images and image_keys as JSON lists, preprocessing and backbone beside."""


class BrokenFeatures(ValueError):
    """A file of features that cannot be used; the message names the file, the row and the mend."""


@dataclass(frozen=True)
class FeatureFile:
    """What a file of features holds, n pictures under one backbone and preprocessing.

    Attributes:
        images: ids, each once.
        image_keys: SHA-256 of each picture's bytes, or where the file does not say ``id:<image>``.
        preprocessing: as the feature cache has it, such as ``targetpad1.25@224``.
        backbone: digest of the weights.
        features: float32 (n, D), raw, finite, none of them zero.
    """

    images: list[str]
    image_keys: list[str]
    preprocessing: str
    backbone: str
    features: NDArray[np.float32]

    @property
    def keys(self) -> Mapping[str, str]:
        """Id -> key."""
        return dict(zip(self.images, self.image_keys, strict=True))


def write_features(file: Path, held: FeatureFile) -> None:
    """Write a .parquet or .safetensors file, whole or not at all.

    Raises:
        BrokenFeatures: the name ends otherwise.
    """
    _form(file)
    with write_whole(file) as beside:
        if file.suffix == ".parquet":
            pl.DataFrame(
                {
                    "image": held.images,
                    "image_key": held.image_keys,
                    "preprocessing": pl.repeat(held.preprocessing, len(held.images), eager=True),
                    "backbone": pl.repeat(held.backbone, len(held.images), eager=True),
                    "feature": pl.Series(held.features, dtype=pl.Array(pl.Float32, held.features.shape[1])),
                }
            ).write_parquet(beside)
        else:
            from safetensors.numpy import save

            about = {
                "images": json.dumps(held.images),
                "image_keys": json.dumps(held.image_keys),
                "preprocessing": held.preprocessing,
                "backbone": held.backbone,
            }
            # Its own save_file gives the file to its owner alone.
            beside.write_bytes(save({TENSOR: np.ascontiguousarray(held.features)}, about))


def read_features(file: Path) -> FeatureFile:
    """Read a file as ``write_features`` writes it, or as anybody does who has features.

    Raises:
        BrokenFeatures: it is of another form, names a picture twice, holds features of several backbones,
            preprocessings or dimensions, or one that is no finite number or zero.
    """
    try:
        held = _form(file)(file)
    except BrokenFeatures:
        raise
    except Exception as error:
        # What the libraries raise over a file they cannot read is of any type.
        said = str(error).partition("\n")[0]
        raise BrokenFeatures(
            f"{file} cannot be read as {file.suffix[1:]} ({said}); export it again"
        ) from error
    _require_sound(file, held)
    return held


def _form(file: Path) -> Callable[[Path], FeatureFile]:
    forms = {".parquet": _from_parquet, ".safetensors": _from_safetensors}
    if file.suffix not in forms:
        raise BrokenFeatures(f"{file}: expected a file of features named .parquet or .safetensors")
    return forms[file.suffix]


def _from_parquet(file: Path) -> FeatureFile:
    table = pl.read_parquet(file, glob=False, hive_partitioning=False)
    lacking = [column for column in COLUMNS if column != "image_key" and column not in table.columns]
    if lacking:
        raise BrokenFeatures(
            f"{file}: no column {', '.join(lacking)}; expected {', '.join(COLUMNS)} (image_key may lack), found "
            f"{', '.join(table.columns)[:200]}"
        )
    if table.is_empty():
        raise BrokenFeatures(f"{file} holds no row; export it again")
    one: dict[str, str] = {}
    for column in ("preprocessing", "backbone"):
        values = table[column].unique(maintain_order=True).to_list()
        if len(values) > 1 or not isinstance(values[0], str):
            raise BrokenFeatures(
                f"{file}: expected one text under {column}, found {', '.join(map(str, values[:3]))}; write a file for "
                "each"
            )
        one[column] = values[0]
    lengths = table["feature"].cast(pl.List(pl.Float32)).list.len()
    odd = (lengths != lengths[0]).fill_null(True)
    if lengths[0] is None or odd.any():
        row = int(odd.arg_true()[0]) if odd.any() else 0
        raise BrokenFeatures(
            f"{file}, row {row + 1} ({table['image'][row]}): its feature has {lengths[row] or 0} numbers, that of row "
            f"1 {lengths[0] or 0}; they must be of one dimension"
        )
    images = table["image"].cast(pl.String).to_list()
    keys = (
        table["image_key"].cast(pl.String).to_list() if "image_key" in table.columns else [None] * len(images)
    )
    numbers = table["feature"].cast(pl.List(pl.Float32)).explode().fill_null(float("nan"))
    features = numbers.to_numpy().reshape(len(images), -1)
    return FeatureFile(images, _keys(images, keys), one["preprocessing"], one["backbone"], features)


def _from_safetensors(file: Path) -> FeatureFile:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        about = opened.metadata() or {}
        names = list(opened.keys())
        lacking = [name for name in ("images", "preprocessing", "backbone") if name not in about]
        if TENSOR not in names or lacking:
            raise BrokenFeatures(
                f"{file}: expected a tensor {TENSOR} and images, preprocessing and backbone in its metadata, found "
                f"{', '.join([*names, *about]) or 'nothing'}"
            )
        features = opened.get_tensor(TENSOR)
    images = json.loads(about["images"])
    keys = json.loads(about.get("image_keys", "null")) or [None] * len(images)
    if features.ndim != 2 or not len(images) == len(keys) == len(features) or not len(images):
        raise BrokenFeatures(
            f"{file}: {TENSOR} is of shape {features.shape}, with {len(images):,} images and {len(keys):,} image_keys; "
            "expected a row each"
        )
    return FeatureFile(
        images, _keys(images, keys), about["preprocessing"], about["backbone"], features.astype(np.float32)
    )


def _keys(images: list[str], keys: list[str | None]) -> list[str]:
    return [key or f"id:{image}" for image, key in zip(images, keys, strict=True)]


def _require_sound(file: Path, held: FeatureFile) -> None:
    rows: dict[str, int] = {}
    for row, image in enumerate(held.images):
        if not isinstance(image, str) or not image.strip():
            raise BrokenFeatures(
                f"{file}, row {row + 1}: expected a picture's id under image, found {image!r}"
            )
        if image in rows:
            raise BrokenFeatures(
                f"{file}: {image} stands in row {rows[image] + 1} and in row {row + 1}; leave one of them"
            )
        rows[image] = row
    # A sum is not finite where one of its numbers is not, and zero only where all are.
    sums = np.abs(held.features).sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(sums) & (sums > 0)))
    if len(wrong):
        row = int(wrong[0])
        what = "is zero" if sums[row] == 0 else "holds NaN or infinity"
        raise BrokenFeatures(
            f"{file}, row {row + 1} ({held.images[row]}): its feature {what}, the first of {len(wrong):,}; leave these "
            "rows out, or encode their pictures again"
        )
