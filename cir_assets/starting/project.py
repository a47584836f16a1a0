"""A Dagster project of one's own, written in a minute: code location, data set, backbones and storage folder."""

from __future__ import annotations

import keyword
import sys
from importlib.metadata import version
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from cir_assets.components.fitting import Fitted, embedded_backbones
from cir_assets.components.loading import NAME_PATTERN
from cir_assets.store.home import begin_storage

FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$name"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["cir-assets>=$version"]

[tool.setuptools.packages.find]
include = ["$name*"]

[tool.setuptools.package-data]
$name = ["defs/*/defs.yaml"]

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "$name"
code_location_target_module = "$name.definitions"
code_location_name = "$name"
""",
    "$name/__init__.py": '"""The data sets below ``defs/``, a folder and a ``defs.yaml`` each."""\n',
    "$name/definitions.py": '''\
"""What Dagster loads."""

from pathlib import Path

import dagster as dg

from cir_assets.definitions import build_definitions


@dg.definitions
def defs() -> dg.Definitions:
    """The graph of every data set below ``defs/``; one whose YAML is wrong is set aside and says why."""
    return build_definitions(Path(__file__).parents[1], set_broken_aside=True)
''',
    "workspace.yaml": """\
load_from:
  - python_module:
      module_name: $name.definitions
      location_name: $name
      working_directory: .
""",
    # As in the package's own repository: also where nobody set the working folder's name.
    ".env": "DAGSTER_HOME=$${PWD:-/proc/self/cwd}/storage\n",
    ".gitignore": "storage/*\n!storage/dagster.yaml\n__pycache__/\n*.egg-info/\n.venv/\n",
    "README.md": """\
# $name

Composed image retrieval over `$dataset`, as a graph of Dagster assets. In this folder:

    cir-assets demo       # trains, evaluates, and shows the figures
    dagster dev           # the graph on http://localhost:3000; dg dev is the same
    cir-assets serve      # the search page on http://localhost:8765

The data set is `$name/defs/$dataset/defs.yaml`; `dg check yaml` checks it, `dg scaffold defs Dataset NAME` adds one.
What is made lies in `storage/`, none of it in version control.
""",
}
"""Name of each file -> its text; ``$$name`` is the package, ``$$dataset`` the data set."""


class CannotBegin(ValueError):
    """A project that cannot be written; the message says why and how to mend it."""


def write_project(folder: Path, dataset: str, fitted: Fitted) -> list[Path]:
    """Write a project whole, or nothing.

    Args:
        folder: to be made; its name is that of the project's package.
        dataset: name of the data set.
        fitted: its YAML.

    Returns:
        The files that were written.

    Raises:
        CannotBegin: when the folder is there already, or a name cannot be one.
        OSError: when nothing can be written there.
    """
    name = folder.name
    taken = name in sys.stdlib_module_names or keyword.iskeyword(name) or name == "cir_assets"
    if not NAME_PATTERN.match(name) or taken:
        raise CannotBegin(
            f"{name!r} cannot be the project's name: it becomes a package, so it must be lower-case letters, digits "
            "and underscores, beginning with a letter, and no package that Python has already; my_shop would do"
        )
    if folder.exists():
        raise CannotBegin(
            f"{folder} is there already: name a folder that is not, or add a data set to that project"
        )
    words = {"name": name, "dataset": dataset, "version": version("cir-assets")}
    texts = {
        Template(file).substitute(words): Template(text).substitute(words) for file, text in FILES.items()
    }
    texts[f"{name}/defs/backbones/defs.yaml"] = embedded_backbones()
    texts[f"{name}/defs/{dataset}/defs.yaml"] = fitted.yaml()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{name}.", dir=folder.parent) as beside:
        whole = Path(beside) / name
        for file, text in texts.items():
            (whole / file).parent.mkdir(parents=True, exist_ok=True)
            (whole / file).write_text(text, encoding="utf-8")
        begin_storage(whole / "storage")
        whole.rename(folder)
    return sorted(file for file in folder.rglob("*") if file.is_file())
