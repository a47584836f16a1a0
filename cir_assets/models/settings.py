"""Where a backbone's weights come from and how its pictures are prepared."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cir_assets.pictures.settings import Padding


class BackboneSettings(BaseModel):
    """One CLIP-like dual encoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["embedded", "folder", "hub", "open_clip"] = Field(
        description=(
            "embedded: shipped with this package; folder: a local folder; hub: the Hugging Face Hub; open_clip: "
            "a model of open_clip, an optional extra."
        )
    )
    place: str = Field(
        description=(
            "embedded: its name (tiny_clip); folder: a path; hub: a repository such as "
            "openai/clip-vit-base-patch32; open_clip: an architecture such as RN50x4."
        )
    )
    revision: str | None = Field(default=None, description="Hub only: the commit, tag or branch to pin.")
    pretrained: str | None = Field(
        default=None,
        description="open_clip only: the tag of its weights (openai), or the path of a weights file.",
    )
    quick_gelu: bool | None = Field(
        default=None,
        # Left out of versions where it is left out of the YAML: what was made before it was known stays.
        exclude_if=lambda said: said is None,
        description=(
            "open_clip only: whether the weights were trained with QuickGELU, as OpenAI's were. Left out: as open_clip "
            "says of the tag; of a file, as the architecture's name says (ViT-B-32-quickgelu)."
        ),
    )
    padding: Padding = Field(
        default="targetpad",
        description="How pictures are padded before they are resized; targetpad is the paper's.",
    )
    target_ratio: float = Field(
        default=1.25, ge=1.0, le=10.0, description="Aspect ratio above which targetpad pads, and to which."
    )

    share_of_text: float | None = Field(
        default=None,
        ge=0,
        le=1,
        # Nothing that is installed or encoded depends on it.
        exclude=True,
        description=(
            "How far towards the text the spherical query lies where no val can tell, as for a catalogue without "
            "triplets. Left out: 0.8, which others publish for CLIP; 0.2 for the embedded backbone, whose text is weak."
        ),
    )

    @property
    def share_without_val(self) -> float:
        """The text's share of the spherical query where there is no val to choose it on."""
        if self.share_of_text is not None:
            return self.share_of_text
        return 0.2 if self.kind == "embedded" else 0.8

    @model_validator(mode="after")
    def _keys_belong_to_the_kind(self) -> BackboneSettings:
        if self.revision is not None and self.kind != "hub":
            raise ValueError(f"revision is for kind: hub; kind: {self.kind} has none, remove it")
        if (self.pretrained is not None) != (self.kind == "open_clip"):
            raise ValueError(
                "pretrained names the weights of kind: open_clip, such as openai; it is needed there and nowhere "
                "else"
            )
        if self.quick_gelu is not None and self.kind != "open_clip":
            raise ValueError(
                f"quick_gelu is for kind: open_clip; a model of kind: {self.kind} says it itself, remove it"
            )
        return self


class ModelsOf(BaseModel):
    """Models that another data set's pipeline trains, to be evaluated on this one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str = Field(description="The data set they are trained on.", min_length=1)
    recipe: str = Field(description="The recipe there: of its recipes or its checkpoints.", min_length=1)
    encoder: Literal["text", "image", "both"] = Field(
        default="text", description="Which encoder stage 1 trains there; it must say the same."
    )


class ReferenceCheckpoints(BaseModel):
    """Files of the reference implementation, evaluated without training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text_encoder: str | None = Field(
        default=None, description="Stage 1: a file {'epoch': int, 'CLIP': parameters}.", min_length=1
    )
    combiner: str | None = Field(
        default=None,
        description="Stage 2 on that text encoder: a file {'epoch': int, 'Combiner': parameters}.",
        min_length=1,
    )
    combiner_frozen_clip: str | None = Field(
        default=None, description="Stage 2 on CLIP as it came: a file of the same form.", min_length=1
    )
    encoder: Literal["text", "image", "both"] = Field(
        default="text",
        description="Which of CLIP's encoders the file of stage 1 tuned; with image or both pictures are encoded anew.",
    )

    @model_validator(mode="after")
    def _names_something_usable(self) -> ReferenceCheckpoints:
        if self.text_encoder is None and self.combiner_frozen_clip is None:
            raise ValueError(
                "name the files: text_encoder (and combiner), combiner_frozen_clip, or all three"
            )
        if self.combiner is not None and self.text_encoder is None:
            raise ValueError(
                "combiner belongs to a tuned text_encoder: name that file too, or call it combiner_frozen_clip"
            )
        return self


class ZeroShot(BaseModel):
    """No models: CLIP as it came searches pictures nobody wrote a triplet for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: Literal["text"] = Field(default="text", description="No encoder of its own.")
