"""The graph of a data set: what depends on what, what waits for a person, and what each asset says of itself."""

from __future__ import annotations

import dagster as dg

from tests.components.conftest import WARDROBE
from tests.trial_project import TrialProject


def test_what_depends_on_what(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE, recipes={"paper": {}})
    graph = project.definitions().resolve_asset_graph()

    def parents(key: str) -> set[str]:
        return {parent.to_user_string() for parent in graph.get(dg.AssetKey(key.split("/"))).parent_keys}

    pipeline = "wardrobe/tiny_clip/paper"
    data = {"wardrobe/triplets", "wardrobe/tiny_clip/image_features"}
    assert parents("wardrobe/images") == {"wardrobe/raw"}
    assert parents("wardrobe/tiny_clip/image_features") == {"wardrobe/images", "backbones/tiny_clip"}
    assert parents(f"{pipeline}/text_encoder") == data
    assert parents(f"{pipeline}/combiner") == data | {f"{pipeline}/text_encoder"}
    assert parents(f"{pipeline}/combiner_frozen_clip") == data
    assert parents(f"{pipeline}/challenger") == parents(f"{pipeline}/evaluation")
    assert parents(f"{pipeline}/champion") == {f"{pipeline}/challenger"}
    assert parents(f"{pipeline}/search") == {
        f"{pipeline}/challenger",
        "wardrobe/images",
        "wardrobe/triplets",
        "wardrobe/tiny_clip/image_features",
    }
    assert parents("leaderboard") == {
        f"{pipeline}/evaluation",
        f"{pipeline}/challenger",
        "wardrobe/triplets",
    }


def test_only_roots_wait_for_a_person(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE)
    graph = project.definitions().resolve_asset_graph()
    without = {
        key.to_user_string()
        for key in graph.get_all_asset_keys()
        if graph.get(key).automation_condition is None
    }
    assert without == {"wardrobe/raw", "backbones/tiny_clip"}


def test_every_asset_explains_itself(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE)
    graph = project.definitions().resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert len(node.description or "") > 60, key
        assert node.kinds, key
        assert node.owners, key
        assert node.code_version, key
        assert node.group_name in ("wardrobe", "wardrobe_quick", "backbones", "leaderboard"), key
