"""Splits for a table that has none: what shares a picture stays together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from cir_assets.datasets.tables import BrokenAnnotations


def split_by_pictures(
    rows: pl.DataFrame, keys: pl.DataFrame, shares: Mapping[str, float], seed: int, table: Path
) -> pl.DataFrame:
    """Give every row a split, all rows connected by a picture's content the same.

    Groups are taken in an order drawn from ``seed``; val and test are filled up to their share of the triplets, train
    takes the rest.

    Args:
        rows: ``PLACED``.
        keys: columns image and key; equal keys are exact copies.
        shares: split -> share of the triplets, 0 to 1.
        seed: decides the order.
        table: named in what is raised.

    Returns:
        The rows in their order, with their split.

    Raises:
        BrokenAnnotations: there are fewer groups than splits that want one.
    """
    pairs = (
        rows.select("reference", image=pl.concat_list("target", pl.col("set_members").fill_null([])))
        .explode("image")
        .drop_nulls("image")
        .unique()
    )
    key_of = dict(keys.iter_rows())
    heads = _connected(
        (key_of[one], key_of[other]) for one, other in pairs.select("reference", "image").iter_rows()
    )
    group_of = pl.DataFrame(
        {"reference": (images := rows["reference"].unique().to_list())},
        schema={"reference": pl.String},
    ).with_columns(
        group=pl.Series([heads.get(key_of[image], key_of[image]) for image in images], dtype=pl.String)
    )
    grouped = rows.join(group_of, on="reference", how="left", maintain_order="left")
    groups = grouped.group_by("group").agg(
        first=pl.col("reference").min(), triplets=(pl.col("captions").list.len() > 0).sum()
    )
    # The draw hangs on the group's first picture, so that a grown catalogue keeps most of its splits.
    ordered = sorted(
        groups.iter_rows(),
        key=lambda group: hashlib.sha256(f"{seed}/{group[1]}".encode()).digest(),
    )
    weight = [triplets for _, _, triplets in ordered]
    total = sum(weight)
    places = ["train"] * len(ordered)
    held = dict.fromkeys(shares, 0)
    for index, size in enumerate(weight):
        for split, share in shares.items():
            if size and held[split] + size <= share * total:
                places[index] = split
                held[split] += size
                break
    for split, share in shares.items():
        if share and not held[split]:
            rest = [index for index, place in enumerate(places) if place == "train" and weight[index]]
            if len(rest) < 2:
                raise BrokenAnnotations(
                    f"{table}: its {total} triplets hang together in {sum(map(bool, weight))} group(s) "
                    "through shared pictures, so they cannot be split without a picture in two splits; "
                    "add a column split, or set val_share and test_share to 0"
                )
            smallest = min(rest, key=lambda index: weight[index])
            places[smallest] = split
            held[split] = weight[smallest]
    place_of = {group: place for (group, _, _), place in zip(ordered, places, strict=True)}
    return grouped.with_columns(
        split=pl.col("group").replace_strict(place_of, return_dtype=pl.String)
    ).select(rows.columns)


def _connected(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each member's group, named by one of its members; the two of a pair are of one group."""
    parent: dict[str, str] = {}

    def head(member: str) -> str:
        parent.setdefault(member, member)
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    for one, other in pairs:
        parent[head(other)] = head(one)
    return {member: head(member) for member in list(parent)}
