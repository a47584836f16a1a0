"""Thumbnails: every kind of picture file gives one, or the reason why not."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from cir_assets.pictures.opening import UnreadablePicture
from cir_assets.pictures.shrinking import small_picture, thumbnails, thumbnails_beside

LIMIT = 1_000_000


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16"])
def test_a_picture_of_any_mode_becomes_a_small_rgb_picture(mode: str, tmp_path: Path) -> None:
    file = tmp_path / ("a.tiff" if mode in ("CMYK", "I;16") else "a.png")
    Image.new(mode, (300, 150)).save(file)
    small = small_picture(file, 60, LIMIT)
    assert (small.mode, small.size) == ("RGB", (60, 30))


def test_what_is_see_through_is_shown_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert small_picture(tmp_path / "a.png", 20, LIMIT).getpixel((5, 5)) == (255, 255, 255)


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert small_picture(tmp_path / "a.jpg", 80, LIMIT).size == (40, 80)


def test_each_kind_of_broken_picture_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture at all")
    Image.new("RGB", (2000, 1000)).save(tmp_path / "huge.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 80).save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[:900])
    for name, reason in (
        ("text.jpg", "it is a text"),
        ("huge.png", "more than the limit"),
        ("dot.png", "too few"),
        ("cut.jpg", "truncated"),
        ("none.png", "no such file"),
    ):
        with pytest.raises(UnreadablePicture, match=reason) as error:
            small_picture(tmp_path / name, 64, LIMIT)
        assert str(tmp_path) not in str(error.value)
    with pytest.raises(UnreadablePicture, match="has no file"):
        small_picture(None, 64, LIMIT)


def test_thumbnails_keep_to_their_budget_and_each_picture_is_there_once(tmp_path: Path) -> None:
    for number in range(12):
        Image.effect_noise((400, 300), 90).convert("RGB").save(tmp_path / f"{number}.png")
    asked = [*map(str, range(12)), *map(str, range(12)), "gone"]

    def path(image: str) -> Path:
        return tmp_path / f"{image}.png"

    roomy = thumbnails(asked, path, budget=10_000_000, pixel_limit=LIMIT)
    tight = thumbnails(asked, path, budget=60_000, pixel_limit=LIMIT)
    assert list(roomy.uris) == list(map(str, range(12)))
    assert list(roomy.reasons) == ["gone"]
    assert sum(map(len, tight.uris.values())) <= 60_000 < sum(map(len, roomy.uris.values()))
    head, _, content = tight.uris["0"].partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as shown:
        assert shown.width > shown.height


def test_thumbnails_beside_are_made_once_and_anew_when_a_picture_changes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (300, 200), "red").save(source / f"{name}.png")
    (source / "c.png").write_text("no picture")

    def made() -> dict[str, str]:
        return thumbnails_beside(
            ["a", "b", "c", "d", "a"],
            lambda image: source / f"{image}.png",
            tmp_path / "small",
            pixel_limit=10**6,
        )

    names = made()
    assert set(names) == {"a", "b"}
    files = {name: (tmp_path / "small" / file) for name, file in names.items()}
    assert {Image.open(file).size for file in files.values()} == {(128, 85)}
    before = {name: file.stat().st_ino for name, file in files.items()}
    Image.new("RGB", (300, 200), "blue").save(source / "a.png")
    assert made() == names
    assert files["b"].stat().st_ino == before["b"]
    assert files["a"].stat().st_ino != before["a"]
    (source / "b.png").unlink()
    assert set(made()) == {"a"}
    assert [file.name for file in (tmp_path / "small").iterdir()] == [names["a"]]
