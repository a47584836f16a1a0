"""The three laws of the house; docs/extending.md begins with them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from cir_assets.store import contracts

PROJECT = Path(__file__).parents[1]
LAYERS = (
    ("command_line", "definitions"),
    ("client",),
    ("starting", "sharing"),
    ("components",),
    ("graph",),
    ("pipeline",),
    ("serving", "reporting"),
    ("training",),
    ("retrieval",),
    ("models",),
    ("datasets",),
    ("pictures",),
    ("store",),
    ("engines",),
)
"""Rooms from the top to the bottom; an import points downward, or stays in its room."""

WORDS = {"cir_assets.models.stages", "cir_assets.retrieval.methods"}
"""Lists of names that every room may ask, the contracts of tables among them; they import nothing but each other when
they are loaded."""

DAGSTERS = {"graph", "components", "definitions"}
FORBIDDEN = {
    "store": {"torch", "transformers"},
    "pictures": {"torch", "transformers", "duckdb"},
    "retrieval": {"duckdb", "cir_assets.store.database", "cir_assets.store.files"},
    "training": {"duckdb", "cir_assets.store.database"},
    "serving": {"duckdb", "cir_assets.reporting"},
    "reporting": {"cir_assets.serving"},
}
"""Room -> what it does not know."""


def named(file: Path) -> str:
    return ".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {named(file): file for file in sorted((PROJECT / "cir_assets").rglob("*.py"))}


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it, for types alone too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in MODULES else node.module


IMPORTS = {name: set(imports(file)) for name, file in MODULES.items()}


def room(module: str) -> str:
    return [*module.split("."), ""][1]


def within(module: str, names: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def test_only_the_graph_knows_dagster_and_only_the_engines_know_ray() -> None:
    for library, rooms in (("dagster", DAGSTERS), ("ray", {"engines"})):
        knowing = {name for name, asked in IMPORTS.items() if any(within(each, {library}) for each in asked)}
        assert {name for name in knowing if room(name) not in rooms} == set(), library


@pytest.mark.parametrize("of", FORBIDDEN)
def test_a_room_knows_nothing_of_what_is_not_its_business(of: str) -> None:
    found = {(name, each) for name in MODULES if room(name) == of for each in IMPORTS[name]}
    assert {pair for pair in found if within(pair[1], FORBIDDEN[of])} == set()


def test_imports_point_downward() -> None:
    depth = {name: place for place, names in enumerate(LAYERS) for name in names}
    upward = {
        (name, each)
        for name, asked in IMPORTS.items()
        for each in asked & MODULES.keys()
        if room(name) and room(each) and room(name) != room(each) and each not in WORDS
        if depth[room(each)] <= depth[room(name)]
    }
    assert upward == set()


def test_there_is_no_circle() -> None:
    TopologicalSorter({name: asked & MODULES.keys() - {name} for name, asked in IMPORTS.items()}).prepare()


def joined_names(file: Path) -> set[str]:
    """Names that a file appends to a path with a slash."""
    return {
        node.right.value
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        if isinstance(node.right, ast.Constant) and isinstance(node.right.value, str)
    }


def test_where_things_lie_in_the_storage_folder_is_said_by_the_layout_alone() -> None:
    layout = MODULES["cir_assets.store.layout"]
    folders = joined_names(layout)
    assert {"features", "models", "results", "search"} <= folders
    elsewhere = {name: joined_names(file) & folders for name, file in MODULES.items() if file != layout}
    assert {name: found for name, found in elsewhere.items() if found} == {}


def test_the_file_of_a_table_is_named_by_its_contract_alone() -> None:
    tables = {each.name for each in vars(contracts).values() if isinstance(each, contracts.Table)}
    assert {"images", "triplets", "data_issues"} <= tables
    wanted = {f"{table}.parquet" for table in tables}
    elsewhere = {name: joined_names(file) & wanted for name, file in MODULES.items()}
    assert {name: found for name, found in elsewhere.items() if found} == {}


def test_an_asset_file_reads_calls_records_and_computes_nothing() -> None:
    files = list((PROJECT / "cir_assets" / "graph" / "assets").glob("*.py"))
    assert len(files) > 10
    lines = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {name: count for name, count in lines.items() if count > 90} == {}
    computing = {"numpy", "polars", "torch", "duckdb", "PIL"}
    assert {(f.name, each) for f in files for each in imports(f) if within(each, computing)} == set()


ELSEWHERE = {
    "graph/assets": "each declares one asset: tests/graph_snapshot.json holds every word of it",
    "pipeline/submission.py": "takes real annotations of CIRR and CIRCO: tests/graph/test_real_annotations.py",
}
"""What has no test file of its name, and where it is tested."""


def behaves(file: Path) -> bool:
    """Whether a module does anything: it has a function or method that is more than a declaration."""
    return any(
        isinstance(node, ast.FunctionDef) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    )


def test_each_module_that_behaves_has_a_test_file_of_its_own_name() -> None:
    package = PROJECT / "cir_assets"
    places = {file.relative_to(package) for file in MODULES.values() if not file.name.startswith("__")}
    elsewhere = {place for place in places if any(place.is_relative_to(name) for name in ELSEWHERE)}
    lacking = {
        str(place)
        for place in places - elsewhere
        if behaves(package / place)
        if not (PROJECT / "tests" / place.with_name(f"test_{place.name}")).is_file()
    }
    assert lacking == set()
    assert all(any(place.is_relative_to(name) for place in elsewhere) for name in ELSEWHERE)
