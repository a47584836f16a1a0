"""A pipeline's text tower and head as ONNX, for whoever serves without torch; an optional extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cir_assets.models.portable import ComposedRetrieval

TEXT = "text_encoder.onnx"
HEAD = "head.onnx"
OPSET = 20
EXAMPLES = 3
"""Rows of the inputs that are traced: more than one, as one would be taken for all there ever are."""


class _Text(nn.Module):
    def __init__(self, pipeline: ComposedRetrieval) -> None:
        super().__init__()
        self.model: Any = pipeline.backbone.model

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.model.get_text_features(input_ids=input_ids).pooler_output  # type: ignore[no-any-return]


class _Head(nn.Module):
    def __init__(self, pipeline: ComposedRetrieval) -> None:
        super().__init__()
        self.combiners = nn.ModuleDict(pipeline.combiners)
        self.method, self.share = pipeline.method, pipeline.about.share

    def forward(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        combiners: Any = self.combiners
        return self.method.compose(image_features, text_features, combiners, share=self.share)[0]


def write_onnx(pipeline: ComposedRetrieval, folder: Path) -> list[Path]:
    """Write ``text_encoder.onnx`` and ``head.onnx`` into a folder.

    ``text_encoder.onnx`` takes input_ids, int64 (b, l) as the pipeline's tokenizer gives them, padded at their end,
    and gives text_features, float32 (b, D); ``head.onnx`` takes image_features and text_features, raw, and gives
    query, float32 (b, D) of unit length. Both for any b, the text for any l up to the context.

    Raises:
        ValueError: for a backbone whose text tower is not of transformers.
        ModuleNotFoundError: without the extra ``onnx``.
    """
    if pipeline.backbone.shape.library != "transformers":
        raise ValueError(
            f"the text tower of {pipeline.about.backbone} is open_clip's; only those of transformers become ONNX"
        )
    dimension = pipeline.about.feature_dimension
    ids = torch.tensor(padded(pipeline, ["is red", "is red and has longer sleeves", "has dots"]))
    features = torch.randn(EXAMPLES, dimension)
    rows = torch.export.Dim("rows", min=1)
    tokens = torch.export.Dim("tokens", min=2, max=pipeline.backbone.context_length)
    _write(_Text(pipeline), (ids,), folder / TEXT, ["input_ids"], ["text_features"], ({0: rows, 1: tokens},))
    _write(
        _Head(pipeline),
        (features, features.clone()),
        folder / HEAD,
        ["image_features", "text_features"],
        ["query"],
        ({0: rows}, {0: rows}),
    )
    return [folder / TEXT, folder / HEAD]


def padded(pipeline: ComposedRetrieval, texts: list[str]) -> list[list[int]]:
    """Token ids of texts, padded at their end to the longest of them, as ``text_encoder.onnx`` takes them."""
    tokens = pipeline.backbone.tokenise(texts)
    longest = max(map(len, tokens))
    end = int(pipeline.backbone.tokenizer.eos_token_id)
    return [ids + [end] * (longest - len(ids)) for ids in tokens]


def _write(
    network: nn.Module,
    example: tuple[Tensor, ...],
    file: Path,
    inputs: list[str],
    outputs: list[str],
    shapes: Any,
) -> None:
    with torch.no_grad():
        program = torch.onnx.export(
            network.eval(),
            example,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    # In one file: weights apart would have to be carried along.
    program.save(str(file), external_data=False)
