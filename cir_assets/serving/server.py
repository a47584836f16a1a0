"""How the server meets the net: connections that keep it waiting are ended, and there are only so many of them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from cir_assets.serving.app import HEADERS, error_response, search_app
from cir_assets.serving.champions import Champions

MOST_CONNECTIONS = 500
"""Over these a request is answered by 503, over twice as many not at all; a process may often hold 1,024 files open."""

HEAD_WITHIN = 10.0
"""Seconds from a request's first byte to the end of its head, and to the end of a body nobody reads any more."""

READ_WITHIN = 30.0
"""Seconds a client may leave an answer lying."""

ENDED_WITHIN = 10
"""Seconds requests under way have when the server is to end."""


STARTED_WITHIN = 120
"""Seconds a process may be silent, as while it loads its models; after that another is started in its place."""

SERVED = "CIR_ASSETS_SERVED"
"""Of the environment: what several processes serve."""


class Connection(H11Protocol):
    """A connection whose client must ask and read in time; what it sends that is no HTTP is refused as all else is.

    uvicorn itself ends connections only between requests. Of its two parsers this is the one that bounds a head's
    size.
    """

    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > 2 * MOST_CONNECTIONS:
            transport.abort()
        elif len(self.connections) > MOST_CONNECTIONS:
            # Answered, not dropped: who is turned away hears why.
            self.app = _refusal(503, "too many people are searching at the moment; try again in a moment")
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what came; the clock runs on while a request's head is incomplete."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the answer to be read, where the connection ends with it, or for the next request."""
        super().on_response_complete()
        if self.conn.trailing_data[0]:
            # The next request has begun to come.
            self._unset_keepalive_if_required()
        self._watch()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection nobody asks anything on any more."""
        super().timeout_keep_alive_handler()
        self._watch()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        self._abandon_later()

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._unread = _cancelled(self._unread)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._late, self._unread = _cancelled(self._late), _cancelled(self._unread)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, "this is no HTTP request that can be read, or its head has more than 16 KB")

    def _watch(self) -> None:
        """Start or stop the clock: it runs while the client owes a head, or the rest of a body that was answered."""
        owed = self.conn.their_state is h11.IDLE or self.conn.our_state is h11.DONE
        if self.transport.is_closing():
            self._abandon_later()
        elif not owed:
            self._late = _cancelled(self._late)
        elif self._late is None and self.timeout_keep_alive_task is None:
            self._late = self.loop.call_later(HEAD_WITHIN, self._give_up)

    def _give_up(self) -> None:
        sent, _ = self.conn.trailing_data
        if sent and self.conn.their_state is h11.IDLE:
            self._refuse(
                408, f"the request did not arrive whole within {HEAD_WITHIN:g} seconds; send it again"
            )
        else:
            self.transport.close()
            self._abandon_later()

    def _refuse(self, status: int, said: str) -> None:
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            answer = _refusal(status, said)
            lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
            lines += [b"%s: %s" % header for header in answer.raw_headers]
            self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(answer.body))
        self.transport.close()
        self._abandon_later()

    def _abandon_later(self) -> None:
        """End the connection though not all was read, unless it is soon."""
        if self._unread is None:
            self._unread = self.loop.call_later(READ_WITHIN, self.transport.abort)


SETTINGS: dict[str, Any] = {
    "http": Connection,
    "ws": "none",
    # Nothing here depends on what a proxy says of the client; so nothing a client says can pass for it.
    "proxy_headers": False,
    "server_header": False,
    "timeout_graceful_shutdown": ENDED_WITHIN,
}


def server(app: FastAPI, *, host: str, port: int, log_level: str = "warning") -> uvicorn.Server:
    """The server, ready to ``run``."""
    return uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level=log_level, **SETTINGS))


def run_processes(
    processes: int, storage_root: Path, *, host: str, port: int, hosts: Sequence[str] | None, shared: Path
) -> None:
    """Serve from several processes on one address until a signal ends them; one that dies is started again.

    Args:
        processes: how many.
        storage_root: where everything lies.
        host: to listen on.
        port: to listen on.
        hosts: names of the Host header that are answered; every one if None.
        shared: folder for what they have in common: uploads, and one copy of each gallery's features.
    """
    # A process is begun anew, and knows of this one what stands in the environment.
    os.environ[SERVED] = json.dumps(
        {"storage_root": str(storage_root), "hosts": hosts, "shared": str(shared), "processes": processes}
    )
    uvicorn.run(
        f"{__name__}:process_app",
        factory=True,
        workers=processes,
        host=host,
        port=port,
        log_level="warning",
        timeout_worker_healthcheck=STARTED_WITHIN,
        **SETTINGS,
    )


def process_app() -> FastAPI:
    """The application of one process among several, as ``run_processes`` left word."""
    told = json.loads(os.environ[SERVED])
    champions = Champions(Path(told["storage_root"]), shared=Path(told["shared"]))
    return search_app(champions, hosts=told["hosts"], processes=told["processes"])


def _refusal(status: int, said: str) -> JSONResponse:
    again = {"Retry-After": "5"} if status == 503 else {}
    return error_response(status, said, {**HEADERS, **again, "Connection": "close"})


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if timer is not None:
        timer.cancel()
    return None
