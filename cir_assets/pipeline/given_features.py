"""Features that leave as a file, and that come from one: for pictures whose files nobody here has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cir_assets.datasets.dataset_source import local
from cir_assets.datasets.sources import Source
from cir_assets.pipeline.identity import EncodedDataset, backbone_name
from cir_assets.store.contracts import IMAGES
from cir_assets.store.digests import digest_file
from cir_assets.store.feature_files import BrokenFeatures, FeatureFile, read_features, write_features
from cir_assets.store.layout import Storage
from cir_assets.store.ledger import Ledger
from cir_assets.store.made import NotMade, versions_of
from cir_assets.store.tables import read_table

if TYPE_CHECKING:
    from cir_assets.store.feature_cache import FeatureCache

ONLY_FEATURES = "features"
"""What the table of pictures has as the format of one that is known by its feature alone."""

SAME = 0.02
"""How far, by length, a feature may be from the cached one of the very picture: devices differ by less."""


def export_features(storage: Storage, dataset: str, backbone: str, file: Path) -> int:
    """Write the features of a data set under a backbone as it came to a .parquet or .safetensors file.

    Returns:
        How many pictures' features were written; those that do not decode have none.

    Raises:
        NotMade: the features were never made, or are no longer there.
        BrokenFeatures: the file's name ends otherwise.
    """
    from cir_assets.store.feature_cache import FeatureCache

    step = f"{dataset}/{backbone}/image_features"
    [weights] = versions_of(storage, backbone_name(backbone)).values()
    versions_of(storage, step)
    made = Ledger(storage.ledger).latest(step)
    assert made is not None
    preprocessing = str(made.detail["metadata"]["preprocessing"])
    cache = FeatureCache(storage.features(dataset, backbone))
    images = read_table(storage.tables(dataset), IMAGES).select("image", "image_key")
    left_out = cache.not_encoded(images["image_key"].to_list(), preprocessing, weights)
    images = images.filter(~pl.col("image_key").is_in(list(left_out)))
    keys = images["image_key"].to_list()
    try:
        features = cache.matrix(keys, preprocessing, weights)
    except KeyError as error:
        raise NotMade(
            f"{error.args[0]}; {step} is of other pictures or weights than there are now"
        ) from error
    write_features(file, FeatureFile(images["image"].to_list(), keys, preprocessing, weights, features))
    return len(keys)


def given_versions(source: Source) -> dict[str, str]:
    """The content version of each file of features a source names; one that is gone is told where it is read."""
    files = [local(file) for file in source.features]
    return {
        f"features/{number}": digest_file(file) if file.is_file() else "gone"
        for number, file in enumerate(files)
    }


def with_given_pictures(
    source: Source, pictures: pl.DataFrame, images: pl.DataFrame, issues: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Count a picture as there that has no file, but a feature in a file the source names.

    Args:
        source: may name files of features.
        pictures: ``PICTURES``, all that are named.
        images: ``IMAGES``, those that open.
        issues: ``DATA_ISSUES`` with a ``missing_picture`` for each that has no file.

    Returns:
        Both, the given ones among the pictures in their order, and no longer among the issues.

    Raises:
        BrokenFeatures: one of the files cannot be used.
    """
    keys: dict[str, str] = {}
    for file in source.features:
        keys = {**read_features(local(file)).keys, **keys}
    missing = issues.filter(kind="missing_picture")["subject"].implode()
    given = pictures.filter(pl.col("image").is_in(missing) & pl.col("image").is_in(list(keys)))
    if given.is_empty():
        return images, issues
    rows = given.select(
        "image",
        "path",
        image_key=pl.col("image").replace_strict(keys, return_dtype=pl.String),
        format=pl.lit(ONLY_FEATURES),
        mode=pl.lit("none"),
        width=0,
        height=0,
        bytes=0,
    )
    every = pl.concat([images, rows.select(IMAGES.names).cast(IMAGES.schema)])
    ordered = pictures.select("image").join(every, on="image", maintain_order="left").select(IMAGES.names)
    told = pl.col("kind").eq("missing_picture") & pl.col("subject").is_in(given["image"].implode())
    return ordered, issues.filter(~told)


def require_pictures(images: pl.DataFrame, dataset: str) -> None:
    """See that there is a picture behind every row, for an image encoder that is trained.

    Args:
        images: ``IMAGES``.
        dataset: whose they are.

    Raises:
        NotMade: some are known by their features alone.
    """
    bare = images.filter(format=ONLY_FEATURES)
    if bare.height:
        raise NotMade(
            f"{bare.height:,} of {images.height:,} pictures of {dataset} are known by given features alone (the first "
            f"is {bare['image'][0]}), and this recipe trains the image encoder, which must see them: put them to "
            "their data set, or say encoder: text"
        )


def take_features(
    encoded: EncodedDataset,
    images: pl.DataFrame,
    cache: FeatureCache,
    preprocessing: str,
    weights: str,
    dimension: int,
) -> int:
    """Take into the cache what it lacks of the features that the data set's source names, all or none of a file.

    A feature is taken for the very picture it was made of, by its key; where the file has none, for that of its id.

    Args:
        encoded: the data set and its backbone.
        images: image and image_key of every picture.
        cache: of both.
        preprocessing: of the pictures here.
        weights: digest of the backbone's.
        dimension: of its features.

    Returns:
        How many were taken.

    Raises:
        BrokenFeatures: none of the files is of this backbone and preprocessing, or one holds other features than the
            cache has of the same pictures.
    """
    files = [local(file) for file in encoded.data.source.features]
    if not files:
        return 0
    held = [(file, read_features(file)) for file in files]
    own = [(file, each) for file, each in held if each.backbone == weights]
    if not own:
        raise BrokenFeatures(
            f"{' and '.join(f'{file} holds features of weights {each.backbone}' for file, each in held)}, and "
            f"{backbone_name(encoded.backbone)} is {weights}: export them with this backbone, or name the one they are "
            f"of in the backbones of {encoded.data.dataset}"
        )
    taken = [_taken(file, each, images, cache, preprocessing, dimension) for file, each in own]
    for keys, features in taken:
        with cache.writing(preprocessing, weights, dimension) as rows:
            rows.add(keys, features)
    return sum(len(keys) for keys, _ in taken)


def _taken(
    file: Path,
    held: FeatureFile,
    images: pl.DataFrame,
    cache: FeatureCache,
    preprocessing: str,
    dimension: int,
) -> tuple[Sequence[str], np.ndarray]:
    """Keys and features of a file that the cache lacks.

    Raises:
        BrokenFeatures: as ``take_features``.
    """
    if held.features.shape[1] != dimension:
        raise BrokenFeatures(
            f"{file}: features have {held.features.shape[1]} dimensions, those of this backbone {dimension}; the file "
            "is of another model, export it again"
        )
    if held.preprocessing != preprocessing:
        raise BrokenFeatures(
            f"{file}: features are of pictures prepared as {held.preprocessing}, here they are as {preprocessing}; "
            "give the backbone the same padding and target_ratio and the source the same reading, or export them so"
        )
    row_of = {key: row for row, key in enumerate(held.image_keys)}
    rows: dict[str, int] = {}
    for image, key in images.select("image", "image_key").iter_rows():
        row = row_of.get(key, row_of.get(f"id:{image}"))
        if row is not None:
            rows[key] = row
    lacking = set(cache.missing(list(rows), preprocessing, held.backbone))
    known = [key for key in rows if key not in lacking]
    if known:
        cached = cache.matrix(known, preprocessing, held.backbone)
        given = held.features[[rows[key] for key in known]]
        apart = np.linalg.norm(cached - given, axis=1) > SAME * np.linalg.norm(cached, axis=1)
        if apart.any():
            key = known[int(np.flatnonzero(apart)[0])]
            raise BrokenFeatures(
                f"{file} holds another feature of {held.images[rows[key]]} than {cache.path} ({int(apart.sum()):,} of "
                f"{len(known):,} differ): one of both is of other weights; remove {cache.path.name} to take the file's"
            )
    keys = [key for key in rows if key in lacking]
    return keys, held.features[[rows[key] for key in keys]]
