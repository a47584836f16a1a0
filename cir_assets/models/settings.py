"""Where a backbone's weights come from and how its pictures are prepared."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Padding = Literal["targetpad", "squarepad", "clip"]


class BackboneSettings(BaseModel):
    """One CLIP-like dual encoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["embedded", "folder", "hub"] = Field(
        description="embedded: shipped with this package; folder: a local folder; hub: the Hugging Face Hub."
    )
    place: str = Field(
        description=(
            "embedded: its name (tiny_clip); folder: a path; hub: a repository such as "
            "openai/clip-vit-base-patch32."
        )
    )
    revision: str | None = Field(default=None, description="Hub only: the commit, tag or branch to pin.")
    padding: Padding = Field(
        default="targetpad",
        description="How pictures are padded before they are resized; targetpad is the paper's.",
    )
    target_ratio: float = Field(
        default=1.25, ge=1.0, le=10.0, description="Aspect ratio above which targetpad pads, and to which."
    )

    @model_validator(mode="after")
    def _revision_belongs_to_the_hub(self) -> BackboneSettings:
        if self.revision is not None and self.kind != "hub":
            raise ValueError(f"revision is for kind: hub; kind: {self.kind} has none, remove it")
        return self
