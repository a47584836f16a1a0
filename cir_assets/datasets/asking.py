"""Asking servers for files over HTTP: politely, within bounds, and never led into one's own network."""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

import requests
from urllib3.exceptions import HTTPError

from cir_assets.datasets.connections import AnswersInTime

BLOCK = 1 << 16
LONGEST_WAIT = 60.0
"""Seconds waited at most before one more attempt, whatever the server asks for."""

MOST_REDIRECTS = 5

Given = TypeVar("Given")


class Verdict(Enum):
    """What a failure says, and of what."""

    PASSING = auto()
    """Of the moment: silence, 500, a broken transfer. Worth another attempt."""
    REFUSED = auto()
    """Of who asks and from where: 403, a proxy, a redirect that is not followed. Asked again next time."""
    GONE = auto()
    """Of the address: 404 and 410, if the server itself said it."""
    NO_FILE = auto()
    """Of the bytes, if the server itself gave them: no picture, too large, another checksum."""
    NO_ADDRESS = auto()
    """Of the text: it is no address."""


REFUSALS = {401: Verdict.REFUSED, 403: Verdict.REFUSED, 451: Verdict.REFUSED}
VERDICTS: Mapping[int, Verdict] = {404: Verdict.GONE, 410: Verdict.GONE, **REFUSALS}
"""What a status says; any other is of the moment."""


@dataclass(frozen=True)
class Politeness:
    """How servers are asked.

    ``timeout_seconds`` is for connecting and for silence, ``deadline_seconds`` and ``largest_bytes`` for one whole
    picture. Redirects are not followed from public addresses into one's own network, but to ``trusted_hosts``.
    """

    connections: int = 8
    requests_per_second: float = 20.0
    attempts: int = 4
    backoff_seconds: float = 0.5
    timeout_seconds: float = 20.0
    deadline_seconds: float = 120.0
    largest_bytes: int = 50_000_000
    trusted_hosts: tuple[str, ...] = ()


POLITE = Politeness()


class FetchFailed(OSError):
    """Something could not be fetched; the message names the address, what happened and what to do.

    Attributes:
        verdict: what the failure says, and of what.
        answer: what came instead, in a word or two, for counting.
        wait: seconds the server asks to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        verdict: Verdict = Verdict.PASSING,
        answer: str = "no answer",
        wait: float | None = None,
    ) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.answer = answer
        self.wait = wait


def polite_session() -> requests.Session:
    """A session that says who asks, and waits for no answer for ever."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, AnswersInTime())
    session.headers["User-Agent"] = f"cir_assets/{version('cir-assets')}"
    return session


def local_path(address: str) -> Path | None:
    """The path an address stands for, or None for http and https.

    Raises:
        ValueError: for any other kind of address.
    """
    if address.lower().startswith(("http://", "https://")):
        return None
    parts = urlsplit(address)
    if parts.scheme in ("http", "https"):
        return None
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    if parts.scheme and len(parts.scheme) > 1:
        raise ValueError(f"{address!r}: expected an http or https address, or a local path")
    return Path(address).expanduser().absolute()


def host_of(address: str) -> str:
    """Host and port of an address; of one that is none, the text itself."""
    try:
        return urlsplit(address).netloc
    except ValueError:
        return address


def in_own_network(address: str) -> bool:
    """Tell whether an address leads to this machine, its network, or any other place that is not public."""
    try:
        found = socket.getaddrinfo(urlsplit(address).hostname, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        # A name nobody here knows leads nowhere from here; a proxy may know it, and answers for it.
        return False
    places = (ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found)
    return any(not place.is_global or place.is_multicast for place in places)


def without_objects(text: str) -> str:
    """A library's message without the addresses of its objects, which differ each time and say nothing."""
    return re.sub(r"<([\w.]+) object at 0x[0-9a-fA-F]+>", r"\1", text)


def ask_repeatedly(politeness: Politeness, ask: Callable[[], Given]) -> Given:
    """Ask until it works, a failure that does not pass, or the last attempt; waits double, as servers may ask for more.

    Raises:
        FetchFailed: as the last attempt did.
    """
    for attempt in range(1, politeness.attempts + 1):
        try:
            return ask()
        except FetchFailed as error:
            if error.verdict is not Verdict.PASSING:
                raise
            if attempt == politeness.attempts:
                raise FetchFailed(f"{error} ({attempt} attempts)", answer=error.answer) from error
            wait = politeness.backoff_seconds * 2 ** (attempt - 1) if error.wait is None else error.wait
            time.sleep(min(wait, LONGEST_WAIT))
    raise AssertionError("attempts is at least one")


def ask_once(
    session: requests.Session, address: str, politeness: Politeness, headers: Mapping[str, str] | None = None
) -> Any:
    """A server's answer of status 200 (with ``headers`` also 206 and 416), its body not read yet.

    Redirects are followed here, a few of them: requests would read the body of each to its end, however long.

    Raises:
        FetchFailed: for anything else.
    """
    place = address
    for _ in range(MOST_REDIRECTS + 1):
        response = _one_answer(session, address, place, politeness, headers)
        onward = session.get_redirect_target(response)
        if onward is None:
            break
        response.close()
        place = _followed(address, place, onward, politeness)
    else:
        raise FetchFailed(
            f"{address} is redirected more than {MOST_REDIRECTS} times, last to {place}",
            verdict=Verdict.REFUSED,
            answer="too many redirects",
        )
    if response.status_code == 200 or (headers and response.status_code in (206, 416)):
        return response
    response.close()
    status = response.status_code
    raise FetchFailed(
        f"{address} answered {status}" + (f" (at {place})" if host_of(place) != host_of(address) else ""),
        verdict=VERDICTS.get(status, Verdict.PASSING),
        answer=str(status),
        wait=_retry_after(response.headers.get("Retry-After")),
    )


def _one_answer(
    session: requests.Session,
    address: str,
    place: str,
    politeness: Politeness,
    headers: Mapping[str, str] | None,
) -> Any:
    try:
        return session.get(
            place, timeout=politeness.timeout_seconds, stream=True, headers=headers, allow_redirects=False
        )
    except requests.Timeout as error:
        raise FetchFailed(
            f"{address} did not answer within {politeness.timeout_seconds:g} s", answer="silence"
        ) from error
    except requests.ConnectionError as error:
        raise FetchFailed(
            f"{address} could not be reached ({without_objects(str(error))})", answer=type(error).__name__
        ) from error
    # Hosts that are none pass requests by as bare ValueErrors of urllib and urllib3.
    except (requests.RequestException, ValueError) as error:
        raise FetchFailed(
            f"{address} cannot be asked ({without_objects(str(error))})",
            verdict=Verdict.NO_ADDRESS if place == address else Verdict.NO_FILE,
            answer="no address",
        ) from error


def _followed(address: str, place: str, onward: str, politeness: Politeness) -> str:
    """Where a redirect leads, if that may be asked."""
    try:
        target = urljoin(place, onward)
        trusted = urlsplit(target).hostname in politeness.trusted_hosts
    except ValueError as error:
        raise FetchFailed(
            f"{address} cannot be asked (redirected to {onward:.200}: {error})",
            verdict=Verdict.NO_FILE,
            answer="no address",
        ) from error
    if not trusted and in_own_network(target) and not in_own_network(address):
        raise FetchFailed(
            f"{address} is redirected to {target:.200}, which lies in this machine's own network; it was not asked. "
            f"If that is meant, add {urlsplit(target).hostname} to trusted_hosts",
            verdict=Verdict.REFUSED,
            answer="a redirect into one's own network",
        )
    return target


def _retry_after(told: str | None) -> float | None:
    if told is None:
        return None
    if told.strip().isdecimal():
        return float(told)
    try:
        return max(0.0, (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def announced_bytes(response: Any) -> int:
    """How long an answer says it is; 0 where it does not say, or says no number."""
    told = str(response.headers.get("Content-Length", ""))
    return int(told) if told.isdecimal() and len(told) < 19 else 0


def body_of(
    response: Any, address: str, *, largest: int, until: float, unpacked: bool, held: int = 0
) -> Iterator[bytes]:
    """The blocks of an answer.

    Args:
        response: of ``asked``.
        address: for messages.
        largest: bytes it may have, with those held already.
        until: monotonic time it must be through at.
        unpacked: whether a content encoding is undone; else the bytes are as sent.
        held: bytes of the file that are there already.

    Raises:
        FetchFailed: it is longer, later, or breaks off.
    """
    too_long = FetchFailed(
        f"{address} gives more than {largest:,} bytes", verdict=Verdict.NO_FILE, answer="too many bytes"
    )
    if held + announced_bytes(response) > largest:
        raise too_long
    received = 0
    try:
        # read1 gives what is there: waiting for whole blocks would let a dripping server hold us for ever.
        while block := response.raw.read1(BLOCK, decode_content=unpacked):
            received += len(block)
            if held + received > largest:
                raise too_long
            if time.monotonic() > until:
                raise FetchFailed(f"{address} was not through in time", answer="too slow")
            yield block
    except (HTTPError, OSError) as error:
        if isinstance(error, FetchFailed):
            raise
        expected = response.headers.get("Content-Length", "an unknown number of")
        raise FetchFailed(
            f"{address} broke off after {received:,} of {expected} bytes ({without_objects(str(error))})",
            answer="broken off",
        ) from error
