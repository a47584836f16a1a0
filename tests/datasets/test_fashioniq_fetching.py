"""FashionIQ is fetched from whatever addresses it has: checked, resumed, and told what is missing."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from cir_assets.datasets.asking import FetchFailed
from cir_assets.datasets.fashioniq import FashionIQSource
from cir_assets.datasets.fashioniq_fetching import ANNOTATIONS, FashionIQFetch, fetch_annotations
from cir_assets.datasets.fetching import FetchReport
from tests.file_server import FileServer, gives, serving
from tests.random_pictures import picture_bytes
from tests.trial_project import TrialProject, metadata_of

QUICK = {"requests_per_second": 1_000, "attempts": 2, "backoff_seconds": 0.01, "timeout_seconds": 0.5}
SPLITS = ("train", "val", "test")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as scripted:
        yield scripted


def ids(split: str) -> list[str]:
    return [f"B00{split.upper():0<5}{number:02d}" for number in range(6)]


def annotation_files() -> dict[str, bytes]:
    """Annotations of one category with six pictures and three triplets a split."""
    files: dict[str, bytes] = {}
    for split in SPLITS:
        images = ids(split)
        rows: list[dict[str, Any]] = [
            {"candidate": images[i], "target": images[i + 1], "captions": ["is red", "has no belt"]}
            for i in range(3)
        ]
        if split == "test":
            rows = [{key: value for key, value in row.items() if key != "target"} for row in rows]
        files[f"image_splits/split.dress.{split}.json"] = json.dumps(images).encode()
        files[f"captions/cap.dress.{split}.json"] = json.dumps(rows).encode()
    return files


EVERY = [image for split in SPLITS for image in ids(split)]


@pytest.fixture
def annotated(server: FileServer) -> FileServer:
    server.answers = {f"/fiq/{name}": gives(body) for name, body in annotation_files().items()}
    return server


def addresses(annotations: str, **ways: Any) -> FashionIQFetch:
    return FashionIQFetch.model_validate(
        {"annotations": annotations, "categories": ["dress"], **QUICK, **ways}
    )


def fetched(server: FileServer, folder: Path, **ways: Any) -> FetchReport:
    fetch = addresses(server.at("/fiq"), check_annotations=False, **ways)
    report = FashionIQSource(kind="fashioniq", fetch=fetch).prepare(folder)
    assert report is not None
    return report


def test_pictures_come_from_lists_of_addresses(annotated: FileServer, tmp_path: Path) -> None:
    lines = "".join(f"{image} \t{annotated.at(f'/shop/{image}.jpg')}\n" for image in EVERY[:-1])
    annotated.answers["/lists/asin2url.dress.txt"] = gives(lines.encode())
    for image in EVERY[1:]:
        annotated.answers[f"/shop/{image}.jpg"] = gives(picture_bytes(image))
    report = fetched(annotated, tmp_path, picture_lists=annotated.at("/lists/"))
    assert report.fetched == len(EVERY) - 2
    assert set(report.dead) == {EVERY[0]}
    again = fetched(annotated, tmp_path, picture_lists=annotated.at("/lists/"))
    assert (again.fetched, again.already_there) == (0, len(EVERY) - 2)


def test_a_list_from_elsewhere_may_not_name_places_in_ones_own_network(
    annotated: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = "http://93.184.215.14/lists"
    listed = "".join(f"{image} \thttp://10.1.2.3/{image}.jpg\n" for image in EVERY)
    annotated.answers[f"{lists}/asin2url.dress.txt"] = gives(listed.encode())
    for image in EVERY:
        annotated.answers[f"http://10.1.2.3/{image}.jpg"] = gives(picture_bytes(image))
    # As a company's proxy does, the server answers for every host but itself.
    monkeypatch.setenv("http_proxy", annotated.address)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(FetchFailed, match=r"names 10\.1\.2\.3, which lies in this machine's own network"):
        fetched(annotated, tmp_path, picture_lists=lists)
    assert not any("10.1.2.3" in request.path for request in annotated.requests)
    assert fetched(annotated, tmp_path, picture_lists=lists, trusted_hosts=["10.1.2.3"]).fetched == len(EVERY)


def test_hosts_that_are_trusted_change_no_version_as_they_change_nothing_that_is_fetched() -> None:
    plain, trusting = (
        addresses("x", picture_lists="y"),
        addresses("x", picture_lists="y", trusted_hosts=["z"]),
    )
    assert plain.model_dump() == trusting.model_dump()


def test_pictures_come_from_one_pattern(annotated: FileServer, tmp_path: Path) -> None:
    for image in EVERY:
        annotated.answers[f"/p/{image}"] = gives(picture_bytes(image))
    report = fetched(annotated, tmp_path, picture_address=annotated.at("/p/{image}"))
    assert report.fetched == len(EVERY)


def test_pictures_come_from_an_archive_whatever_its_folders_and_once(
    annotated: FileServer, tmp_path: Path
) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for image in EVERY[:-1]:
            archive.writestr(f"some/where/{image}.jpg", picture_bytes(image))
        archive.writestr("some/where/B00NOBODY0.jpg", picture_bytes("x"))
    annotated.answers["/all.zip"] = gives(stream.getvalue())
    archive_address = annotated.at("/all.zip")
    assert fetched(annotated, tmp_path, picture_archive=archive_address).fetched == len(EVERY) - 1
    assert sorted(file.stem for file in (tmp_path / "images").iterdir()) == sorted(EVERY[:-1])
    fetched(annotated, tmp_path, picture_archive=archive_address)
    assert len(annotated.asked("/all.zip")) == 1


def test_annotations_come_from_an_archive_or_a_local_folder(server: FileServer, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, body in annotation_files().items():
            archive.writestr(f"fashion-iq-master/{name}", body)
            (tmp_path / "local" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "local" / name).write_bytes(body)
    server.answers = {"/master.zip": gives(stream.getvalue())}
    for number, base in enumerate((server.at("/master.zip"), str(tmp_path / "local"))):
        folder = tmp_path / str(number)
        fetch_annotations(addresses(base, check_annotations=False, picture_lists="unused"), folder)
        for name, body in annotation_files().items():
            assert (folder / name).read_bytes() == body


def test_the_published_annotations_are_known_by_their_checksums(
    server: FileServer, real_data: Path, tmp_path: Path
) -> None:
    source = real_data / "fashion-iq"
    server.answers = {f"/fiq/{name}": gives((source / name).read_bytes()) for name in ANNOTATIONS}
    every = FashionIQFetch.model_validate(
        {"annotations": server.at("/fiq"), "picture_lists": "unused", **QUICK}
    )
    fetch_annotations(every, tmp_path)
    assert len(list(tmp_path.rglob("*.json"))) == 18
    asked = len(server.requests)
    fetch_annotations(every, tmp_path)
    assert len(server.requests) == asked
    name = "captions/cap.shirt.val.json"
    server.answers[f"/fiq/{name}"] = gives((source / name).read_bytes() + b"\n")
    (tmp_path / name).unlink()
    with pytest.raises(FetchFailed, match=r"cap\.shirt\.val\.json has SHA-256 .* expected"):
        fetch_annotations(every, tmp_path)


def test_a_missing_annotation_file_is_told_by_its_address(annotated: FileServer, tmp_path: Path) -> None:
    del annotated.answers["/fiq/captions/cap.dress.val.json"]
    with pytest.raises(FetchFailed, match=r"/fiq/captions/cap\.dress\.val\.json answered 404"):
        fetched(annotated, tmp_path, picture_address=annotated.at("/p/{image}"))


def test_the_root_asset_fetches_and_says_what_it_could_not_have(
    annotated: FileServer, project: TrialProject, instance: dg.DagsterInstance
) -> None:
    for image in EVERY[2:]:
        annotated.answers[f"/p/{image}"] = gives(picture_bytes(image))
    annotated.answers[f"/p/{EVERY[1]}"] = gives(b"", 503)
    fetch = {
        "annotations": annotated.at("/fiq"),
        "check_annotations": False,
        "categories": ["dress"],
        "picture_address": annotated.at("/p/{image}"),
        "attempts": 2,
        "backoff_seconds": 0.01,
    }
    project.write_dataset("fetched", source={"kind": "fashioniq", "fetch": fetch})
    tables = ('key:"fetched/raw"', 'key:"fetched/images"', 'key:"fetched/triplets"')
    result = project.materialize(instance, *tables)
    assert result.success
    raw = metadata_of(result, "fetched/raw")
    assert (raw["fetched"], raw["dead_links"], raw["failed_this_time"]) == (len(EVERY) - 2, 1, 1)
    folder = project.storage.tables("fetched")
    issues = pl.read_parquet(folder / "data_issues" / "raw.parquet")
    assert dict(issues.select("subject", "kind").iter_rows()) == {
        EVERY[0]: "dead_link",
        EVERY[1]: "fetch_failed",
    }
    missing = pl.read_parquet(folder / "missing_pictures.parquet")
    assert missing.select("image", "triplets_lost").rows() == [(EVERY[0], 1), (EVERY[1], 2)]
    # The server is well again: what failed is fetched, what is dead is not asked for.
    annotated.answers[f"/p/{EVERY[1]}"] = gives(picture_bytes(EVERY[1]))
    again = metadata_of(project.materialize(instance, *tables), "fetched/raw")
    assert (again["fetched"], again["already_there"], again["dead_links"]) == (1, len(EVERY) - 2, 1)
    assert len(annotated.asked(f"/p/{EVERY[0]}")) == 1
    assert pl.read_parquet(folder / "missing_pictures.parquet")["image"].to_list() == [EVERY[0]]
