"""Whatever an annotation file holds, it is read, or refused by file and place; no other error leaves a reader.

Real annotation files, cut to some entries, are damaged at random. ``DAMAGED_FILES=20000 pytest -n 0
tests/datasets/test_damaged_annotations.py`` tries so many.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cir_assets.datasets.circo import INDEX, read_circo
from cir_assets.datasets.cirr import read_cirr
from cir_assets.datasets.fashioniq import read_fashioniq
from cir_assets.datasets.fetching import read_picture_list
from cir_assets.datasets.tables import Annotations, BrokenAnnotations
from tests.datasets.conftest import write_json

TRIED = int(os.environ.get("DAMAGED_FILES", "400"))
"""Damaged files tried in all."""

FEW = 4

Reader = Callable[[Path], Annotations | dict[str, str]]


def fashioniq(real: Path, home: Path) -> Reader:
    rows = json.loads((real / "fashion-iq/captions/cap.dress.val.json").read_text())[:FEW]
    images = sorted({row[role] for row in rows for role in ("candidate", "target")})
    write_json(home / "captions/cap.dress.val.json", rows)
    write_json(home / "image_splits/split.dress.val.json", images)
    sets = [{"set_id": f"s{n}", "members": [row["candidate"], row["target"]]} for n, row in enumerate(rows)]
    write_json(home / "image_sets.json", {"val": {"dress": sets}})
    return read_fashioniq


def cirr(real: Path, home: Path) -> Reader:
    rows = json.loads((real / "cirr/captions/cap.rc2.val.json").read_text())[:FEW]
    paths = json.loads((real / "cirr/image_splits/split.rc2.val.json").read_text())
    named = {name for row in rows for name in row["img_set"]["members"]}
    write_json(home / "captions/cap.rc2.val.json", rows)
    write_json(home / "image_splits/split.rc2.val.json", {name: paths[name] for name in sorted(named)})
    keyed = json.loads((real / "cirr-train/keywords_in_mods_cirr_train.json").read_text())
    few = dict(list(keyed.items())[:FEW])
    train = {name: f"./train/1/{name}.png" for key in few for name in key.split("+")}
    write_json(home / "image_splits/split.rc2.train.json", train)
    write_json(home / "train.json", few)
    return lambda folder: read_cirr(folder, train_captions=folder / "train.json")


def circo(real: Path, home: Path) -> Reader:
    for split in ("val", "test"):
        rows = json.loads((real / f"circo/annotations/{split}.json").read_text())[:FEW]
        write_json(home / f"annotations/{split}.json", rows)
    numbers = set(map(int, re.findall(r"\d{2,}", "".join(f.read_text() for f in home.rglob("*.json")))))
    numbers |= set(range(20))
    write_json(home / "annotations" / INDEX, {"images": [{"id": number} for number in sorted(numbers)]})
    return read_circo


def picture_list(real: Path, home: Path) -> Reader:
    images = json.loads((real / "fashion-iq/image_splits/split.dress.val.json").read_text())[:FEW]
    file = home / "asin2url.dress.txt"
    file.write_text("".join(f"{image} \thttp://host/{image}.jpg\n" for image in images))
    return lambda folder: read_picture_list(folder / file.name)


ODD_VALUES: list[Any] = [
    *(None, True, -1, 0, 3, 10**30, 1.5, float("nan"), float("inf"), "", " ", "..", "a/b", "\0", "a\nb"),
    *(
        "\ud83d",
        "x" * 300,
        "\u202e",
        [],
        {},
        [[]],
        [None],
        {"": None},
        {"members": [1]},
        {"id": "x", "members": []},
    ),
]

ODD_TEXTS = [
    *(
        b"\xff",
        b"\x00",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\\ud83d",
        b"NaN",
        b"1e999",
        b"9" * 5_000,
        b"[" * 3_000,
    ),
    *(b'{"a":' * 3_000, b'"', b"{", b"}", b"]", b",", b"\n", b'"captions":', b"-", b"\xe9", b"null", b'\\"'),
]


def damaged_bytes(content: bytes, draw: st.DataObject) -> bytes:
    start, end = sorted(draw.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    match draw.draw(st.sampled_from(["cut", "drop", "repeat", "insert", "replace", "flip", "recode"])):
        case "cut":
            return content[:start]
        case "drop":
            return content[:start] + content[end:]
        case "repeat":
            return content[:end] + content[start:]
        case "insert":
            return content[:start] + draw.draw(st.sampled_from(ODD_TEXTS)) + content[start:]
        case "replace":
            return content[:start] + draw.draw(st.sampled_from(ODD_TEXTS)) + content[end:]
        case "flip":
            return content[:start] + bytes([draw.draw(st.integers(0, 255))]) + content[start + 1 :]
        case _:
            encoding = draw.draw(st.sampled_from(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp500"]))
            return content.decode(errors="replace").encode(encoding, errors="replace")


def damaged_json(content: bytes, draw: st.DataObject) -> bytes:
    """One value of the document becomes another, goes, or stands there twice."""
    document = json.loads(content)
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        value = waiting.pop()
        inner = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        places += [(value, key) for key, _ in inner]
        waiting += [part for _, part in inner if isinstance(part, dict | list)]
    holder, key = draw.draw(st.sampled_from(places))
    odd = copy.deepcopy(
        draw.draw(st.sampled_from([*ODD_VALUES, *(holder[key] for holder, key in places[:40])]))
    )
    match draw.draw(st.sampled_from(["change", "remove", "add", "rename", "whole"])):
        case "change":
            holder[key] = odd
        case "remove":
            del holder[key]
        case "add":
            holder.update(more=odd) if isinstance(holder, dict) else holder.append(odd)
        case "rename":
            if isinstance(holder, dict):
                holder[str(odd)] = holder.pop(key)
        case _:
            document = odd
    return json.dumps(document, ensure_ascii=draw.draw(st.booleans())).encode(errors="surrogatepass")


@pytest.mark.parametrize("written", [fashioniq, cirr, circo, picture_list])
def test_a_damaged_file_is_read_or_refused_by_file_and_place(
    real_data: Path, written: Callable[[Path, Path], Reader]
) -> None:
    with TemporaryDirectory() as place:
        home = Path(place)
        read = written(real_data, home)
        files = {file: file.read_bytes() for file in sorted(home.rglob("*")) if file.is_file()}
        read(home)

        @given(st.data())
        @settings(
            max_examples=TRIED // 4,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        def damage(draw: st.DataObject) -> None:
            file = draw.draw(st.sampled_from(sorted(files)))
            content = files[file]
            if file.suffix == ".json" and draw.draw(st.booleans()):
                content = damaged_json(content, draw)
            for _ in range(draw.draw(st.integers(0 if content != files[file] else 1, 2))):
                content = damaged_bytes(content, draw)
            file.write_bytes(content)
            told = ""
            try:
                read(home)
            except BrokenAnnotations as error:
                told = str(error)
            finally:
                file.write_bytes(files[file])
            assert str(home) in told or not told
            assert len(told.encode()) < 2_000

        damage()
