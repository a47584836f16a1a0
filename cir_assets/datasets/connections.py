"""Connections whose answers begin in time: a server that drips header lines would hold a thread for ever."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

HEADERS_SECONDS = 60.0
"""From the request to the last header line; the timeout of a connection is for silence alone."""


class _InTime(HTTPConnection):
    def getresponse(self) -> Any:
        """The answer's status and headers.

        Raises:
            ConnectionAbortedError: they were not whole after ``HEADERS_SECONDS``.
        """
        late = threading.Event()
        connected = self.sock

        def cut() -> None:
            late.set()
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(HEADERS_SECONDS, cut)
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()
        except Exception:
            if not late.is_set():
                raise
        finally:
            timer.cancel()
        # What was cut off reads as an answer that ended there, so the cut decides.
        if late.is_set():
            raise ConnectionAbortedError(f"its headers were not whole after {HEADERS_SECONDS:g} s")
        return response


class _SecureInTime(_InTime, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _InTime


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureInTime


class AnswersInTime(HTTPAdapter):
    """What a session of requests is given to connect with."""

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """As requests does, with these connections."""
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, *arguments: Any, **named: Any) -> Any:
        """As requests does, with these connections."""
        manager = super().proxy_manager_for(*arguments, **named)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager
