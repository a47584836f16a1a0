"""A champion is exported and goes to the Hub and back, or it is said why not."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cir_assets.models.files import BrokenModel
from cir_assets.models.portable import ComposedRetrieval
from tests.serving.conftest import Shop
from tests.sharing.conftest import ran


def test_what_cannot_be_exported_or_loaded_is_said(shop: Shop, exported: Path, tmp_path: Path) -> None:
    for arguments, said in (
        (("nowhere",), "nothing of nowhere serves searches yet"),
        (("boutique", "--pipeline", "tiny_clip/best"), "it has tiny_clip/small"),
    ):
        refused = ran(shop, "export", *arguments, "--to", str(tmp_path / "out"))
        assert refused.exit_code == 1
        assert said in refused.output
    there = ran(shop, "export", "boutique", "--to", str(exported))
    assert "is there already" in there.output
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(BrokenModel, match="holds no pipeline as cir-assets export writes it"):
        ComposedRetrieval.from_pretrained(tmp_path)
    assert "lacks README.md" in ran(shop, "push", str(tmp_path), "me/shop").output


class Hub(ThreadingHTTPServer):
    """A stand-in of the Hub that keeps what is committed to it and gives it again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubRequests)
        self.files: dict[str, bytes] = {}
        self.created: list[dict[str, Any]] = []


class HubRequests(BaseHTTPRequestHandler):
    """What the client asks to send a folder and to fetch it."""

    server: Hub
    commit = "0" * 39 + "1"

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def give(self, body: bytes | dict[str, Any] | list[Any], status: int = 200, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json"}.items():
            self.send_header(name, headers.pop(name, value))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self.give({"url": f"http://127.0.0.1:{self.server.server_port}/me/shop", "id": "me/shop"})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            self.give(
                {
                    "files": [
                        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked
                    ]
                }
            )
        elif "/commit/" in self.path:
            for line in body.decode().splitlines():
                said = json.loads(line)
                if said["key"] == "file":
                    self.server.files[said["value"]["path"]] = base64.b64decode(said["value"]["content"])
            self.give(
                {
                    "commitUrl": f"http://127.0.0.1:{self.server.server_port}/me/shop/commit/1",
                    "commitOid": self.commit,
                    "success": True,
                }
            )
        else:
            self.give({"valid": True})

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if "/resolve/" in path:
            name = path.split("/resolve/")[1].partition("/")[2]
            if name in self.server.files:
                content = self.server.files[name]
                self.give(content, ETag=f'"{hashlib.sha256(content).hexdigest()}"', X_Repo_Commit=self.commit)
            else:
                self.give({"error": "absent"}, 404, X_Error_Code="EntryNotFound")
        elif "/tree/" in path:
            self.give(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                    for name, content in self.server.files.items()
                ]
            )
        elif path.startswith("/api/models/"):
            siblings = [{"rfilename": name} for name in self.server.files]
            self.give(
                {"id": "me/shop", "sha": self.commit, "siblings": siblings, "private": False, "tags": []}
            )
        else:
            self.give({"name": "me", "type": "user", "orgs": []})

    do_HEAD = do_GET


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


FETCH = """
import sys
from cir_assets.models.portable import ComposedRetrieval
from cir_assets.command_line import main
try:
    main(["push", sys.argv[1], "me/shop", "--private"])
except SystemExit as ended:
    assert ended.code == 0
print(ComposedRetrieval.from_pretrained("me/shop").about.dataset)
"""


def test_it_goes_to_the_hub_and_comes_back(exported: Path, hub: Hub, tmp_path: Path) -> None:
    """In a process of its own: the client reads the Hub's address when it is imported."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FETCH, str(exported)],
        env={
            **os.environ,
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": "hf_nobody",
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "boutique"
    assert "private" in json.dumps(hub.created[0])
    sent = {str(file.relative_to(exported)) for file in exported.rglob("*") if file.is_file()}
    assert sent - {".gitattributes"} <= hub.files.keys()
    for name in sent:
        assert hub.files[name] == (exported / name).read_bytes()
