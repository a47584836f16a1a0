"""The search server: a page for people, a JSON API for programs."""

from __future__ import annotations

import asyncio
import hashlib
import io
import math
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from stat import S_ISREG
from typing import Annotated
from urllib.parse import quote

import numpy as np
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from PIL import Image
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cir_assets.engines.cores import granted_cores
from cir_assets.pictures.opening import FORMATS, UnreadablePicture
from cir_assets.pictures.shrinking import small_picture
from cir_assets.serving.answering import Answering
from cir_assets.serving.champions import Champions
from cir_assets.serving.searcher import LONGEST_TEXT, MOST_UNLIKE, Question, UnknownName, is_unicode
from cir_assets.serving.start import add_pages
from cir_assets.serving.uploads import (
    DECODED_AT_ONCE,
    LARGEST_UPLOAD,
    ON_THEIR_WAY,
    UPLOADED,
    Busy,
    RefusedInput,
    Room,
    TooLarge,
    UnknownPicture,
    give_memory_back,
)

PAGE = Path(__file__).parent / "page"
SHOWN = ("search.css", "search.js", "shelf.js", "look.js")
SMALLEST, LARGEST = 32, 1024
LARGEST_QUESTION = 100_000
"""Bytes of a request that brings no picture."""

SHRUNK_AT_ONCE = 4
"""Whole pictures are in memory while they are made small; of a gallery's there are only so many at a time."""

MOST_WAITING = 256
"""Searches that are under way or wait; over these they are refused, to be asked again."""

BODY_WITHIN = 30.0
SLOWEST = 50_000
"""A request's body is waited for so many seconds, and one more for so many bytes of it that came."""

MOST_DISCARDED = 100_000_000
"""Bytes of a file that is too large which are still read, for the sender to hear why it is refused."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def _whole(text: str) -> str:
    if not is_unicode(text):
        raise ValueError("half a character (a lone surrogate); send whole Unicode characters")
    return text


Words = Annotated[str, AfterValidator(_whole)]


class Refused(BaseModel):
    """Why a request was refused."""

    error: str = Field(description="One sentence that says what was expected.")


class SearchRequest(BaseModel):
    """What is searched for."""

    model_config = ConfigDict(extra="forbid")

    dataset: Words = Field(description="Name of the data set.")
    pipeline: Words | None = Field(
        default=None, description="backbone/recipe; by default that with the best headline on val."
    )
    reference: Words | None = Field(
        default=None,
        description="Id of a gallery picture, or what POST /pictures answered; null to search by words alone.",
    )
    text: Words | None = Field(
        default=None,
        description=f"What should differ, or without a reference what is looked for; at most {LONGEST_TEXT:,} "
        "characters. Null to search by the picture alone.",
    )
    top: int = Field(default=24, ge=1, le=200, description="How many pictures.")
    category: Words | None = Field(default=None, description="Only pictures of this category.")
    pull: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="-1: the picture alone, 1: the text alone, 0: the learnt weight, or both alike where none is.",
    )
    target: Words | None = Field(default=None, description="The picture known to be meant: its rank is told.")
    copies: bool = Field(
        default=False,
        description="Also exact copies: of the reference, and of pictures found, which one stands for otherwise.",
    )
    unlike: list[Words] = Field(
        default=[],
        max_length=MOST_UNLIKE,
        description="Ids of pictures that are not meant: the query moves away from them, and they are no answer.",
    )


class Picture(BaseModel):
    """A picture found."""

    rank: int = Field(description="From 1.")
    image: str = Field(description="Its id.")
    score: float = Field(description="Cosine of query and picture.")
    category: str | None
    url: str = Field(description="Where it is shown, relative to the address that was asked.")
    copies: int = Field(description="How many further pictures of the gallery are exact copies of it.")
    path: str = Field(description="Its file below the data set's pictures.")


class SearchAnswer(BaseModel):
    """What was found, best first."""

    dataset: str
    pipeline: str
    champion: str | None = Field(description="Digest of the models; null where CLIP searches as it came.")
    method: str
    text_weight: float | None = Field(description="The learnt lambda; null for methods that learn none.")
    text_weight_used: float = Field(description="The weight after the pull.")
    target_rank: int | None
    target_score: float | None
    target_image: str | None = Field(
        description="The picture with that rank: the target, or its exact copy that is shown."
    )
    unread: str | None = Field(description="The end of the text, where it is longer than the model reads.")
    searched: int = Field(description="Pictures compared.")
    exact: bool
    seconds: float
    results: list[Picture]


class Uploaded(BaseModel):
    """A picture taken."""

    reference: str = Field(description="What POST /search calls it.")
    url: str


class Searchable(BaseModel):
    """A pipeline that can be searched with."""

    dataset: str
    pipeline: str
    champion: str | None
    champion_since: str | None
    method: str
    headline: float | None = Field(description="On val when it was promoted, percent.")
    pictures: int
    categories: list[str]
    index_recall: float | None = Field(
        description="Recall of the approximate index at 50 against exact search; null where search is exact."
    )


class Example(BaseModel):
    """A query with its known answer."""

    reference: str
    text: str
    target: str
    target_url: str
    category: str | None
    rank: int | None = Field(description="The target's place when the champion was exported.")
    url: str


class Health(BaseModel):
    """How the server is."""

    status: str = Field(description="ok, or degraded where an export does not load.")
    pipelines: int = Field(description="How many can be searched with.")
    version: str
    troubles: dict[str, str] = Field(
        description="Pipeline -> why its newest export is not searched with; what was there stays."
    )


class Gallery(BaseModel):
    """A stretch of a gallery."""

    dataset: str
    total: int
    pictures: list[Picture]
    examples: list[Example]
    suggestions: list[str] = Field(description="What is often said of such pictures, the commonest first.")


class BoundedBodies:
    """Reads no endless body where none belongs, and waits for none without end."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body cut off by a refusal once it is too long or too late."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = math.inf if scope["path"] == "/pictures" else LARGEST_QUESTION
        began, read, whole = time.monotonic(), 0, False

        async def bounded() -> Message:
            nonlocal read, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(began + BODY_WITHIN + read / SLOWEST - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                late = "the request came too slowly and was given up; send it again"
                raise HTTPException(408, late, {"Connection": "close"}) from None
            read += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if read > most:
                raise HTTPException(413, f"the request has more than {LARGEST_QUESTION:,} bytes")
            return message

        await self.app(scope, bounded, send)


class Doorkeeper:
    """Lets in who asks for a known host, answers HEAD where GET is answered, and sees to it that answers are safe."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] | None) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        host = Headers(scope=scope).get("host", "")
        if self.hosts is not None and not is_known(host, self.hosts):
            refused = error_response(
                400,
                f"this server does not answer to the host {host[:300]!r}; where it should, start it with "
                "--trusted-host NAME, or with NAME in CIR_ASSETS_TRUSTED_HOSTS",
            )
            await refused(scope, receive, safe)
            return
        # The server leaves the body of an answer to HEAD out.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        await self.app(asked, receive, safe)


class AnyText(Convertor[str]):
    """What is left of a path, whatever characters it has; ``path`` ends at a newline."""

    regex = r"(?s:.*)"

    def convert(self, value: str) -> str:
        """As it stands."""
        return value

    def to_string(self, value: str) -> str:
        """As it stands."""
        return value


register_url_convertor("text", AnyText())


def search_app(champions: Champions, *, hosts: Sequence[str] | None = None, processes: int = 1) -> FastAPI:
    """The application over loaded champions.

    Args:
        champions: what is searched; watched for new ones while the application runs.
        hosts: names of the Host header that are answered, see ``is_known``; every one if None.
        processes: that share the cores, this one among them.
    """
    answering = Answering(max(1, granted_cores() // processes))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        champions.watch()
        answering.start()
        yield
        answering.stop()
        champions.stop()

    app = FastAPI(
        title="cir_assets search",
        version=version("cir-assets"),
        description="A reference picture and a change in words find the picture meant.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # Relative to this very document, wherever a proxy shows it; and no redirect, which could not be.
        servers=[{"url": "."}],
        redirect_slashes=False,
        responses={
            404: {"model": Refused, "description": "There is no such data set, pipeline or picture."},
            422: {"model": Refused, "description": "This cannot be searched with."},
            503: {"model": Refused, "description": "Too many people ask; try again in a few seconds."},
        },
    )
    app.add_middleware(BoundedBodies)
    app.add_middleware(Doorkeeper, hosts=hosts)
    # Threads of their own: however many uploads wait to be decoded, searches do not wait for them.
    bringing, shrinking = CapacityLimiter(DECODED_AT_ONCE), CapacityLimiter(SHRUNK_AT_ONCE)
    uploads, searches = Room(ON_THEIR_WAY), Room(MOST_WAITING)

    @app.exception_handler(RefusedInput)
    async def refused(_: Request, error: RefusedInput) -> JSONResponse:
        return error_response(422, str(error))

    @app.exception_handler(TooLarge)
    async def too_large(_: Request, error: TooLarge) -> JSONResponse:
        return error_response(413, str(error))

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> JSONResponse:
        return error_response(503, str(error), {"Retry-After": "5"})

    @app.exception_handler(UnknownName)
    @app.exception_handler(UnknownPicture)
    async def unknown(_: Request, error: UnknownName | UnknownPicture) -> JSONResponse:
        return error_response(404, str(error))

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        # Answered outside the middleware below, which therefore does not see it; the server logs the traceback.
        return error_response(500, "something went wrong here; the server's log says more", HEADERS)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'][1:]) or 'body'}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        )
        return error_response(422, said)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        detail = error.detail
        if error.status_code == 404:
            detail = f"there is nothing at {request.url.path}"
        elif error.status_code == 405:
            takes = (error.headers or {}).get("Allow", "")
            detail = f"{request.url.path} does not take {request.method}{takes and f', but {takes}'}"
        return error_response(error.status_code, detail, error.headers)

    @app.get("/healthz", summary="Whether the server answers, and with what")
    async def healthz() -> Health:
        troubles = champions.troubles()
        return Health(
            status="degraded" if troubles else "ok",
            pipelines=len(champions.all()),
            version=app.version,
            troubles=troubles,
        )

    @app.get("/datasets", summary="What can be searched; the best of each data set first")
    async def datasets() -> list[Searchable]:
        return [
            Searchable(
                dataset=searcher.about.dataset,
                pipeline=searcher.name.partition("/")[2],
                champion=searcher.about.champion,
                champion_since=searcher.about.champion_since,
                method=searcher.about.method,
                headline=searcher.about.headline,
                pictures=len(searcher),
                categories=list(searcher.rows_of_category),
                index_recall=searcher.index.recall,
            )
            for searcher in champions.all()
        ]

    @app.get("/gallery", summary="Pictures of a data set, and queries to try")
    async def gallery(
        dataset: str,
        pipeline: str | None = None,
        category: str | None = None,
        offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 60,
        part: Annotated[str | None, Query(max_length=200, description="Of the pictures' ids.")] = None,
        shuffle: Annotated[
            int | None, Query(ge=0, lt=2**32, description="Seed of an order by chance; none: the gallery's.")
        ] = None,
    ) -> Gallery:
        searcher = champions.of(dataset, pipeline)
        rows = searcher.rows(category)
        if part:
            rows = await to_thread.run_sync(searcher.found, part, rows)
        if shuffle is not None:
            rows = np.random.default_rng(shuffle).permutation(rows)
        shown = rows[offset : offset + limit]
        return Gallery(
            dataset=dataset,
            total=len(rows),
            pictures=[
                Picture(
                    rank=rank,
                    image=image,
                    score=0.0,
                    category=kind,
                    url=_url(dataset, image),
                    copies=copies,
                    path=path,
                )
                for rank, image, kind, copies, path in zip(
                    count(offset + 1), *searcher.described(shown), strict=False
                )
            ],
            examples=[
                Example(
                    reference=row["reference"],
                    text=row["caption"],
                    target=row["target"],
                    target_url=_url(dataset, row["target"]),
                    category=row["category"],
                    rank=row["rank"],
                    url=_url(dataset, row["reference"]),
                )
                for row in searcher.examples.iter_rows(named=True)
            ],
            suggestions=searcher.suggestions.get(category) or searcher.suggestions.get(None, []),
        )

    @app.post("/search", summary="The best pictures for a reference and a change in words")
    async def search(asked: SearchRequest) -> SearchAnswer:
        started = time.perf_counter()
        searcher = champions.of(asked.dataset, asked.pipeline)
        question = Question(**asked.model_dump(exclude={"dataset", "pipeline"}))
        if not searches.take():
            raise Busy("too many people are searching at the moment; try again in a few seconds")
        try:
            brought = asked.reference or ""
            if brought.startswith(UPLOADED) and not searcher.is_encoded(brought):
                # By another process, or for an older champion: decoded and encoded here, so that nobody else waits.
                await to_thread.run_sync(searcher.reference_feature, brought, limiter=bringing)
            answer = await asyncio.wrap_future(answering.submit(searcher, question))
        finally:
            searches.give()
        return SearchAnswer(
            dataset=asked.dataset,
            pipeline=searcher.name.partition("/")[2],
            champion=searcher.about.champion,
            method=searcher.about.method,
            text_weight=answer.text_weight,
            text_weight_used=answer.text_weight_used,
            target_rank=answer.target_rank,
            target_score=answer.target_score,
            target_image=answer.target_image,
            unread=answer.unread,
            searched=answer.searched,
            exact=answer.exact,
            seconds=time.perf_counter() - started,
            results=[
                Picture(
                    rank=rank,
                    image=image,
                    score=score,
                    category=category,
                    url=_url(asked.dataset, image),
                    copies=copies,
                    path=path,
                )
                for rank, image, score, category, copies, path in zip(
                    count(1),
                    answer.images,
                    answer.scores,
                    answer.categories,
                    answer.copies,
                    answer.paths,
                    strict=False,
                )
            ],
        )

    @app.post(
        "/pictures",
        summary="Bring a picture of one's own: the body is the file",
        status_code=201,
        responses={
            413: {"model": Refused, "description": f"More than {LARGEST_UPLOAD:,} bytes."},
            503: {"model": Refused, "description": "Too many pictures come in; try again in a few seconds."},
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "description": "The bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF.",
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def upload(request: Request, dataset: str, pipeline: str | None = None) -> Uploaded:
        searcher = champions.of(dataset, pipeline)
        async with _taken(request, uploads) as content:
            reference = await to_thread.run_sync(searcher.add_upload, content, limiter=bringing)
        return Uploaded(reference=reference, url=_url(dataset, reference))

    @app.get(
        "/pictures/{dataset}/{image:text}", summary="A picture, no larger than asked", response_class=Response
    )
    async def picture(
        request: Request,
        dataset: str,
        image: str,
        side: Annotated[int, Query(ge=SMALLEST, le=LARGEST)] = 320,
    ) -> Response:
        searcher = champions.of(dataset)
        shown: Callable[[], bytes]
        if image.startswith(UPLOADED):
            shown = partial(champions.uploads.small, image, side)
        else:
            shown = partial(_small, searcher.path(image), side, searcher.about.pixel_limit)
        content = await to_thread.run_sync(shown, limiter=shrinking)
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="image/jpeg", headers=headers)

    @app.get(
        "/originals/{dataset}/{image:text}",
        summary="A picture's own file, as it lies in the gallery",
        response_class=Response,
    )
    async def original(dataset: str, image: str) -> FileResponse:
        path = champions.of(dataset).path(image)
        kind = await to_thread.run_sync(_kind_of, path, limiter=shrinking)
        return FileResponse(path, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})

    add_pages(app, champions)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        if not champions.all():
            return RedirectResponse("start")
        return FileResponse(PAGE / "search.html")

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> FileResponse:
        if name not in SHOWN:
            raise HTTPException(404)
        return FileResponse(PAGE / name)

    return app


def is_known(host: str, names: Sequence[str]) -> bool:
    """Whether a Host header, whatever its port, has one of the names; ``*.shop.example`` are all below, ``*`` any."""
    name = re.sub(r":\d*$", "", host).rstrip(".").lower()
    return any(
        known in ("*", name) or (known.startswith("*.") and name.endswith(known[1:])) for known in names
    )


@asynccontextmanager
async def _taken(request: Request, room: Room) -> AsyncIterator[bytes]:
    """A request's body, the room it takes given back in the end.

    What there is no room for is read all the same, and not kept: who is still sending hears no answer.

    Raises:
        TooLarge: when it has more bytes than an upload may have.
        Busy: when there is no room for it.
        HTTPException: when it does not arrive whole, or there is none.
    """
    declared = request.headers.get("content-length", "")
    length = int(declared) if declared.isdecimal() and len(declared) < 20 else 0
    asks_first = request.headers.get("expect", "").lower() == "100-continue"
    wanted = 0 if length > LARGEST_UPLOAD else length or LARGEST_UPLOAD
    refusal: Exception | None = TooLarge() if length > LARGEST_UPLOAD else None
    if not room.take(wanted):
        wanted, refusal = 0, Busy("too many pictures come in at the moment; send it again in a few seconds")
    try:
        if refusal and (asks_first or length > MOST_DISCARDED):
            raise refusal
        content, read = io.BytesIO(), 0
        async for part in request.stream():
            read += len(part)
            if read > LARGEST_UPLOAD:
                content, refusal = io.BytesIO(), TooLarge()
            if refusal is None:
                content.write(part)
            if read > MOST_DISCARDED:
                break
        if refusal:
            raise refusal
        if not read:
            raise HTTPException(422, "the body is empty: send the picture's bytes as the body")
        yield content.getvalue()
    except ClientDisconnect:
        raise HTTPException(400, "the picture did not arrive whole; send it again") from None
    finally:
        room.give(wanted)
        if not room.taken:
            asyncio.get_running_loop().run_in_executor(None, give_memory_back)


def _small(path: Path, side: int, pixel_limit: int) -> bytes:
    """A gallery picture as JPEG of at most ``side`` pixels a side.

    Raises:
        UnknownPicture: when its file is not there, is no regular file, or does not open.
    """
    return _thumbnail(path, _looked_at(path).st_mtime_ns, side, pixel_limit)


def _kind_of(path: Path) -> str:
    """The media type of a gallery picture's file: one that browsers show and never run.

    Raises:
        UnknownPicture: as ``_small``.
    """
    _looked_at(path)
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return Image.MIME[picture.format or ""]
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more on broken files.
        raise UnknownPicture("the picture does not open: it is damaged, or no picture") from error


def _looked_at(path: Path) -> os.stat_result:
    """What a picture's file is; it is a regular one, as a pipe would be waited for without end.

    Raises:
        UnknownPicture: when it is not there, or is none.
    """
    try:
        look = path.stat()
    except OSError as error:
        raise UnknownPicture(f"the picture's file cannot be read now ({error.strerror})") from error
    if not S_ISREG(look.st_mode):
        raise UnknownPicture("where the picture's file should be is no regular file")
    return look


@lru_cache(maxsize=2048)
def _thumbnail(path: Path, moment: int, side: int, pixel_limit: int) -> bytes:
    """A picture, as it was at that moment, as JPEG of at most ``side`` pixels a side."""
    try:
        small = small_picture(path, side, pixel_limit)
    except UnreadablePicture as error:
        raise UnknownPicture(f"the picture does not open: {error}") from error
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _url(dataset: str, image: str) -> str:
    """Relative to the address that was asked, so that it holds below any path of a proxy."""
    return f"pictures/{quote(dataset)}/{quote(image)}"


def error_response(status: int, said: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A refusal in the API's form."""
    # Names come back as they were sent, and may have halves of characters.
    whole = said.encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"error": whole}, status_code=status, headers=headers)
