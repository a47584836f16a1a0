"""Which method of a pipeline is judged and served: the best on val, and whether stage 1 helped the Combiner there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cir_assets.retrieval.bootstrap import Difference
from cir_assets.retrieval.evaluation import Evaluation, compare
from cir_assets.retrieval.methods import FROZEN_CLIP_COMBINER, METHODS, WHOLE_METHOD, Method


@dataclass(frozen=True)
class Choice:
    """The method that is judged and served, and why.

    Attributes:
        method: of the ladder.
        because: the reason, in a sentence.
        stage_1: what stage 1 gave the Combiner on val, in a sentence; None where the pipeline has not both Combiners.
        stage_1_helps: whether the interval of what it gave lies above 0; None as above.
    """

    method: Method
    because: str
    stage_1: str | None = None
    stage_1_helps: bool | None = None


def choose_served(evaluations: Mapping[str, Evaluation]) -> Choice:
    """Choose by the headline on val, paired over its queries.

    Of the methods whose 95 % interval of the difference to the best includes 0 the one with the highest precedence
    is taken; where stage 1 does not help the Combiner, one that does without stage 1 comes first.

    Args:
        evaluations: method -> what it ranks on val, all of the same queries; some of those that may serve.

    Raises:
        ValueError: none of the methods may serve, or the evaluations are of different queries.
    """
    there = {name: found for name, found in evaluations.items() if METHODS[name].precedence}
    if not there:
        raise ValueError(f"none of {', '.join(evaluations) or 'no methods'} is ever served")
    best = max(there, key=lambda name: (there[name].headline, METHODS[name].precedence))
    behind = {name: compare(there[best], found) for name, found in there.items() if name != best}
    alike = [METHODS[best], *(METHODS[name] for name, by in behind.items() if by.low <= 0)]
    helps, said = _stage_1(there)
    if helps is False and FROZEN_CLIP_COMBINER in alike:
        alike = [method for method in alike if not method.tuned]
    method = max(alike, key=lambda each: each.precedence)
    if method.name == best:
        because = f"best on val, headline {there[best].headline:.2f}"
    else:
        because = (
            f"on val not to be told from the best, {METHODS[best].spoken}, which is "
            f"{_points(behind[method.name])} above it"
        )
    return Choice(method, because, said, helps)


def _stage_1(evaluations: Mapping[str, Evaluation]) -> tuple[bool | None, str | None]:
    """Whether stage 1 helps the Combiner, and that in a sentence."""
    pair = [evaluations.get(method.name) for method in (WHOLE_METHOD, FROZEN_CLIP_COMBINER)]
    if pair[0] is None or pair[1] is None:
        return None, None
    gained = compare(pair[0], pair[1])
    helps = gained.low > 0
    said = f"stage 1 {'helps' if helps else 'does not help'} the Combiner: {_points(gained)} on val"
    return helps, said


def _points(difference: Difference) -> str:
    return f"{difference.value:+.2f} points (95 % {difference.low:+.2f} to {difference.high:+.2f})"
