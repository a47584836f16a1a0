"""Search over HTTP, end to end: one user after another, fifty and two hundred at once, and the memory it takes.

The gallery is random unit vectors of the embedded backbone's dimension, so the model, the index and the server are
the real ones and only the pictures are not. The floor of a query is reading the feature matrix once.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import polars as pl
import requests
import torch

from benchmarks.measuring import Measured, Scale, Timing, in_turn
from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import Combiner
from cir_assets.models.installation import EMBEDDED
from cir_assets.models.saving import save_combiner, save_text_encoder
from cir_assets.serving.export import Exported, export

TITLE = "search over HTTP, end to end"

USERS = (50, 200)
ASKED = 1_000
"""Queries by all of them together."""

TEXTS = (
    "is red and has longer sleeves",
    "with a belt",
    "is much shorter and has stripes instead of dots",
    "the same but blue",
)


def build(storage: Path, pictures: int) -> None:
    """An export of ``pictures`` random pictures."""
    backbone = Backbone.load(EMBEDDED / "tiny_clip", "cpu")
    dimension = backbone.feature_dimension
    shutil.copytree(EMBEDDED / "tiny_clip", storage / "backbones" / "tiny_clip")
    text_encoder, combiner = storage / "models" / "text_encoder", storage / "models" / "combiner"
    text_encoder.mkdir(parents=True)
    combiner.mkdir()
    save_text_encoder(text_encoder, backbone, {})
    torch.manual_seed(0)
    save_combiner(combiner, Combiner(dimension, 4 * dimension, 8 * dimension), {})
    about = Exported(
        dataset="many",
        backbone="tiny_clip",
        recipe="small",
        method="combiner",
        share=None,
        champion="random",
        champion_since=None,
        headline=None,
        models={"text_encoder": "models/text_encoder", "combiner": "models/combiner"},
        backbone_folder="backbones/tiny_clip",
        picture_root="pictures",
        padding="targetpad",
        target_ratio=1.25,
        pixel_limit=10**8,
    )
    drawn = np.random.default_rng(0).standard_normal((pictures, dimension)).astype(np.float32)
    frame = pl.DataFrame(
        {
            "image": [f"P{number}" for number in range(pictures)],
            "path": [f"{number}.jpg" for number in range(pictures)],
            "category": ["even", "odd"] * (pictures // 2),
            "image_key": [f"{number:064x}" for number in range(pictures)],
        }
    )
    examples = pl.DataFrame(
        schema=dict.fromkeys(("query_id", "reference", "caption", "target", "category"), pl.String)
    )
    export(storage / "search" / "many" / "tiny_clip" / "small", "v1", about, drawn, frame, examples)


def resident_megabytes(process: int) -> float:
    """Memory a process holds now."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def measure(pictures: int, queries: int) -> Measured:
    """One size: latency of single queries and of many users, and memory."""
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), pictures)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            [str(Path(sys.executable).with_name("cir-assets")), "serve", "--port", str(port)],
            env={**os.environ, "DAGSTER_HOME": folder},
            stdout=subprocess.DEVNULL,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            while True:
                try:
                    requests.get(f"{address}/healthz", timeout=5)
                    break
                except requests.ConnectionError:
                    time.sleep(0.2)
            random = np.random.default_rng(1)
            asked = random.integers(0, pictures, queries).tolist()

            def ask(number: int, session: requests.Session) -> float:
                started = time.perf_counter()
                body = {
                    "dataset": "many",
                    "reference": f"P{asked[number]}",
                    "text": TEXTS[number % len(TEXTS)],
                }
                answer = session.post(f"{address}/search", json=body, timeout=60)
                answer.raise_for_status()
                return time.perf_counter() - started

            with requests.Session() as session:
                for number in range(20):
                    ask(number, session)
                alone = [ask(number, session) for number in range(queries)]

            def user(first: int, turns: int) -> list[float]:
                with requests.Session() as session:
                    return [ask((first * turns + turn) % queries, session) for turn in range(turns)]

            together: dict[int, tuple[list[float], float]] = {}
            for count in USERS:
                started = time.perf_counter()
                with ThreadPoolExecutor(count) as users:
                    took = [
                        each for its in users.map(user, range(count), repeat(ASKED // count)) for each in its
                    ]
                together[count] = took, time.perf_counter() - started
            memory = resident_megabytes(server.pid)
        finally:
            server.terminate()
            server.wait()
    matrix, query = torch.randn(pictures, 128), torch.randn(128)
    floor = in_turn({"read": lambda: torch.mv(matrix, query)}, 50)["read"].median
    p50, p99 = (float(np.percentile(alone, q)) for q in (50, 99))
    whole = pictures == 100_000
    return Measured(
        "POST /search, D 128",
        f"{pictures:,} pictures, {queries} queries",
        pictures,
        Timing.of(alone),
        floor,
        "the matrix read once",
        goal="p50 under 60 ms, p99 under 200 ms" if whole else "",
        reached=p50 < 0.060 and p99 < 0.200 if whole else None,
        figures={
            "p50, ms": 1000 * p50,
            "p99, ms": 1000 * p99,
            **{
                f"{count} users: {name}": value
                for count, (took, seconds) in together.items()
                for name, value in (
                    ("p50, ms", 1000 * float(np.percentile(took, 50))),
                    ("p99, ms", 1000 * float(np.percentile(took, 99))),
                    ("queries a second", len(took) / seconds),
                )
            },
            "server's memory, MB": memory,
            "of that the matrix, MB": pictures * 128 * 4 / 2**20,
        },
    )


def run(scale: Scale) -> Iterator[Measured]:
    """1,000, 10,000 and 100,000 pictures."""
    for pictures in scale.sizes(1_000, 10_000, 100_000):
        yield measure(pictures, 200)
