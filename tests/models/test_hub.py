"""Weights come from the Hub by repository and revision: the same client, asked at a server on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cir_assets.models.backbone import Backbone
from cir_assets.models.files import weights_digest, weights_of
from tests.file_server import Answer, FileServer, Request, gives, serving
from tests.models.families import in_shards, write_family

REPOSITORIES = tuple(
    f"somebody/{family}" for family in ("clip", "siglip", "siglip_in_shards", "clip_in_two_forms")
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
INSTALL = """
import sys
from pathlib import Path
from typing import Any
from cir_assets.models.installation import install_backbone
from cir_assets.models.settings import BackboneSettings
for repository in sys.argv[3:]:
    settings = BackboneSettings(kind="hub", place=repository, revision=sys.argv[1])
    install_backbone(settings, Path(sys.argv[2]) / repository)
"""


def hub_file(body: bytes) -> Answer:
    """A file as the Hub serves it, with its commit and checksum told in the headers."""

    def answer(handler: BaseHTTPRequestHandler, request: Request) -> None:
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        gives(body, ETag=etag, X_Repo_Commit=COMMIT, Accept_Ranges="none")(handler, request)

    return answer


def serve_repository(server: FileServer, repository: str, folder: Path, revision: str) -> None:
    files = sorted(file.name for file in folder.iterdir())
    info: dict[str, Any] = {
        "id": repository,
        "sha": COMMIT,
        "siblings": [{"rfilename": name} for name in files],
    }
    info |= {"private": False, "tags": [], "downloads": 0, "likes": 0}
    tree: list[dict[str, Any]] = [
        {"type": "file", "path": name, "size": (folder / name).stat().st_size, "oid": "0" * 40}
        for name in files
    ]
    for named in (revision, COMMIT):
        server.answers[f"/api/models/{repository}/revision/{named}"] = gives(json.dumps(info).encode())
        for query in ("", "?recursive=true&expand=false", "?recursive=True&expand=False"):
            server.answers[f"/api/models/{repository}/tree/{named}{query}"] = gives(json.dumps(tree).encode())
        for name in files:
            answer = hub_file((folder / name).read_bytes())
            server.answers[f"/{repository}/resolve/{named}/{name}"] = answer


def in_two_forms(folder: Path) -> None:
    """As laion's repositories: open_clip's form beside transformers', and PyTorch's own beside both."""
    for name in ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin"):
        (folder / name).write_bytes(b"weights of the other form")
    (folder / "open_clip_config.json").write_text('{"model_cfg": {}}')


@dataclass(frozen=True)
class Installed:
    """Repositories as folders, what was installed of them, and the addresses that were asked for."""

    theirs: Path
    installed: Path
    asked: Sequence[str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """All repositories, installed by one process: the client reads where its server is when it is imported."""
    theirs, ours = tmp_path_factory.mktemp("theirs"), tmp_path_factory.mktemp("installed")
    with serving() as server:
        for repository in REPOSITORIES:
            family, _, form = repository.rpartition("/")[2].partition("_in_")
            folder = write_family(family, theirs / repository)
            if form == "shards":
                in_shards(folder)
            if form == "two_forms":
                in_two_forms(folder)
            (folder / "training_log.txt").write_text("not needed")
            serve_repository(server, repository, folder, "v1")
        done = subprocess.run(
            [sys.executable, "-c", INSTALL, "v1", str(ours), *REPOSITORIES],
            env={
                **os.environ,
                "HF_ENDPOINT": server.address,
                "HF_HOME": str(tmp_path_factory.mktemp("home")),
                "HF_HUB_DISABLE_XET": "1",
                "NO_PROXY": "127.0.0.1",
                "no_proxy": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        asked = [request.path for request in server.requests]
    assert done.returncode == 0, done.stderr[-3_000:] + str(asked)
    return Installed(theirs, ours, asked)


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_a_revision_is_fetched_and_equals_the_folder_it_came_from(
    repository: str, installed: Installed
) -> None:
    folder, ours = installed.theirs / repository, installed.installed / repository
    fetched = {
        path.rpartition("/")[2] for path in installed.asked if path.startswith(f"/{repository}/resolve/")
    }
    weights = {name for name in fetched if name.endswith((".safetensors", ".bin"))}
    assert weights == {file.name for file in weights_of(folder, "transformers")}
    assert "training_log.txt" not in fetched
    assert weights_digest(ours) == weights_digest(folder)
    assert Backbone.load(ours).text_features(["is red"]).shape[0] == 1
