"""One step of stage 1 with ViT-B/32's text tower, beside the same step with captions padded and pictures encoded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.large_networks import backbone, captions_as_tokens, parameters
from benchmarks.measuring import Measured, Scale, in_turn, operations_per_second
from cir_assets.retrieval.methods import summed_query
from cir_assets.training.losses import contrastive_loss

TITLE = "a step of stage 1: encode captions, loss, back-propagation, AdamW"

NETWORK = "ViT-B/32"


WAYS = {"ours": (False, False), "padded": (True, False), "pictures": (False, True), "both": (True, True)}
"""Name -> whether captions are padded to 77, and whether pictures are encoded in every step."""


class Step:
    """A batch of triplets: captions, cached features of their pictures, and the pictures' pixels."""

    def __init__(self, batch: int, device: str) -> None:
        self.backbone = backbone(NETWORK, device)
        self.tokens = captions_as_tokens(self.backbone, batch)
        self.pixels = np.random.default_rng(0).integers(0, 256, (2 * batch, 224, 224, 3), np.uint8)
        parameters = list(self.backbone.text_parameters())
        for each in parameters:
            each.requires_grad_(True)
        self.features = self.encoded_pictures()
        # A rate at which nothing moves: every repeat is the same step.
        self.optimiser = torch.optim.AdamW(parameters, lr=1e-12, eps=1e-7, fused=True)

    def encoded_pictures(self) -> Tensor:
        """Raw features of references and targets."""
        parts = np.array_split(self.pixels, max(1, len(self.pixels) // 64))
        return torch.cat([self.backbone.encode_images(part) for part in parts])

    def padded_captions(self) -> Tensor:
        """Text features with every caption padded to the tower's whole context."""
        padded = torch.full((len(self.tokens), 77), self.tokens[0][-1])
        for row, ids in enumerate(self.tokens):
            padded[row, : len(ids)] = torch.tensor(ids)
        found: Tensor = self.backbone.model.get_text_features(padded.to(self.backbone.device)).pooler_output
        return found

    def take(self, *, padded: bool, pictures: bool) -> float:
        """The whole step; its loss."""
        features = self.encoded_pictures() if pictures else self.features
        text = self.padded_captions() if padded else self.backbone.encode_texts(self.tokens)
        reference, target = features.chunk(2)
        loss = contrastive_loss(summed_query(reference, text), torch.nn.functional.normalize(target, dim=1))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())


def run(scale: Scale) -> Iterator[Measured]:
    """Batches of 2, 16 and 128; a larger one on a GPU."""
    for batch in scale.sizes(2, 16, 128) if scale.device == "cpu" else (4, 128, 512):
        step = Step(batch, scale.device)
        losses: dict[str, float] = {}

        def take(name: str, step: Step = step, losses: dict[str, float] = losses) -> None:
            padded, pictures = WAYS[name]
            losses[name] = step.take(padded=padded, pictures=pictures)

        took = in_turn({name: partial(take, name) for name in WAYS}, scale.repeats(2), scale.device)
        ours = took["ours"].median
        weights = parameters(step.backbone.model, of="text_")
        tokens = sum(map(len, step.tokens))
        floor = 3 * 2 * weights * tokens / operations_per_second(scale.device)
        yield Measured(
            f"step, {NETWORK}'s text tower",
            f"{batch} triplets, {tokens:,} tokens, longest {max(map(len, step.tokens))}",
            batch,
            took["ours"],
            floor,
            "6 operations a weight and token, nothing padded",
            "padded to 77, pictures encoded anew",
            took["both"],
            "a third of that or less" if batch == 128 else "",
            took["both"].median >= 3 * ours if batch == 128 else None,
            {
                "captions padded alone, ×": took["padded"].median / ours,
                "pictures encoded alone, ×": took["pictures"].median / ours,
                "largest difference of losses": max(abs(value - losses["ours"]) for value in losses.values()),
            },
        )
