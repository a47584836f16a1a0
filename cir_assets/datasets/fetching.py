"""Fetching files and pictures: many at once, resumed, checked; dead links remembered, a refusing net never."""

from __future__ import annotations

import hashlib
import io
import shutil
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import requests

from cir_assets.datasets.annotation_files import picture_id, read_text
from cir_assets.datasets.asking import (
    POLITE,
    FetchFailed,
    Politeness,
    Verdict,
    announced_bytes,
    ask_once,
    ask_repeatedly,
    body_of,
    host_of,
    local_path,
    polite_session,
    without_objects,
)
from cir_assets.datasets.dead_links import DeadLinks
from cir_assets.datasets.locating import ENDINGS
from cir_assets.datasets.tables import BrokenAnnotations
from cir_assets.engines.cores import granted_cores
from cir_assets.engines.progress import ProgressFactory, terminal_progress
from cir_assets.pictures.settings import PIXEL_LIMIT
from cir_assets.store.files import write_one_of_many

GONE, NO_FILE = Verdict.GONE, Verdict.NO_FILE

GIB = 1 << 30

FAILURES_IN_A_ROW = 50
"""Failures of one host after which the fetch stops: it is down, or something stands between it and us."""

HOSTS_IN_A_ROW = 200
"""Failures without a picture from any host after which it stops: the net itself does not let us out."""

FEW = 10
"""So many 404 are believed of a host that gave no picture; more may be anybody's answer to everything."""


@dataclass(frozen=True)
class PictureAddress:
    """Where one picture is to be had; ``sha256`` in hexadecimal where it is known."""

    image: str
    address: str
    sha256: str | None = None


@dataclass(frozen=True)
class FetchReport:
    """What a fetch of pictures gave.

    ``dead`` and ``failed`` map a picture to the reason, ``misnamed`` to what it is instead of what its name or its
    server says.
    """

    fetched: int
    already_there: int
    dead: Mapping[str, str]
    failed: Mapping[str, str]
    bytes: int
    seconds: float
    misnamed: Mapping[str, str] = field(default_factory=dict)


def fetch_file(
    address: str,
    destination: Path,
    *,
    sha256: str | None = None,
    largest_bytes: int = 200 * GIB,
    deadline_seconds: float = 24 * 3600.0,
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
        largest_bytes: a longer file is refused, by what the server says of it or when it comes to that.
        deadline_seconds: for the whole file, all attempts together.
        politeness: attempts, waits and timeouts.
        progress: told in bytes, where the server says how much there is.

    Raises:
        FetchFailed: the server does not give it in these bounds, it is something else than the checksum asks for,
            or it cannot be written: then nothing of it stays.
        ValueError: for an address of another kind.
    """
    expected = None if sha256 is None else sha256.lower()
    if expected is not None and destination.is_file() and _digest(destination) == expected:
        return destination
    part = destination.with_name(f".{destination.name}.part")
    local = local_path(address)
    if local is not None and not local.is_file():
        raise FetchFailed(f"{local} is not there; correct the address in the YAML", verdict=GONE)
    until = time.monotonic() + deadline_seconds
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        if local is not None:
            shutil.copyfile(local, part)
        else:
            with polite_session() as session:
                session.headers["Accept-Encoding"] = "identity"
                ask_repeatedly(
                    politeness,
                    lambda: _transfer(
                        session, address, part, politeness, largest_bytes, until, progress, destination.name
                    ),
                )
        if expected is not None and (found := _digest(part)) != expected:
            _discard(part)
            raise FetchFailed(
                f"{address} has SHA-256 {found}, expected {expected}: it changed there, or the transfer was damaged. "
                "Fetch again; if it did change, correct the checksum in the YAML",
                verdict=NO_FILE,
            )
        part.replace(destination)
    except FetchFailed:
        raise
    except OSError as error:
        _discard(part)
        raise _unwritable(destination, error) from error
    _validator(part).unlink(missing_ok=True)
    return destination


def fetch_pictures(
    wanted: Sequence[PictureAddress],
    folder: Path,
    *,
    politeness: Politeness = POLITE,
    ask_dead_links_again: bool = False,
    pixel_limit: int = PIXEL_LIMIT,
    progress: ProgressFactory = terminal_progress,
) -> FetchReport:
    """Fetch pictures that are not there yet into ``folder``, many at once.

    A picture is kept, byte for byte, when it decodes whole in a format that is read later; it is named by its id
    and, by its content, .png or .jpg. A file that is there and does not open is asked for again.

    What is remembered in ``dead_links.jsonl`` beside the folder, and not asked again, is what an address or its
    bytes say: 404, 410, no picture, and these only if the same host gave a picture after it (or they are few, and
    404). A sign-in page, a proxy's 403 or a host that is down say something of the moment: they are told, and asked
    again the next time. Too many in a row, or one picture for too many addresses, stop the fetch.

    Args:
        wanted: each id with one address; named twice with the same one, it is fetched once.
        folder: made if need be.
        politeness: how servers are asked.
        ask_dead_links_again: ask remembered addresses too.
        pixel_limit: pictures of more pixels are refused by their header.
        progress: where it is told how far the fetch is.

    Raises:
        FetchFailed: a host gave no picture ``FAILURES_IN_A_ROW`` times in a row, all hosts ``HOSTS_IN_A_ROW`` times,
            or a picture cannot be written; what was fetched is kept, and nothing of that row is remembered.
        ValueError: an id holds a path or has two addresses, or an address is neither http nor https.
    """
    # Looking into pictures takes Pillow; settings, which name this module, load without it.
    from PIL import Image

    from cir_assets.pictures.opening import FORMATS

    # Our own limit decides, from the header; Pillow's would warn at another number.
    Image.MAX_IMAGE_PIXELS = None
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
    memory = DeadLinks(
        folder.parent / "dead_links.jsonl",
        {
            "formats": list(FORMATS),
            "pixel_limit": pixel_limit,
            "largest_bytes": politeness.largest_bytes,
        },
    )
    dead_links = {} if ask_dead_links_again else memory.known()
    usable, unusable = _there(folder, once.keys(), pixel_limit)
    dead = {
        each.image: dead_links[each.image, each.address]
        for each in wanted
        if (each.image, each.address) in dead_links and each.image not in usable
    }
    missing = [each for each in wanted if each.image not in usable and each.image not in dead]
    given = {host_of(each.address): each for each in wanted if each.image in usable}
    crowd = _Crowd(folder, memory, politeness, pixel_limit, unusable, given)
    with (
        progress("fetch pictures", len(missing), "pictures") as shown,
        ThreadPoolExecutor(politeness.connections) as pool,
    ):
        for _ in pool.map(crowd.take, missing):
            shown.advance(1, f"{len(crowd.dead)} dead, {len(crowd.failed)} failed")
    try:
        crowd.settle()
    except OSError as error:
        raise _unwritable(folder, error) from error
    if crowd.stopped is not None:
        raise FetchFailed(
            f"{crowd.stopped}. {crowd.fetched:,} pictures were fetched and kept; materialize again to go on from there"
        )
    return FetchReport(
        fetched=crowd.fetched,
        already_there=len(usable),
        dead={**dead, **crowd.dead},
        failed=crowd.failed,
        bytes=crowd.bytes,
        seconds=time.monotonic() - started,
        misnamed=crowd.misnamed,
    )


def read_picture_list(file: Path) -> dict[str, str]:
    """Id -> address of a file ``asin2url.<category>.txt``: an id, blanks, an address on each line.

    Raises:
        BrokenAnnotations: naming the line.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        cells = line.split()
        if not cells:
            continue
        if len(cells) != 2 or not cells[1].startswith(("http://", "https://")):
            raise BrokenAnnotations(
                f"{file}, line {number}: expected a picture's id and its address, found {line:.80}; fetch it again"
            )
        found[picture_id(cells[0], f"{file}, line {number}")] = cells[1]
    return found


@dataclass(frozen=True)
class _Picture:
    """A picture as it came: when it was asked for (monotonic seconds), its bytes, and what they are."""

    began: float
    body: bytes
    format: str
    content_type: str

    @property
    def ending(self) -> str:
        return ".png" if self.format == "PNG" else ".jpg"

    @property
    def misnamed(self) -> str | None:
        """What it is, where its file's ending or its server says something else."""
        if self.format not in ("JPEG", "PNG", "MPO"):
            return f"{self.format}, kept as {self.ending}"
        names = {"PNG": ("png", "x-png")}.get(self.format, ("jpeg", "jpg", "pjpeg", "mpo"))
        kind, _, name = self.content_type.partition(";")[0].strip().lower().partition("/")
        return (
            f"{self.format}, sent as {self.content_type}" if kind == "image" and name not in names else None
        )


@dataclass
class _SamePicture:
    """A picture of one host: the addresses that gave it in a row, and the files it was kept as."""

    digest: bytes
    addresses: set[str] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)


class _Crowd:
    """The threads that fetch pictures, and what they found so far.

    A failure that says something of an address waits in ``_unproven`` until the same host gives a picture that was
    asked for later: only then was it the host that spoke, and is it remembered.
    """

    def __init__(
        self,
        folder: Path,
        memory: DeadLinks,
        politeness: Politeness,
        pixel_limit: int,
        unusable: Mapping[str, Path],
        given: dict[str, PictureAddress],
    ) -> None:
        self.folder, self.memory, self.politeness, self.pixel_limit = folder, memory, politeness, pixel_limit
        self.unusable = unusable
        self.dead: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.misnamed: dict[str, str] = {}
        self.fetched = self.bytes = 0
        self.stopped: str | None = None
        self._given = given
        """Of each host an address that gave a picture."""
        self._unproven: dict[str, list[tuple[float, PictureAddress, Verdict, str]]] = {}
        self._failures: dict[str, list[str]] = {}
        """Answers in a row, of each host that gives what may pass, and "" for all hosts together."""
        self._refusals: dict[str, list[str]] = {}
        """Answers in a row, of each host, that do not pass by asking again at once."""
        self._same: dict[str, _SamePicture] = {}
        """Of each host its last picture."""
        self._lock = threading.Lock()
        self._asking_after = threading.Lock()
        self._next = time.monotonic()
        self._own = threading.local()
        self._last = ""

    def take(self, wanted: PictureAddress) -> None:
        """Fetch one picture and note what came of it."""
        if self.stopped is not None:
            return
        host = host_of(wanted.address)
        try:
            try:
                picture = ask_repeatedly(self.politeness, lambda: self._picture(wanted))
            except FetchFailed as error:
                self._note_failure(host, wanted, error)
                self._look_at_row(host)
            else:
                self._note_picture(host, wanted, picture, self._kept(wanted, picture))
        except OSError as error:
            # Whatever cannot be written now cannot be in a moment either: a full disk is no picture's fault.
            self.stopped = str(_unwritable(self.folder, error))

    def settle(self) -> None:
        """End the fetch: remember what waits for a proof if it is a few 404, or if its host gives a picture now.

        A fetch that was stopped remembers nothing of it, and keeps no picture that was given for everything.
        """
        if self.stopped is not None:
            for row in self._same.values():
                if len(row.addresses) >= FAILURES_IN_A_ROW:
                    self.fetched -= len(row.files)
                    for file in row.files:
                        file.unlink(missing_ok=True)
            return
        gone = Counter(
            host for host, waiting in self._unproven.items() for each in waiting if each[2] is GONE
        )
        for host, waiting in list(self._unproven.items()):
            few = gone[host] <= FEW and (self.fetched or gone.total() <= FEW)
            if (few and gone[host] == len(waiting)) or (not self._ask_after(host) and few):
                self._remember(host, time.monotonic(), {GONE})
        for waiting in self._unproven.values():
            for _, wanted, _, reason in waiting:
                self.dead[wanted.image] = f"{reason}; asked again next time"

    def _picture(self, wanted: PictureAddress) -> _Picture:
        self._wait_for_turn()
        began = time.monotonic()
        with closing(ask_once(self._session(), wanted.address, self.politeness)) as response:
            body = b"".join(
                body_of(
                    response,
                    wanted.address,
                    largest=self.politeness.largest_bytes,
                    until=began + self.politeness.deadline_seconds,
                    unpacked=True,
                )
            )
            content_type = response.headers.get("Content-Type", "no type")
        found = hashlib.sha256(body).hexdigest()
        if wanted.sha256 is not None and found != wanted.sha256.lower():
            raise FetchFailed(
                f"{wanted.address} has SHA-256 {found}, expected {wanted.sha256}",
                verdict=NO_FILE,
                answer="another checksum",
            )
        return _Picture(began, body, self._format(body, wanted.address, content_type), content_type)

    def _format(self, body: bytes, address: str, content_type: str) -> str:
        """What a picture is, if it decodes whole in a format that is read later.

        Raises:
            FetchFailed: it does not.
        """
        from PIL import Image, UnidentifiedImageError

        from cir_assets.pictures.opening import FORMATS, UnreadablePicture, open_picture

        try:
            with Image.open(io.BytesIO(body), formats=FORMATS) as picture:
                format_name, (width, height) = str(picture.format), picture.size
            if width * height > self.pixel_limit:
                raise FetchFailed(
                    f"{address} is a picture of {width} x {height} pixels, more than {self.pixel_limit:,}",
                    verdict=NO_FILE,
                    answer="too many pixels",
                )
            open_picture(body, self.pixel_limit)
            return format_name
        except FetchFailed:
            raise
        # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error and more on broken files.
        except Exception as error:
            if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
                raise FetchFailed(f"{address}: no memory left to look at it", answer="no memory") from error
            unknown = isinstance(error, UnidentifiedImageError)
            reason = f"none of {', '.join(FORMATS)}" if unknown else without_objects(str(error))
            name = "" if unknown or isinstance(error, UnreadablePicture) else f"{type(error).__name__}: "
            raise FetchFailed(
                f"{address} gave {content_type} of {len(body):,} bytes where a picture was expected ({name}{reason})",
                verdict=NO_FILE,
                answer=f"{content_type} that is no picture",
            ) from error

    def _kept(self, wanted: PictureAddress, picture: _Picture) -> Path:
        """The picture's file, alone under its id."""
        file = self.folder / f"{wanted.image}{picture.ending}"
        with write_one_of_many(file) as part:
            part.write_bytes(picture.body)
        other = self.unusable.get(wanted.image, file)
        if other != file:
            other.unlink(missing_ok=True)
        return file

    def _note_picture(self, host: str, wanted: PictureAddress, picture: _Picture, file: Path) -> None:
        with self._lock:
            self.fetched += 1
            self.bytes += len(picture.body)
            if picture.misnamed is not None:
                self.misnamed[wanted.image] = picture.misnamed
            self._failures.pop(host, None)
            self._refusals.pop(host, None)
            self._failures.pop("", None)
            self._given[host] = wanted
            digest = hashlib.sha256(picture.body).digest()
            if host not in self._same or self._same[host].digest != digest:
                self._same[host] = _SamePicture(digest)
                self._remember(host, picture.began)
            row = self._same[host]
            row.addresses.add(wanted.address)
            row.files.append(file)
            if len(row.addresses) >= FAILURES_IN_A_ROW and self.stopped is None:
                self.stopped = (
                    f"{host} gave one and the same picture of {len(picture.body):,} bytes for {len(row.addresses)} "
                    "addresses in a row: something answers in its place; they were not kept"
                )

    def _note_failure(self, host: str, wanted: PictureAddress, error: FetchFailed) -> None:
        with self._lock:
            reason = str(error)
            match error.verdict:
                case Verdict.PASSING:
                    self.failed[wanted.image] = reason
                case Verdict.REFUSED:
                    self.failed[wanted.image] = f"{reason}; asked again next time"
                case Verdict.GONE | Verdict.NO_FILE:
                    self.dead[wanted.image] = reason
                    waiting = self._unproven.setdefault(host, [])
                    waiting.append((time.monotonic(), wanted, error.verdict, reason))
                case Verdict.NO_ADDRESS:
                    self.dead[wanted.image] = reason
                    self.memory.remember(wanted.image, wanted.address, reason, whatever_the_settings=True)
                    return
            row = self._failures if error.verdict is Verdict.PASSING else self._refusals
            row.setdefault(host, []).append(error.answer)
            if row is self._refusals:
                self._failures.pop(host, None)
            self._failures.setdefault("", []).append(error.answer)
            self._last = reason

    def _look_at_row(self, host: str) -> None:
        """Stop where nothing but failures come, unless they are 404 and the host still gives pictures."""
        with self._asking_after:
            failures, refusals = len(self._failures.get(host, ())), self._refusals.get(host, [])
            if failures >= FAILURES_IN_A_ROW:
                self._stop(host, self._failures[host])
            elif len(refusals) >= FAILURES_IN_A_ROW:
                if not (set(refusals) <= {"404", "410"} and self._ask_after(host)):
                    self._stop(host, refusals)
            elif len(self._failures.get("", ())) >= HOSTS_IN_A_ROW:
                self._stop("every host that was asked", self._failures[""])

    def _stop(self, host: str, answers: Sequence[str]) -> None:
        with self._lock:
            if self.stopped is None:
                counted = ", ".join(f"{n} x {answer}" for answer, n in Counter(answers).most_common(3))
                self.stopped = (
                    f"{host} failed {len(answers)} times in a row ({counted}), last: {self._last}; it was left alone "
                    "and nothing of this is remembered: see whether it is down, a proxy or a sign-in page answers in "
                    "its place, or the addresses are no longer right"
                )

    def _ask_after(self, host: str) -> bool:
        """Ask a host for a picture it gave before: if it does again, what it said of others is its own word."""
        if host not in self._given:
            return False
        try:
            picture = self._picture(self._given[host])
        except FetchFailed:
            return False
        with self._lock:
            self._refusals.pop(host, None)
            self._failures.pop("", None)
            self._remember(host, picture.began)
        return True

    def _remember(self, host: str, before: float, verdicts: Collection[Verdict] = (GONE, NO_FILE)) -> None:
        """Remember what a host said before it was asked for a picture that it gave."""
        unproven = []
        for each in self._unproven.pop(host, []):
            at, wanted, verdict, reason = each
            if at > before or verdict not in verdicts:
                unproven.append(each)
            else:
                self.memory.remember(
                    wanted.image, wanted.address, reason, whatever_the_settings=verdict is GONE
                )
        if unproven:
            self._unproven[host] = unproven

    def _wait_for_turn(self) -> None:
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + 1 / self.politeness.requests_per_second
        time.sleep(max(0.0, turn - time.monotonic()))

    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            self._own.session = polite_session()
        session: requests.Session = self._own.session
        return session


def _there(folder: Path, ids: Collection[str], pixel_limit: int) -> tuple[set[str], dict[str, Path]]:
    """The ids whose file opens as the scan opens it, and the files of those that do not; of several the one read."""
    files: dict[str, Path] = {}
    for ending in ENDINGS:
        for file in folder.iterdir():
            if file.suffix.lower() == ending and file.stem in ids and file.is_file():
                files.setdefault(file.stem, file)
    with ThreadPoolExecutor(min(16, 2 * granted_cores())) as pool:
        opens = dict(
            zip(files, pool.map(lambda file: _opens(file, pixel_limit), files.values()), strict=True)
        )
    return {image for image in files if opens[image]}, {i: f for i, f in files.items() if not opens[i]}


def _opens(file: Path, pixel_limit: int) -> bool:
    from PIL import Image

    from cir_assets.pictures.opening import FORMATS

    try:
        with Image.open(file, formats=FORMATS) as picture:
            width, height = picture.size
            return width * height <= pixel_limit and min(width, height) > 1
    # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error and more on broken files.
    except Exception as error:
        # With a number it is the disk that refuses, at this moment.
        return isinstance(error, OSError) and error.errno is not None


def _transfer(
    session: requests.Session,
    address: str,
    part: Path,
    politeness: Politeness,
    largest: int,
    until: float,
    progress: ProgressFactory,
    name: str,
) -> None:
    """Bring a file to ``part``, going on from what is there if the server still has the same."""
    if time.monotonic() > until:
        raise FetchFailed(
            f"{address} was not through in time; fetch again to go on from there", verdict=Verdict.REFUSED
        )
    held = part.stat().st_size if part.is_file() else 0
    validator = _validator(part).read_text() if held and _validator(part).is_file() else ""
    headers = {"Range": f"bytes={held}-", "If-Range": validator} if validator else {}
    with closing(ask_once(session, address, politeness, headers)) as response:
        if response.status_code == 416:
            _discard(part)
            raise FetchFailed(f"{address} has another length now; beginning anew", wait=0.0)
        resumed = response.status_code == 206
        told = response.headers.get("Content-Range", "")
        if resumed and told and not told.replace(" ", "").startswith(f"bytes{held}-"):
            _discard(part)
            raise FetchFailed(
                f"{address} gave {told} where the bytes from {held:,} on were asked for; beginning anew",
                wait=0.0,
            )
        if not resumed:
            # In this order a kill never leaves the old file's bytes under the new one's name.
            _discard(part)
            held = 0
        total = announced_bytes(response)
        if total > (free := shutil.disk_usage(part.parent).free):
            raise FetchFailed(
                f"{address} has {total:,} bytes more, and {part.parent} has {free:,} free; make room and fetch again",
                verdict=Verdict.REFUSED,
            )
        found = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if found.startswith("W/"):
            found = ""
        _validator(part).write_text(found)
        blocks = body_of(response, address, largest=largest, until=until, unpacked=False, held=held)
        with (
            progress(f"fetch {name}", total, "bytes") as bar,
            part.open("ab" if resumed else "wb") as stream,
        ):
            try:
                for block in blocks:
                    stream.write(block)
                    bar.advance(len(block))
            except FetchFailed as error:
                if error.verdict is NO_FILE:
                    _discard(part)
                raise


def _unwritable(place: Path, error: OSError) -> FetchFailed:
    """What to say of a full disk, or one that takes nothing."""
    why = error.strerror or without_objects(str(error))
    return FetchFailed(
        f"{place} cannot be written ({why}); make room there, or see to its permissions, and fetch again",
        verdict=Verdict.REFUSED,
    )


def _validator(part: Path) -> Path:
    """What the server called the file that ``part`` is the beginning of."""
    return part.with_name(f"{part.name}.validator")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator(part).unlink(missing_ok=True)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
