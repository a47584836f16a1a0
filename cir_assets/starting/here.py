"""Which graph a command means that names none: the project's it is run in, else the one that comes with the package."""

from __future__ import annotations

import tomllib
from pathlib import Path

PACKAGED = "cir_assets.definitions"


def module_here() -> str:
    """The module with the definitions of the project in the working folder; the package's own where there is none."""
    for file, keys in (("dg.toml", ("project",)), ("pyproject.toml", ("tool", "dg", "project"))):
        try:
            said = tomllib.loads(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for key in keys:
            said = said.get(key, {}) if isinstance(said, dict) else {}
        if isinstance(said, dict) and isinstance(root := said.get("root_module"), str):
            return str(said.get("code_location_target_module") or f"{root}.definitions")
    return PACKAGED


def dataset_here() -> str:
    """The first data set of that graph by name; of the package's own the embedded one."""
    module = module_here()
    if module != PACKAGED:
        defs = Path(*module.split(".")[:-1]) / "defs"
        for file in sorted(defs.glob("*/defs.yaml")):
            if file.parent.name != "backbones":
                return file.parent.name
    return "wardrobe"
