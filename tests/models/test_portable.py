"""A pipeline from its folder finds what the search server finds, and its parts load by their own libraries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cir_assets.models.combiner import Combiner
from cir_assets.models.portable import BACKBONE, ComposedRetrieval, read_portable, write_portable
from cir_assets.retrieval.methods import SPHERICAL
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


def test_a_share_that_val_chose_goes_along(exported: Path, tmp_path: Path) -> None:
    queries = []
    for share in (None, 0.9):
        about = replace(read_portable(exported), method=SPHERICAL.name, share=share)
        folder = tmp_path / str(share)
        write_portable(folder, about, exported / BACKBONE, {}, "")
        pipeline = ComposedRetrieval.from_pretrained(folder)
        image = np.eye(1, pipeline.about.feature_dimension, dtype=np.float32)
        text = pipeline.backbone.text_features([TEXT])
        expected = SPHERICAL.compose(torch.from_numpy(image), text, {}, share=share)[0]
        queries.append(pipeline.compose(image, [TEXT]))
        np.testing.assert_allclose(queries[-1], expected.numpy(), atol=1e-6)
    assert not np.allclose(queries[0], queries[1])


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
