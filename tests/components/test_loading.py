"""A folder below ``defs/`` is a tree of its own: what lies in it is built, and nothing about what is installed."""

from __future__ import annotations

import dagster as dg

from cir_assets.components.loading import built_from, defs_folders, tree_of
from tests.trial_project import TrialProject


def test_a_tree_builds_what_lies_in_its_folder_and_can_be_merged_with_others(project: TrialProject) -> None:
    project.write_dataset("album", source={"kind": "catalogue", "pictures": "anywhere"})
    project.write_dataset("wardrobe", source={"kind": "wardrobe", "size": 1000})
    with project.importable():
        assert defs_folders(project.folder) == ["album", "backbones", "wardrobe"]
        trees = [tree_of(project.folder, name) for name in ("album", "wardrobe")]
        album, wardrobe = (built_from(tree) for tree in trees)
        whole = trees[0].build_defs()
    assert keys(album) == keys(whole)
    assert keys(dg.Definitions.merge(album, wardrobe)) == keys(album) | keys(wardrobe)
    # Dagster's own way in adds a schema of every component there is, which takes longer than all the rest.
    assert whole.metadata
    assert not album.metadata


def keys(definitions: dg.Definitions) -> set[dg.AssetKey]:
    built = [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
    return {key for asset in built for key in asset.keys}
