"""Search over HTTP, end to end: one user, fifty and two hundred at once, from one process and from two.

Beside it, in turn, what else people would take: FAISS behind FastAPI, written plainly.
The gallery is random unit vectors of the embedded backbone's dimension, so the model, the index and the server are
the real ones and only the pictures are not; every text is another. The floor of a query is reading the feature matrix
once. On a machine that others use too the CPU's time an answer says more than the answers a second.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import requests
import torch

from benchmarks.measuring import Measured, Scale, Timing, apart, in_turn
from benchmarks.search_users import Asked, ask
from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import Combiner
from cir_assets.models.installation import EMBEDDED
from cir_assets.models.saving import save_combiner, save_text_encoder
from cir_assets.serving.export import Exported, export

TITLE = "search over HTTP, end to end"

OURS, TWO, PLAIN = "one process", "two processes", "FAISS behind FastAPI"
GOAL = "250 answers a second at 50 and 200 users, p99 under 400 ms at 50, p50 at one user under 16 ms"
USERS = (1, 50, 200)
TURNS = 3
"""How often every server is asked by so many, in turn."""

WORDS = (
    ("is", "has", "with", "without", "but"),
    ("red", "blue", "green", "teal", "black", "white", "pink", "grey"),
    ("longer", "shorter", "wider", "no", "striped", "dotted"),
    ("sleeves", "a belt", "stripes", "dots", "checks", "a collar", "buttons", "pockets"),
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
        backbone_version=backbone.weights_digest,
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
            "image_key": [sha256(b"%d" % number).hexdigest() for number in range(pictures)],
        }
    )
    examples = pl.DataFrame(
        schema=dict.fromkeys(("query_id", "reference", "caption", "target", "category", "rank"), pl.String)
    )
    export(storage / "search" / "many" / "tiny_clip" / "small", "v1", about, drawn, frame, examples)


@dataclass(frozen=True)
class Server:
    """A server that runs: where it answers, and its first process."""

    name: str
    address: str
    process: int

    def family(self) -> list[int]:
        """Its processes."""
        found = [self.process]
        for process in found:
            for thread in Path(f"/proc/{process}/task").iterdir():
                found += [int(child) for child in (thread / "children").read_text().split()]
        return found

    def cpu_seconds(self) -> float:
        """What all of them took of the processors until now."""
        ticks = 0
        for process in self.family():
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Memory of all of them, what they share counted once."""
        lines = [
            line
            for process in self.family()
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        ]
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


@contextmanager
def running(name: str, storage: Path, *options: str) -> Iterator[Server]:
    """A server over an export, once it answers: ours with options of ``serve``, or the plain one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ours = [str(Path(sys.executable).with_name("cir-assets")), "serve", "--port", port, *options]
    plain = [sys.executable, "-m", "benchmarks.plain_search", str(storage), port]
    process = subprocess.Popen(
        plain if name == PLAIN else ours,
        env={**os.environ, "DAGSTER_HOME": str(storage)},
        stdout=subprocess.DEVNULL,
    )
    server = Server(name, f"http://127.0.0.1:{port}", process.pid)
    try:
        while True:
            try:
                requests.get(f"{server.address}/healthz", timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.2)
        yield server
    finally:
        process.terminate()
        process.wait()


def questions(pictures: int, count: int, seed: int) -> list[dict[str, object]]:
    """So many questions, no two of them with the same words."""
    drawn = random.Random(seed)
    return [
        {
            "dataset": "many",
            "reference": f"P{drawn.randrange(pictures)}",
            "text": f"{' '.join(drawn.choice(words) for words in WORDS)} number {number}",
        }
        for number in range(count)
    ]


def measure(pictures: int, asked: int) -> Iterator[Measured]:
    """One size: every server asked in turn by one, fifty and two hundred users; ``asked`` questions a turn."""
    whole = pictures == 100_000
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        build(Path(folder), pictures)
        servers = [stack.enter_context(running(OURS, Path(folder)))]
        if whole:
            servers.append(stack.enter_context(running(TWO, Path(folder), "--processes", "2")))
            servers.append(stack.enter_context(running(PLAIN, Path(folder))))
        met: dict[tuple[str, int], list[Asked]] = {}
        cpu: dict[tuple[str, int], float] = {}
        for server in servers:
            apart(ask, server.address, questions(pictures, 40, 99), 4)
        for turn in range(TURNS):
            for users in USERS:
                bodies = questions(pictures, asked if users > 1 else asked // 5, turn)
                for server in servers:
                    before = server.cpu_seconds()
                    met.setdefault((server.name, users), []).append(apart(ask, server.address, bodies, users))
                    cpu.setdefault((server.name, users), 0.0)
                    cpu[server.name, users] += server.cpu_seconds() - before
        memory = {server.name: server.megabytes() for server in servers}
        if whole:
            memory["recall"] = _alike(pictures, servers[0].address, servers[-1].address)
    matrix, query = torch.randn(pictures, 128), torch.randn(128)
    floor = in_turn({"read": lambda: torch.mv(matrix, query)}, 50)["read"].median
    for server in servers:
        figures: dict[str, float] = {}
        for users in USERS:
            took, rate, refused = _summed(met[server.name, users])
            figures |= {
                f"{users} users: p50, ms": 1000 * float(np.percentile(took, 50)),
                f"{users} users: p99, ms": 1000 * float(np.percentile(took, 99)),
                f"{users} users: answers a second": rate,
                f"{users} users: refused": refused,
                f"{users} users: CPU of the server, ms an answer": 1000 * cpu[server.name, users] / len(took),
            }
        figures["memory, MB"] = memory[server.name]
        if server.name == PLAIN:
            figures["of our best 24, share it finds"] = memory["recall"]
        goal = whole and server.name != PLAIN
        yield Measured(
            f"POST /search, D 128, {server.name}",
            f"{pictures:,} pictures",
            pictures,
            Timing.of(_summed(met[server.name, 1])[0]),
            floor,
            "the matrix read once",
            goal=GOAL if goal else "",
            reached=_reached(figures) if goal else None,
            figures=figures,
        )


def _summed(turns: Sequence[Asked]) -> tuple[list[float], float, int]:
    """Seconds of each answer, answers a second, and how many were refused."""
    took = [
        each for turn in turns for each, status in zip(turn.took, turn.statuses, strict=True) if status == 200
    ]
    refused = sum(status != 200 for turn in turns for status in turn.statuses)
    return took, len(took) / sum(turn.seconds for turn in turns), refused


def _reached(figures: dict[str, float]) -> bool:
    quick = figures["50 users: p99, ms"] < 400 and figures["1 users: p50, ms"] <= 16
    return quick and min(figures[f"{users} users: answers a second"] for users in (50, 200)) >= 250


def _alike(pictures: int, ours: str, plain: str) -> float:
    """The share of our answers that the plain server gives too."""
    bodies = questions(pictures, 50, 7)
    # One user, so that answers come in the questions' order.
    exact = [json.loads(each)["results"] for each in apart(ask, ours, bodies, 1).answers]
    other = [json.loads(each) for each in apart(ask, plain, bodies, 1).answers]
    shares = [
        len({each["image"] for each in mine} & {each["image"] for each in its}) / len(mine)
        for mine, its in zip(exact, other, strict=True)
    ]
    return float(np.mean(shares))


def run(scale: Scale) -> Iterator[Measured]:
    """1,000, 10,000 and 100,000 pictures."""
    for pictures in scale.sizes(1_000, 10_000, 100_000):
        yield from measure(pictures, 300 if scale.quick else 1_000)
