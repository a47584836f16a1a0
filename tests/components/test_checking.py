"""What would fail after an hour is told in a second: keys, backbones, pictures, batches, splits, figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cir_assets.command_line import main
from tests.random_pictures import picture_bytes

Checked = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def checked(tmp_path: Path) -> Checked:
    """Check a shop's YAML of these attributes: the exit code, and what is said, a line each."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(8):
        (pictures / f"{number}.jpg").write_bytes(picture_bytes(str(number)))

    def check(
        *rows: str, header: str = "reference,target,caption", **attributes: Any
    ) -> tuple[int, list[str]]:
        table = tmp_path / "triplets.csv"
        table.write_text("\n".join([header, *rows]) + "\n")
        source = {"kind": "catalogue", "pictures": str(pictures), "triplets": str(table)}
        content = {"source": source, "backbones": ["tiny_clip"], **attributes}
        file = tmp_path / "my.yaml"
        file.write_text(yaml.safe_dump({"type": "x.Dataset", "attributes": content}, sort_keys=False))
        said = CliRunner().invoke(main, ["check", str(file)])
        return said.exit_code, said.stdout.replace(str(tmp_path), "").splitlines()

    return check


ROWS = [f"{number},{(number + 1) % 8},is red" for number in range(8)]


def test_a_typo_is_told_with_its_line_what_was_meant_and_what_is_known(checked: Checked) -> None:
    code, said = checked(*ROWS, recipes={"short": {"combiner": {"epoch": 3, "batch_size": "many"}}})
    assert code == 1
    typo, number = sorted(said)
    assert typo.startswith(
        "wrong: /my.yaml:12: recipes.short.combiner: no key epoch; did you mean epochs; known: "
    )
    assert "/my.yaml:13: recipes.short.combiner.batch_size: Input should be a valid integer" in number
    assert "pydantic" not in "".join(said)


def test_a_backbone_nobody_defines_and_a_folder_that_is_not_there_are_told(checked: Checked) -> None:
    code, said = checked(
        *ROWS, backbones=["clip_vit_b23"], source={"kind": "catalogue", "pictures": "/nowhere"}
    )
    assert code == 1
    assert "backbones names 'clip_vit_b23', which" in said[0]
    assert "source.pictures /nowhere is no folder" in said[1]


def test_pictures_batches_splits_and_figures_are_held_against_each_other(checked: Checked) -> None:
    code, said = checked(*ROWS[:7], "7,ghost,is red", recipes={"paper": {}})
    assert code == 1
    told = "\n".join(said)
    assert "tiny_clip has seen rendered clothes alone; for photographs name clip_vit_b32" in told
    assert "wrong: /triplets.csv: unknown picture: line 9: " in told
    assert "7 triplets over 8 pictures: about 5 train, about 1 val, about 1 test" in told
    assert (
        "recipes.paper.combiner.batch_size is 4,096, more than the 5 triplets of train: set it to at most 5"
        in told
    )
    assert "5 triplets of train teach little" in told
    assert "1 queries of val decide little" in told
    assert (
        "counts what is among the first 50, and val is searched in about 1 pictures: that is 100 by" in told
    )


def test_without_val_nothing_could_choose_the_best_epoch(checked: Checked) -> None:
    small = {stage: {"batch_size": 2} for stage in ("text_encoder", "combiner")}
    rows = [f"{row},train" for row in ROWS]
    code, said = checked(*rows, header="reference,target,caption,split", recipes={"small": small})
    assert code == 1
    assert [line for line in said if line.startswith("wrong")] == [
        "wrong: there is no val: nothing could choose the best epoch; add rows of split val"
    ]


def test_a_table_that_cannot_be_read_is_told_by_file_and_a_good_one_is_good(checked: Checked) -> None:
    code, said = checked("a,b", header="left,right")
    assert code == 1
    assert any(line.startswith("wrong: /triplets.csv") for line in said)
    small = {stage: {"batch_size": 2} for stage in ("text_encoder", "combiner")}
    code, said = checked(*ROWS, recipes={"small": small})
    assert (code, said[-1]) == (0, "nothing is wrong")
