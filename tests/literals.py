"""Which files of the package spell a name out as a string, to see that a name has one home."""

from __future__ import annotations

import ast
from pathlib import Path

import cir_assets

PACKAGE = Path(cir_assets.__file__).parent


def files_with(name: str) -> list[str]:
    """Files below the package with a string that is this name, or an f-string with such a part; their paths in it."""
    return [
        str(file.relative_to(PACKAGE)) for file in sorted(PACKAGE.rglob("*.py")) if name in _literals(file)
    ]


def _literals(file: Path) -> set[str]:
    tree = ast.parse(file.read_bytes())
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
