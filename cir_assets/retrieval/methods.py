"""The methods of the ladder: what each is called, which models it needs and how it composes a query.

A method stands here and nowhere else: everything that evaluates, draws, explains or serves one asks this module. A
new one is an entry of :data:`LADDER`, and a colour in ``reporting/charts.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
        self, image: Tensor, text: Tensor, models: Combiners, pull: float = 0.0, share: float | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Queries of unit length, float32 (B, D), and lambda (B, 1), the text's learnt weight, or None.

        Args:
            image: raw features of the reference pictures, (B, D).
            text: raw features of the captions, (B, D).
            models: name -> Combiner, those the method needs.
            pull: takes the text's weight from its own, at 0, to none at -1 or all at 1; nothing to a method of one
                feature alone.
            share: of a method that has shares, the one to take; its ``default_share`` if None.
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
        precedence: of the methods that val cannot tell apart, the highest is judged and served; 0 is never served.
        shares: 0 to 1, of which the best on val is taken: the text's share of the query, or of ``merged`` the
            Combiner's; empty where the method has nothing to choose.
        default_share: what is taken where there is no val to choose on.
    """

    name: str
    label: str
    spoken: str
    explanation: str
    compose: Compose
    models: tuple[str, ...] = ()
    precedence: int = 0
    shares: tuple[float, ...] = ()
    default_share: float | None = None

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
        return tuple(m for m in LADDER if m.precedence and not m.shares and set(m.models) < set(self.models))


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


def weighted_query(image: Tensor, text: Tensor, share: float) -> Tensor:
    """The straight line from the picture's to the text's feature, both of unit length, brought to unit length.

    Args:
        image: (B, D), raw features of the reference pictures.
        text: (B, D), raw features of the relative captions.
        share: the text's, 0 to 1.

    Returns:
        float32 (B, D), unit length.
    """
    return _unit_length((1 - share) * _unit_length(image) + share * _unit_length(text))


ALIKE = 2e-3
"""The sine of an angle that float32 cannot tell from 0."""


def spherical_query(image: Tensor, text: Tensor, share: float) -> Tensor:
    """The point at ``share`` of the arc from the picture's to the text's feature on the unit sphere.

    Source: Y. K. Jang et al., Spherical Linear Interpolation and Text-Anchoring for Zero-shot Composed Image
    Retrieval (ECCV 2024). Where both point the same way, or in opposite ways, the arc is not defined, and the
    straight line's point is taken.

    Args:
        image: (B, D), raw features of the reference pictures.
        text: (B, D), raw features of the relative captions.
        share: the text's, 0 to 1.

    Returns:
        float32 (B, D), unit length.
    """
    import torch

    start, end = _unit_length(image), _unit_length(text)
    angle = torch.acos((start * end).sum(dim=1, keepdim=True).clamp(-1, 1))
    sine = torch.sin(angle)
    arc = torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end
    straight = (1 - share) * start + share * end
    return _unit_length(torch.where(sine < ALIKE, straight, arc))


def _picture(
    image: Tensor, text: Tensor, models: Combiners, pull: float = 0.0, share: float | None = None
) -> tuple[Tensor, None]:
    return _unit_length(image), None


def _words(
    image: Tensor, text: Tensor, models: Combiners, pull: float = 0.0, share: float | None = None
) -> tuple[Tensor, None]:
    return _unit_length(text), None


def _sum(
    image: Tensor, text: Tensor, models: Combiners, pull: float = 0.0, share: float | None = None
) -> tuple[Tensor, None]:
    return summed_query(image, text, pull), None


def _combined_by(model: str) -> Compose:
    """Composing by one Combiner."""

    def compose(
        image: Tensor, text: Tensor, models: Combiners, pull: float = 0.0, share: float | None = None
    ) -> tuple[Tensor, Tensor]:
        return models[model].combine(image, text, pull)

    return compose


def _between(point: Callable[[Tensor, Tensor, float], Tensor], default_share: float) -> Compose:
    """Composing by a point between both features."""

    def compose(
        image: Tensor, text: Tensor, models: Combiners, pull: float = 0.0, share: float | None = None
    ) -> tuple[Tensor, None]:
        return point(image, text, _pulled(default_share if share is None else share, pull)), None

    return compose


def _pulled(share: float, pull: float) -> float:
    return share + pull * (1 - share) if pull > 0 else share * (1 + pull)


def _merged(
    image: Tensor, text: Tensor, models: Combiners, pull: float = 0.0, share: float | None = None
) -> tuple[Tensor, Tensor]:
    """The tuned sum's and the Combiner's unit queries as one: both search the very same gallery."""
    share = EVEN if share is None else share
    combined, weight = models[COMBINER].combine(image, text, pull)
    return _unit_length((1 - share) * summed_query(image, text, pull) + share * combined), weight


SHARES = tuple(tenth / 10 for tenth in range(1, 10))
EVEN = 0.5
TOWARDS_TEXT = 0.8
"""The share of the text that the authors of the spherical query take with CLIP as OpenAI trained it."""

IMAGE_ONLY = Method(
    "image_only", "Image only", "the picture alone", "the reference picture's feature alone", _picture
)
TEXT_ONLY = Method("text_only", "Text only", "the text alone", "the caption's feature alone", _words)
ZERO_SHOT = Method(
    "sum", "Sum", "the zero-shot sum", "picture + caption, CLIP as it came", _sum, precedence=1
)
"""What every pipeline can serve: it needs no model."""

WEIGHTED_SUM = Method(
    "weighted_sum",
    "Weighted sum",
    "the weighted sum",
    "picture + caption of unit length, CLIP as it came, the caption's share chosen on val",
    _between(weighted_query, EVEN),
    precedence=2,
    shares=SHARES,
    default_share=EVEN,
)
SPHERICAL = Method(
    "slerp",
    "Slerp",
    "the spherical query",
    "a point of the arc from picture to caption, CLIP as it came, the caption's share chosen on val",
    _between(spherical_query, TOWARDS_TEXT),
    precedence=3,
    shares=SHARES,
    default_share=TOWARDS_TEXT,
)
TUNED_SUM = Method(
    "text_encoder_sum",
    "Tuned text + sum",
    "the tuned sum",
    "picture + caption, text encoder tuned in stage 1",
    _sum,
    models=(TEXT_ENCODER,),
    precedence=5,
)
FROZEN_CLIP_COMBINER = Method(
    COMBINER_FROZEN_CLIP,
    "Combiner, frozen CLIP",
    "the Combiner on frozen CLIP",
    "stage 2 without stage 1",
    _combined_by(COMBINER_FROZEN_CLIP),
    models=(COMBINER_FROZEN_CLIP,),
    precedence=4,
)
WHOLE_METHOD = Method(
    COMBINER,
    "Combiner",
    "the Combiner",
    "stage 1, then stage 2: the whole method",
    _combined_by(COMBINER),
    models=(TEXT_ENCODER, COMBINER),
    precedence=7,
)
MERGED = Method(
    "merged",
    "Merged",
    "the merged query",
    "the tuned sum's and the Combiner's queries in one, the Combiner's share chosen on val",
    _merged,
    models=(TEXT_ENCODER, COMBINER),
    precedence=6,
    shares=SHARES,
    default_share=EVEN,
)

LADDER = (
    IMAGE_ONLY,
    TEXT_ONLY,
    ZERO_SHOT,
    WEIGHTED_SUM,
    SPHERICAL,
    TUNED_SUM,
    FROZEN_CLIP_COMBINER,
    WHOLE_METHOD,
    MERGED,
)
"""The methods of the paper's ladder, in its order, and beside them what the same features and models give too."""

METHODS: Mapping[str, Method] = {method.name: method for method in LADDER}


def served(methods: Iterable[str]) -> Method | None:
    """Of methods by name, the one that serves where no val tells which is best; None where none is ever served."""
    known = [METHODS[name] for name in methods if name in METHODS]
    return max((m for m in known if m.precedence), key=lambda m: m.precedence, default=None)
