"""``python -m benchmarks.generalising``: which recipe trains well where, on data sets unlike each other.

It makes each data set below ``--storage``, trains the Combiner on CLIP as it came, and with ``--stage-1`` the text
encoder and the Combiner on it too, by every recipe and seed, and prints for each what it gives on test: the headline's
mean over the seeds, and by how much it is above the first recipe's, the 95 % interval paired over queries. Epochs
and losses are chosen on val, as pipelines do. Pictures encoded before are not encoded again. ``--quick`` takes the
smallest data sets and one seed, minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.look_alikes import draw_catalogue
from cir_assets.components.graph import pipelines_of
from cir_assets.components.specification import DatasetSpec
from cir_assets.models.combiner import Combiner
from cir_assets.models.settings import BackboneSettings
from cir_assets.pipeline.inputs import load_backbone, load_inputs
from cir_assets.pipeline.step import Work, run
from cir_assets.pipeline.whole import steps_of
from cir_assets.retrieval.bootstrap import paired_difference
from cir_assets.retrieval.evaluation import evaluate
from cir_assets.retrieval.methods import summed_query
from cir_assets.retrieval.metrics import headline_values
from cir_assets.store.layout import Storage
from cir_assets.training.combiner import train_combiner
from cir_assets.training.fitting import fit_settings, train_best
from cir_assets.training.loop import TrainingOutcome
from cir_assets.training.settings import Alternative, CombinerSettings, TextEncoderSettings
from cir_assets.training.text_encoder import train_text_encoder

SOFT = (Alternative(negatives="gallery", logit_scale=20.0, mask_duplicate_targets=True),)
RECIPES: dict[str, tuple[TextEncoderSettings, CombinerSettings] | None] = {
    "small": (
        TextEncoderSettings(learning_rate=5e-4, batch_size=128, epochs=6),
        CombinerSettings(learning_rate=4e-4, batch_size=256, epochs=16),
    ),
    "best": (
        TextEncoderSettings(learning_rate=5e-4, batch_size=128, epochs=10, alternatives=SOFT),
        CombinerSettings(learning_rate=4e-4, batch_size=256, epochs=24, alternatives=SOFT),
    ),
    "auto": None,
}
"""By name; None is chosen from the data."""

DATASETS = ["boutique", "wardrobe_1500", "badges_800", "lines_800"]
QUICK = ["boutique", "badges_200"]

Values = NDArray[np.float64]


class Bed:
    """A data set with the embedded backbone: what trainings and evaluations on it need."""

    def __init__(self, name: str, storage: Path) -> None:
        kind, _, size = name.partition("_")
        source: dict[str, object]
        if kind in ("badges", "lines"):
            folder = storage / "drawn" / name
            if not (folder / "triplets.csv").is_file():
                draw_catalogue(folder, int(size), 3 * int(size), outlined=kind == "lines")
            source = {
                "kind": "catalogue",
                "pictures": str(folder / "images"),
                "triplets": str(folder / "triplets.csv"),
            }
        elif kind == "wardrobe":
            source = {"kind": "wardrobe", "size": int(size), "seed": 7}
        else:
            sample = Path("examples") / kind
            source = {
                "kind": "catalogue",
                "pictures": str(sample / "pictures.zip"),
                "triplets": str(sample / "triplets.csv"),
            }
        spec = DatasetSpec.model_validate(
            {"source": source, "backbones": ["tiny_clip"], "decoding_workers": 0, "recipes": {"auto": "auto"}}
        )
        backbones = {"tiny_clip": BackboneSettings(kind="embedded", place="tiny_clip")}
        [pipeline] = pipelines_of(name, spec, backbones)
        work = Work(Storage(folder=str(storage)), say=lambda said: None)
        for step in steps_of([pipeline])[:5]:
            run(step, work)
        self.name, self.protocol = name, pipeline.data.protocols[0]
        self.backbone = load_backbone(work, pipeline.encoded)
        self.inputs = load_inputs(work, pipeline.encoded, self.backbone)
        self.triplets = self.inputs.training_triplets()
        self.validation = self.inputs.validation(self.protocol)
        self._groups = self.inputs.query_groups(self.protocol, "test")
        self._as_it_came = {name: value.clone() for name, value in self.backbone.text_state_dict().items()}
        self.categories = [group.category for group in self._groups for _ in range(len(group))]

    def of(self, compose: Callable[[Tensor, Tensor], Tensor]) -> Values:
        """What each test query contributes to the headline, 0 to 1, float64 (Q,)."""
        features = self.inputs.features
        rows = torch.from_numpy(np.concatenate([group.reference for group in self._groups]))
        text = self.backbone.text_features([each for group in self._groups for each in group.captions])
        with torch.no_grad():
            queries = compose(features[rows.to(features.device)], text)
        gallery = functional.normalize(features, dim=1)
        found = evaluate(self.protocol, self._groups, queries, gallery, resamples=1)
        return headline_values(found.protocol, found.values)

    def train(self, recipe: str, seed: int, *, stage_1: bool) -> dict[str, Values]:
        """Method -> what it gives on test, trained by a recipe."""
        stages = RECIPES[recipe] or (TextEncoderSettings(batch_size=2), CombinerSettings(batch_size=2))
        # A catalogue smaller than a batch is one batch: an incomplete one would be dropped.
        count = len(self.triplets)
        first = stages[0].model_copy(update={"seed": seed, "batch_size": min(stages[0].batch_size, count)})
        second = stages[1].model_copy(update={"seed": seed, "batch_size": min(stages[1].batch_size, count)})
        features = self.inputs.features
        if RECIPES[recipe] is None:
            first = fit_settings(first, self.triplets, features).settings
            second = fit_settings(second, self.triplets, features).settings
        found, queries = {}, len(self.validation)
        self.backbone.load_text_state_dict(self._as_it_came)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)

            def combine(settings: CombinerSettings, checkpoints: Path) -> tuple[Combiner, TrainingOutcome]:
                return train_combiner(
                    self.backbone, features, self.triplets, self.validation, settings, checkpoints
                )

            def tune(
                settings: TextEncoderSettings, checkpoints: Path
            ) -> tuple[dict[str, Tensor], TrainingOutcome]:
                self.backbone.load_text_state_dict(self._as_it_came)
                outcome = train_text_encoder(
                    self.backbone, features, self.triplets, self.validation, settings, checkpoints
                )
                weights = {name: value.clone() for name, value in self.backbone.text_state_dict().items()}
                return weights, outcome

            _, network, _, _ = train_best(second, folder / "frozen", combine, queries)
            found["Combiner, frozen CLIP"] = self.of(network)
            if stage_1:
                _, weights, _, _ = train_best(first, folder / "tuned", tune, queries)
                self.backbone.load_text_state_dict(weights)
                found["Tuned text + sum"] = self.of(summed_query)
                _, network, _, _ = train_best(second, folder / "whole", combine, queries)
                found["Combiner"] = self.of(network)
        return found


def main() -> None:
    """Train, and print a line a data set, method and recipe."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--datasets", nargs="+", default=DATASETS, help="boutique, or a kind and a size, as badges_800"
    )
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--stage-1", action="store_true", help="train stage 1 and the Combiner on it too")
    parser.add_argument("--quick", action="store_true", help=f"{' and '.join(QUICK)} and one seed")
    parser.add_argument("--storage", type=Path, default=Path("storage/generalising"))
    asked = parser.parse_args()
    if asked.quick:
        asked.datasets, asked.seeds = QUICK, 1
    for name in asked.datasets:
        bed = Bed(name, asked.storage)
        given: dict[tuple[str, str], list[Values]] = {}
        for recipe in asked.recipes:
            for seed in range(asked.seeds):
                for method, values in bed.train(recipe, seed, stage_1=asked.stage_1).items():
                    given.setdefault((method, recipe), []).append(values)
        for (method, recipe), runs in given.items():
            values = np.mean(runs, axis=0)
            above = paired_difference(
                values, np.mean(given[method, asked.recipes[0]], axis=0), bed.categories
            )
            print(
                f"{name:14} {method:22} {recipe:6} {100 * values.mean():6.2f} "
                f"{above.value:+6.2f} ({above.low:+.2f} to {above.high:+.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
