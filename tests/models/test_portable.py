"""A pipeline from its folder finds what the search server finds, and its parts load by their own libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cir_assets.models.combiner import Combiner
from cir_assets.models.portable import ComposedRetrieval
from cir_assets.serving.champions import Champions
from tests.serving.conftest import PICTURES, Shop

TEXT = "is red and has longer sleeves"


def test_the_folder_finds_what_the_search_server_finds(shop: Shop, exported: Path) -> None:
    pipeline = ComposedRetrieval.from_pretrained(exported)
    file = PICTURES / shop.pictures["path"][0]
    query = pipeline(file, TEXT)
    assert query.shape == (128,)
    assert np.linalg.norm(query) == pytest.approx(1, abs=1e-5)
    best = [shop.pictures["image"][int(row)] for row in pipeline.rank(query, shop.features, top=5)]
    searcher = Champions(shop.storage).of("boutique")
    name = searcher.add_upload(file.read_bytes())
    found = searcher.search(name, TEXT, top=5, copies=True)
    assert best == found.images


def test_head_and_text_encoder_load_by_their_own_libraries(exported: Path) -> None:
    from transformers import AutoTokenizer, CLIPTextModelWithProjection

    pipeline = ComposedRetrieval.from_pretrained(exported)
    encoder = CLIPTextModelWithProjection.from_pretrained(exported / "text_encoder")
    tokens = AutoTokenizer.from_pretrained(exported / "text_encoder")([TEXT], return_tensors="pt")
    text = encoder(**{name: tokens[name] for name in ("input_ids", "attention_mask")}).text_embeds.detach()
    ours = pipeline.backbone.text_features([TEXT])
    np.testing.assert_allclose(text.numpy(), ours.numpy(), atol=1e-5)
    image = pipeline.image_features([next(PICTURES.rglob("*.png"))])
    head = Combiner.from_pretrained(exported / "combiner")
    by_hand = head(pipeline.backbone.text_features([""]).new_tensor(image), ours).detach().numpy()
    np.testing.assert_allclose(by_hand, pipeline.compose(image, [TEXT]), atol=1e-5)
