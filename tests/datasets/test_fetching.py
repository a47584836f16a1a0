"""Fetching is polite, resumes, keeps only whole pictures, and remembers dead links."""

from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cir_assets.datasets import fetching
from cir_assets.datasets.fetching import (
    FetchFailed,
    FetchReport,
    PictureAddress,
    Politeness,
    fetch_file,
    fetch_pictures,
    read_picture_list,
)
from cir_assets.datasets.tables import BrokenAnnotations
from cir_assets.engines.progress import Progress
from tests.file_server import FileServer, Request, drips, first, gives, resumable, serving, silence
from tests.random_pictures import picture_bytes

QUICK = Politeness(
    requests_per_second=1_000, attempts=3, backoff_seconds=0.01, timeout_seconds=0.5, deadline_seconds=1.0
)
PICTURE = picture_bytes("a")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as scripted:
        yield scripted


def fetch(
    server: FileServer, folder: Path, *images: str, politeness: Politeness = QUICK, again: bool = False
) -> FetchReport:
    wanted = [PictureAddress(image, server.at(f"/{image}")) for image in images]
    return fetch_pictures(wanted, folder / "images", politeness=politeness, ask_dead_links_again=again)


def test_pictures_are_kept_byte_for_byte_and_named_by_their_content(
    server: FileServer, tmp_path: Path
) -> None:
    png = picture_bytes("b", ".png")
    server.answers = {"/a": gives(PICTURE), "/b": gives(png)}
    report = fetch(server, tmp_path, "a", "b")
    assert (report.fetched, report.bytes) == (2, len(PICTURE) + len(png))
    assert (tmp_path / "images" / "a.jpg").read_bytes() == PICTURE
    assert (tmp_path / "images" / "b.png").read_bytes() == png
    assert server.requests[0].headers["user-agent"].startswith("cir_assets/")


def test_what_is_there_is_not_asked_for(server: FileServer, tmp_path: Path) -> None:
    server.answers = {"/a": gives(PICTURE), "/b": gives(PICTURE)}
    fetch(server, tmp_path, "a")
    report = fetch(server, tmp_path, "a", "b")
    assert (report.fetched, report.already_there) == (1, 1)
    assert len(server.asked("/a")) == 1


def test_a_dead_link_is_asked_once_and_remembered(server: FileServer, tmp_path: Path) -> None:
    assert "answered 404" in fetch(server, tmp_path, "gone").dead["gone"]
    assert "answered 404" in fetch(server, tmp_path, "gone").dead["gone"]
    assert len(server.asked("/gone")) == 1
    server.answers["/gone"] = gives(PICTURE)
    assert fetch(server, tmp_path, "gone", again=True).fetched == 1


def test_a_memory_torn_by_a_kill_is_read_up_to_there(server: FileServer, tmp_path: Path) -> None:
    fetch(server, tmp_path, "gone")
    memory = tmp_path / "dead_links.jsonl"
    memory.write_text(memory.read_text() + '{"image": "half", "addr')
    assert set(fetch(server, tmp_path, "gone").dead) == {"gone"}
    assert len(server.asked("/gone")) == 1


def test_a_failing_server_is_asked_again_and_then_next_time(server: FileServer, tmp_path: Path) -> None:
    server.answers = {"/a": first(gives(b"", 500), gives(b"", 503), gives(PICTURE)), "/b": gives(b"", 500)}
    report = fetch(server, tmp_path, "a", "b")
    assert report.fetched == 1
    assert "answered 500 (3 attempts)" in report.failed["b"]
    assert len(server.asked("/b")) == 3
    fetch(server, tmp_path, "b")
    assert len(server.asked("/b")) == 6
    assert not (tmp_path / "dead_links.jsonl").exists()


def test_half_a_file_is_asked_for_again_and_never_kept(server: FileServer, tmp_path: Path) -> None:
    half = gives(PICTURE[: len(PICTURE) // 2], Content_Length=str(len(PICTURE)))
    server.answers = {"/a": first(half, gives(PICTURE)), "/b": half}
    report = fetch(server, tmp_path, "a", "b")
    assert (tmp_path / "images" / "a.jpg").read_bytes() == PICTURE
    assert f"broke off after {len(PICTURE) // 2:,} of {len(PICTURE)}" in report.failed["b"]
    assert [file.name for file in (tmp_path / "images").iterdir()] == ["a.jpg"]


def test_what_is_no_whole_picture_is_dead_and_told_by_its_kind(server: FileServer, tmp_path: Path) -> None:
    server.answers = {
        "/page": gives(b"<html>sorry</html>", Content_Type="text/html"),
        "/cut": gives(PICTURE[:-200]),
        "/empty": gives(b""),
    }
    report = fetch(server, tmp_path, "page", "cut", "empty")
    assert "gave text/html of 18 bytes where a picture was expected" in report.dead["page"]
    assert set(report.dead) == {"page", "cut", "empty"}
    assert not list((tmp_path / "images").iterdir())


@pytest.mark.parametrize(("answer", "said"), [("silence", "did not answer"), ("drip", "not through")])
def test_a_server_that_never_answers_holds_nobody(
    server: FileServer, tmp_path: Path, answer: str, said: str
) -> None:
    server.answers = {"/a": silence(5) if answer == "silence" else drips(PICTURE, 0.1)}
    began = time.monotonic()
    report = fetch(server, tmp_path, "a", politeness=replace(QUICK, attempts=1, deadline_seconds=0.3))
    assert said in report.failed["a"]
    assert time.monotonic() - began < 3


def test_too_many_bytes_or_pixels_are_refused(server: FileServer, tmp_path: Path) -> None:
    server.answers = {"/a": gives(PICTURE)}
    assert (
        "more than 100 bytes"
        in fetch(server, tmp_path, "a", politeness=replace(QUICK, largest_bytes=100)).dead["a"]
    )
    wanted = [PictureAddress("b", server.at("/a"))]
    few = fetch_pictures(wanted, tmp_path / "few", politeness=QUICK, pixel_limit=10)
    assert "pixels, more than 10" in few.dead["b"]


def test_a_server_is_given_the_time_it_asks_for(server: FileServer, tmp_path: Path) -> None:
    server.answers = {"/a": first(gives(b"", 429, Retry_After="1"), gives(PICTURE))}
    assert fetch(server, tmp_path, "a").fetched == 1
    before, after = server.asked("/a")
    assert after.at - before.at >= 0.95


def test_no_more_is_asked_a_second_than_agreed(server: FileServer, tmp_path: Path) -> None:
    images = [f"p{number}" for number in range(20)]
    server.answers = {f"/{image}": gives(PICTURE) for image in images}
    fetch(server, tmp_path, *images, politeness=replace(QUICK, requests_per_second=25))
    times = sorted(request.at for request in server.requests)
    assert times[-1] - times[0] >= 0.7


def test_a_host_that_is_down_is_left_alone(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FAILURES_IN_A_ROW", 5)
    images = [f"p{number}" for number in range(60)]
    server.answers = {f"/{image}": gives(b"", 503) for image in images} | {"/good": gives(PICTURE)}
    with pytest.raises(FetchFailed, match=r"failed 5 times in a row.* 1 pictures were fetched and kept"):
        fetch(server, tmp_path, "good", *images, politeness=replace(QUICK, attempts=1, connections=2))
    assert len(server.requests) < 20


def test_leftovers_of_a_killed_fetch_are_cleared(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / ".a.part").write_bytes(PICTURE[:10])
    server.answers = {"/a": gives(PICTURE)}
    fetch(server, tmp_path, "a")
    assert [file.name for file in (tmp_path / "images").iterdir()] == ["a.jpg"]


def test_a_picture_of_another_checksum_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.answers = {"/a": gives(PICTURE)}
    wrong = [PictureAddress("a", server.at("/a"), sha256="0" * 64)]
    assert "expected 0000" in fetch_pictures(wrong, tmp_path / "images", politeness=QUICK).dead["a"]


@pytest.mark.parametrize("image", ["../a", "a/b", "a\\b", "..", ""])
def test_an_id_with_a_path_is_refused_before_anything_is_asked(
    server: FileServer, tmp_path: Path, image: str
) -> None:
    with pytest.raises(BrokenAnnotations):
        fetch_pictures([PictureAddress(image, server.at("/a"))], tmp_path / "images", politeness=QUICK)
    assert server.requests == []


def test_an_archive_is_resumed_where_it_broke_off(server: FileServer, tmp_path: Path) -> None:
    body = bytes(range(256)) * 2_000
    server.answers = {"/z": first(resumable(body, '"v1"', break_after=100_000), resumable(body, '"v1"'))}
    file = fetch_file(server.at("/z"), tmp_path / "z.zip", politeness=QUICK)
    assert file.read_bytes() == body
    assert server.requests[1].headers["range"] == "bytes=100000-"
    assert [each.name for each in tmp_path.iterdir()] == ["z.zip"]


def test_an_archive_that_changed_meanwhile_is_fetched_from_its_beginning(
    server: FileServer, tmp_path: Path
) -> None:
    old, new = b"old" * 50_000, b"new" * 60_000
    server.answers = {"/z": first(resumable(old, '"v1"', break_after=90_000), resumable(new, '"v2"'))}
    assert fetch_file(server.at("/z"), tmp_path / "z", politeness=QUICK).read_bytes() == new


def test_a_checksum_that_differs_leaves_nothing_behind(server: FileServer, tmp_path: Path) -> None:
    server.answers = {"/a": gives(b"changed", ETag='"v1"')}
    with pytest.raises(FetchFailed, match=r"expected ffff.*correct the checksum in the YAML"):
        fetch_file(server.at("/a"), tmp_path / "a", sha256="f" * 64, politeness=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_the_right_checksum_is_not_asked_for(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"here")
    fetch_file(server.at("/a"), tmp_path / "a", sha256=hashlib.sha256(b"here").hexdigest())
    assert server.requests == []


def test_local_files_are_copied_and_other_kinds_of_address_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"here")
    assert fetch_file(str(tmp_path / "a"), tmp_path / "b").read_bytes() == b"here"
    assert fetch_file((tmp_path / "a").as_uri(), tmp_path / "c").read_bytes() == b"here"
    with pytest.raises(ValueError, match="expected an http or https address"):
        fetch_file("ftp://example.org/a", tmp_path / "d")
    with pytest.raises(FetchFailed, match="is not there; correct the address"):
        fetch_file(str(tmp_path / "none"), tmp_path / "d")


def test_a_picture_list_holds_ids_and_addresses(tmp_path: Path) -> None:
    file = tmp_path / "asin2url.dress.txt"
    file.write_text("B00A \thttp://host/a.jpg\n0123456789 \thttps://host/b.jpg\n")
    assert read_picture_list(file) == {"B00A": "http://host/a.jpg", "0123456789": "https://host/b.jpg"}
    file.write_text("B00A \thttp://host/a.jpg\nB00B\n")
    with pytest.raises(BrokenAnnotations, match=r"asin2url\.dress\.txt, line 2: expected a picture's id"):
        read_picture_list(file)
    file.write_text("../B00A \thttp://host/a.jpg\n")
    with pytest.raises(BrokenAnnotations, match="holds a path"):
        read_picture_list(file)


def test_a_list_that_is_absent_or_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "asin2url.dress.txt"
    with pytest.raises(BrokenAnnotations, match=r"asin2url\.dress\.txt cannot be read"):
        read_picture_list(file)
    file.write_bytes(b"B00A \t http://host/\xff.jpg\n")
    with pytest.raises(BrokenAnnotations, match=r"asin2url\.dress\.txt, byte 19: no UTF-8"):
        read_picture_list(file)


@pytest.mark.parametrize("address", ["http://a..b/x.jpg", "http://[oops/x.jpg", "http://host:99999/x.jpg"])
def test_one_address_that_is_none_is_dead_and_stops_nobody(
    server: FileServer, tmp_path: Path, address: str
) -> None:
    server.answers = {"/a": gives(PICTURE), "/r": gives(b"", 302, Location=address)}
    wanted = [
        PictureAddress("bad", address),
        PictureAddress("redirected", server.at("/r")),
        PictureAddress("a", server.at("/a")),
    ]
    report = fetch_pictures(wanted, tmp_path / "images", politeness=QUICK)
    assert report.fetched == 1
    assert set(report.dead) == {"bad", "redirected"}


def test_a_picture_named_twice_is_asked_for_once_and_two_addresses_are_refused(
    server: FileServer, tmp_path: Path
) -> None:
    server.answers = {"/a": gives(PICTURE)}
    assert fetch(server, tmp_path, *["a"] * 8).fetched == 1
    assert len(server.requests) == 1
    two = [PictureAddress("b", server.at("/a")), PictureAddress("b", server.at("/other"))]
    with pytest.raises(ValueError, match="picture b has two addresses"):
        fetch_pictures(two, tmp_path / "images", politeness=QUICK)


def test_what_is_remembered_after_a_torn_line_is_not_lost_with_it(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "dead_links.jsonl").write_text('{"image": "half", "addr')
    fetch(server, tmp_path, "gone")
    fetch(server, tmp_path, "gone")
    assert len(server.asked("/gone")) == 1


def test_a_range_other_than_the_one_asked_for_is_never_appended(server: FileServer, tmp_path: Path) -> None:
    body = bytes(range(256)) * 1_000

    def whole_as_range(handler: BaseHTTPRequestHandler, request: Request) -> None:
        span = f"bytes 0-{len(body) - 1}/{len(body)}"
        gives(body, 206, ETag='"v1"', Content_Range=span)(handler, request)

    server.answers = {"/z": first(resumable(body, '"v1"', break_after=1_000), whole_as_range, gives(body))}
    assert fetch_file(server.at("/z"), tmp_path / "z", politeness=QUICK).read_bytes() == body


def test_a_kill_while_beginning_anew_never_mixes_two_versions(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = b"new" * 2_000
    (tmp_path / ".z.part").write_bytes(b"old" * 500)
    (tmp_path / ".z.part.validator").write_text('"v1"')
    server.answers = {"/z": resumable(new, '"v2"')}
    opened = Path.open

    def killed(self: Path, mode: str = "r", *args: Any, **named: Any) -> Any:
        if self.name == ".z.part" and "b" in mode:
            raise KeyboardInterrupt
        return opened(self, mode, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch_file(server.at("/z"), tmp_path / "z", politeness=QUICK)
    assert fetch_file(server.at("/z"), tmp_path / "z", politeness=QUICK).read_bytes() == new


def test_files_are_kept_as_sent_and_shown_in_bytes(server: FileServer, tmp_path: Path) -> None:
    packed = gzip.compress(b"words" * 1_000)
    server.answers = {"/a.gz": gives(packed, Content_Encoding="gzip")}
    shown: list[Progress] = []

    def progress(description: str, total: int, unit: str) -> Progress:
        shown.append(Progress(description, total, unit, log=lambda line: None))
        return shown[-1]

    digest = hashlib.sha256(packed).hexdigest().upper()
    fetch_file(server.at("/a.gz"), tmp_path / "a.gz", sha256=digest, politeness=QUICK, progress=progress)
    assert (tmp_path / "a.gz").read_bytes() == packed
    assert (shown[0].done, shown[0].total, shown[0].unit) == (len(packed), len(packed), "bytes")
