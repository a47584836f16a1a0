"""Fetching files and pictures over HTTP: many at once, politely, resumed, checked, dead links remembered."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
from PIL import Image
from urllib3.exceptions import HTTPError

from cir_assets.datasets.annotation_files import picture_id
from cir_assets.datasets.tables import BrokenAnnotations
from cir_assets.engines.progress import ProgressFactory, terminal_progress

BLOCK = 1 << 16
LONGEST_WAIT = 60.0
"""Seconds waited at most before one more attempt, whatever the server asks for."""

FAILURES_IN_A_ROW = 50
"""Passing failures of one host after which it is left alone: it is down, or does not want us."""

DEAD = frozenset({401, 403, 404, 410, 451})
"""Statuses that will not pass by asking again."""

ENDINGS = (".jpg", ".jpeg", ".png")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Politeness:
    """How servers are asked.

    ``timeout_seconds`` is for connecting and for silence, ``deadline_seconds`` for one whole picture.
    """

    connections: int = 8
    requests_per_second: float = 20.0
    attempts: int = 4
    backoff_seconds: float = 0.5
    timeout_seconds: float = 20.0
    deadline_seconds: float = 120.0
    largest_bytes: int = 50_000_000


POLITE = Politeness()


class FetchFailed(OSError):
    """Something could not be fetched; the message names the address, what happened and what to do.

    ``permanent`` tells whether asking again is of no use.
    """

    def __init__(self, message: str, *, permanent: bool, wait: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.wait = wait


@dataclass(frozen=True)
class PictureAddress:
    """Where one picture is to be had; ``sha256`` in hexadecimal where it is known."""

    image: str
    address: str
    sha256: str | None = None


@dataclass(frozen=True)
class FetchReport:
    """What a fetch of pictures gave; ``dead`` and ``failed`` map a picture to the reason."""

    fetched: int
    already_there: int
    dead: Mapping[str, str]
    failed: Mapping[str, str]
    bytes: int
    seconds: float


def fetch_file(
    address: str,
    destination: Path,
    *,
    sha256: str | None = None,
    politeness: Politeness = POLITE,
    progress: ProgressFactory = terminal_progress,
) -> Path:
    """Fetch one file, an archive or annotations, to ``destination``; written beside and renamed.

    What a broken transfer left is resumed if the server still has the same file (its ETag or date). A local path
    or a file:// address is copied.

    Args:
        address: http or https, or a local path.
        destination: a file that is there already and has the checksum is left alone.
        sha256: in hexadecimal; None accepts what comes.
        politeness: attempts, waits and timeouts.
        progress: told in bytes, where the server says how much there is.

    Raises:
        FetchFailed: the server does not give it, or gives something else than the checksum asks for.
        ValueError: for an address of another kind.
    """
    expected = None if sha256 is None else sha256.lower()
    if expected is not None and destination.is_file() and _digest(destination) == expected:
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(f".{destination.name}.part")
    local = local_path(address)
    if local is not None:
        if not local.is_file():
            raise FetchFailed(f"{local} is not there; correct the address in the YAML", permanent=True)
        shutil.copyfile(local, part)
    else:
        with requests.Session() as session:
            session.headers.update({"User-Agent": user_agent(), "Accept-Encoding": "identity"})
            _repeated(
                politeness, lambda: _transfer(session, address, part, politeness, progress, destination.name)
            )
    if expected is not None and (found := _digest(part)) != expected:
        _discard(part)
        raise FetchFailed(
            f"{address} has SHA-256 {found}, expected {expected}: it changed there, or the transfer was damaged. Fetch "
            "again; if it did change, correct the checksum in the YAML",
            permanent=True,
        )
    part.replace(destination)
    _validator(part).unlink(missing_ok=True)
    return destination


def fetch_pictures(
    wanted: Sequence[PictureAddress],
    folder: Path,
    *,
    politeness: Politeness = POLITE,
    ask_dead_links_again: bool = False,
    pixel_limit: int = 100_000_000,
    progress: ProgressFactory = terminal_progress,
) -> FetchReport:
    """Fetch pictures that are not there yet into ``folder``, many at once.

    A picture is kept, byte for byte, when it decodes whole; it is named by its id and, by its content, .png or
    .jpg. Addresses that will never give one are remembered in ``dead_links.jsonl`` beside the folder and not asked
    again; failures that may pass are told, and asked again the next time.

    Args:
        wanted: each id with one address; named twice with the same one, it is fetched once.
        folder: made if need be.
        politeness: how servers are asked.
        ask_dead_links_again: ask remembered addresses too.
        pixel_limit: pictures of more pixels are refused by their header.
        progress: where it is told how far the fetch is.

    Raises:
        FetchFailed: a host failed ``FAILURES_IN_A_ROW`` times in a row; what was fetched is kept.
        ValueError: an id holds a path or has two addresses, or an address is neither http nor https.
    """
    started = time.monotonic()
    once: dict[str, PictureAddress] = {}
    for each in wanted:
        if once.setdefault(each.image, each) != each:
            raise ValueError(
                f"picture {each.image} has two addresses, {once[each.image].address} and {each.address}; "
                "keep one of them"
            )
        picture_id(each.image, "pictures to fetch")
        if local_path(each.address) is not None:
            raise ValueError(f"picture {each.image}: {each.address!r} is no http or https address")
    wanted = list(once.values())
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.part"):
        leftover.unlink()
    there = {file.stem for file in folder.iterdir() if file.suffix.lower() in ENDINGS}
    memory = folder.parent / "dead_links.jsonl"
    known = {} if ask_dead_links_again else _dead_links(memory)
    dead = {
        each.image: known[each.image, each.address] for each in wanted if (each.image, each.address) in known
    }
    asked = [each for each in wanted if each.image not in there and each.image not in dead]
    crowd = _Crowd(folder, memory, politeness, pixel_limit)
    with (
        progress("fetch pictures", len(asked), "pictures") as shown,
        ThreadPoolExecutor(politeness.connections) as pool,
    ):
        for _ in pool.map(crowd.take, asked):
            shown.advance(1, f"{len(crowd.dead)} dead, {len(crowd.failed)} failed")
    if crowd.stopped is not None:
        raise FetchFailed(
            f"{crowd.stopped} failed {FAILURES_IN_A_ROW} times in a row, last: {crowd.last_failure}; it was left "
            f"alone. {crowd.fetched:,} pictures were fetched and kept; materialize again later to go on from there",
            permanent=False,
        )
    return FetchReport(
        fetched=crowd.fetched,
        already_there=sum(each.image in there for each in wanted),
        dead={**dead, **crowd.dead},
        failed=crowd.failed,
        bytes=crowd.bytes,
        seconds=time.monotonic() - started,
    )


def read_picture_list(file: Path) -> dict[str, str]:
    """Id -> address of a file ``asin2url.<category>.txt``: an id, blanks, an address on each line.

    Raises:
        BrokenAnnotations: naming the line.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BrokenAnnotations(
            f"{file}, byte {error.start}: no UTF-8 text ({error.reason}); fetch the file again"
        ) from error
    except OSError as error:
        raise BrokenAnnotations(f"{file} cannot be read ({error.strerror}); put the list there") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        cells = line.split()
        if not cells:
            continue
        if len(cells) != 2 or not cells[1].startswith(("http://", "https://")):
            raise BrokenAnnotations(
                f"{file}, line {number}: expected a picture's id and its address, found {line:.80}; fetch it again"
            )
        found[picture_id(cells[0], f"{file}, line {number}")] = cells[1]
    return found


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


def user_agent() -> str:
    """How servers are told who asks."""
    return f"cir_assets/{version('cir-assets')}"


class _Crowd:
    """The threads that fetch pictures, and what they found so far."""

    def __init__(self, folder: Path, memory: Path, politeness: Politeness, pixel_limit: int) -> None:
        self.folder, self.memory, self.politeness, self.pixel_limit = folder, memory, politeness, pixel_limit
        self.dead: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.fetched = self.bytes = 0
        self.stopped: str | None = None
        self.last_failure = ""
        self._in_a_row: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._next = time.monotonic()
        self._own = threading.local()
        Image.MAX_IMAGE_PIXELS = None
        _end_torn_line(memory)

    def take(self, wanted: PictureAddress) -> None:
        """Fetch one picture and note what came of it."""
        host = _host(wanted.address)
        if self.stopped is not None:
            return
        try:
            size = _repeated(self.politeness, lambda: self._fetch(wanted))
        except FetchFailed as error:
            with self._lock:
                if error.permanent:
                    self.dead[wanted.image] = str(error)
                    self._in_a_row[host] = 0
                    self._remember(wanted, str(error))
                else:
                    self.failed[wanted.image] = self.last_failure = str(error)
                    self._in_a_row[host] += 1
                    if self._in_a_row[host] >= FAILURES_IN_A_ROW:
                        self.stopped = host
            return
        with self._lock:
            self._in_a_row[host] = 0
            self.fetched += 1
            self.bytes += size

    def _wait_for_turn(self) -> None:
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + 1 / self.politeness.requests_per_second
        time.sleep(max(0.0, turn - time.monotonic()))

    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
            self._own.session.headers["User-Agent"] = user_agent()
            self._own.session.max_redirects = 5
        session: requests.Session = self._own.session
        return session

    def _fetch(self, wanted: PictureAddress) -> int:
        self._wait_for_turn()
        with closing(_asked(self._session(), wanted.address, self.politeness)) as response:
            body = b"".join(_body(response, wanted.address, self.politeness, self.politeness.largest_bytes))
            kind = response.headers.get("Content-Type", "no type")
        found = hashlib.sha256(body).hexdigest()
        if wanted.sha256 is not None and found != wanted.sha256.lower():
            raise FetchFailed(
                f"{wanted.address} has SHA-256 {found}, expected {wanted.sha256}", permanent=True
            )
        ending = self._ending(body, wanted.address, kind)
        part = self.folder / f".{wanted.image}.part"
        part.write_bytes(body)
        part.replace(self.folder / f"{wanted.image}{ending}")
        return len(body)

    def _ending(self, body: bytes, address: str, kind: str) -> str:
        """What a picture's file name ends in.

        Raises:
            FetchFailed: it is no picture, too large, or does not decode whole.
        """
        try:
            with Image.open(io.BytesIO(body)) as picture:
                width, height = picture.size
                if width * height > self.pixel_limit:
                    raise FetchFailed(
                        f"{address} is a picture of {width} x {height} pixels, more than {self.pixel_limit:,}",
                        permanent=True,
                    )
                picture.load()
                return ".png" if picture.format == "PNG" else ".jpg"
        except (FetchFailed, MemoryError):
            raise
        except Exception as error:
            raise FetchFailed(
                f"{address} gave {kind} of {len(body):,} bytes where a picture was expected ({error})",
                permanent=True,
            ) from error

    def _remember(self, wanted: PictureAddress, reason: str) -> None:
        line = {"image": wanted.image, "address": wanted.address, "reason": reason}
        line["when"] = datetime.now(UTC).isoformat(timespec="seconds")
        with self.memory.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def _end_torn_line(memory: Path) -> None:
    """End a line that a killed run left unfinished, or the next one would be lost with it."""
    text = memory.read_bytes() if memory.is_file() else b""
    if text and not text.endswith(b"\n"):
        with memory.open("a", encoding="utf-8") as stream:
            stream.write("\n")


def _host(address: str) -> str:
    try:
        return urlsplit(address).netloc
    except ValueError:
        return address


def _dead_links(memory: Path) -> dict[tuple[str, str], str]:
    """(id, address) -> reason; a line that a killed run left unfinished is passed over."""
    found: dict[tuple[str, str], str] = {}
    for line in memory.read_text(encoding="utf-8").splitlines() if memory.is_file() else ():
        try:
            row = json.loads(line)
            found[row["image"], row["address"]] = row["reason"]
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    return found


def _repeated(politeness: Politeness, ask: Callable[[], Answer]) -> Answer:
    """Ask until it works, a permanent failure, or the last attempt; waits double, as servers may ask for more."""
    for attempt in range(1, politeness.attempts + 1):
        try:
            return ask()
        except FetchFailed as error:
            if error.permanent:
                raise
            if attempt == politeness.attempts:
                raise FetchFailed(f"{error} ({attempt} attempts)", permanent=False) from error
            wait = politeness.backoff_seconds * 2 ** (attempt - 1) if error.wait is None else error.wait
            time.sleep(min(wait, LONGEST_WAIT))
    raise AssertionError("attempts is at least one")


def _asked(
    session: requests.Session, address: str, politeness: Politeness, headers: Mapping[str, str] | None = None
) -> Any:
    try:
        response = session.get(address, timeout=politeness.timeout_seconds, stream=True, headers=headers)
    except requests.Timeout as error:
        raise FetchFailed(
            f"{address} did not answer within {politeness.timeout_seconds:g} s", permanent=False
        ) from error
    except requests.ConnectionError as error:
        raise FetchFailed(f"{address} could not be reached ({error})", permanent=False) from error
    # Redirects and hosts that are no addresses pass requests by as bare ValueErrors of urllib and urllib3.
    except (requests.RequestException, ValueError) as error:
        raise FetchFailed(f"{address} cannot be asked ({error})", permanent=True) from error
    if response.status_code == 200 or (headers and response.status_code in (206, 416)):
        return response
    response.close()
    raise FetchFailed(
        f"{address} answered {response.status_code}",
        permanent=response.status_code in DEAD,
        wait=_retry_after(response.headers.get("Retry-After")),
    )


def _retry_after(said: str | None) -> float | None:
    if said is None:
        return None
    if said.strip().isdecimal():
        return float(said)
    try:
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _body(response: Any, address: str, politeness: Politeness, largest: int | None) -> Iterator[bytes]:
    """The blocks of an answer; with ``largest`` it must be whole within the deadline, without the bytes are as sent."""
    until = time.monotonic() + politeness.deadline_seconds
    held = 0
    try:
        # read1 gives what is there: waiting for whole blocks would let a dripping server hold us for ever.
        while block := response.raw.read1(BLOCK, decode_content=largest is not None):
            held += len(block)
            if largest is not None and held > largest:
                raise FetchFailed(f"{address} gives more than {largest:,} bytes", permanent=True)
            if largest is not None and time.monotonic() > until:
                raise FetchFailed(
                    f"{address} was not through after {politeness.deadline_seconds:g} s", permanent=False
                )
            yield block
    except (HTTPError, OSError) as error:
        if isinstance(error, FetchFailed):
            raise
        expected = response.headers.get("Content-Length", "an unknown number of")
        raise FetchFailed(
            f"{address} broke off after {held:,} of {expected} bytes ({error})", permanent=False
        ) from error


def _transfer(
    session: requests.Session,
    address: str,
    part: Path,
    politeness: Politeness,
    progress: ProgressFactory,
    name: str,
) -> None:
    """Bring a file to ``part``, going on from what is there if the server still has the same."""
    held = part.stat().st_size if part.is_file() else 0
    validator = _validator(part).read_text() if held and _validator(part).is_file() else ""
    headers = {"Range": f"bytes={held}-", "If-Range": validator} if validator else {}
    with closing(_asked(session, address, politeness, headers)) as response:
        if response.status_code == 416:
            _discard(part)
            raise FetchFailed(f"{address} has another length now; beginning anew", permanent=False, wait=0.0)
        resumed = response.status_code == 206
        said = response.headers.get("Content-Range", "")
        if resumed and said and not said.replace(" ", "").startswith(f"bytes{held}-"):
            _discard(part)
            raise FetchFailed(
                f"{address} gave {said} where the bytes from {held:,} on were asked for; beginning anew",
                permanent=False,
                wait=0.0,
            )
        if not resumed:
            # In this order a kill never leaves the old file's bytes under the new one's name.
            _discard(part)
        found = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if found.startswith("W/"):
            found = ""
        _validator(part).write_text(found)
        total = int(response.headers.get("Content-Length", 0))
        with (
            progress(f"fetch {name}", total, "bytes") as shown,
            part.open("ab" if resumed else "wb") as stream,
        ):
            for block in _body(response, address, politeness, None):
                stream.write(block)
                shown.advance(len(block))


def _validator(part: Path) -> Path:
    """What the server called the file that ``part`` is the beginning of."""
    return part.with_name(f"{part.name}.validator")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator(part).unlink(missing_ok=True)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
