"""Features and tables of figures go out, a test server's answer comes in; what is refused leaves nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cir_assets.command_line import exchanging
from cir_assets.store.contracts import IMAGES
from cir_assets.store.feature_cache import FeatureCache
from cir_assets.store.feature_files import read_features
from cir_assets.store.layout import Storage
from cir_assets.store.ledger import Ledger, LedgerEntry
from cir_assets.store.publishing import publish
from cir_assets.store.results import write_results
from cir_assets.store.tables import write_table
from tests.command_line.conftest import ran
from tests.pipeline.test_answers import answer, storage
from tests.store.test_results import frames

__all__ = ["storage"]


@pytest.fixture
def encoded_shop(home: Path) -> Storage:
    """A storage folder with two pictures encoded, and a third that does not decode."""
    made = Storage(home)
    rows = {"image": ["a", "b", "c"], "path": ["a.png", "b.png", "c.png"], "image_key": ["1", "2", "3"]}
    about = {"format": "PNG", "mode": "RGB", "width": 8, "height": 8, "bytes": 90}
    images = pl.DataFrame(rows).with_columns(**{name: pl.lit(value) for name, value in about.items()})
    write_table(images.cast(IMAGES.schema), made.tables("shop"), IMAGES)
    with FeatureCache(made.features("shop", "tiny_clip")).writing("clip@64", "weights", 4) as features:
        features.add(["1", "2"], np.eye(2, 4, dtype=np.float32))
        features.unreadable("3", "truncated")
    for step, version in (("backbones/tiny_clip", "weights"), ("shop/tiny_clip/image_features", "v")):
        entry = LedgerEntry(version, version, {"metadata": {"preprocessing": "clip@64"}})
        Ledger(made.ledger).record(step, entry, alone=True)
    return made


@pytest.mark.parametrize("name", ["shop.parquet", "shop.safetensors"])
def test_features_of_what_decodes_go_out_as_a_file(encoded_shop: Storage, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    done = ran("features", "export", "shop", "--backbone", "tiny_clip", "--out", str(file))
    assert done.output == f"features of 2 pictures: {file}\n"
    read = read_features(file)
    assert (list(read.images), read.preprocessing, read.backbone) == (["a", "b"], "clip@64", "weights")
    assert np.array_equal(read.features, np.eye(2, 4))


@pytest.mark.parametrize(
    ("dataset", "name", "said"),
    [
        ("absent", "f.parquet", "absent/tiny_clip/image_features was never made"),
        ("shop", "f.csv", "expected a file of features named .parquet or .safetensors"),
    ],
    ids=["never made", "of another kind"],
)
def test_features_that_cannot_go_out_leave_no_file(
    encoded_shop: Storage, tmp_path: Path, dataset: str, name: str, said: str
) -> None:
    refused = ran("features", "export", dataset, "--backbone", "tiny_clip", "--out", str(tmp_path / name))
    assert refused.exit_code == 1
    assert said in refused.output
    assert not (tmp_path / name).exists()


def test_a_servers_answer_is_entered_once_and_the_leaderboard_made_again(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(exchanging, "materialize", lambda selection, module: asked.append(selection))
    monkeypatch.setenv("DAGSTER_HOME", str(storage.root))
    file = str(answer(tmp_path))
    entered = ran("server-answer", "cirr/rn50x4/paper", file)
    assert entered.output == (
        "cirr/rn50x4/paper: combiner on test under cirr, headline 69.00, by CIRR's server\n"
    )
    assert asked == ['key:"leaderboard"']
    for pipeline, said in (
        ("cirr/rn50x4/paper", "was entered already"),
        ("circo/rn50x4/paper", "circo/rn50x4/paper/submission was never made"),
    ):
        refused = ran("server-answer", pipeline, file)
        assert refused.exit_code == 1
        assert said in refused.output
    assert len(asked) == 1


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder with one evaluation of FashionIQ published."""
    folder = tmp_path_factory.mktemp("evaluated")
    write_results(folder / "one.duckdb", frames("one"))
    publish([folder / "one.duckdb"], {}, folder / "evaluation.duckdb")
    return folder


@pytest.mark.parametrize(
    ("form", "first", "row"),
    [
        ("markdown", "fashioniq, val, protocol fashioniq", "| Combiner (paper) | rn50x4 | ours | **"),
        ("latex", r"\begin{table}", r"Combiner (paper) & rn50x4 & ours & \textbf{"),
        ("csv", "system,backbone,venue,", "Combiner (paper),rn50x4,ours,"),
    ],
    ids=["markdown", "latex", "csv"],
)
def test_a_table_is_written_in_the_form_asked_for(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch, form: str, first: str, row: str
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(evaluated))
    written = ran("table", "fashioniq", "--form", form)
    assert written.exit_code == 0, written.output
    assert written.output.startswith(first)
    assert row in written.output


def test_a_table_of_nothing_says_what_there_is(evaluated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = ran("table", "fashioniq")
    assert nothing.exit_code == 1
    assert "materialize the asset leaderboard" in nothing.output
    monkeypatch.setenv("DAGSTER_HOME", str(evaluated))
    other = ran("table", "shop")
    assert other.exit_code == 1
    assert "no figures of shop, val; there are of: fashioniq, val, fashioniq" in other.output
