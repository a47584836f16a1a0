"""One step of stage 2 at the paper's widths, against the matrix products it consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch

from benchmarks.measuring import Ceiling, Measured, Scale, in_turn
from cir_assets.models.combiner import Combiner
from cir_assets.training.losses import contrastive_loss
from cir_assets.training.memory import freed_memory_kept

TITLE = "a step of stage 2: Combiner, loss, back-propagation, Adam"

DIMENSION, PROJECTION, HIDDEN = 640, 2560, 5120


class Step:
    """A batch of raw features and unit targets."""

    def __init__(self, batch: int, device: str) -> None:
        torch.manual_seed(0)
        self.combiner = Combiner(DIMENSION, PROJECTION, HIDDEN).to(device)
        self.image, self.text, target = (torch.randn(batch, DIMENSION, device=device) for _ in range(3))
        self.target = torch.nn.functional.normalize(target, dim=1)
        self.fused = torch.optim.Adam(self.combiner.parameters(), lr=2e-5, fused=True)
        self.looped = torch.optim.Adam(self.combiner.parameters(), lr=2e-5, foreach=False)
        self.mixed = device == "cuda"

    def take(self, optimiser: torch.optim.Optimizer) -> None:
        """The whole step."""
        with torch.autocast(self.image.device.type, enabled=self.mixed):
            queries = self.combiner(self.image, self.text)
        loss = contrastive_loss(queries.float(), self.target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def operations(batch: int) -> float:
    """Multiplications and additions of a step: every product forward, and twice backward but for the inputs' own."""
    inputs = 2 * DIMENSION * PROJECTION
    inner = 2 * PROJECTION * 2 * HIDDEN + HIDDEN * DIMENSION + HIDDEN
    return 2.0 * batch * (2 * inputs + 3 * inner) + 2.0 * batch * batch * DIMENSION * 2


def run(scale: Scale) -> Iterator[Measured]:
    """Batches of 41, 410 and the paper's 4,096."""
    for batch in scale.sizes(41, 410, 4096):
        step = Step(batch, scale.device)
        dtype = torch.float16 if scale.device == "cuda" else torch.float32
        ceiling = Ceiling(operations(batch), scale.device, dtype)
        actions: dict[str, Callable[[], object]] = {
            "ours": partial(step.take, step.fused),
            "looped": partial(step.take, step.looped),
            "ceiling": ceiling,
        }
        # As in the training itself.
        with freed_memory_kept():
            took = in_turn(actions, scale.repeats(3), scale.device)
        floor = ceiling.seconds(took["ceiling"])
        whole = batch == 4096
        figures = {"share of the product ceiling": floor / took["ours"].median}
        if whole:
            figures["300 epochs of 18,000 triplets, s"] = 300 * 4 * took["ours"].median
        yield Measured(
            "step of the Combiner, D 640, P 2,560, H 5,120",
            f"{batch:,} triplets",
            batch,
            took["ours"],
            floor,
            "its products at the ceiling",
            "Adam a tensor at a time",
            took["looped"],
            "0.8 of the ceiling on a CPU" if whole and scale.device == "cpu" else "",
            floor / took["ours"].median >= 0.8 if whole and scale.device == "cpu" else None,
            figures,
        )
