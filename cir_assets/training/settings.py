"""Hyper-parameters of both stages: typed, documented, ranged, with the paper's values as defaults."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]

Selection = Literal["headline", "arithmetic_mean", "harmonic_mean", "geometric_mean"]
"""A figure of the protocol on val, in percent: its headline, or a mean of all its recalls."""


CaptionVariantsName = Literal["paper", "joined", "evaluation"]

MixedPrecision = bool | Literal["bfloat16"]

MIXED_PRECISION = (
    "true: products in float16 with gradient scaling on CUDA, in float32 on a CPU (the paper's); "
    "bfloat16: in that, on any device, without scaling; false: in float32 everywhere."
)


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Alternative(_Settings):
    """What a stage is trained with as well; what is left out is as the stage has it."""

    logit_scale: float | None = Field(default=None, gt=0, description="As the stage's.")
    learn_logit_scale: bool | None = Field(default=None, description="As the stage's.")
    negatives: Literal["batch", "gallery"] | None = Field(default=None, description="As the stage's.")
    mask_duplicate_targets: bool | None = Field(default=None, description="As the stage's.")
    learning_rate: float | None = Field(default=None, gt=0, le=1, description="As the stage's.")

    @property
    def name(self) -> str:
        """What it says, as ``negatives=gallery,logit_scale=20.0``; it names a folder."""
        said = self.model_dump(exclude_none=True)
        return ",".join(f"{key}={value}" for key, value in said.items()) or "the same"


class _StageSettings(_Settings):
    """What both stages have in common: how a query's target is told apart from other pictures."""

    logit_scale: float = Field(
        default=100.0,
        gt=0,
        description="Cosine similarities are multiplied by this before the cross-entropy.",
    )
    learn_logit_scale: bool = Field(
        default=False,
        description="Train the scale too, from logit_scale on and never above 100; the paper's is fixed.",
    )
    negatives: Literal["batch", "gallery"] = Field(
        default="batch",
        description=(
            "What a target is told apart from: the other targets of the batch (the paper's), or every picture of "
            "the train galleries, at the cost of one matrix product a step; needs a frozen image encoder."
        ),
    )
    mask_duplicate_targets: bool = Field(
        default=False,
        description="Leave exact copies of a query's target out of its negatives; the paper keeps them.",
    )
    caption_variants: CaptionVariantsName = Field(
        default="paper",
        description=(
            "Of two captions a and b: paper draws '{A} and {b}', '{B} and {a}', '{A}' or '{B}' anew each epoch; "
            "joined one of the first two; evaluation always '{A} and {b}', as queries are evaluated."
        ),
    )
    alternatives: tuple[Alternative, ...] = Field(
        default=(),
        # Left out of versions where it is left out of the YAML: what was trained before it was known stays.
        exclude_if=lambda said: not said,
        description=(
            "The stage is trained with each of these as well, and what is best on val is kept: which loss suits "
            "depends on how many look-alikes a catalogue has. The paper's has none."
        ),
    )

    def candidates(self) -> dict[str, Self]:
        """Every way the stage is trained, by name, the stage as it stands first; each without alternatives."""
        plain = self.model_copy(update={"alternatives": ()})
        others = {
            each.name: plain.model_copy(update=each.model_dump(exclude_none=True))
            for each in self.alternatives
        }
        return {"as it stands": plain, **others}


class TextEncoderSettings(_StageSettings):
    """Stage 1: CLIP's text encoder on the sum of image and text features (paper section 3.2)."""

    encoder: Literal["text", "image", "both"] = Field(
        default="text",
        description=(
            "Which of CLIP's encoders is trained: text is this paper's, both that of TOMM 2023. With image or both "
            "pictures are encoded in every step, and their features are cached again afterwards."
        ),
    )
    learning_rate: float = Field(default=2e-6, gt=0, le=1, description="AdamW's learning rate; constant.")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="AdamW's betas.")
    eps: float = Field(default=1e-7, gt=0, description="AdamW's epsilon.")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's decoupled weight decay.")
    batch_size: int = Field(
        default=512, ge=2, description="Triplets a step; the other targets of the batch are the negatives."
    )
    epochs: int = Field(default=100, ge=1, le=100_000, description="Passes over the train split.")
    mixed_precision: MixedPrecision = Field(default=True, description=MIXED_PRECISION)
    selection: Selection = Field(
        default="headline",
        description="The figure on val whose best epoch is kept; the paper's is the headline.",
    )
    seed: int = Field(default=0, ge=0, description="Decides order and caption variants of every epoch.")

    @model_validator(mode="after")
    def _gallery_needs_frozen_images(self) -> TextEncoderSettings:
        every = [self.negatives, *(each.negatives for each in self.alternatives)]
        if "gallery" in every and self.encoder != "text":
            raise ValueError(
                f"negatives: gallery takes features that stay as they are, but encoder: {self.encoder} changes them "
                "in every step; use negatives: batch, or encoder: text"
            )
        return self


class CombinerSettings(_StageSettings):
    """Stage 2: the Combiner network, CLIP frozen (paper section 3.3)."""

    learning_rate: float = Field(default=2e-5, gt=0, le=1, description="Adam's learning rate; constant.")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="Adam's betas.")
    eps: float = Field(default=1e-8, gt=0, description="Adam's epsilon.")
    weight_decay: float = Field(default=0.0, ge=0, description="Adam's L2 penalty; the paper uses none.")
    batch_size: int = Field(
        default=4096, ge=2, description="Triplets a step; the other targets of the batch are the negatives."
    )
    epochs: int = Field(default=300, ge=1, le=100_000, description="Passes over the train split.")
    projection_multiple: int = Field(
        default=4, ge=1, le=64, description="Width of each projection, in multiples of the feature dimension."
    )
    hidden_multiple: int = Field(
        default=8,
        ge=1,
        le=128,
        description="Width of the hidden layers, in multiples of the feature dimension.",
    )
    dropout: float = Field(default=0.5, ge=0, lt=1, description="Dropout after every hidden activation.")
    mixed_precision: MixedPrecision = Field(default=True, description=MIXED_PRECISION)
    selection: Selection = Field(
        default="headline",
        description="The figure on val whose best epoch is kept; the paper's is the headline.",
    )
    seed: int = Field(default=0, ge=0, description="Decides initial weights, order, dropout and variants.")


class Recipe(_Settings):
    """Both stages of one pipeline; what is left out is the paper's."""

    text_encoder: TextEncoderSettings = Field(
        default=TextEncoderSettings(), description="Stage 1: the text encoder."
    )
    combiner: CombinerSettings = Field(default=CombinerSettings(), description="Stage 2: the Combiner.")

    @property
    def fits_itself(self) -> bool:
        """Whether its numbers are chosen from the data when it is trained."""
        return False


class AutoRecipe(Recipe):
    """``recipe: auto``: batch, epochs, rate, scale and negatives are chosen from the data, see ``training.fitting``."""

    text_encoder: TextEncoderSettings = TextEncoderSettings(batch_size=2)
    combiner: CombinerSettings = CombinerSettings(batch_size=2)

    @property
    def fits_itself(self) -> bool:
        """It does."""
        return True


def named_recipe(said: object) -> object:
    """What a YAML says of a recipe, the word auto as what it means.

    Raises:
        ValueError: another word, naming it.
    """
    if isinstance(said, str) and said != "auto":
        raise ValueError(f"{said!r} is no recipe: say auto, or hyper-parameters; {{}} is the paper's")
    return AutoRecipe() if said == "auto" else said
