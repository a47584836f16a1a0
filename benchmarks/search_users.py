"""Many users of a search server at once, cheap enough to leave the cores to the server they ask."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Asked:
    """What users met.

    Attributes:
        took: seconds of each answer.
        statuses: of each answer.
        seconds: all together.
        answers: each answer's body, as it was read.
    """

    took: list[float]
    statuses: list[int]
    seconds: float
    answers: list[bytes]


def ask(address: str, bodies: Sequence[dict[str, object]], users: int) -> Asked:
    """Send every body by so many users, each with a connection of its own and its next as soon as it is answered."""
    return asyncio.run(_ask(address, [_request(address, body) for body in bodies], users))


def _request(address: str, body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST /search HTTP/1.1\r\nHost: {urlsplit(address).netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def _ask(address: str, requests: list[bytes], users: int) -> Asked:
    waiting = iter(requests)
    took: list[float] = []
    statuses: list[int] = []
    answers: list[bytes] = []
    place = urlsplit(address)

    async def user() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        for request in waiting:
            began = time.perf_counter()
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next(line for line in head.splitlines() if line.startswith("content-length:"))
            answer = await reader.readexactly(int(length.partition(":")[2]))
            answers.append(answer)
            took.append(time.perf_counter() - began)
            statuses.append(int(head.split(maxsplit=2)[1]))
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(user() for _ in range(users)))
    return Asked(took, statuses, time.perf_counter() - began, answers)
