"""The room stands by itself: pictures are opened and prepared where no network, graph or database is."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import cir_assets.pictures


def test_no_module_brings_torch_dagster_or_duckdb() -> None:
    modules = [
        f"cir_assets.pictures.{module.name}" for module in pkgutil.iter_modules(cir_assets.pictures.__path__)
    ]
    program = (
        "import importlib, sys\n"
        f"for module in {modules}: importlib.import_module(module)\n"
        "print(*sorted({'torch', 'dagster', 'duckdb'} & set(sys.modules)))"
    )
    brought = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert len(modules) > 4
    assert brought.stdout.split() == []
