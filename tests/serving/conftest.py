"""A gallery of real pictures, encoded by the embedded backbone, exported and served over HTTP."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import requests
import torch
from numpy.typing import NDArray

from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import Combiner
from cir_assets.models.files import weights_digest
from cir_assets.models.installation import EMBEDDED
from cir_assets.models.saving import save_combiner, save_text_encoder
from cir_assets.pictures.decoding import decode
from cir_assets.pictures.settings import Preprocessing
from cir_assets.serving.app import search_app
from cir_assets.serving.champions import Champions
from cir_assets.serving.export import Exported, export
from cir_assets.serving.server import server
from tests.sample_shop import sample_pictures

PICTURES = sample_pictures()
PLACE = Path("search/boutique/tiny_clip/small")


@dataclass(frozen=True)
class Shop:
    """What is exported: its pictures, their raw features float32 (N, D), and a storage folder."""

    storage: Path
    pictures: pl.DataFrame
    features: NDArray[np.float32]
    about: Exported

    def promote(self, seed: int) -> str:
        """Another Combiner becomes champion: its version."""
        folder = self.storage / "models" / f"combiner{seed}"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            torch.manual_seed(seed)
            save_combiner(folder, Combiner(self.features.shape[1], 64, 64), {})
        about = replace(
            self.about,
            champion=f"champion{seed}",
            models={**self.about.models, "combiner": str(folder.relative_to(self.storage))},
        )
        examples = pl.DataFrame(
            {
                "query_id": ["1", "2"],
                "reference": self.pictures["image"][:2],
                "caption": ["is red and has longer sleeves", "<b>is shorter</b>"],
                "target": self.pictures["image"][2:4],
                "category": self.pictures["category"][:2],
                "rank": [3, 190],
            }
        )
        suggestions = pl.DataFrame(
            {
                "category": [None, None, "dress"],
                "caption": ["is red", "has long sleeves", "is shorter"],
                "times": [9, 5, 3],
            }
        )
        export(
            self.storage / PLACE, f"version{seed}", about, self.features, self.pictures, examples, suggestions
        )
        return f"version{seed}"


@pytest.fixture(scope="session")
def encoded() -> tuple[pl.DataFrame, NDArray[np.float32]]:
    """The sample catalogue's pictures and their raw features."""
    files = sorted(PICTURES.rglob("*.png"))
    backbone = Backbone.load(EMBEDDED / "tiny_clip", "cpu")
    decoded = decode(files, Preprocessing(backbone.resolution, "targetpad", 1.25, 10**8))
    assert not decoded.failures
    pictures = pl.DataFrame(
        {
            "image": [file.stem for file in files],
            "path": [str(file.relative_to(PICTURES)) for file in files],
            "category": [file.parent.name for file in files],
            "image_key": [hashlib.sha256(file.read_bytes()).hexdigest() for file in files],
        }
    )
    return pictures, backbone.encode_images(decoded.pixels).numpy()


@pytest.fixture
def shop(tmp_path: Path, encoded: tuple[pl.DataFrame, NDArray[np.float32]]) -> Shop:
    """The sample catalogue, exported with a Combiner that nobody trained."""
    return opened_shop(tmp_path, encoded)


def opened_shop(folder: Path, encoded: tuple[pl.DataFrame, NDArray[np.float32]]) -> Shop:
    (folder / "backbones").mkdir()
    (folder / "backbones" / "tiny_clip").symlink_to(EMBEDDED / "tiny_clip")
    text_encoder = folder / "models" / "text_encoder"
    text_encoder.mkdir(parents=True)
    save_text_encoder(text_encoder, Backbone.load(EMBEDDED / "tiny_clip", "cpu"), {})
    shop = Shop(
        folder,
        *encoded,
        Exported(
            dataset="boutique",
            backbone="tiny_clip",
            recipe="small",
            method="combiner",
            share=None,
            champion="none",
            champion_since="2026-03-01T12:00:00",
            headline=61.5,
            models={"text_encoder": "models/text_encoder"},
            backbone_folder="backbones/tiny_clip",
            backbone_version=weights_digest(EMBEDDED / "tiny_clip"),
            picture_root=str(PICTURES),
            padding="targetpad",
            target_ratio=1.25,
            pixel_limit=10_000_000,
        ),
    )
    shop.promote(1)
    return shop


def free_port() -> int:
    """A port of the loopback that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def served(champions: Champions, hosts: Sequence[str] = ("127.0.0.1", "localhost")) -> Iterator[str]:
    """The real server on a free port; its address."""
    port = free_port()
    running = server(search_app(champions, hosts=hosts), host="127.0.0.1", port=port, log_level="error")
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while True:
        try:
            requests.get(f"{address}/healthz", timeout=2)
            break
        except requests.ConnectionError:
            assert time.monotonic() < deadline, "the search server did not answer in 30 s"
            time.sleep(0.05)
    try:
        yield address
    finally:
        running.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def served_shop(
    tmp_path_factory: pytest.TempPathFactory, encoded: tuple[pl.DataFrame, NDArray[np.float32]]
) -> Iterator[tuple[Shop, str]]:
    """A shop and the address of its server."""
    shop = opened_shop(tmp_path_factory.mktemp("shop"), encoded)
    with served(Champions(shop.storage)) as address:
        yield shop, address


@pytest.fixture
def address(served_shop: tuple[Shop, str]) -> str:
    return served_shop[1]
