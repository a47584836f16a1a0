"""Combiner, tokens and checkpoints give what the reference implementation gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoTokenizer

from cir_assets.models.reference_checkpoints import import_reference_combiner
from cir_assets.models.saving import ModelMismatch, combiner_from_state, load_combiner, save_combiner
from cir_assets.models.transformers_network import STRAIGHT_QUOTES


@pytest.mark.parametrize("case", ["d16", "d8"])
def test_the_combiner_computes_what_the_reference_computes(parity: Path, case: str) -> None:
    folder = parity / "combiner_forward"
    weights = {
        name: torch.from_numpy(value) for name, value in np.load(folder / f"{case}_weights.npz").items()
    }
    data = {name: torch.from_numpy(value) for name, value in np.load(folder / f"{case}_io.npz").items()}
    combiner = combiner_from_state(weights)
    with torch.no_grad():
        combined, text_weight = combiner.combine(data["image"], data["text"])
    assert (combined - data["combined"]).abs().max() <= 1e-5
    assert (text_weight - data["scalar"]).abs().max() <= 1e-5
    logits = 100 * combined @ functional.normalize(data["target"], dim=1).T
    assert (logits - data["logits"]).abs().max() <= 1e-3


@pytest.mark.parametrize("vocabulary", ["excerpt", "whole"])
def test_real_captions_become_the_references_tokens(
    parity: Path, vocabulary: str, request: pytest.FixtureRequest
) -> None:
    """The excerpt lies in every clone; the whole vocabulary where real data does."""
    folder = (
        parity / "tokenizer"
        if vocabulary == "excerpt"
        else request.getfixturevalue("real_data") / "clip-tokenizer"
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = json.loads((parity / "tokens" / "tokens.json").read_text(encoding="utf-8"))
    assert len(rows) == 43
    for row in rows:
        text = row["text"].translate(STRAIGHT_QUOTES)
        assert tokenizer([text], truncation=True, max_length=77)["input_ids"][0] == row["ids"], row["text"]


def test_a_published_checkpoint_is_imported_without_running_anything_in_it(parity: Path) -> None:
    combiner, epoch = import_reference_combiner(parity / "checkpoint" / "combiner_tiny.pt")
    assert epoch == 17
    assert (combiner.feature_dimension, combiner.projection_dimension, combiner.hidden_dimension) == (
        16,
        64,
        128,
    )
    weights = np.load(parity / "combiner_forward" / "d16_weights.npz")
    for name, value in combiner.state_dict().items():
        assert np.array_equal(value.numpy(), weights[name]), name


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "Combiner": {"weight": torch.ones(2)}}, tmp_path / "other.pt")
    with pytest.raises(ModelMismatch, match="expected text_projection_layer"):
        import_reference_combiner(tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(ModelMismatch, match=r"text\.pt is not a published Combiner checkpoint"):
        import_reference_combiner(tmp_path / "text.pt")


def test_a_combiner_of_another_dimension_is_refused_with_both(tmp_path: Path) -> None:
    from cir_assets.models.combiner import Combiner

    save_combiner(tmp_path, Combiner(16, 64, 128), {})
    assert load_combiner(tmp_path, 16).feature_dimension == 16
    with pytest.raises(ModelMismatch, match=r"dimension 16, but the backbone gives 128"):
        load_combiner(tmp_path, 128)
    with pytest.raises(ValueError, match="features of dimension 16"):
        load_combiner(tmp_path)(torch.ones(2, 8), torch.ones(2, 8))


def test_the_papers_combiner_has_its_parameter_count() -> None:
    from cir_assets.models.combiner import Combiner

    assert sum(p.numel() for p in Combiner(640, 4 * 640, 8 * 640).parameters()) == 59_003_521
