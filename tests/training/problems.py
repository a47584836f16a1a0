"""A small composed retrieval problem with a known answer, and a process that trains both stages on it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from cir_assets.engines.progress import Progress
from cir_assets.models.backbone import Backbone
from cir_assets.retrieval.protocols import QueryGroup
from cir_assets.retrieval.validation import Validation
from cir_assets.training.combiner import train_combiner
from cir_assets.training.settings import CombinerSettings, TextEncoderSettings
from cir_assets.training.text_encoder import train_text_encoder
from cir_assets.training.triplets import TrainingTriplets

COLOURS = ("red", "blue", "green", "black", "white", "pink")
PATTERNS = ("plain", "striped", "dotted", "floral")

TEXT_ENCODER = TextEncoderSettings(learning_rate=3e-3, batch_size=32, epochs=12)
COMBINER = CombinerSettings(
    learning_rate=2e-3, batch_size=32, epochs=12, projection_multiple=2, hidden_multiple=2
)


@dataclass(frozen=True)
class Problem:
    """Pictures with a colour and a pattern each; a caption names the target's colour or pattern."""

    features: Tensor
    triplets: TrainingTriplets
    validation: Validation


def draw_problem(dimension: int, pictures: int = 240, seed: int = 0) -> Problem:
    """Draw raw features that are the sum of a colour's, a pattern's and the picture's own direction."""
    random = np.random.default_rng(seed)
    colour, pattern = random.integers(0, len(COLOURS), pictures), random.integers(0, len(PATTERNS), pictures)
    colour_part = random.standard_normal((len(COLOURS), dimension))
    pattern_part = random.standard_normal((len(PATTERNS), dimension))
    own = 0.15 * random.standard_normal((pictures, dimension))
    features = torch.from_numpy((colour_part[colour] + pattern_part[pattern] + own).astype(np.float32))
    reference = random.integers(0, pictures, 2 * pictures)
    target, captions = np.empty_like(reference), []
    for row, start in enumerate(reference):
        if random.random() < 0.5:
            like = np.flatnonzero((pattern == pattern[start]) & (colour != colour[start]))
            target[row] = random.choice(like)
            captions.append(
                [f"is {COLOURS[colour[target[row]]]}", f"{COLOURS[colour[target[row]]]} in color"]
            )
        else:
            like = np.flatnonzero((colour == colour[start]) & (pattern != pattern[start]))
            target[row] = random.choice(like)
            captions.append([f"is {PATTERNS[pattern[target[row]]]}"])
    train = len(reference) * 3 // 4
    held_out = slice(train, None)
    group = QueryGroup(
        category="all",
        gallery=np.arange(pictures),
        reference=reference[held_out],
        target=target[held_out],
        excluded=np.full(len(reference) - train, -1),
        members=None,
        captions=[variants[0] for variants in captions[held_out]],
        query_ids=[str(row) for row in range(train, len(reference))],
    )
    return Problem(
        features,
        TrainingTriplets(reference[:train], target[:train], captions[:train]),
        Validation([group], features, "fashioniq"),
    )


class _SaidAloud(Progress):
    def advance(self, count: int = 1, note: str = "") -> None:
        super().advance(count, note)
        print(f"{self.description}: {self.done}", flush=True)


def train_both_stages(backbone_folder: Path, work: Path, out: Path) -> None:
    """Train both stages in turn on one thread, saying every epoch, and write their weights to ``out``."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        backbone = Backbone.load(backbone_folder, "cpu")
        problem = draw_problem(backbone.feature_dimension)
        train_text_encoder(
            backbone,
            problem.features,
            problem.triplets,
            problem.validation,
            TEXT_ENCODER,
            work / "text_encoder",
            _SaidAloud,
        )
        combiner, _ = train_combiner(
            backbone,
            problem.features,
            problem.triplets,
            problem.validation,
            COMBINER,
            work / "combiner",
            _SaidAloud,
        )
        out.mkdir(parents=True, exist_ok=True)
        save_file(backbone.text_state_dict(), out / "text_encoder.safetensors")
        save_file(combiner.state_dict(), out / "combiner.safetensors")
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    train_both_stages(*map(Path, sys.argv[1:4]))
