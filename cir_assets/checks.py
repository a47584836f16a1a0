"""Asset checks: what must hold of what a step made, as functions from tables and arrays to outcomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from cir_assets.retrieval.methods import METHODS, ZERO_SHOT

EVALUATED_SPLITS = ("val", "test")


@dataclass(frozen=True)
class Check:
    """The outcome of one asset check: whether it passed, said in a sentence, with its figures."""

    passed: bool
    description: str
    figures: Mapping[str, float | int | str] = field(default_factory=dict)


def pictures_readable(images: pl.DataFrame, issues: pl.DataFrame) -> Check:
    """Every named picture is there and opens (the full decode is checked where features are made)."""
    unreadable = issues.filter(pl.col("kind").is_in(["missing_picture", "unreadable_picture"]))
    kinds = dict(unreadable.group_by("kind").len().sort("kind").iter_rows())
    said = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in kinds.items())
    return Check(
        unreadable.is_empty(),
        f"{images.height:,} pictures open; {said or 'none is missing or broken'}",
        {"opened": images.height, "missing_or_broken": unreadable.height},
    )


def splits_disjoint(images: pl.DataFrame, galleries: pl.DataFrame) -> Check:
    """No picture, and no exact copy of one, lies in the galleries of train and of val or test."""
    contents = galleries.join(images.select("image", "image_key"), on="image").select("split", "image_key")
    train = contents.filter(pl.col("split") == "train").select("image_key").unique()
    evaluated = contents.filter(pl.col("split").is_in(EVALUATED_SPLITS)).select("image_key").unique()
    shared = train.join(evaluated, on="image_key", how="semi").height
    return Check(
        shared == 0,
        f"{shared:,} pictures of train are also evaluated"
        if shared
        else f"{train.height:,} pictures of train, {evaluated.height:,} evaluated, none in both",
        {"shared_pictures": shared},
    )


def triplet_pictures_present(triplets: pl.DataFrame, issues: pl.DataFrame) -> Check:
    """Every triplet's reference and target is among the pictures that open."""
    dropped = issues.filter(pl.col("kind") == "triplet_without_picture").height
    total = triplets.height + dropped
    return Check(
        dropped == 0,
        f"{dropped:,} of {total:,} triplets left out, as a picture of theirs is missing or broken"
        if dropped
        else f"all {total:,} triplets have their pictures",
        {"triplets": triplets.height, "left_out": dropped},
    )


def captions_present(triplets: pl.DataFrame) -> Check:
    """No triplet whose captions are all empty."""
    speechless = triplets.filter(
        pl.col("captions").list.eval(pl.element().str.strip_chars() != "").list.any().not_()
    ).height
    return Check(
        speechless == 0,
        f"{speechless:,} of {triplets.height:,} triplets say nothing"
        if speechless
        else f"all {triplets.height:,} triplets say something",
        {"without_caption": speechless},
    )


def features_finite(features: np.ndarray, expected_dimension: int) -> Check:
    """Every feature is finite, not all zero, and of the backbone's dimension.

    ``features`` is float32 (pictures, dimension).
    """
    broken = int((~np.isfinite(features).all(axis=1)).sum())
    empty = int((np.abs(features).max(axis=1, initial=0.0) == 0).sum())
    dimension = features.shape[1]
    return Check(
        broken == 0 and empty == 0 and dimension == expected_dimension and features.shape[0] > 0,
        f"{features.shape[0]:,} features of dimension {dimension} (the backbone's is {expected_dimension}); "
        f"{broken} not finite, {empty} all zero",
        {"features": features.shape[0], "dimension": dimension, "not_finite": broken, "all_zero": empty},
    )


def loss_falling(losses: Sequence[float]) -> Check:
    """The training loss is finite throughout and ends below where it began."""
    finite = all(math.isfinite(loss) for loss in losses)
    falling = finite and (len(losses) < 2 or min(losses[1:]) < losses[0])
    return Check(
        falling,
        f"loss {losses[0]:.4f} in the first epoch, {losses[-1]:.4f} in the last, {len(losses)} epochs",
        {"first": losses[0], "last": losses[-1]},
    )


def ladder_order(methods: Sequence[str]) -> str:
    """What :func:`ladder_in_order` asks of some methods, in a sentence."""
    judged = [METHODS[name].spoken for name in methods if METHODS[name].tuned]
    if not judged:
        return "No method here stands on stage 1, so none is held against the zero-shot sum."
    said = f"neither {' nor '.join(judged)} is" if judged[1:] else f"{judged[0]} is not"
    return f"On val {said} below {ZERO_SHOT.spoken}."


def ladder_in_order(headlines: Mapping[str, float]) -> Check:
    """On the first evaluated split no method that stage 1 is part of is below the zero-shot sum.

    ``headlines`` maps method to headline metric in percent; methods that were not evaluated are not in it.
    """
    plain = headlines[ZERO_SHOT.name]
    trained = [method for name, method in METHODS.items() if method.models and name in headlines]
    judged = [headlines[method.name] for method in trained if method.tuned]
    said = ", ".join(f"{method.name} {headlines[method.name]:.2f}" for method in (ZERO_SHOT, *trained))
    return Check(all(value >= plain for value in judged), f"headlines: {said}", dict(headlines))


def evaluation_complete(evaluations: pl.DataFrame, expected: int) -> Check:
    """Every method was evaluated under every protocol on every split, over at least one query.

    ``evaluations`` has the columns of the published table of that name.
    """
    empty = evaluations.filter(pl.col("queries") == 0).height
    return Check(
        evaluations.height == expected and empty == 0,
        f"{evaluations.height} of {expected} evaluations made, {empty} of them without a query",
        {"evaluations": evaluations.height, "expected": expected, "without_queries": empty},
    )
