"""The feature cache: the matrix against ``np.load``, and a refresh with nothing to encode."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.measuring import Measured, Scale, apart, bytes_per_second, in_turn, memory_peak_above_now
from benchmarks.photographs import write_photographs
from cir_assets.pictures.scanning import scan_pictures
from cir_assets.pipeline.checks import features_finite
from cir_assets.store.digests import digest_array
from cir_assets.store.feature_cache import FeatureCache

TITLE = "cached features: DuckDB to matrix, and nothing to encode"

DIMENSION = 640


def fill(cache: Path, keys: list[str]) -> np.ndarray:
    """A cache of random features, committed as encoding does."""
    features = np.random.default_rng(0).standard_normal((len(keys), DIMENSION)).astype(np.float32)
    with FeatureCache(cache).writing("targetpad", "random", DIMENSION) as rows:
        for start in range(0, len(keys), 256):
            rows.add(keys[start : start + 256], features[start : start + 256])
    return features


def read(cache: Path, keys: list[str]) -> np.ndarray:
    """The matrix in the keys' order."""
    return FeatureCache(cache).matrix(keys, "targetpad", "random")


def memory_of_reading(cache: Path, keys: list[str]) -> float:
    """Megabytes above what the process held before."""
    read(cache, keys[:10])
    return memory_peak_above_now(lambda: read(cache, keys))


def refresh(pictures: pl.DataFrame, root: Path, memory: pl.DataFrame, cache: Path) -> None:
    """What a run does when every picture is known: look at the files, ask the cache, read and check the matrix."""
    images, _, _ = scan_pictures(pictures, root, memory=memory)
    keys = images["image_key"].to_list()
    store = FeatureCache(cache)
    if store.missing(keys, "targetpad", "random") or store.not_encoded(keys, "targetpad", "random"):
        raise AssertionError("every picture should be known")
    features = store.matrix(keys, "targetpad", "random")
    digest_array(features)
    features_finite(features, DIMENSION)


def look(root: Path, paths: list[str]) -> None:
    """The least a refresh can do: ask each file's size and time."""
    for path in paths:
        (root / path).stat()


def run(scale: Scale) -> Iterator[Measured]:
    """1,000, 10,000 and 100,000 pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for count in scale.sizes(1_000, 10_000, 100_000):
            files = write_photographs(root / "pictures", count, width=48, height=64)
            paths = [str(file.relative_to(root)) for file in files]
            pictures = pl.DataFrame({"image": [file.stem for file in files], "path": paths})
            images, _, memory = scan_pictures(pictures, root)
            keys = images["image_key"].to_list()
            cache, plain = root / f"{count}.duckdb", root / f"{count}.npy"
            np.save(plain, fill(cache, keys))
            shuffled = np.random.default_rng(1).permutation(keys).tolist()
            megabytes = count * DIMENSION * 4 / 2**20
            actions: dict[str, Callable[[], object]] = {
                "ours": partial(read, cache, shuffled),
                "plain": partial(np.load, plain),
            }
            took = in_turn(actions, scale.repeats())
            memory_share = apart(memory_of_reading, cache, shuffled) / megabytes
            whole = count == 100_000
            yield Measured(
                "DuckDB to matrix, D 640, keys in another order",
                f"{count:,} pictures, {megabytes:,.0f} MB",
                count,
                took["ours"],
                count * DIMENSION * 4 / bytes_per_second(),
                "the matrix read once",
                "np.load",
                took["plain"],
                "8 × np.load, 1.3 × the matrix in memory" if whole else "",
                took["ours"].median <= 8 * took["plain"].median and round(memory_share, 2) <= 1.3
                if whole
                else None,
                {
                    "memory, × the matrix": memory_share,
                    "file, × the matrix": cache.stat().st_size / 2**20 / megabytes,
                },
            )
            again = in_turn(
                {
                    "ours": partial(refresh, pictures, root, memory, cache),
                    "look": partial(look, root, paths),
                },
                scale.repeats(3),
            )
            yield Measured(
                "nothing to encode: files, cache, matrix, checks",
                f"{count:,} pictures known",
                count,
                again["ours"],
                again["look"].median,
                "a stat of each file",
                goal="under 5 s" if whole else "",
                reached=again["ours"].median < 5 if whole else None,
            )
