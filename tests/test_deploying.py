"""The image, the composition and what they are configured by hold together; no container is started here."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from compose_spec import PyCompose
from dagster._core.instance.ref import InstanceRef

from cir_assets.command_line import main
from tests.trial_project import PROJECT


@pytest.fixture(scope="module")
def composition() -> dict[str, Any]:
    # With what stands where nothing is set; what has to be set is given.
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (PROJECT / "compose.yaml").read_text())
    read = yaml.safe_load(re.sub(r"\$\{\w+:\?[^}]*\}", "given", text))
    assert isinstance(read, dict)
    return read


def test_the_dockerfile_has_nothing_a_linter_minds() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    said = subprocess.run([hadolint, PROJECT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")


def test_the_image_holds_what_the_wheel_is_made_of_and_is_not_root() -> None:
    lines = (PROJECT / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", lines, re.M) for name in line.split()]
    let_in = {
        line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert set(copied) == let_in
    assert all((PROJECT / name).exists() for name in copied)
    assert re.findall(r"^USER (\d+)$", lines, re.M) not in ([], ["0"])
    assert "HEALTHCHECK" in lines


def test_the_composition_is_one(composition: dict[str, Any]) -> None:
    known = PyCompose.from_json(json.dumps(composition))
    known.validate()
    assert set(known.service_names()) == {"postgres", "code", "webserver", "daemon", "search", "caddy"}
    for name, service in composition["services"].items():
        assert {*service.get("depends_on", [])} <= composition["services"].keys(), name
        for volume in service.get("volumes", []):
            place = volume.split(":")[0]
            assert place in composition["volumes"] or place.startswith("$") or (PROJECT / place).exists(), (
                volume
            )
        assert "privileged" not in service


def test_only_search_can_be_reached_from_elsewhere(composition: dict[str, Any]) -> None:
    ports = {
        name: service["ports"] for name, service in composition["services"].items() if "ports" in service
    }
    assert ports == {"webserver": ["127.0.0.1:3000:3000"], "caddy": ["80:80", "443:443"]}
    front = (PROJECT / "deploy" / "Caddyfile").read_text()
    assert re.findall(r"reverse_proxy (\S+)", front) == ["search:8765"]


def test_its_commands_are_there_and_meet_each_other(composition: dict[str, Any]) -> None:
    for name in ("code", "webserver", "daemon", "search"):
        assert Path(sys.executable).with_name(composition["services"][name]["command"][0]).exists()
    asked = [part.split("=")[0] for part in composition["services"]["search"]["command"][2:]]
    told = CliRunner().invoke(main, ["serve", "--help"]).output
    assert all(option in told for option in asked)
    workspace = yaml.safe_load((PROJECT / "deploy" / "workspace.yaml").read_text())
    [server] = [each["grpc_server"] for each in workspace["load_from"]]
    code = shlex.join(composition["services"][server["host"]]["command"])
    assert f"--port={server['port']}" in code


def test_dagsters_settings_are_the_packages_with_postgres_beside(
    composition: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = yaml.safe_load((PROJECT / "storage" / "dagster.yaml").read_text())
    deployed = yaml.safe_load((PROJECT / "deploy" / "dagster.yaml").read_text())
    asked = deployed.pop("storage")
    assert deployed == own
    given = composition["services"]["code"]["environment"]
    assert {each["env"] for each in asked["postgres"]["postgres_db"].values()} == given.keys()
    for name in given:
        monkeypatch.setenv(name, "x")
    shutil.copy(PROJECT / "deploy" / "dagster.yaml", tmp_path)
    reference = InstanceRef.from_dir(str(tmp_path))
    assert reference.run_storage_data is not None
    assert reference.storage_data is not None
    assert reference.run_storage_data.class_name == "PostgresRunStorage"
    assert reference.storage_data.config_dict["postgres_db"]["hostname"] == {"env": "DAGSTER_POSTGRES_HOST"}
