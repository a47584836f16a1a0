"""The search server over HTTP: what it answers, what it refuses, and that it stays up."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from cir_assets.client import Search, SearchRefused
from cir_assets.serving.champions import Champions
from tests.serving.conftest import PICTURES, PLACE, Shop, served

TEXT = "is red and has longer sleeves"


def asked(address: str, **body: Any) -> requests.Response:
    return requests.post(f"{address}/search", json=body, timeout=30)


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
    picture = requests.get(address + found["results"][0]["url"], timeout=10)
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.content[:2] == b"\xff\xd8"


def test_three_lines_of_python_search_with_a_gallery_picture_and_with_a_file(
    served_shop: tuple[Shop, str],
) -> None:
    shop, address = served_shop
    client = Search(address)
    by_id = client.search("boutique", shop.pictures["image"][3], TEXT, top=200)
    by_file = client.search("boutique", PICTURES / shop.pictures["path"][3], TEXT, top=200)
    # The file is a picture of the gallery, which it finds too.
    others = [picture.image for picture in by_file if picture.image != shop.pictures["image"][3]]
    assert others == [picture.image for picture in by_id][: len(others)]
    assert len(others) == 199
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


def test_what_can_be_searched_is_listed_and_described(address: str) -> None:
    [found] = requests.get(f"{address}/datasets", timeout=10).json()
    assert (found["dataset"], found["method"], found["headline"]) == ("boutique", "combiner", 61.5)
    assert found["categories"][:2] == ["dress", "shirt"]
    described = requests.get(f"{address}/openapi.json", timeout=10).json()
    assert {"/search", "/gallery", "/healthz", "/pictures"} <= described["paths"].keys()
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
        ({"dataset": "boutique", "text": TEXT}, 422, "reference: Field required"),
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


def test_a_body_that_is_no_json_is_refused(address: str) -> None:
    answer = requests.post(
        f"{address}/search", data=b"{", headers={"Content-Type": "application/json"}, timeout=10
    )
    assert answer.status_code == 422
    assert "JSON" in answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"<html></html>", 422, "no picture that opens"),
        (b"", 422, "the body is empty"),
        (b"\0" * 50_000_000, 413, "more than 20 MB"),
    ],
    ids=["HTML", "nothing", "50 MB"],
)
def test_a_bad_upload_is_refused_and_the_server_stays_up(
    address: str, content: bytes, status: int, said: str
) -> None:
    try:
        answer = requests.post(f"{address}/pictures?dataset=boutique", data=content, timeout=60)
    except requests.ConnectionError:
        # It need not read 50 MB to its end to refuse them.
        assert status == 413
    else:
        assert answer.status_code == status
        assert said in answer.json()["error"]
    assert requests.get(f"{address}/healthz", timeout=10).status_code == 200


def test_an_upload_of_endless_length_is_cut_off(address: str) -> None:
    def endless() -> Any:
        for _ in range(60):
            yield b"\0" * 1_000_000

    try:
        answer = requests.post(f"{address}/pictures?dataset=boutique", data=endless(), timeout=60)
        assert answer.status_code == 413
    except requests.ConnectionError:
        pass
    assert requests.get(f"{address}/healthz", timeout=10).status_code == 200


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


def test_every_answer_has_safe_headers_and_a_strange_host_is_refused(address: str) -> None:
    for path in ("/", "/static/search.js", "/datasets", "/nothing"):
        headers = requests.get(address + path, timeout=10).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    strange = requests.get(f"{address}/datasets", headers={"Host": "evil.example"}, timeout=10)
    assert strange.status_code == 400


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


def test_a_new_champion_is_taken_without_a_restart_and_no_request_fails(shop: Shop) -> None:
    statuses: list[int] = []
    champions: set[str] = set()
    stop = threading.Event()
    with served(Champions(shop.storage)) as address:

        def asking() -> None:
            while not stop.is_set():
                answer = asked(address, dataset="boutique", reference=shop.pictures["image"][0], text=TEXT)
                statuses.append(answer.status_code)
                champions.add(answer.json()["champion"])

        threads = [threading.Thread(target=asking) for _ in range(4)]
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
    assert set(statuses) == {200}
    assert champions == {"champion1", "champion2", "champion3"}


def test_an_export_that_does_not_load_leaves_the_champion_there_is(shop: Shop) -> None:
    champions = Champions(shop.storage)
    shop.promote(2)
    (shop.storage / PLACE / "version2" / "features.npy").write_bytes(b"half")
    assert champions.look() == []
    assert champions.of("boutique").about.champion == "champion1"
    shop.promote(3)
    assert champions.look() == ["boutique/tiny_clip/small"]


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
