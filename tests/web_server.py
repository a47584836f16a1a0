"""The web UI as a process of its own, over a trial project."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.trial_project import TrialProject


@contextmanager
def web_server(project: TrialProject) -> Iterator[str]:
    """Start it, wait until it answers, and give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            *(str(Path(sys.executable).with_name("dagster-webserver")), "-h", "127.0.0.1", "-p", str(port)),
            *("-m", f"{project.package}.definitions"),
        ],
        cwd=project.folder,
        env={**os.environ, "DAGSTER_HOME": str(project.storage.root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 600
        while True:
            try:
                urllib.request.urlopen(f"{address}/server_info", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, "the web server ended at once"
                assert time.monotonic() < deadline, "the web server did not answer in ten minutes"
                time.sleep(0.3)
        yield address
    finally:
        server.terminate()
        server.wait(30)
