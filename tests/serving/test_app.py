"""The search server over HTTP: what it answers, what it refuses, and that it stays up."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import numpy as np
import polars as pl
import pytest
import requests
import torch
from PIL import Image

from cir_assets.client import Search, SearchRefused
from cir_assets.models.backbone import Backbone
from cir_assets.serving.champions import Champions
from cir_assets.serving.export import NothingExported, export
from cir_assets.serving.searcher import UnknownName
from cir_assets.serving.uploads import open_upload
from cir_assets.store.contracts import SEARCH_EXAMPLES
from tests.serving.conftest import PICTURES, PLACE, Shop, served

TEXT = "is red and has longer sleeves"
EXAMPLES = SEARCH_EXAMPLES.schema


def asked(address: str, **body: Any) -> requests.Response:
    headers = {"Content-Type": "application/json"}
    return requests.post(f"{address}/search", data=json.dumps(body), headers=headers, timeout=30)


def test_a_search_answers_with_scores_the_learnt_weight_and_the_champion(
    served_shop: tuple[Shop, str],
) -> None:
    shop, address = served_shop
    image, target = shop.pictures["image"][0], shop.pictures["image"][40]
    answer = asked(address, dataset="boutique", reference=image, text=TEXT, top=7, target=target)
    assert answer.status_code == 200
    found = answer.json()
    assert [each["rank"] for each in found["results"]] == list(range(1, 8))
    assert found["champion"] == "champion1"
    assert found["pipeline"] == "tiny_clip/small"
    assert 0 < found["text_weight"] < 1
    assert found["text_weight_used"] == found["text_weight"]
    assert 1 <= found["target_rank"] < shop.pictures.height
    assert found["exact"] is True
    categories = dict(shop.pictures.select("image", "category").iter_rows())
    assert all(each["category"] == categories[each["image"]] for each in found["results"])
    picture = requests.get(urljoin(f"{address}/search", found["results"][0]["url"]), timeout=10)
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.content[:2] == b"\xff\xd8"


def test_three_lines_of_python_search_with_a_gallery_picture_and_with_a_file(
    served_shop: tuple[Shop, str],
) -> None:
    shop, address = served_shop
    client = Search(address)
    by_id = client.search("boutique", shop.pictures["image"][3], TEXT, top=200)
    by_file = client.search("boutique", PICTURES / shop.pictures["path"][3], TEXT, top=200)
    # The file is that picture of the gallery, and no more an answer than the picture is.
    assert [picture.image for picture in by_file] == [picture.image for picture in by_id]
    assert len(by_file) == 200
    assert by_id[0].rank == 1
    assert client.datasets()[0]["dataset"] == "boutique"
    with pytest.raises(SearchRefused, match="422: say what should differ"):
        client.search("boutique", shop.pictures["image"][3], " ")


def test_the_gallery_comes_in_stretches_with_examples_to_try(served_shop: tuple[Shop, str]) -> None:
    shop, address = served_shop
    first = requests.get(f"{address}/gallery", {"dataset": "boutique", "limit": "10"}, timeout=10).json()
    second = requests.get(
        f"{address}/gallery", {"dataset": "boutique", "offset": "10", "limit": "5"}, timeout=10
    ).json()
    assert first["total"] == shop.pictures.height
    shown = [each["image"] for each in first["pictures"] + second["pictures"]]
    assert shown == shop.pictures["image"][:15].to_list()
    assert first["examples"][0]["text"] == TEXT
    shirts = requests.get(
        f"{address}/gallery", {"dataset": "boutique", "category": "shirt"}, timeout=10
    ).json()
    assert {each["category"] for each in shirts["pictures"]} == {"shirt"}
    assert (shirts["suggestions"], first["examples"][1]["rank"]) == (["is red", "has long sleeves"], 190)


def test_the_gallery_is_found_by_a_part_of_a_name_and_shuffled_the_same_way_again(
    served_shop: tuple[Shop, str],
) -> None:
    shop, address = served_shop

    def shown(**asked: str | int) -> list[str]:
        answer = requests.get(
            f"{address}/gallery", {"dataset": "boutique", "limit": "300", **asked}, timeout=10
        )
        return [each["image"] for each in answer.json()["pictures"]]

    everything, image = shop.pictures["image"].to_list(), shop.pictures["image"][77]
    assert shown(part=image[1:7].lower()) == [each for each in everything if image[1:7] in each]
    assert shown(part="no such name") == []
    assert shown(shuffle=3) == shown(shuffle=3) != shown(shuffle=4)
    assert sorted(shown(shuffle=3)) == sorted(everything)
    assert shown(shuffle=3)[5:9] == shown(shuffle=3, offset=5, limit=4)


def test_an_original_is_the_very_file_and_nothing_a_browser_would_run(
    served_shop: tuple[Shop, str], odd_shop: Shop
) -> None:
    shop, address = served_shop
    answer = requests.get(f"{address}/originals/boutique/{shop.pictures['image'][0]}", timeout=10)
    assert answer.content == (PICTURES / shop.pictures["path"][0]).read_bytes()
    assert answer.headers["Content-Type"] == "image/png"
    assert is_safe(answer)
    Path(odd_shop.about.picture_root, "0.png").write_bytes(b"<svg><script>alert(1)</script></svg>")
    with served(Champions(odd_shop.storage)) as odd:
        refused = requests.get(f"{odd}/originals/boutique/{quote(NAMES[0])}", timeout=10)
    assert (refused.status_code, refused.json()["error"]) == (
        404,
        "the picture does not open: it is damaged, or no picture",
    )


def test_what_can_be_searched_is_listed_and_described(address: str) -> None:
    [found] = requests.get(f"{address}/datasets", timeout=10).json()
    assert (found["dataset"], found["method"], found["headline"]) == ("boutique", "combiner", 61.5)
    assert found["categories"][:2] == ["dress", "shirt"]
    described = requests.get(f"{address}/openapi.json", timeout=10).json()
    assert {"/search", "/gallery", "/healthz", "/pictures"} <= described["paths"].keys()
    upload = described["paths"]["/pictures"]["post"]
    assert upload["requestBody"]["content"]["application/octet-stream"]["schema"]["format"] == "binary"
    assert {"201", "404", "413", "422"} <= upload["responses"].keys()
    assert "HTTPValidationError" not in str(described)
    assert described["components"]["schemas"]["Refused"]["properties"].keys() == {"error"}
    assert requests.get(f"{address}/healthz", timeout=10).json()["status"] == "ok"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"dataset": "none", "reference": "x", "text": TEXT}, 404, "there are boutique"),
        ({"dataset": "boutique", "pipeline": "a/b", "reference": "x", "text": TEXT}, 404, "tiny_clip/small"),
        ({"dataset": "boutique", "reference": "x", "text": TEXT}, 404, "no picture 'x'"),
        ({"dataset": "boutique", "reference": "upload:0", "text": TEXT}, 404, "send the picture again"),
        ({"dataset": "boutique", "reference": "FIRST", "text": ""}, 422, "say what should differ"),
        ({"dataset": "boutique", "reference": "FIRST", "text": "x" * 5000}, 422, "at most 1,000"),
        ({"dataset": "boutique", "reference": "FIRST", "text": TEXT, "top": 0}, 422, "top: "),
        ({"dataset": "boutique", "reference": "FIRST", "text": TEXT, "pull": 2}, 422, "pull: "),
        ({"dataset": "boutique", "reference": "FIRST", "text": TEXT, "category": "hat"}, 422, "it has dress"),
        (
            {"dataset": "boutique", "reference": "FIRST", "text": "red \ud800"},
            422,
            "text: half a",
        ),
        ({"dataset": "boutique", "reference": "FIRST", "text": TEXT, "\ud800": 1}, 422, "unicode"),
        ({"dataset": "boutique", "reference": "\udfff", "text": TEXT}, 422, "reference: half a"),
        (
            {"dataset": "boutique", "reference": "FIRST", "text": "\u200b\ufeff"},
            422,
            "say what should differ",
        ),
        ({"dataset": "boutique", "reference": "FIRST", "text": TEXT, "pull": float("nan")}, 422, "pull: "),
        (
            {"dataset": "*", "reference": "x", "text": TEXT},
            404,
            "no data set '*' to search; there are boutique",
        ),
        ({"dataset": "boutique"}, 422, "bring a picture, or say in words"),
        ({"dataset": "boutique", "text": TEXT, "unlike": ["W-none"]}, 404, "no picture 'W-none'"),
        ({"dataset": "boutique", "reference": "FIRST", "text": TEXT, "tops": 3}, 422, "tops: Extra"),
    ],
)
def test_a_bad_search_is_refused_in_words(
    served_shop: tuple[Shop, str], body: dict[str, Any], status: int, said: str
) -> None:
    shop, address = served_shop
    if body.get("reference") == "FIRST":
        body = {**body, "reference": shop.pictures["image"][0]}
    answer = asked(address, **body)
    assert answer.status_code == status
    assert said in answer.json()["error"]


def test_a_gallery_has_an_end(address: str) -> None:
    for offset, status in (("99999999999999999999999", 422), ("1000000000", 200)):
        answer = requests.get(f"{address}/gallery", {"dataset": "boutique", "offset": offset}, timeout=10)
        assert answer.status_code == status
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.json()["pictures"] == []


def test_what_nobody_thought_of_is_told_as_the_rest_is(
    served_shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, address = served_shop

    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("cir_assets.serving.searcher.Searcher.search_together", fails)
    answer = asked(address, dataset="boutique", reference=shop.pictures["image"][0], text=TEXT)
    assert answer.status_code == 500
    assert answer.json() == {"error": "something went wrong here; the server's log says more"}
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_body_that_is_no_json_is_refused(address: str) -> None:
    answer = requests.post(
        f"{address}/search", data=b"{", headers={"Content-Type": "application/json"}, timeout=10
    )
    assert answer.status_code == 422
    assert "JSON" in answer.json()["error"]


def saved(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def png(width: int, height: int) -> bytes:
    """A few bytes of which a decoder makes many: one bit a pixel, all alike."""
    return saved(Image.new("1", (width, height)), "PNG")


def ico(inside: bytes) -> bytes:
    """An icon that says it is 16 x 16, with another picture in it."""
    return struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inside), 22) + inside


UPLOADS: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "HTML": (lambda: b"<html></html>", 422, "no picture that opens"),
    "SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "send a JPEG, PNG"),
    "PDF": (lambda: saved(Image.new("RGB", (40, 50)), "PDF"), 422, "this is a PDF, no picture that opens"),
    "EPS": (lambda: saved(Image.new("RGB", (40, 50)), "EPS"), 422, "this is a PostScript program"),
    "ZIP": (lambda: b"PK\3\4" + b"\0" * 40, 422, "this is a ZIP archive"),
    "a bomb": (lambda: png(6_000, 6_000), 422, "36,000,000 pixels, and at most 25,000,000 are taken"),
    "a bomb in an icon": (lambda: ico(png(6_000, 6_000)), 422, "this is an icon"),
    "a line": (lambda: png(2, 50_000), 422, "too narrow to show anything"),
    "half a JPEG": (
        lambda: saved(Image.effect_noise((90, 90), 50), "JPEG")[:900],
        422,
        "did not arrive whole",
    ),
    "nothing": (lambda: b"", 422, "the body is empty"),
    "50 MB": (lambda: b"\0" * 50_000_000, 413, "more than 20 MB"),
}


@pytest.mark.parametrize("what", UPLOADS)
def test_a_bad_upload_is_refused_in_words_and_the_server_stays_up(address: str, what: str) -> None:
    content, status, said = UPLOADS[what]
    answer = requests.post(f"{address}/pictures?dataset=boutique", data=content(), timeout=60)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert "object at 0x" not in answer.text
    assert requests.get(f"{address}/healthz", timeout=10).status_code == 200


@pytest.mark.parametrize(("path", "limit"), [("pictures?dataset=boutique", 20), ("search", 0.1)])
def test_a_body_of_endless_length_is_cut_off(address: str, path: str, limit: float) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(int(3 * limit) + 1):
            yield b" " * 1_000_000

    answer = requests.post(f"{address}/{path}", data=endless(), timeout=60)
    assert answer.status_code == 413
    assert "more than" in answer.json()["error"]
    assert requests.get(f"{address}/healthz", timeout=10).status_code == 200


def test_who_asks_before_sending_too_much_is_refused_at_once(address: str) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /pictures?dataset=boutique HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: 50000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "path",
    [
        "/pictures/boutique/../../../../etc/passwd",
        "/pictures/boutique/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/pictures/boutique//etc/passwd",
        "/static/../app.py",
        "/static/%2e%2e%2fapp.py",
        "/static/search.html",
        "/nothing",
    ],
)
def test_no_file_outside_the_gallery_is_served(address: str, path: str) -> None:
    request = requests.Request("GET", address).prepare()
    request.url = address + path
    with requests.Session() as session:
        answer = session.send(request, timeout=10)
    assert answer.status_code == 404
    assert "error" in answer.json()


def is_safe(answer: requests.Response) -> bool:
    """Whether an answer has the headers that every answer has."""
    policy = answer.headers.get("Content-Security-Policy", "")
    return "default-src 'none'" in policy and answer.headers.get("X-Content-Type-Options") == "nosniff"


def test_every_answer_has_safe_headers(address: str) -> None:
    for path in ("/", "/static/search.js", "/datasets", "/nothing"):
        assert is_safe(requests.get(address + path, timeout=10))


@pytest.mark.parametrize(
    "host", ["evil.example", "", "localhost.evil.example", "127.0.0.1@evil", "[::2]", "é"]
)
def test_a_strange_host_is_refused_as_all_else_is_and_told_which_option_lets_it_in(
    address: str, host: str
) -> None:
    strange = requests.get(f"{address}/datasets", headers={"Host": host.encode()}, timeout=10)
    assert strange.status_code == 400
    assert (
        "start it with --trusted-host NAME, or with NAME in CIR_ASSETS_TRUSTED_HOSTS"
        in strange.json()["error"]
    )
    assert is_safe(strange)
    # What a client says of another host does not let it in.
    forwarded = {"Host": "evil.example", "X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"}
    assert requests.get(f"{address}/datasets", headers=forwarded, timeout=10).status_code == 400


def test_trusted_hosts_are_answered_whatever_their_port_and_case(shop: Shop) -> None:
    hosts = ["localhost", "127.0.0.1", "[::1]", "shop.example", "*.shops.example"]
    expected = {
        "shop.example": 200,
        "Shop.Example:8443": 200,
        "shop.example.": 200,
        "a.shops.example": 200,
        "a.b.shops.example:1": 200,
        "[::1]:8765": 200,
        "shops.example": 400,
        "a.shop.example": 400,
        "notshops.example": 400,
    }
    with served(Champions(shop.storage), hosts) as address:
        answered = {
            host: requests.get(f"{address}/healthz", headers={"Host": host}, timeout=10).status_code
            for host in expected
        }
    assert answered == expected


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/nothing", 404, "there is nothing at /nothing"),
        ("GET", "/datasets/", 404, "there is nothing at /datasets/"),
        ("GET", "/search", 405, "/search does not take GET, but POST"),
        ("DELETE", "/datasets", 405, "/datasets does not take DELETE, but GET"),
        ("OPTIONS", "/pictures", 405, "does not take OPTIONS"),
        ("BREW", "/", 405, "does not take BREW"),
        ("GET", "/gallery", 422, "dataset: Field required"),
        ("GET", "/gallery?dataset=boutique&limit=none", 422, "limit: "),
        ("GET", "/pictures/boutique/none", 404, "no picture 'none'"),
        ("GET", "/pictures/boutique/none%0Anone", 404, "no picture 'none\\nnone'"),
        ("POST", "/search", 422, "body: "),
    ],
)
def test_whatever_is_refused_is_refused_in_one_form(
    address: str, method: str, path: str, status: int, said: str
) -> None:
    answer = requests.request(method, address + path, timeout=10)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json().keys() == {"error"}
    assert said in answer.json()["error"]
    assert is_safe(answer)


@pytest.mark.parametrize(
    "body", [b"[" * 50_000, b"\xff\xfe{", b'{"top": 1e999}', b'{"top": ' + b"9" * 5_000 + b"}", b"null", b"0"]
)
def test_a_body_no_one_can_read_is_refused_in_the_same_form(address: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{address}/search", data=body, headers=headers, timeout=10)
    assert answer.status_code in (400, 422)
    assert answer.json().keys() == {"error"}
    assert is_safe(answer)


def test_head_is_answered_as_get_is_without_the_body(served_shop: tuple[Shop, str]) -> None:
    shop, address = served_shop
    paths = ("/", "/static/search.css", "/datasets", "/healthz", "/gallery?dataset=boutique", "/openapi.json")
    for path in (*paths, f"/pictures/boutique/{shop.pictures['image'][0]}", "/nothing", "/search"):
        whole, head = (requests.request(method, address + path, timeout=10) for method in ("GET", "HEAD"))
        assert head.status_code == whole.status_code
        assert head.content == b""
        for name in ("Content-Type", "Content-Length", "Content-Security-Policy"):
            assert head.headers[name] == whole.headers[name]


NAMES = (
    "two\nlines.png",
    "ends in one\n",
    "100 % #1?&+;.png",
    "a/b/c d.png",
    "é\u0301\u202e😀.png",
    "\t\"<'\\\r\n",
)


@pytest.fixture
def odd_shop(shop: Shop, tmp_path: Path) -> Shop:
    """Pictures with names of every kind, their files beside."""
    shown = tmp_path / "shown"
    shown.mkdir()
    for number in range(len(NAMES)):
        Image.new("RGB", (40, 50), (40 * number, 0, 0)).save(shown / f"{number}.png")
    pictures = shop.pictures.head(len(NAMES)).with_columns(
        image=pl.Series(NAMES), path=pl.Series([f"{number}.png" for number in range(len(NAMES))])
    )
    about = replace(shop.about, picture_root=str(shown), method="sum", models={})
    odd = replace(shop, pictures=pictures, features=shop.features[: len(NAMES)], about=about)
    export(odd.storage / PLACE, "odd", about, odd.features, pictures, pl.DataFrame(schema=EXAMPLES))
    return odd


def test_a_picture_has_a_working_address_whatever_its_name(odd_shop: Shop) -> None:
    with served(Champions(odd_shop.storage)) as address:
        found = requests.get(f"{address}/gallery", {"dataset": "boutique"}, timeout=10).json()["pictures"]
        assert [each["image"] for each in found] == list(NAMES)
        for number, each in enumerate(found):
            answer = requests.get(urljoin(f"{address}/gallery", each["url"]), timeout=10)
            assert answer.status_code == 200, each
            [shade, _, _] = np.asarray(Image.open(io.BytesIO(answer.content))).mean(axis=(0, 1))
            assert shade == pytest.approx(40 * number, abs=3)


def test_what_lies_in_a_pictures_place_holds_no_thread(odd_shop: Shop) -> None:
    """A pipe nobody writes to would be read for ever; a socket, a folder or nothing is told as well."""
    shown = Path(odd_shop.about.picture_root)
    for number in range(4):
        (shown / f"{number}.png").unlink()
    os.mkfifo(shown / "0.png")
    (shown / "1.png").mkdir()
    (shown / "3.png").symlink_to("/dev/zero")
    with served(Champions(odd_shop.storage)) as address:
        urls = [f"{address}/pictures/boutique/{quote(name)}" for name in NAMES]
        with ThreadPoolExecutor(60) as people:
            answers = list(people.map(lambda url: requests.get(url, timeout=10), urls[:4] * 15))
        assert {answer.status_code for answer in answers} == {404}
        assert {answer.json()["error"] for answer in answers} == {
            "where the picture's file should be is no regular file",
            "the picture's file cannot be read now (No such file or directory)",
        }
        assert requests.get(urls[4], timeout=10).status_code == 200


def test_more_searches_than_can_wait_are_refused_and_told_to_come_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir_assets.serving.app.MOST_WAITING", 3)
    go_on, own = threading.Event(), Backbone.features_of_tokens

    def slowly(backbone: Backbone, tokens: list[list[int]], *more: int) -> torch.Tensor:
        assert go_on.wait(30)
        return own(backbone, tokens, *more)

    with served(Champions(shop.storage)) as address, ThreadPoolExecutor(8) as people:
        monkeypatch.setattr(Backbone, "features_of_tokens", slowly)
        ask = partial(asked, address, dataset="boutique", reference=shop.pictures["image"][0], text=TEXT)
        waiting = [people.submit(ask) for _ in range(8)]
        try:
            deadline = time.monotonic() + 20
            while sum(each.done() for each in waiting) < 5:
                assert time.monotonic() < deadline, "searches over the bound were not refused in 20 s"
                time.sleep(0.01)
            assert requests.get(f"{address}/healthz", timeout=10).status_code == 200
        finally:
            go_on.set()
        answers = [each.result() for each in waiting]
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 5
        for refused in (answer for answer in answers if answer.status_code == 503):
            assert "try again in a few seconds" in refused.json()["error"]
            assert refused.headers["Retry-After"] == "5"
            assert is_safe(refused)
        assert ask().status_code == 200


def test_uploads_on_their_way_have_so_much_room_together(
    served_shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, _ = served_shop
    monkeypatch.setattr("cir_assets.serving.app.ON_THEIR_WAY", 45_000_000)
    with served(Champions(shop.storage)) as address:
        host, _, port = address.removeprefix("http://").partition(":")

        def begun(head: bytes) -> socket.socket:
            connection = socket.create_connection((host, int(port)), timeout=20)
            connection.sendall(b"POST /pictures?dataset=boutique HTTP/1.1\r\nHost: localhost\r\n" + head)
            return connection

        def status(connection: socket.socket, rest: bytes) -> int:
            connection.sendall(rest)
            return int(connection.recv(100).split()[1])

        declared, endless = b"Content-Length: 18000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"
        with begun(declared + b"\0" * 1_000), begun(endless + b"1\r\n\0\r\n") as second:
            time.sleep(0.5)
            # The third is read to its end, so that its sender hears why; a small one still finds room.
            with begun(declared) as third:
                assert status(third, b"\0" * 18_000_000) == 503
            with begun(b"Expect: 100-continue\r\n" + declared) as asking:
                assert status(asking, b"") == 503
            small = requests.post(f"{address}/pictures?dataset=boutique", data=png(8, 8), timeout=20)
            assert small.status_code == 201
            assert status(second, b"0\r\n\r\n") == 422
        deadline = time.monotonic() + 20
        while True:
            # The first went away unfinished, and its room is given back.
            with begun(declared) as fourth, begun(declared) as fifth:
                if (status(fourth, b"\0" * 18_000_000), status(fifth, b"\0" * 18_000_000)) == (422, 422):
                    break
            assert time.monotonic() < deadline, "the room was not given back in 20 s"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "'; DROP TABLE rankings; --",
        '"quoted" & {{braces}}',
        "\u202e\0 \ud83d\ude00",
    ],
)
def test_hostile_text_is_only_text(served_shop: tuple[Shop, str], text: str) -> None:
    shop, address = served_shop
    answer = asked(address, dataset="boutique", reference=shop.pictures["image"][0], text=text)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"


def test_fifty_users_at_once_are_all_answered(served_shop: tuple[Shop, str]) -> None:
    shop, address = served_shop

    def user(number: int) -> int:
        answers = [
            asked(address, dataset="boutique", reference=shop.pictures["image"][number + turn], text=TEXT)
            for turn in range(3)
        ]
        return sum(answer.status_code == 200 for answer in answers)

    with ThreadPoolExecutor(50) as users:
        assert list(users.map(user, range(50))) == [3] * 50


def test_searches_do_not_wait_for_uploads(
    served_shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, address = served_shop
    decoded = threading.Event()
    began: list[object] = []

    def slowly(content: bytes) -> Image.Image:
        began.append(content)
        assert decoded.wait(60)
        return open_upload(content)

    monkeypatch.setattr("cir_assets.serving.uploads.open_upload", slowly)

    def bring(number: int) -> int:
        content = png(8, 8) + bytes([number])
        return requests.post(f"{address}/pictures?dataset=boutique", data=content, timeout=60).status_code

    with ThreadPoolExecutor(60) as people:
        try:
            brought = [people.submit(bring, number) for number in range(60)]
            deadline = time.monotonic() + 30
            while len(began) < 2:
                assert time.monotonic() < deadline, "no upload was decoded in 30 s"
                time.sleep(0.01)
            time.sleep(0.3)
            answer = asked(address, dataset="boutique", reference=shop.pictures["image"][0], text=TEXT)
        finally:
            decoded.set()
    assert answer.status_code == 200
    assert {each.result() for each in brought} == {201}


def test_a_new_champion_is_taken_without_a_restart_and_no_request_fails(shop: Shop) -> None:
    statuses: list[int] = []
    champions: set[str] = set()
    stop = threading.Event()
    own = (PICTURES / shop.pictures["path"][9]).read_bytes()
    with served(Champions(shop.storage)) as address:
        [kept, another] = [
            requests.post(f"{address}/pictures?dataset=boutique", data=own + padding, timeout=30).json()
            for padding in (b"", b"\0")
        ]
        assert kept["reference"] != another["reference"]

        def asking(reference: str, *pages: str) -> None:
            while not stop.is_set():
                answer = asked(address, dataset="boutique", reference=reference, text=TEXT)
                statuses.append(answer.status_code)
                champions.add(answer.json().get("champion"))
                for page in pages:
                    statuses.append(requests.get(f"{address}/{page}", timeout=30).status_code)

        def bringing() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                sent = requests.post(
                    f"{address}/pictures?dataset=boutique", data=own + bytes([number % 250] * 2), timeout=30
                )
                answer = asked(address, dataset="boutique", reference=sent.json()["reference"], text=TEXT)
                statuses.extend([sent.status_code - 1, answer.status_code])

        threads = [
            threading.Thread(target=asking, args=(shop.pictures["image"][0], "gallery?dataset=boutique")),
            threading.Thread(target=asking, args=(kept["reference"], kept["url"], another["url"])),
            threading.Thread(target=bringing),
        ]
        for thread in threads:
            thread.start()
        try:
            for seed in (2, 3):
                shop.promote(seed)
                deadline = time.monotonic() + 30
                while f"champion{seed}" not in champions:
                    assert time.monotonic() < deadline, "the new champion was not taken in 30 s"
                    time.sleep(0.1)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        # An upload nobody asked the new champion for yet is encoded by it now.
        answer = asked(address, dataset="boutique", reference=another["reference"], text=TEXT)
        assert answer.json()["champion"] == "champion3"
    assert set(statuses) == {200}
    assert champions == {"champion1", "champion2", "champion3"}


BROKEN = {
    "search.json": b'{"dataset": "boutique"',
    "features.npy": None,
    "norms.npy": None,
    "pictures.parquet": None,
    "examples.parquet": None,
    "suggestions.parquet": None,
}


def test_an_export_that_does_not_load_leaves_the_champion_there_is_and_is_named(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    champions = Champions(shop.storage)
    version = shop.storage / PLACE / "version2"
    shop.promote(2)
    assert sorted(BROKEN) == sorted(each.name for each in version.iterdir())
    whole = {file: (version / file).read_bytes() for file in BROKEN}
    older = json.loads(whole["search.json"])
    older["tau"] = older.pop("target_ratio")
    tests = [(file, content or whole[file][: len(whole[file]) // 2]) for file, content in BROKEN.items()]
    unknown = json.loads(whole["search.json"]) | {"method": "guess"}
    tests += [("search.json", json.dumps(unknown).encode())]
    tests += [("search.json", json.dumps(older).encode()), ("norms.npy", whole["features.npy"])]
    for file, content in tests:
        (version / file).write_bytes(content)
        caplog.clear()
        assert champions.look() == []
        assert champions.look() == []
        [said] = champions.troubles().values()
        assert said.startswith(f"{PLACE}/version2/{file}: ")
        assert said.endswith("materialize the asset boutique/tiny_clip/small/search again")
        assert len(caplog.records) == 1
        (version / file).write_bytes(whole[file])
    assert "dataset" not in said
    assert champions.of("boutique").about.champion == "champion1"
    (version / "search.json").write_text(json.dumps(older))
    shutil.copytree(shop.storage / PLACE, shop.storage / "search/attic/tiny_clip/small")
    champions.look()
    with pytest.raises(
        UnknownName, match=r"no data set 'attic' to search \(search/attic/.* lacks target_ratio"
    ):
        champions.of("attic")
    shutil.rmtree(shop.storage / "search/attic")
    champions.look()
    with served(champions) as address:
        health = requests.get(f"{address}/healthz", timeout=10).json()
        assert health["status"] == "degraded"
        assert "lacks target_ratio and has an unknown tau" in health["troubles"]["boutique/tiny_clip/small"]
        assert str(shop.storage) not in str(health)
        with pytest.raises(NothingExported, match="lacks target_ratio"):
            Champions(shop.storage)
        # Looking goes on: the next whole one is taken.
        shop.promote(3)
        deadline = time.monotonic() + 30
        while requests.get(f"{address}/healthz", timeout=10).json()["status"] != "ok":
            assert time.monotonic() < deadline, "the new champion was not taken in 30 s"
            time.sleep(0.1)
    assert champions.of("boutique").about.champion == "champion3"


@pytest.mark.parametrize("dataset", ["", "*", "/etc", "../search/boutique"])
def test_one_data_set_is_loaded_by_its_very_name(shop: Shop, dataset: str) -> None:
    with pytest.raises(UnknownName, match="there are boutique"):
        Champions(shop.storage, dataset=dataset)


def test_a_picture_that_changed_is_shown_anew(shop: Shop, tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    shown.mkdir()
    about = replace(shop.about, picture_root=str(shown), method="sum", models={})
    first = shop.pictures.head(1).with_columns(path=pl.lit("picture.png"))
    export(shop.storage / PLACE, "moving", about, shop.features[:1], first, pl.DataFrame(schema=EXAMPLES))
    colours = []
    with served(Champions(shop.storage)) as address:
        for moment, colour in enumerate(["red", "blue"], 1):
            Image.new("RGB", (40, 50), colour).save(shown / "picture.png")
            os.utime(shown / "picture.png", (moment, moment))
            answer = requests.get(f"{address}/pictures/boutique/{first['image'][0]}", timeout=10)
            colours.append(
                np.asarray(Image.open(io.BytesIO(answer.content))).mean(axis=(0, 1)).round().tolist()
            )
    assert colours == [[254, 0, 0], [0, 0, 254]]


def test_pictures_are_sent_once(served_shop: tuple[Shop, str]) -> None:
    shop, address = served_shop
    url = f"{address}/pictures/boutique/{shop.pictures['image'][0]}"
    first = requests.get(url, timeout=10)
    again = requests.get(url, headers={"If-None-Match": first.headers["ETag"]}, timeout=10)
    assert (again.status_code, again.content) == (304, b"")


def test_the_page_asks_nothing_of_the_net() -> None:
    page = Path(__file__).parents[2] / "cir_assets" / "serving" / "page"
    for file in page.iterdir():
        assert "http" not in file.read_text(encoding="utf-8").replace("https://github.com", "")
