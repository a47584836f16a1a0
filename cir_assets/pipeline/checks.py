"""Checks: what must hold of what a step made. Each is one object: its name, what must hold in words, and the rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cir_assets.datasets.tables import Annotations, pictures_by_split
from cir_assets.pipeline.holding import Loss
from cir_assets.retrieval.methods import METHODS, ZERO_SHOT
from cir_assets.retrieval.protocols import query_groups
from cir_assets.store.made import Check

EVALUATED_SPLITS = ("val", "test")


@dataclass(frozen=True)
class Asked:
    """What is asked of a data set's triplets.

    Attributes:
        step: that makes them.
        protocols: they are evaluated by.
        batches: (stage, triplets a batch takes) of all that is trained on them.
        evaluates: whether any model is judged by them.
    """

    step: str
    protocols: Sequence[str]
    batches: Sequence[tuple[str, int]]
    evaluates: bool


@dataclass(frozen=True)
class StepCheck:
    """One check of a step; called, it gives its outcome by name, as ``Made.checks`` holds it.

    Attributes:
        name: what it is called in the UI.
        sentence: what must hold.
        rule: from what was made to the outcome.
        blocking: where it fails, nothing is made of what the step made.
        warns: a failure is told and stops nothing.
    """

    name: str
    sentence: str
    rule: Callable[..., Check]
    blocking: bool = False
    warns: bool = False

    def __call__(self, *made: object) -> dict[str, Check]:
        """The outcome, by the check's name."""
        return {self.name: self.rule(*made)}


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


def protocols_applicable(
    images: pl.DataFrame, galleries: pl.DataFrame, triplets: pl.DataFrame, asked: Asked
) -> Check:
    """There is what is trained on and judged by, and every split with targets can be ranked by every protocol."""
    if not asked.evaluates:
        return Check(True, "nothing is trained or evaluated here")
    answered = triplets.filter(pl.col("target").is_not_null())
    if triplets.is_empty():
        lacking = [
            "there are no triplets: give a table of them, or leave recipes, models_of and checkpoints out"
        ]
    else:
        lacking = []
        if asked.batches and answered.filter(split="train").is_empty():
            lacking.append(
                "split 'train' has no triplet with a target to train on; add rows of split train, or leave the "
                "column split out"
            )
        ranked = sorted({"val", *answered["split"]} & {*EVALUATED_SPLITS}, reverse=True)
        for split in ranked:
            for protocol in asked.protocols:
                try:
                    query_groups(protocol, split, images["image"].to_list(), galleries, triplets)
                except ValueError as error:
                    lacking.append(str(error))
    told = ". ".join(lacking)
    if lacking:
        told += f". Where the YAML is what is mended, materialize {asked.step} again"
    return Check(not lacking, told or f"{', '.join(ranked)} can be ranked by {', '.join(asked.protocols)}")


def batches_filled(triplets: pl.DataFrame, asked: Asked) -> Check:
    """The train split fills a batch of every stage that is trained; an incomplete batch is dropped."""
    count = triplets.filter((pl.col("split") == "train") & pl.col("target").is_not_null()).height
    large = [f"{stage} has batch_size {size:,}" for stage, size in asked.batches if size > count]
    return Check(
        not large,
        f"train has {count:,} triplets and fills no batch where {', '.join(large)}: "
        f"set each to at most {count:,}, or add triplets"
        if large
        else f"the {count:,} triplets of train fill every batch",
        {"train_triplets": count},
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
    judged = [METHODS[name].spoken for name in methods if METHODS[name].tuned and not METHODS[name].shares]
    if not judged:
        return "No method here stands on stage 1, so none is held against the zero-shot sum."
    said = f"neither {' nor '.join(judged)} is" if judged[1:] else f"{judged[0]} is not"
    return f"On val {said} below {ZERO_SHOT.spoken}."


def ladder_in_order(headlines: Mapping[str, float]) -> Check:
    """On the first evaluated split no method that stage 1 is part of is below the zero-shot sum.

    ``headlines`` maps method to headline metric in percent; methods that were not evaluated are not in it.
    """
    plain = headlines[ZERO_SHOT.name]
    trained = [m for name, m in METHODS.items() if m.models and not m.shares and name in headlines]
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


def files_complete(files: Sequence[str], remarks: Sequence[str]) -> Check:
    """A backbone's ``files`` are all there; ``remarks`` say what was ignored or taken for granted."""
    return Check(bool(files), "; ".join(["weights, tokenizer and configuration are complete", *remarks]))


def raw_pictures_present(annotations: Annotations, images: pl.DataFrame, needed: Collection[str]) -> Check:
    """There are pictures, and some of every needed split that has triplets."""
    found = pictures_by_split(annotations.galleries, images)
    with_triplets = set(annotations.triplets["split"])
    empty = [split for split, (there, _) in found.items() if not there and split in with_triplets & {*needed}]
    counts = ", ".join(
        f"{'none' if not there else 'all' if there == named else f'{there:,}'} of {split}'s {named:,}"
        for split, (there, named) in found.items()
    )
    told = (
        f"{images.height:,} of {annotations.pictures.height:,} named pictures found: {counts or 'no gallery'}"
    )
    if empty:
        lost = annotations.galleries.filter(split=empty[0]).join(annotations.pictures, on="image")["path"]
        told += (
            f"; put those of {' and '.join(empty)} into {annotations.picture_root} (the first is {lost[0]})"
        )
    return Check(images.height > 0 and not empty, told)


def pictures_kept(loss: Loss, share: float, step: str, accepted: bool) -> Check:
    """No more is gone of the data set ``step`` looks at than ``share`` lets go, or a person ``accepted`` it."""
    if not loss.exceeds(share):
        return Check(True, str(loss))
    if accepted:
        return Check(True, f"{loss}; a person accepted that")
    return Check(
        False,
        f"{loss}, more than hold_when_pictures_shrink_by: {share:g} lets go by itself: nothing is made from it, and "
        f"the champion stays. Bring them back, and all goes on; where it is meant, materialize {step} by hand once "
        "more, which accepts it",
    )


def pictures_decode(undecodable: int, not_read: int, pictures: int) -> Check:
    """No picture that opens turned out not to decode, and each could be read."""
    return Check(
        undecodable == not_read == 0,
        f"{undecodable:,} of {pictures:,} pictures do not decode, {not_read:,} could not be read now",
    )


def page_self_contained(name: str, size: int, asked_for: Sequence[str]) -> Check:
    """A page of ``size`` bytes asks for nothing outside itself; ``asked_for`` are the addresses it asks for."""
    outside = ", ".join(asked_for) or "nothing outside itself"
    return Check(not asked_for, f"{name} has {size / 1e6:.1f} MB and asks for {outside}")


def gallery_searchable(pictures: int) -> Check:
    """There are pictures to find."""
    return Check(pictures > 0, f"{pictures:,} pictures can be found")


def submission_complete(entries: Mapping[str, int], expected: int) -> Check:
    """Every file of a submission, ``entries``, has a list for each of the ``expected`` queries of the test split."""
    said = ", ".join(f"{name} has {count:,} queries" for name, count in entries.items())
    return Check(set(entries.values()) == {expected}, f"{said}; the test split has {expected:,}")


def evaluations_published(rows: int, left_out: Sequence[str]) -> Check:
    """At least one evaluation is published, and every part of it could be read; ``left_out`` says which could not."""
    said = f"{rows} evaluations are published"
    return Check(rows > 0 and not left_out, "; ".join([said, *left_out]))


WEIGHTS_COMPLETE = StepCheck(
    "weights_complete", "Weights, tokenizer and config lie there.", files_complete, blocking=True
)
RAW_PICTURES_PRESENT = StepCheck(
    "pictures_present",
    "There are annotations, and pictures they name; some of each split that is trained on or judged by.",
    raw_pictures_present,
    blocking=True,
)
PICTURES_KEPT = StepCheck(
    "pictures_kept",
    "A refresh lost no more pictures or triplets than it may, or a person accepted that.",
    pictures_kept,
    blocking=True,
)
PICTURES_READABLE = StepCheck(
    "pictures_readable", "Every named picture opens.", pictures_readable, warns=True
)
SPLITS_DISJOINT = StepCheck(
    "splits_disjoint",
    "No picture, and no exact copy of one, is in train and in val or test.",
    splits_disjoint,
    warns=True,
)
TRIPLET_PICTURES_PRESENT = StepCheck(
    "pictures_present",
    "No triplet had to be left out because a picture of it is missing or broken.",
    triplet_pictures_present,
    warns=True,
)
CAPTIONS_PRESENT = StepCheck(
    "captions_present", "Every triplet says something.", captions_present, warns=True
)
PROTOCOLS_APPLICABLE = StepCheck(
    "protocols_applicable",
    "There are triplets to train on, val to judge by, and what every protocol needs.",
    protocols_applicable,
    blocking=True,
)
BATCHES_FILLED = StepCheck(
    "batches_filled", "The train split fills a batch of every recipe.", batches_filled, warns=True
)
FEATURES_FINITE = StepCheck(
    "features_finite",
    "Every feature is finite, not all zero, and of the backbone's dimension.",
    features_finite,
    blocking=True,
)
PICTURES_DECODE = StepCheck("pictures_decode", "Every picture decodes whole.", pictures_decode, warns=True)
LOSS_FALLING = StepCheck("loss_falling", "The loss is finite and falls.", loss_falling, blocking=True)
EVALUATION_COMPLETE = StepCheck(
    "evaluation_complete",
    "Every method was evaluated under every protocol on every split with targets.",
    evaluation_complete,
    blocking=True,
)
SELF_CONTAINED = StepCheck("self_contained", "The page asks nothing of the net.", page_self_contained)
GALLERY_SEARCHABLE = StepCheck("gallery_searchable", "There are pictures to find.", gallery_searchable)
SUBMISSION_COMPLETE = StepCheck(
    "submission_complete",
    "Every test query has its list, of the length the server wants.",
    submission_complete,
    blocking=True,
)
PUBLISHED = StepCheck("published", "At least one evaluation is published.", evaluations_published)


def ladder_check(methods: Sequence[str]) -> StepCheck:
    """The check that no method of a pipeline that stands on stage 1 is below what needs no training."""
    return StepCheck("ladder_in_order", ladder_order(methods), ladder_in_order, warns=True)
