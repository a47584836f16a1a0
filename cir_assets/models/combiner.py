"""The Combiner: merges an image feature and a text feature into the feature of the picture meant."""

from __future__ import annotations

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn import functional


class Dropout(nn.Dropout):
    """torch's dropout, some three times as fast on a CPU, where drawing a float for each value is most of its work.

    Each value is kept or not by 16 random bits, so that the share left out is ``p`` to 1/65,536; 0.5 is exact.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The values (any shape), in training some of them 0 and the others scaled up."""
        if not self.training or not self.p or input.device.type != "cpu":
            return super().forward(input)
        count = input.numel()
        words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[:count].view(input.shape)
        left_out = min(round(self.p * 65_536), 65_535)
        kept = (bits >= left_out - 32_768).to(input.dtype)
        return input * kept.mul_(65_536 / (65_536 - left_out))


class Combiner(nn.Module, PyTorchModelHubMixin):
    """The network of paper section 3.3 (reference file ``combiner.py``), its parameters named alike.

    With D the feature dimension, P the projection's and H the hidden layers' width: both inputs are
    projected to P, concatenated (text first), and feed two branches; one gives a residual in D, the other
    the scalar lambda in 0..1 that weighs the text feature against the image feature.

    ``Combiner.from_pretrained`` reads one from a version's folder or from a repository of the Hub, in eval mode.
    """

    def __init__(
        self, feature_dimension: int, projection_dimension: int, hidden_dimension: int, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.text_projection_layer = nn.Linear(feature_dimension, projection_dimension)
        self.image_projection_layer = nn.Linear(feature_dimension, projection_dimension)
        self.combiner_layer = nn.Linear(2 * projection_dimension, hidden_dimension)
        self.output_layer = nn.Linear(hidden_dimension, feature_dimension)
        self.dynamic_scalar = nn.Sequential(
            nn.Linear(2 * projection_dimension, hidden_dimension),
            nn.ReLU(inplace=True),
            Dropout(dropout),
            nn.Linear(hidden_dimension, 1),
        )
        self.dropout = Dropout(dropout)

    @property
    def feature_dimension(self) -> int:
        """D, the dimension of the features it takes and gives."""
        return self.text_projection_layer.in_features

    @property
    def projection_dimension(self) -> int:
        """P, the width of each projection."""
        return self.text_projection_layer.out_features

    @property
    def hidden_dimension(self) -> int:
        """H, the width of the hidden layers."""
        return self.output_layer.in_features

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Combined features (B, D) of unit length from raw image and text features (B, D)."""
        return self.combine(image, text)[0]

    def combine(self, image: Tensor, text: Tensor, pull: float = 0.0) -> tuple[Tensor, Tensor]:
        """Combined features (B, D) of unit length, and lambda (B, 1), the learnt weight of the text.

        Args:
            image: raw image features (B, D).
            text: raw text features (B, D).
            pull: takes the text's weight from lambda, at 0, towards 1, the text alone, at 1, or towards 0, the
                picture alone, at -1; the learnt residual stays. The paper's method is 0.

        Raises:
            ValueError: when the features are not of this Combiner's dimension.
        """
        if image.shape[-1] != self.feature_dimension or text.shape[-1] != self.feature_dimension:
            raise ValueError(
                f"this Combiner merges features of dimension {self.feature_dimension}, but was given image "
                f"features of {image.shape[-1]} and text features of {text.shape[-1]}: it was trained for "
                "another backbone; name that backbone, or train a Combiner for this one"
            )
        projected_text = self.dropout(functional.relu(self.text_projection_layer(text), inplace=True))
        projected_image = self.dropout(functional.relu(self.image_projection_layer(image), inplace=True))
        both = torch.cat((projected_text, projected_image), dim=-1)
        hidden = functional.relu(self.combiner_layer(both), inplace=True)
        residual = self.output_layer(self.dropout(hidden))
        text_weight = torch.sigmoid(self.dynamic_scalar(both))
        weight = pulled(text_weight, pull)
        mixed = residual + weight * text + (1 - weight) * image
        return functional.normalize(mixed, dim=-1), text_weight


def pulled(text_weight: Tensor, pull: float) -> Tensor:
    """A weight of the text, 0 to 1, taken towards 1 by a positive pull and towards 0 by a negative one; -1 to 1."""
    return text_weight + pull * (1 - text_weight) if pull > 0 else text_weight * (1 + pull)
