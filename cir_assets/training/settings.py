"""Hyper-parameters of both stages: typed, documented, ranged, with the paper's values as defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]

Selection = Literal["headline", "arithmetic_mean", "harmonic_mean", "geometric_mean"]
"""A figure of the protocol on val, in percent: its headline, or a mean of all its recalls."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextEncoderSettings(_Settings):
    """Stage 1: CLIP's text encoder on the sum of image and text features (paper section 3.2)."""

    encoder: Literal["text"] = Field(
        default="text", description="Which of CLIP's encoders is trained; the image encoder stays frozen."
    )
    learning_rate: float = Field(default=2e-6, gt=0, le=1, description="AdamW's learning rate; constant.")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="AdamW's betas.")
    eps: float = Field(default=1e-7, gt=0, description="AdamW's epsilon.")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's decoupled weight decay.")
    batch_size: int = Field(
        default=512, ge=2, description="Triplets a step; the other targets of the batch are the negatives."
    )
    epochs: int = Field(default=100, ge=1, le=100_000, description="Passes over the train split.")
    logit_scale: float = Field(
        default=100.0,
        gt=0,
        description="Cosine similarities are multiplied by this before the cross-entropy.",
    )
    mixed_precision: bool = Field(
        default=True, description="Half precision with gradient scaling on CUDA; float32 on the CPU always."
    )
    selection: Selection = Field(
        default="headline",
        description="The figure on val whose best epoch is kept; the paper's is the headline.",
    )
    seed: int = Field(default=0, ge=0, description="Decides order and caption variants of every epoch.")


class CombinerSettings(_Settings):
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
    logit_scale: float = Field(
        default=100.0,
        gt=0,
        description="Cosine similarities are multiplied by this before the cross-entropy.",
    )
    mixed_precision: bool = Field(
        default=True, description="Half precision around the Combiner on CUDA; float32 on the CPU always."
    )
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
