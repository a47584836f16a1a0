"""Three lines from Python: ``Search("http://127.0.0.1:8765").search("wardrobe", "W123", "is red")``."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests


class SearchRefused(ValueError):
    """The server's own words on why it did not search."""


@dataclass(frozen=True)
class FoundPicture:
    """A picture found; ``rank`` from 1, ``score`` a cosine."""

    rank: int
    image: str
    score: float
    category: str | None


class Search:
    """A search server that runs somewhere, at its own address or below a path of another: ``https://shop.example/cir``.

    One on this machine is asked directly, whatever proxy the environment names for the world outside.
    """

    def __init__(self, address: str = "http://127.0.0.1:8765", *, timeout: float = 30.0) -> None:
        self.address = address.rstrip("/")
        self.timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = not _is_here(urlsplit(self.address).hostname or "")

    def datasets(self) -> list[dict[str, Any]]:
        """What can be searched."""
        answer: list[dict[str, Any]] = self._asked("GET", "/datasets")
        return answer

    def search(
        self, dataset: str, reference: str | Path | None, text: str | None, **options: Any
    ) -> list[FoundPicture]:
        """The pictures most like the reference with the change applied, best first.

        Args:
            dataset: its name.
            reference: id of a gallery picture, or the path of a picture file; None to search by words alone.
            text: what should differ; None for pictures like the reference.
            options: pipeline, top, category, pull, target, copies, unlike, as ``POST /search`` takes them.

        Raises:
            SearchRefused: when the server refuses, in its words.
            requests.ConnectionError: when there is no server.
        """
        found = self.answer(dataset, reference, text, **options)["results"]
        return [FoundPicture(each["rank"], each["image"], each["score"], each["category"]) for each in found]

    def answer(
        self, dataset: str, reference: str | Path | None, text: str | None, **options: Any
    ) -> dict[str, Any]:
        """The whole answer of ``POST /search``, by the names its description has; arguments as for ``search``."""
        if isinstance(reference, Path):
            asked = {"dataset": dataset, "pipeline": options.get("pipeline")}
            sent = self._asked("POST", "/pictures", params=asked, data=reference.read_bytes())
            reference = sent["reference"]
        body = {"dataset": dataset, "reference": reference, "text": text, **options}
        found: dict[str, Any] = self._asked("POST", "/search", json=body)
        return found

    def _asked(self, method: str, path: str, **content: Any) -> Any:
        answer = self._session.request(method, self.address + path, timeout=self.timeout, **content)
        if answer.status_code >= 400:
            try:
                said = answer.json()["error"]
            except (ValueError, KeyError):
                said = answer.text[:500]
            raise SearchRefused(f"{answer.status_code}: {said}")
        return answer.json()


def _is_here(host: str) -> bool:
    """Whether a host is this very machine's loopback."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")
