"""The methods of the ladder: what each is called, which models it needs and how it composes a query.

A method stands here and nowhere else: everything that evaluates, draws, explains or serves one asks this module. A
new one is an entry of :data:`LADDER`, and a colour in ``reporting/charts.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cir_assets.models.stages import COMBINER, COMBINER_FROZEN_CLIP, COMBINERS, TEXT_ENCODER

if TYPE_CHECKING:
    from torch import Tensor

    from cir_assets.models.combiner import Combiner

    Combiners = Mapping[str, Combiner]


class Compose(Protocol):
    """Makes queries of image and text features."""

    def __call__(
        self, image: Tensor, text: Tensor, models: Combiners, pull: float = 0.0
    ) -> tuple[Tensor, Tensor | None]:
        """Queries of unit length, float32 (B, D), and lambda (B, 1), the text's learnt weight, or None.

        Args:
            image: raw features of the reference pictures, (B, D).
            text: raw features of the captions, (B, D).
            models: name -> Combiner, those the method needs.
            pull: takes the text's weight from its own, at 0, to none at -1 or all at 1; nothing to a method of one
                feature alone.
        """


@dataclass(frozen=True)
class Method:
    """A way to make a query of a picture and words.

    Attributes:
        name: as it stands in every row of results.
        label: on charts and in tables.
        spoken: within a sentence.
        explanation: what its query is made of.
        compose: makes the query.
        models: the models it needs, in the order in which they are trained.
        precedence: of the methods a pipeline can run, the highest is judged and served; 0 is never served.
    """

    name: str
    label: str
    spoken: str
    explanation: str
    compose: Compose
    models: tuple[str, ...] = ()
    precedence: int = 0

    @property
    def tuned(self) -> bool:
        """Whether it reads features of stage 1's encoders, and not of CLIP as it came."""
        return TEXT_ENCODER in self.models

    @property
    def learns_weight(self) -> bool:
        """Whether a Combiner weighs the text against the picture, query by query."""
        return any(model in COMBINERS for model in self.models)

    @property
    def stages_before(self) -> tuple[Method, ...]:
        """What a pipeline would serve before this method's last models were trained, in the ladder's order."""
        return tuple(m for m in LADDER if m.precedence and set(m.models) < set(self.models))


def summed_query(image: Tensor, text: Tensor, pull: float = 0.0) -> Tensor:
    """The sum of two raw features, brought to unit length (paper section 3.2): what stage 1 trains.

    The features go in raw: bringing them to unit length first gives another query.

    Args:
        image: (B, D), raw features of the reference pictures.
        text: (B, D), raw features of the relative captions.
        pull: from -1, the picture alone, to 1, the text alone.

    Returns:
        (B, D), unit length, float32 also under mixed precision.
    """
    import torch

    from cir_assets.models.combiner import pulled

    weight = pulled(torch.tensor(0.5), pull)
    return _unit_length(2 * (1 - weight) * image.float() + 2 * weight * text.float())


def _unit_length(features: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.normalize(features.float(), dim=1)


def _picture(image: Tensor, text: Tensor, models: Combiners, pull: float = 0.0) -> tuple[Tensor, None]:
    return _unit_length(image), None


def _words(image: Tensor, text: Tensor, models: Combiners, pull: float = 0.0) -> tuple[Tensor, None]:
    return _unit_length(text), None


def _sum(image: Tensor, text: Tensor, models: Combiners, pull: float = 0.0) -> tuple[Tensor, None]:
    return summed_query(image, text, pull), None


def _combined_by(model: str) -> Compose:
    """Composing by one Combiner."""

    def compose(image: Tensor, text: Tensor, models: Combiners, pull: float = 0.0) -> tuple[Tensor, Tensor]:
        return models[model].combine(image, text, pull)

    return compose


IMAGE_ONLY = Method(
    "image_only", "Image only", "the picture alone", "the reference picture's feature alone", _picture
)
TEXT_ONLY = Method("text_only", "Text only", "the text alone", "the caption's feature alone", _words)
ZERO_SHOT = Method(
    "sum", "Sum", "the zero-shot sum", "picture + caption, CLIP as it came", _sum, precedence=1
)
"""What every pipeline can serve: it needs no model."""

TUNED_SUM = Method(
    "text_encoder_sum",
    "Tuned text + sum",
    "the tuned sum",
    "picture + caption, text encoder tuned in stage 1",
    _sum,
    models=(TEXT_ENCODER,),
    precedence=3,
)
FROZEN_CLIP_COMBINER = Method(
    COMBINER_FROZEN_CLIP,
    "Combiner, frozen CLIP",
    "the Combiner on frozen CLIP",
    "stage 2 without stage 1",
    _combined_by(COMBINER_FROZEN_CLIP),
    models=(COMBINER_FROZEN_CLIP,),
    precedence=2,
)
WHOLE_METHOD = Method(
    COMBINER,
    "Combiner",
    "the Combiner",
    "stage 1, then stage 2: the whole method",
    _combined_by(COMBINER),
    models=(TEXT_ENCODER, COMBINER),
    precedence=4,
)

LADDER = (IMAGE_ONLY, TEXT_ONLY, ZERO_SHOT, TUNED_SUM, FROZEN_CLIP_COMBINER, WHOLE_METHOD)
"""The methods of the paper's ladder, in its order."""

METHODS: Mapping[str, Method] = {method.name: method for method in LADDER}


def served(methods: Iterable[str]) -> Method | None:
    """Of methods by name, the one that is judged and served; None where none of them is ever served."""
    known = [METHODS[name] for name in methods if name in METHODS]
    return max((m for m in known if m.precedence), key=lambda m: m.precedence, default=None)
