"""``serve`` and ``ui``: the search page with reports and docs, and beside it Dagster's web UI and daemon."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cir_assets.command_line.materializing import materialize, require_storage, require_writable_storage
from cir_assets.command_line.names import checked_hosts, checked_pipeline, module_option
from cir_assets.command_line.output import say
from cir_assets.starting.here import dataset_here

if TYPE_CHECKING:
    import uvicorn

HERE = ["127.0.0.1", "localhost", "[::1]"]
STARTED_WITHIN = 600.0
"""Seconds Dagster has to start on a busy machine."""

ENDED_WITHIN = 60.0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, help="Port to listen on.")
@click.option(
    "--trusted-host",
    "trusted_hosts",
    multiple=True,
    envvar="CIR_ASSETS_TRUSTED_HOSTS",
    show_envvar=True,
    callback=checked_hosts,
    metavar="NAME",
    help="A name people reach the server by, as behind a proxy; may be given many times, in the variable with "
    "blanks between.  [default: this machine's own names; any with a --host others can reach]",
)
@click.option(
    "--prepare",
    default=lambda: f"{dataset_here()}/tiny_clip/small",
    callback=checked_pipeline,
    show_default="DATASET/tiny_clip/small",
    help="Pipeline that is materialized first where nothing can be searched yet.",
)
@click.option(
    "--processes",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes that serve together, with one copy of the features and of uploads.",
)
@module_option
def serve(host: str, port: int, trusted_hosts: list[str], prepare: str, processes: int, module: str) -> None:
    """Serve the search page and its API over every champion there is."""
    require_storage()
    from cir_assets.serving.export import NothingExported, every_export
    from cir_assets.store.layout import Storage

    storage = Storage()
    root = storage.root
    if not every_export(storage.searches):
        click.echo(f"nothing can be searched yet: materializing {prepare} first")
        materialize(f'+key:"{prepare}/search" or key:"{prepare}/champion" or key:"leaderboard"', module)
    say("loading models …")
    try:
        running = search_server(root, host, port, trusted_hosts)
    except NothingExported as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"start: http://{host}:{port}/start   search: http://{host}:{port}   API: /openapi.json")
    with suppress(KeyboardInterrupt):
        if processes == 1:
            running.run()
            return
        del running
        from cir_assets.serving.server import run_processes

        hosts = answered_names(host, trusted_hosts)
        with tempfile.TemporaryDirectory(prefix="cir_assets_") as shared:
            run_processes(processes, root, host=host, port=port, hosts=hosts, shared=Path(shared))


def search_server(
    root: Path, host: str, port: int, trusted_hosts: list[str], *, may_be_empty: bool = False
) -> uvicorn.Server:
    """The server over every champion there is, with start page, reports and docs; told what it searches.

    Raises:
        NothingExported: when there is nothing to search, unless it ``may_be_empty`` until there is.
    """
    from cir_assets.serving.app import search_app
    from cir_assets.serving.champions import Champions
    from cir_assets.serving.server import server

    champions = Champions(root, may_be_empty=may_be_empty)
    for searcher in champions.all():
        click.echo(f"{searcher.name}: {len(searcher):,} pictures, {searcher.about.method}")
    return server(search_app(champions, hosts=answered_names(host, trusted_hosts)), host=host, port=port)


def answered_names(host: str, trusted_hosts: list[str]) -> list[str] | None:
    """Names a server that listens on ``host`` answers to; None for any.

    To other machines' names only those may answer who were told to listen to others, or who are told the names.
    """
    return [*HERE, *trusted_hosts] if trusted_hosts or host in (*HERE, "::1") else None


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port of Dagster's web UI.")
@click.option(
    "--search-port", default=8765, show_default=True, help="Port of start page, search, reports and docs."
)
@click.option(
    "--log-level", default="warning", show_default=True, help="What Dagster's processes say: info says more."
)
@module_option
def ui(port: int, search_port: int, log_level: str, module: str) -> None:
    """Serve the graph, the search, the reports and the docs, and follow what changes, until Ctrl-C.

    Begin at the start page; its address is the last line.
    """
    require_writable_storage()
    say("starting; the first time it takes some 20 seconds …")
    from cir_assets.store.layout import Storage

    start = f"http://127.0.0.1:{search_port}/start"
    with dagster_services(port, module, log_level) as services:
        threading.Thread(target=tell_when_ready, args=(services, port, start), daemon=True).start()
        if is_taken(search_port):
            say(
                f"port {search_port} is taken: what runs there, as make search does, serves start page and reports"
            )
            with suppress(KeyboardInterrupt):
                services.wait()
        else:
            running = search_server(Storage().root, "127.0.0.1", search_port, [], may_be_empty=True)
            threading.Thread(target=end_with, args=(services, running), daemon=True).start()
            with suppress(KeyboardInterrupt):
                running.run()
        if services.poll() not in (None, 0):
            raise click.ClickException("Dagster ended; what it said stands above, --log-level info says more")


@contextmanager
def dagster_services(port: int, module: str, log_level: str) -> Iterator[subprocess.Popen[bytes]]:
    """Dagster's web server, code server and daemon as one process with children, ended in the end."""
    command = [
        *(sys.executable, "-m", "cir_assets.graph.services", "-m", module, "-p", str(port)),
        *("--log-level", log_level, "--code-server-log-level", log_level),
    ]
    # A busy machine takes minutes to load the definitions anew; Dagster's own patience with a sensor is one.
    patient = {
        "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "600",
        "PYTHONWARNINGS": "ignore",
        "CIR_ASSETS_CONSOLE_LEVEL": log_level.upper(),
        **os.environ,
    }
    # Of a group of its own: Ctrl-C reaches it once, from here.
    process = subprocess.Popen(command, env=patient, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(ENDED_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def tell_when_ready(services: subprocess.Popen[bytes], port: int, start: str) -> None:
    """Print the addresses once Dagster answers; the one to begin with last."""
    graph = f"http://127.0.0.1:{port}"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + STARTED_WITHIN
    while services.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), direct.open(f"{graph}/server_info", timeout=5):
            click.echo(f"graph: {graph}")
            click.echo(f"start here: {start}")
            return
        time.sleep(0.5)


def end_with(services: subprocess.Popen[bytes], running: uvicorn.Server) -> None:
    """End the search server when Dagster ends."""
    services.wait()
    running.should_exit = True


def is_taken(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
