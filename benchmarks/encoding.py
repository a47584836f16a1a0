"""Encoding: from JPEG files to rows in DuckDB, against the bare forward pass; and its memory as files grow many."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.large_networks import backbone, parameters
from benchmarks.measuring import (
    Measured,
    Scale,
    Timing,
    apart,
    flat_memory,
    in_turn,
    memory_peak_above_now,
    once,
    operations_per_second,
)
from benchmarks.photographs import write_photographs
from cir_assets.models.backbone import Backbone
from cir_assets.models.installation import EMBEDDED
from cir_assets.pictures.decoding import decoded_batches
from cir_assets.store.feature_cache import FeatureCache

TITLE = "pictures, from JPEG files to rows in DuckDB"

PATCHES = {"ViT-B/32": 50, "ViT-L/14": 257}


def encode_files(network: Backbone, files: list[Path], cache: Path) -> None:
    """Decode ahead, encode, and add to a new cache, as the asset does."""
    cache.unlink(missing_ok=True)
    store = FeatureCache(cache)
    keys = [file.stem for file in files]
    missing = store.missing(keys, "targetpad", "random")
    with store.writing("targetpad", "random", network.feature_dimension) as rows:
        on_encoders_cores = network.device.type == "cpu"
        for each in decoded_batches(
            files, resolution=network.resolution, on_encoders_cores=on_encoders_cores
        ):
            rows.add([missing[row] for row in each.rows], network.encode_images(each.pixels).cpu().numpy())


def forward_passes(network: Backbone, pixels: np.ndarray, count: int) -> None:
    """The network alone over ``count`` pictures, on pixels already there, all of them at once."""
    mixed = network.device.type == "cuda"
    with torch.no_grad(), torch.autocast(network.device.type, enabled=mixed):
        for done in range(0, count, len(pixels)):
            network.image_features_with_gradient(pixels[: count - done])


def best_batch(network: Backbone, device: str) -> int:
    """The batch size at which a picture costs least."""
    cost = {}
    for batch in (16, 32, 64, 128, 256) if device == "cpu" else (64, 256, 512):
        pixels = _pixels(network, batch)
        took = in_turn({"pass": partial(forward_passes, network, pixels, batch)}, 2, device)
        cost[batch] = took["pass"].median / batch
    return min(cost, key=lambda batch: cost[batch])


def _pixels(network: Backbone, batch: int) -> np.ndarray:
    side = network.resolution
    return np.random.default_rng(1).integers(0, 256, (batch, side, side, 3), np.uint8)


def decode_only(network: Backbone, files: list[Path]) -> None:
    """Decoding alone, as many processes as the asset uses."""
    for _ in decoded_batches(files, resolution=network.resolution):
        pass


def memory_of_encoding(files: list[Path], folder: Path) -> tuple[float, float]:
    """Seconds, and megabytes above what the process held before, of encoding with the embedded backbone."""
    network = Backbone.load(EMBEDDED / "tiny_clip")
    encode_files(network, files[:64], folder / "warm.duckdb")
    started = time.perf_counter()
    peak = memory_peak_above_now(lambda: encode_files(network, files, folder / "cache.duckdb"))
    return time.perf_counter() - started, peak


def run(scale: Scale) -> Iterator[Measured]:
    """A network of true size at some numbers of files, then memory with the embedded one."""
    name = "ViT-B/32" if scale.device == "cpu" else "ViT-L/14"
    network = backbone(name, scale.device)
    batch = best_batch(network, scale.device)
    pixels = _pixels(network, batch)
    per_picture = 2 * parameters(network.model, of="vis") * PATCHES[name]
    dtype = torch.float32 if scale.device == "cpu" else torch.float16
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for count in scale.sizes(20, 200, 2_000):
            files = write_photographs(folder / "photographs", count)
            actions: dict[str, Callable[[], object]] = {
                "forward": partial(forward_passes, network, pixels, count),
                "ours": partial(encode_files, network, files, folder / "cache.duckdb"),
            }
            if count == 2_000:
                # Half of the rival before and half after: what else the machine does weighs on both alike.
                half = partial(forward_passes, network, pixels, count // 2)
                before, ours = once(half, scale.device), once(actions["ours"], scale.device)
                after = once(half, scale.device)
                took = {"ours": ours, "forward": Timing.of([before.median + after.median])}
            else:
                took = in_turn(actions, scale.repeats(3), scale.device)
            share = took["forward"].median / took["ours"].median
            decoding = once(partial(decode_only, network, files)).median
            yield Measured(
                f"{name}, 400 x 600 JPEG",
                f"{count:,} pictures",
                count,
                took["ours"],
                per_picture * count / operations_per_second(scale.device, dtype),
                "the network's products at the ceiling",
                f"forward pass alone, {batch} at once",
                took["forward"],
                "0.90 of the forward pass" if count == 2_000 else "",
                share >= 0.9 if count == 2_000 else None,
                {
                    "share of the forward pass": share,
                    "pictures a second": count / took["ours"].median,
                    "decoding alone, pictures a second": count / decoding,
                },
            )
        small = scale.sizes(1_000, 10_000, 100_000)
        files = write_photographs(folder / "small", small[-1], width=96, height=128)
        memory: dict[int, float] = {}
        for count in small:
            seconds, memory[count] = apart(memory_of_encoding, files[:count], folder)
            yield Measured(
                "memory with tiny_clip, 96 x 128 JPEG",
                f"{count:,} pictures",
                count,
                Timing.of([seconds]),
                sum(file.stat().st_size for file in files[:count]) / 1e9,
                "the files' bytes at 1 GB/s",
                goal="flat in memory" if count == 100_000 else "",
                reached=flat_memory(memory[count], memory[small[0]]) if count == 100_000 else None,
                figures={"peak above the loaded network, MB": memory[count]},
            )
