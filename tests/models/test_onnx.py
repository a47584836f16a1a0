"""As ONNX, text tower and head give what they give with torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cir_assets.models.portable import ComposedRetrieval
from tests.serving.conftest import PICTURES

TEXT = "is red and has longer sleeves"


def test_as_onnx_it_gives_the_same_features(exported: Path, tmp_path: Path) -> None:
    """Batches and lengths of text other than those it was written with, too."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from cir_assets.models.onnx import HEAD, padded, write_onnx
    from cir_assets.models.onnx import TEXT as TOWER

    pipeline = ComposedRetrieval.from_pretrained(exported)
    write_onnx(pipeline, tmp_path)
    tower, head = (onnxruntime.InferenceSession(str(tmp_path / name)) for name in (TOWER, HEAD))
    images = pipeline.image_features(sorted(PICTURES.rglob("*.png"))[:5])
    for texts in ([TEXT], ["has dots", TEXT, "is", "is blue with long sleeves and a round neck", ""]):
        [text] = tower.run(None, {"input_ids": np.array(padded(pipeline, texts))})
        np.testing.assert_allclose(text, pipeline.backbone.text_features(texts).numpy(), atol=1e-4)
        asked = {"image_features": images[: len(texts)], "text_features": text}
        np.testing.assert_allclose(
            head.run(None, asked)[0], pipeline.compose(images[: len(texts)], texts), atol=1e-4
        )
