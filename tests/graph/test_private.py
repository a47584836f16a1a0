"""What is not public in Dagster is asked for in one module, and is there in the Dagster that is allowed."""

from __future__ import annotations

import ast
import tomllib
from importlib.metadata import version

import dagster as dg
from packaging.requirements import Requirement

from cir_assets.graph.private import reloading, staleness
from tests.test_laws import MODULES, PROJECT, imports

WRITTEN_FOR = "1.13"
"""Of a later one each name has to be looked up anew: there may be a public one."""


def test_private_names_of_dagster_stand_in_one_module() -> None:
    private = {
        name
        for name, file in MODULES.items()
        if any("._" in each for each in imports(file) if "dagster" in each)
    }
    assert private == {"cir_assets.graph.private"}


def test_each_of_them_says_why() -> None:
    module = ast.parse(MODULES["cir_assets.graph.private"].read_text(encoding="utf-8"))
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    assert functions
    for function in functions:
        assert "public" in (ast.get_docstring(function) or ""), function.name


def test_the_dagster_that_has_them_is_the_one_that_is_asked_for() -> None:
    listed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    [asked] = [each for each in map(Requirement, listed) if each.name == "dagster"]
    assert version("dagster").startswith(f"{WRITTEN_FOR}.")
    major, minor = map(int, WRITTEN_FOR.split("."))
    assert not asked.specifier.contains(f"{major}.{minor + 1}.0")


def test_they_do_what_their_names_say() -> None:
    @dg.asset
    def raw() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("1"))

    @dg.asset(deps=[raw], code_version="1")
    def below() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("1"))

    @dg.asset(key="below", deps=[raw], code_version="2")
    def edited() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("1"))

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([raw, below], instance=instance).success
        for graph, stale in (([raw, below], False), ([raw, edited], True)):
            is_stale = staleness(instance, dg.Definitions(graph).resolve_asset_graph())
            assert is_stale(dg.AssetKey("below")) is stale
        with dg.build_sensor_context(instance) as context:
            assert reloading(context) is None, "a tick without a code server has nobody to ask"
