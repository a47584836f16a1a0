"""In which precision a stage's network multiplies: float32, or half of it with sums and weights in float32."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cir_assets.training.settings import MixedPrecision


@dataclass(frozen=True)
class Precision:
    """What products are taken in on one type of device; ``dtype`` None is float32."""

    device_type: str
    dtype: torch.dtype | None

    @staticmethod
    def of(setting: MixedPrecision, device: torch.device) -> Precision:
        """The precision a recipe asks for, on a device."""
        if setting == "bfloat16":
            return Precision(device.type, torch.bfloat16)
        return Precision(device.type, torch.float16 if setting and device.type == "cuda" else None)

    def autocast(self) -> torch.autocast:
        """A context in which networks multiply in this precision."""
        return torch.autocast(self.device_type, dtype=self.dtype, enabled=self.dtype is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """What keeps float16's gradients in range; it does nothing where they need no help."""
        return torch.amp.GradScaler(self.device_type, enabled=self.dtype is torch.float16)
