"""The models a pipeline trains or imports: their names, which are also those of their steps and folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXT_ENCODER: Final = "text_encoder"
COMBINER_FROZEN_CLIP: Final = "combiner_frozen_clip"
COMBINER: Final = "combiner"

MODELS = (TEXT_ENCODER, COMBINER_FROZEN_CLIP, COMBINER)
"""In the order of the graph."""

COMBINERS = (COMBINER_FROZEN_CLIP, COMBINER)
"""Those that merge an image feature and a text feature."""

LABELS: Mapping[str, str] = {
    TEXT_ENCODER: "Stage 1: text encoder",
    COMBINER: "Stage 2: Combiner",
    COMBINER_FROZEN_CLIP: "Combiner on frozen CLIP",
}
"""Name -> what people read, in the order in which their trainings are shown."""
