"""What a test server answered to a submission, entered by a person, as an evaluation of the test split."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cir_assets.retrieval.protocols import HEADLINE, MetricKey, Protocol, metric_name, protocol_named
from cir_assets.store.contracts import EVALUATIONS, GALLERIES, METRICS, RESULTS, empty, frame
from cir_assets.store.database import open_database
from cir_assets.store.digests import digest
from cir_assets.store.layout import Storage
from cir_assets.store.ledger import Ledger
from cir_assets.store.made import NotMade
from cir_assets.store.results import write_results
from cir_assets.store.tables import read_table


class WrongAnswer(ValueError):
    """An answer that cannot be taken; the message says what was expected and how to mend it."""


class Answer(BaseModel):
    """The YAML a person writes; figures by name, as ``recall@1``, in percent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: str
    answered: date
    server: str = Field(min_length=1)
    figures: dict[str, float] = Field(min_length=1)


def enter_answer(storage: Storage, place: tuple[str, str, str], file: Path) -> str:
    """Keep an answer among the pipeline's, where the leaderboard takes it from.

    It belongs to the newest submission, and is kept beside the evaluations: making them again loses none.

    Args:
        storage: where the submission was made.
        place: data set, backbone, recipe.
        file: the YAML file of an ``Answer``.

    Returns:
        What was entered, in a sentence.

    Raises:
        WrongAnswer: the file does not read, names another protocol than the submission's server takes, lacks a figure
            or has one that the protocol does not measure, or the submission was answered before.
        NotMade: the pipeline never made a submission.
    """
    name = "/".join([*place, "submission"])
    submission = Ledger(storage.ledger).latest(name)
    if submission is None:
        raise NotMade(
            f"{name} was never made, so there is nothing a server answered to; materialize it, and upload its files"
        )
    answer, protocol = _read(file)
    made = submission.detail["metadata"]
    taken = sorted(path.split("/")[-1] for path in submission.detail["files"])
    if not all(each.startswith((f"{protocol.name}_",)) for each in taken):
        raise WrongAnswer(
            f"{file}: protocol is {protocol.name}, and {name} wrote {', '.join(taken)}; enter an answer to these files"
        )
    identity = digest([*place, submission.data_version, protocol.name, "answer"])
    kept = storage.answers(*place)
    if kept.is_file():
        with open_database(kept, read_only=True) as connection:
            asked = "SELECT created_at FROM evaluations WHERE evaluation_id = $1"
            if (before := connection.execute(asked, [identity]).fetchone()) is not None:
                raise WrongAnswer(
                    f"{file}: the answer to this submission ({submission.data_version}) was entered already, of "
                    f"{before[0]:%Y-%m-%d}; a newer one needs a newer submission, a wrong one is taken out by "
                    f"deleting {kept}"
                )
    figures = _figures(file, answer, protocol)
    dataset, backbone, recipe = place
    ranked = {
        "queries": made["queries"],
        "gallery_size": read_table(storage.tables(dataset), GALLERIES).filter(split="test").height,
    }
    evaluation = {
        "evaluation_id": identity,
        "dataset": dataset,
        "backbone": backbone,
        "recipe": recipe,
        "models_from": made.get("models_from", "/".join(place)),
        "method": made["method"],
        "split": "test",
        "protocol": protocol.name,
        "text_template": protocol.text.name,
        **ranked,
        "created_at": datetime(answer.answered.year, answer.answered.month, answer.answered.day),
        "run_id": "",
        "data_version": submission.data_version,
        "seconds": 0.0,
        "measured_by": f"{answer.server}, answered {answer.answered}, entered from {file.name} "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    metrics = [
        {
            "evaluation_id": identity,
            "category": "mean",
            "metric": metric,
            "k": k,
            "value": value,
            **ranked,
        }
        for (metric, k), value in figures.items()
    ]
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_results(
        kept,
        {table.name: empty(table) for table in RESULTS}
        | {
            EVALUATIONS.name: frame(EVALUATIONS, [evaluation]),
            METRICS.name: frame(METRICS, metrics),
        },
    )
    shown = f"{HEADLINE} {figures[HEADLINE, 0]:.2f}, by {answer.server}"
    return f"{'/'.join(place)}: {made['method']} on test under {protocol.name}, {shown}"


def _read(file: Path) -> tuple[Answer, Protocol]:
    try:
        answer = Answer.model_validate(yaml.safe_load(file.read_text("utf-8")))
        return answer, protocol_named(answer.protocol)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise WrongAnswer(f"{file}: {where}: {first['msg']}; see cir-assets server-answer --help") from error
    except (yaml.YAMLError, ValueError) as error:
        raise WrongAnswer(f"{file}: {' '.join(str(error).split())}") from error


def _figures(file: Path, answer: Answer, protocol: Protocol) -> dict[MetricKey, float]:
    """Metric -> percent, the headline too.

    Raises:
        WrongAnswer: figures lack, are none of the protocol's, or are no percent.
    """
    keys = {metric_name(key): key for key in protocol.metrics}
    # A server tells what its protocol is known for; without the headline's parts there is nothing to stand anywhere.
    lacking = [name for name in map(metric_name, protocol.headline) if name not in answer.figures]
    unknown = [name for name in answer.figures if name not in keys]
    if lacking or unknown:
        said = [f"lacks {', '.join(lacking)}"] * bool(lacking) + [f"has {', '.join(unknown)}"] * bool(unknown)
        raise WrongAnswer(f"{file}: figures {' and '.join(said)}; {protocol.name} measures {', '.join(keys)}")
    for name, value in answer.figures.items():
        if not 0 <= value <= 100:
            raise WrongAnswer(f"{file}: figures.{name} is {value}; expected percent, 0 to 100")
    figures = {keys[name]: value for name, value in answer.figures.items()}
    headline = sum(figures[key] for key in protocol.headline) / len(protocol.headline)
    return {**figures, (HEADLINE, 0): headline}
