"""The search server: a page for people, a JSON API for programs."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from threading import BoundedSemaphore
from typing import Annotated
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cir_assets.pictures.opening import UnreadablePicture
from cir_assets.pictures.shrinking import small_picture
from cir_assets.serving.champions import Champions
from cir_assets.serving.searcher import LONGEST_TEXT, UnknownName, is_unicode
from cir_assets.serving.uploads import (
    DECODED_AT_ONCE,
    LARGEST_UPLOAD,
    UPLOADED,
    RefusedInput,
    TooLarge,
    UnknownPicture,
)

PAGE = Path(__file__).parent / "page"
SMALLEST, LARGEST = 32, 1024
LARGEST_QUESTION = 100_000
"""Bytes of a request that brings no picture."""

SHRINKING = BoundedSemaphore(4)
"""Whole pictures are in memory while they are made small; of a gallery's there are only so many at a time."""

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
    reference: Words = Field(description="Id of a gallery picture, or what POST /pictures answered.")
    text: Words = Field(description=f"What should differ; at most {LONGEST_TEXT:,} characters.")
    top: int = Field(default=24, ge=1, le=200, description="How many pictures.")
    category: Words | None = Field(default=None, description="Only pictures of this category.")
    pull: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="-1: the picture alone, 1: the text alone, 0: the learnt weight, or both alike where none is.",
    )
    target: Words | None = Field(default=None, description="The picture known to be meant: its rank is told.")


class Picture(BaseModel):
    """A picture found."""

    rank: int = Field(description="From 1.")
    image: str = Field(description="Its id.")
    score: float = Field(description="Cosine of query and picture.")
    category: str | None
    url: str = Field(description="Where it is shown.")


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
    category: str | None
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


class ShortQuestions:
    """Reads no endless body where none belongs."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body cut off by a refusal once it is longer than ``LARGEST_QUESTION``."""
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > LARGEST_QUESTION:
                raise HTTPException(413, f"the request has more than {LARGEST_QUESTION:,} bytes")
            return message

        brings_picture = scope["type"] != "http" or scope["path"] == "/pictures"
        await self.app(scope, receive if brings_picture else counted, send)


def search_app(champions: Champions, *, hosts: list[str] | None = None) -> FastAPI:
    """The application over loaded champions.

    Args:
        champions: what is searched; watched for new ones while the application runs.
        hosts: values of the Host header that are answered; every one if None.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        champions.watch()
        yield
        champions.stop()

    app = FastAPI(
        title="cir_assets search",
        version=version("cir-assets"),
        description="A reference picture and a change in words find the picture meant.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses={
            404: {"model": Refused, "description": "There is no such data set, pipeline or picture."},
            422: {"model": Refused, "description": "This cannot be searched with."},
        },
    )
    app.add_middleware(ShortQuestions)
    # Threads of their own: however many uploads wait to be decoded, searches do not wait for them.
    bringing = CapacityLimiter(DECODED_AT_ONCE)
    if hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    @app.middleware("http")
    async def safe_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.exception_handler(RefusedInput)
    async def refused(_: Request, error: RefusedInput) -> JSONResponse:
        return _told(422, str(error))

    @app.exception_handler(TooLarge)
    async def too_large(_: Request, error: TooLarge) -> JSONResponse:
        return _told(413, str(error))

    @app.exception_handler(UnknownName)
    @app.exception_handler(UnknownPicture)
    async def unknown(_: Request, error: UnknownName | UnknownPicture) -> JSONResponse:
        return _told(404, str(error))

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        # Answered outside the middleware below, which therefore does not see it; the server logs the traceback.
        return _told(500, f"the server failed ({type(error).__name__}); its log says more", HEADERS)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'][1:]) or 'body'}: {each['msg']}"
            for each in error.errors()
        )
        return _told(422, said)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        detail = error.detail if error.detail != "Not Found" else f"there is nothing at {request.url.path}"
        return _told(error.status_code, detail)

    @app.get("/healthz", summary="Whether the server answers, and with what")
    def healthz() -> Health:
        troubles = champions.troubles()
        return Health(
            status="degraded" if troubles else "ok",
            pipelines=len(champions.all()),
            version=app.version,
            troubles=troubles,
        )

    @app.get("/datasets", summary="What can be searched; the best of each data set first")
    def datasets() -> list[Searchable]:
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
    def gallery(
        dataset: str,
        pipeline: str | None = None,
        category: str | None = None,
        offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 60,
    ) -> Gallery:
        searcher = champions.of(dataset, pipeline)
        pictures = searcher.pictures
        if category is not None:
            if category not in searcher.rows_of_category:
                raise RefusedInput(
                    f"{dataset} has no category {category!r}; it has {', '.join(searcher.rows_of_category)}"
                )
            pictures = pictures.filter(category=category)
        shown = pictures.slice(offset, limit)
        return Gallery(
            dataset=dataset,
            total=pictures.height,
            pictures=[
                Picture(rank=offset + place, image=image, score=0.0, category=kind, url=_url(dataset, image))
                for place, (image, kind) in enumerate(shown.select("image", "category").iter_rows(), 1)
            ],
            examples=[
                Example(
                    reference=row["reference"],
                    text=row["caption"],
                    target=row["target"],
                    category=row["category"],
                    url=_url(dataset, row["reference"]),
                )
                for row in searcher.examples.iter_rows(named=True)
            ],
        )

    @app.post("/search", summary="The best pictures for a reference and a change in words")
    def search(asked: SearchRequest) -> SearchAnswer:
        searcher = champions.of(asked.dataset, asked.pipeline)
        answer = searcher.search(
            asked.reference,
            asked.text,
            top=asked.top,
            category=asked.category,
            pull=asked.pull,
            target=asked.target,
        )
        return SearchAnswer(
            dataset=asked.dataset,
            pipeline=searcher.name.partition("/")[2],
            champion=searcher.about.champion,
            method=searcher.about.method,
            text_weight=answer.text_weight,
            text_weight_used=answer.text_weight_used,
            target_rank=answer.target_rank,
            target_score=answer.target_score,
            searched=answer.searched,
            exact=answer.exact,
            seconds=answer.seconds,
            results=[
                Picture(
                    rank=rank,
                    image=image,
                    score=score,
                    category=category,
                    url=_url(asked.dataset, image),
                )
                for rank, (image, score, category) in enumerate(
                    zip(answer.images, answer.scores, answer.categories, strict=True), 1
                )
            ],
        )

    @app.post(
        "/pictures",
        summary="Bring a picture of one's own: the body is the file",
        status_code=201,
        responses={413: {"model": Refused, "description": f"More than {LARGEST_UPLOAD:,} bytes."}},
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
        content = await _body(request)
        reference = await to_thread.run_sync(searcher.add_upload, content, limiter=bringing)
        return Uploaded(reference=reference, url=_url(dataset, reference))

    @app.get(
        "/pictures/{dataset}/{image:path}", summary="A picture, no larger than asked", response_class=Response
    )
    def picture(
        request: Request,
        dataset: str,
        image: str,
        side: Annotated[int, Query(ge=SMALLEST, le=LARGEST)] = 320,
    ) -> Response:
        searcher = champions.of(dataset)
        if image.startswith(UPLOADED):
            content = champions.uploads.small(image, side)
        else:
            path = searcher.path(image)
            content = _thumbnail(path, _moment(path), side, searcher.about.pixel_limit)
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="image/jpeg", headers=headers)

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "search.html")

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> FileResponse:
        if name not in ("search.css", "search.js"):
            raise HTTPException(404)
        return FileResponse(PAGE / name)

    return app


async def _body(request: Request) -> bytes:
    """The request's body, no more of it kept than an upload may have."""
    declared = request.headers.get("content-length", "")
    length = int(declared) if declared.isdecimal() and len(declared) < 20 else 0
    asks_first = request.headers.get("expect", "").lower() == "100-continue"
    if length > MOST_DISCARDED or (length > LARGEST_UPLOAD and asks_first):
        raise TooLarge
    content, read = bytearray(), 0
    try:
        async for part in request.stream():
            read += len(part)
            if read <= LARGEST_UPLOAD:
                content += part
            else:
                content.clear()
            if read > MOST_DISCARDED:
                break
    except ClientDisconnect:
        raise HTTPException(400, "the picture did not arrive whole; send it again") from None
    if read > LARGEST_UPLOAD:
        raise TooLarge
    if not content:
        raise HTTPException(422, "the body is empty: send the picture's bytes as the body")
    return bytes(content)


def _moment(path: Path) -> int:
    """When a file was last written, ns; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=2048)
def _thumbnail(path: Path, moment: int, side: int, pixel_limit: int) -> bytes:
    """A picture, as it was at that moment, as JPEG of at most ``side`` pixels a side."""
    try:
        with SHRINKING:
            small = small_picture(path, side, pixel_limit)
    except UnreadablePicture as error:
        raise UnknownPicture(f"the picture does not open: {error}") from error
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _url(dataset: str, image: str) -> str:
    return f"/pictures/{quote(dataset)}/{quote(image)}"


def _told(status: int, said: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    # Names come back as they were sent, and may have halves of characters.
    whole = said.encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"error": whole}, status_code=status, headers=headers)
