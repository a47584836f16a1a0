"""Fashion200k in its published form: labels, TIRG's queries, and what is odd about both."""

from __future__ import annotations

from pathlib import Path

import pytest

from cir_assets.datasets.fashion200k import changed_word, read_fashion200k
from cir_assets.datasets.tables import BrokenAnnotations
from tests.datasets.conftest import counts, subjects

TRAIN = {"1": "black lace dress", "2": "red lace dress", "3": "black dress", "4": "blue silk jumpsuit"}
TEST = {"5": "black wool coat", "6": "red wool coat", "7": "red wool coat", "8": "wool coat"}


def path(number: str) -> str:
    return f"women/dresses/casual/{number}/{number}_0.jpeg"


def lines(described: dict[str, str]) -> str:
    return "".join(f"{path(number)}\t-1.78\t{text}\n" for number, text in described.items())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "dress_train_detect_all.txt").write_text(lines(TRAIN))
    (labels / "jacket_test_detect_all.txt").write_text(lines(TEST))
    (labels / ".DS_Store").write_text("")
    (tmp_path / "test_queries.txt").write_text(f"{path('5')} {path('6')}\n{path('6')} {path('8')}\n")
    return tmp_path


def test_every_picture_of_a_split_with_the_target_s_description_is_right(folder: Path) -> None:
    read = read_fashion200k(folder)
    assert counts(read.galleries) == {("train", "all"): 4, ("val", "all"): 4}
    first, second = read.triplets.filter(split="val").iter_rows(named=True)
    assert (first["reference"], first["target"], first["further_targets"]) == (
        path("5"),
        path("6"),
        [path("7")],
    )
    assert first["captions"] == ["replace black with red"]
    # Of "red wool coat" and "wool coat" the second lacks nothing: TIRG's queries then name its last word.
    assert second["captions"] == ["replace red with coat"]
    assert read.issues.is_empty()


@pytest.mark.parametrize(
    ("reference", "target", "words"),
    [
        ("black dress", "red dress", ("black", "red")),
        ("black dress", "black lace dress", ("dress", "lace")),
        ("black lace dress", "black dress", ("lace", "dress")),
    ],
)
def test_the_changed_word_is_the_one_tirg_finds(reference: str, target: str, words: tuple[str, str]) -> None:
    assert changed_word(reference, target) == words


def test_train_triplets_are_drawn_among_descriptions_a_word_away(folder: Path) -> None:
    train = read_fashion200k(folder).triplets.filter(split="train")
    # Neighbours lack a word each; "black dress" is a word shorter than the first, and so no neighbour of it.
    assert train["reference"].to_list() == [path("1"), path("2")]
    assert train["target"].to_list() == [path("2"), path("1")]
    assert train["captions"].list.first().to_list() == ["replace black with red", "replace red with black"]
    assert read_fashion200k(folder, seed=0).triplets.equals(read_fashion200k(folder, seed=0).triplets)


def test_what_cannot_be_asked_is_dropped_and_told(folder: Path) -> None:
    (folder / "test_queries.txt").write_text(
        f"{path('5')} {path('6')}\n{path('6')} {path('7')}\n{path('5')} {path('99')}\n"
    )
    with (folder / "labels" / "jacket_test_detect_all.txt").open("a") as labels:
        labels.write(f"{path('5')}\t-1\tgreen coat\n")
    read = read_fashion200k(folder)
    assert read.triplets.filter(split="val")["triplet_id"].to_list() == ["0"]
    assert subjects(read, "same_description") == ["val/1"]
    assert subjects(read, "unknown_picture") == ["val/2"]
    assert subjects(read, "repeated_row") == [path("5")]


def test_without_tirg_s_queries_val_has_no_triplet(folder: Path) -> None:
    (folder / "test_queries.txt").unlink()
    read = read_fashion200k(folder)
    assert set(read.triplets["split"]) == {"train"}
    assert subjects(read, "missing_captions") == ["val"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "labels/jacket_test_detect_all.txt",
            "women/a.jpeg -1 red coat\n",
            "line 1: expected path, score and",
        ),
        (
            "labels/jacket_test_detect_all.txt",
            "../a.jpeg\t-1\tred coat\n",
            "line 1: expected a picture's path",
        ),
        ("test_queries.txt", "women/a.jpeg\n", "line 1: expected two paths"),
        ("test_queries.txt", "women/a.jpeg women/b.jpeg\n", "none of its 1 triplets has its pictures"),
    ],
)
def test_files_of_another_version_are_refused_in_one_message(
    folder: Path, file: str, text: str, message: str
) -> None:
    (folder / file).write_text(text)
    with pytest.raises(BrokenAnnotations, match=message):
        read_fashion200k(folder)


def test_a_folder_without_labels_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenAnnotations, match="labels cannot be listed"):
        read_fashion200k(tmp_path)
    (tmp_path / "labels").mkdir()
    with pytest.raises(BrokenAnnotations, match=r"holds no <category>_<train\|test>_detect_all"):
        read_fashion200k(tmp_path)
