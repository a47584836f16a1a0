"""Fetching is polite, resumes, keeps what is read later, and remembers what addresses say, never what a net says."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image

from cir_assets.datasets import fetching
from cir_assets.datasets.asking import FetchFailed, Politeness
from cir_assets.datasets.fetching import (
    FetchReport,
    PictureAddress,
    fetch_file,
    fetch_pictures,
    read_picture_list,
)
from cir_assets.datasets.tables import BrokenAnnotations
from cir_assets.engines.progress import Progress
from tests.file_server import Answer, FileServer, Request, drips, first, gives, resumable, serving, silence
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
    report = fetch(server, tmp_path, "a", politeness=replace(QUICK, attempts=1, deadline_seconds=0.3))
    assert said in report.failed["a"]


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


# What is of the moment: nothing of it is remembered.

SIGN_IN = gives(b"<html>Please sign in</html>", Content_Type="text/html")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (SIGN_IN, r"10 x text/html that is no picture"),
        (gives(b"", 403), "10 x 403"),
        (gives(b"", 404), "10 x 404"),
        (gives(b"", 407), "10 x 407"),
        (gives(b"<html>", 511), "10 x 511"),
        (gives(b"", 302, Location="/loop"), "10 x too many redirects"),
        (gives(PICTURE), "gave one and the same picture of .* bytes for 10 addresses"),
    ],
)
def test_one_answer_to_everything_stops_the_fetch_and_is_forgotten(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer, told: str
) -> None:
    monkeypatch.setattr(fetching, "FAILURES_IN_A_ROW", 10)
    images = [f"p{number}" for number in range(60)]
    server.answers = {f"/{image}": answer for image in images} | {"/loop": answer}
    with pytest.raises(FetchFailed, match=told) as stopped:
        fetch(server, tmp_path, *images, politeness=replace(QUICK, attempts=1, connections=2))
    assert server.address.removeprefix("http://") in str(stopped.value)
    assert not list((tmp_path / "images").iterdir())
    server.answers = {f"/{image}": gives(picture_bytes(image)) for image in images}
    assert fetch(server, tmp_path, *images).fetched == 60


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_nobody_knows_and_a_broken_tls_stop_the_fetch_too(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setattr(fetching, "FAILURES_IN_A_ROW", 3)
    host = "nowhere.invalid" if scheme == "http" else server.address.removeprefix("http://")
    wanted = [PictureAddress(f"p{number}", f"{scheme}://{host}/{number}") for number in range(9)]
    with pytest.raises(FetchFailed, match=rf"^{host} failed . times in a row") as stopped:
        fetch_pictures(wanted, tmp_path / "images", politeness=replace(QUICK, attempts=1))
    assert "object at 0x" not in str(stopped.value)
    assert not (tmp_path / "dead_links.jsonl").exists()


def test_a_net_that_lets_no_host_answer_stops_the_fetch(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "HOSTS_IN_A_ROW", 10)
    # Each host answers 404 once: of a single one that is believed.
    port = server.address.rpartition(":")[2]
    wanted = [PictureAddress(f"p{n}", f"http://127.0.0.{n}:{port}/gone") for n in range(1, 40)]
    with pytest.raises(FetchFailed, match=r"^every host that was asked failed 1\d times in a row"):
        fetch_pictures(wanted, tmp_path / "images", politeness=replace(QUICK, attempts=1))
    assert not (tmp_path / "dead_links.jsonl").exists()


def test_pages_from_a_host_that_gives_no_picture_are_asked_for_again(
    server: FileServer, tmp_path: Path
) -> None:
    images = [f"p{number}" for number in range(5)]
    server.answers = {f"/{image}": SIGN_IN for image in images}
    told = fetch(server, tmp_path, *images).dead
    assert set(told) == set(images)
    assert all(reason.endswith("asked again next time") for reason in told.values())
    server.answers = {f"/{image}": gives(picture_bytes(image)) for image in images}
    assert fetch(server, tmp_path, *images).fetched == 5


def test_a_404_beside_a_page_is_remembered_and_the_page_is_not(server: FileServer, tmp_path: Path) -> None:
    server.answers = {"/page": SIGN_IN}
    for _ in range(2):
        assert set(fetch(server, tmp_path, "gone", "page").dead) == {"gone", "page"}
    assert (len(server.asked("/gone")), len(server.asked("/page"))) == (1, 2)


def test_a_page_between_pictures_of_the_same_host_is_its_own_word_and_remembered(
    server: FileServer, tmp_path: Path
) -> None:
    server.answers = {"/page": SIGN_IN, "/a": gives(PICTURE), "/cut": gives(PICTURE[:-200])}
    one_by_one = replace(QUICK, connections=1)
    fetch(server, tmp_path, "page", "a", "cut", politeness=one_by_one)
    assert set(fetch(server, tmp_path, "page", "a", "cut", politeness=one_by_one).dead) == {"page", "cut"}
    assert len(server.asked("/page")) == len(server.asked("/cut")) == 1


def test_a_session_that_ends_midway_buries_nothing(server: FileServer, tmp_path: Path) -> None:
    late = [f"p{number}" for number in range(20)]
    server.answers = {"/a": first(gives(PICTURE), SIGN_IN)} | {f"/{image}": SIGN_IN for image in late}
    assert len(fetch(server, tmp_path, "a", *late, politeness=replace(QUICK, connections=1)).dead) == 20
    server.answers = {f"/{image}": gives(picture_bytes(image)) for image in late}
    report = fetch(server, tmp_path, "a", *late)
    assert (report.fetched, report.already_there) == (20, 1)


def test_a_forbidden_picture_among_others_is_told_and_asked_for_again(
    server: FileServer, tmp_path: Path
) -> None:
    server.answers = {"/a": gives(PICTURE), "/b": gives(b"", 403), "/c": gives(picture_bytes("c"))}
    report = fetch(server, tmp_path, "a", "b", "c")
    assert (report.fetched, report.dead) == (2, {})
    assert report.failed["b"].endswith("answered 403; asked again next time")
    assert len(server.asked("/b")) == 1
    server.answers["/b"] = gives(picture_bytes("b"))
    assert fetch(server, tmp_path, "a", "b", "c").fetched == 1


def test_many_dead_links_in_a_row_are_believed_of_a_host_that_still_gives_pictures(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FAILURES_IN_A_ROW", 5)
    server.answers = {"/good": gives(PICTURE)}
    gone = [f"p{number}" for number in range(33)]
    for _ in range(2):
        assert (
            len(fetch(server, tmp_path, "good", *gone, politeness=replace(QUICK, connections=1)).dead) == 33
        )
    assert {len(server.asked(f"/{image}")) for image in gone} == {1}


def test_what_an_earlier_version_buried_is_asked_for_once_more(server: FileServer, tmp_path: Path) -> None:
    reasons = {
        "page": "gave text/html of 18 bytes where a picture was expected (cannot identify image file <_io.BytesIO>)",
        "forbidden": "answered 403",
        "gone": "answered 404",
    }
    rows = [
        {"image": image, "address": server.at(f"/{image}"), "reason": f"{server.at(f'/{image}')} {reason}"}
        for image, reason in reasons.items()
    ]
    (tmp_path / "dead_links.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    server.answers = {f"/{image}": gives(picture_bytes(image)) for image in reasons}
    report = fetch(server, tmp_path, *reasons)
    assert (report.fetched, set(report.dead)) == (2, {"gone"})


def test_a_verdict_holds_only_under_the_settings_it_was_given_by(server: FileServer, tmp_path: Path) -> None:
    server.answers = {"/a": gives(PICTURE), "/b": gives(encoded("PNG"))}
    strict = replace(QUICK, connections=1, largest_bytes=len(PICTURE) - 1)
    assert set(fetch(server, tmp_path, "a", "b", politeness=strict).dead) == {"a"}
    assert set(fetch(server, tmp_path, "a", "b", politeness=strict).dead) == {"a"}
    assert len(server.asked("/a")) == 1
    assert fetch(server, tmp_path, "a", "b").fetched == 1


# Only what is read later is kept.


def encoded(name: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((16, 16)).save(stream, name, **options)
    return stream.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("name", ["EPS", "ICO", "TGA", "PPM", "JPEG2000"])
def test_a_format_that_is_not_read_later_is_not_kept_whatever_it_is_called(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def never(*args: object, **named: object) -> None:
        raise AssertionError("a stranger's PostScript is not run")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", never)
    body = EPS if name == "EPS" else encoded(name)
    server.answers = {"/a": gives(body, Content_Type="image/jpeg")}
    reason = fetch(server, tmp_path, "a").dead["a"]
    assert "gave image/jpeg of" in reason
    assert "none of JPEG, PNG, WEBP" in reason
    assert not list((tmp_path / "images").iterdir())


@pytest.mark.parametrize(("name", "body"), [("a.jpg", EPS), ("a.png", b""), ("a.jpeg", b"<html>")])
def test_a_file_that_does_not_open_is_asked_for_again_and_replaced(
    server: FileServer, tmp_path: Path, name: str, body: bytes
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / name).write_bytes(body)
    server.answers = {"/a": gives(PICTURE)}
    assert fetch(server, tmp_path, "a").already_there == 0
    assert [file.name for file in (tmp_path / "images").iterdir()] == ["a.jpg"]
    assert (tmp_path / "images" / "a.jpg").read_bytes() == PICTURE


def test_a_picture_under_another_name_or_type_is_kept_and_told(server: FileServer, tmp_path: Path) -> None:
    server.answers = {
        "/webp": gives(encoded("WEBP"), Content_Type="image/webp"),
        "/png": gives(picture_bytes("b", ".png"), Content_Type="image/jpeg"),
        "/jpg": gives(PICTURE, Content_Type="image/jpeg; charset=binary"),
        "/untold": gives(picture_bytes("c"), Content_Type="application/octet-stream"),
    }
    report = fetch(server, tmp_path, "webp", "png", "jpg", "untold")
    assert report.fetched == 4
    assert report.misnamed == {"webp": "WEBP, kept as .jpg", "png": "PNG, sent as image/jpeg"}


@given(body=st.binary(max_size=200), status=st.sampled_from([200, 403, 404, 500]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_whatever_comes_is_told_without_addresses_of_objects_and_nothing_is_half_written(
    body: bytes, status: int
) -> None:
    with serving() as server, TemporaryDirectory() as place:
        server.answers = {"/a": gives(body, status)}
        report = fetch(server, Path(place), "a", politeness=replace(QUICK, attempts=1))
        assert report.fetched == 0
        [reason] = [*report.dead.values(), *report.failed.values()]
        assert "0x" not in reason
        assert server.at("/a") in reason
        assert not list((Path(place) / "images").iterdir())


# Bounds: sizes, times, and a disk that is full.


def full(*args: object, **named: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_stops_the_fetch_of_pictures_in_one_sentence(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [f"p{number}" for number in range(30)]
    server.answers = {f"/{image}": gives(picture_bytes(image)) for image in images}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(FetchFailed, match=r"cannot be written \(No space left on device\); make room"):
            fetch(server, tmp_path, *images, politeness=replace(QUICK, connections=2))
    assert len(server.requests) < 10
    assert not list((tmp_path / "images").iterdir())
    assert fetch(server, tmp_path, *images).fetched == 30


def test_a_full_disk_leaves_nothing_of_a_file(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = {"/a": gives(b"words" * 1_000)}
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FetchFailed, match="No space left on device"):
        fetch_file(server.at("/a"), tmp_path / "a", politeness=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_file_larger_than_the_disk_is_refused_before_it_is_begun(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=999)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    server.answers = {"/a": gives(b"x" * 1_000)}
    with pytest.raises(FetchFailed, match=r"has 1,000 bytes more, and .* has 999 free; make room"):
        fetch_file(server.at("/a"), tmp_path / "a", politeness=QUICK)
    assert list(tmp_path.iterdir()) == []


def endless(handler: BaseHTTPRequestHandler, request: Request) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100_000):
        handler.wfile.write(b"x" * 10_000)


@pytest.mark.parametrize("told", [True, False])
def test_a_file_longer_than_allowed_is_refused_and_leaves_nothing(
    server: FileServer, tmp_path: Path, told: bool
) -> None:
    server.answers = {"/a": gives(b"x" * 100_000) if told else endless}
    with pytest.raises(FetchFailed, match="gives more than 50,000 bytes"):
        fetch_file(server.at("/a"), tmp_path / "a", largest_bytes=50_000, politeness=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_drips_ends_at_its_deadline_and_is_resumed_later(
    server: FileServer, tmp_path: Path
) -> None:
    server.answers = {"/a": drips(b"x" * 1_000, 0.05)}
    with pytest.raises(FetchFailed, match="was not through in time"):
        fetch_file(server.at("/a"), tmp_path / "a", deadline_seconds=0.3, politeness=QUICK)
    assert not (tmp_path / "a").exists()
