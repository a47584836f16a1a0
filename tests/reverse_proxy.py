"""Reverse proxies before a server on the loopback: one of our own, and nginx and Caddy where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

PREFIX = "/cir/"
KINDS = ("own", "nginx", "caddy")

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/a; uwsgi_temp_path {folder}/b; scgi_temp_path {folder}/c;
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 20m;
    location /cir/ {{ proxy_pass http://127.0.0.1:{behind}/; }}
  }}
}}
"""

CADDY = """
{{
    admin off
    auto_https off
}}
http://localhost:{port} {{
    bind 127.0.0.1
    redir /cir /cir/
    handle_path /cir/* {{
        reverse_proxy 127.0.0.1:{behind}
    }}
}}
"""


def is_installed(kind: str) -> bool:
    """Whether there is such a proxy on this machine."""
    return kind == "own" or shutil.which(kind) is not None


@contextmanager
def reverse_proxy(kind: str, behind: int, port: int, folder: Path) -> Iterator[str]:
    """A proxy at ``port`` that shows what listens at ``behind`` below /cir/: the address there.

    Caddy and the own one pass the Host header on, nginx names the server behind it.
    """
    address = f"http://localhost:{port}{PREFIX}"
    if kind == "own":
        handler = type("Handler", (Forwarding,), {"behind": behind})
        with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield address
            server.shutdown()
        return
    told = folder / kind
    told.write_text({"nginx": NGINX, "caddy": CADDY}[kind].format(port=port, behind=behind, folder=folder))
    command = (
        ["nginx", "-c", str(told)]
        if kind == "nginx"
        else ["caddy", "run", "--adapter", "caddyfile", "--config", str(told)]
    )
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                requests.get(address, timeout=5)
                break
            except requests.ConnectionError:
                assert process.poll() is None, f"{kind} ended at once"
                assert time.monotonic() < deadline, f"{kind} did not answer in 30 s"
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(30)


class Forwarding(BaseHTTPRequestHandler):
    """Takes the prefix off and passes a request on as it came."""

    behind: int
    protocol_version = "HTTP/1.1"

    def forward(self) -> None:
        """Ask the server behind, and answer what it answers."""
        if not self.path.startswith(PREFIX):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        onward = HTTPConnection("127.0.0.1", self.behind, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        onward.request(self.command, self.path[len(PREFIX) - 1 :], body or None, headers)
        answer = onward.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        onward.close()

    do_GET = do_POST = do_HEAD = forward

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""
