"""People are told of failures and decisions by a signed webhook; real requests to a local server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import dagster as dg
import pytest
import requests

from cir_assets.graph.notifications import (
    NOBODY,
    UNSIGNED,
    Webhook,
    decision_sensor,
    failure_sensor,
    signature,
)
from cir_assets.graph.resources import StorageFolder
from cir_assets.store.layout import Storage
from cir_assets.store.promotions import Decision, PromotionLog, roll_back
from tests.trial_project import TrialProject

SECRET = "between us"


@dataclass
class Receiver:
    """A server that keeps what it is sent and answers as it is told."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def events(self) -> list[dict[str, object]]:
        """Bodies of the requests that were answered well, each seen to be signed."""
        for headers, body in self.received:
            expected = signature(SECRET, headers["X-Cir-Assets-Timestamp"], body)
            assert headers["X-Cir-Assets-Signature"] == expected
        return [json.loads(body) for _, body in self.received]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = made.answers.pop(0) if made.answers else 204
            if status < 300:
                made.received.append((dict(self.headers), body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/hook"
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


def decision(number: int, kind: str) -> Decision:
    return Decision(
        dataset="shop",
        backbone="tiny_clip",
        recipe="quick",
        decided_at=datetime(2026, 3, number),
        decision=kind,  # type: ignore[arg-type]
        reason="+1.00 points “really”",
        models={"shop/tiny_clip/quick/combiner": f"version{number}"},
        champion=None,
        method="combiner",
        split="val",
        protocol="fashioniq",
        queries=20,
    )


@dataclass
class Daemon:
    """Evaluates the sensor of decisions, as Dagster's daemon does, and keeps its cursor."""

    instance: dg.DagsterInstance
    storage: Storage
    webhook: Webhook
    cursor: str | None = None

    def tick(self) -> str | None:
        with dg.build_sensor_context(
            self.instance,
            self.cursor,
            resources={"storage": StorageFolder(folder=str(self.storage.root)), "webhook": self.webhook},
        ) as context:
            # As Dagster does: the cursor of a tick that raised is forgotten.
            data = decision_sensor().evaluate_tick(context)
            self.cursor = data.cursor
            return data.skip_message


@pytest.fixture
def daemon(instance: dg.DagsterInstance, project: TrialProject, receiver: Receiver) -> Daemon:
    return Daemon(instance, project.storage, Webhook(url=receiver.url, secret=SECRET, retries=0))


@pytest.fixture
def log(project: TrialProject) -> PromotionLog:
    return PromotionLog(project.storage.promotions("shop", "tiny_clip", "quick"))


def test_each_decision_is_told_once_with_its_figures_and_reason(
    daemon: Daemon, log: PromotionLog, receiver: Receiver
) -> None:
    assert daemon.tick() == "decisions from now on are sent"
    log.add(decision(1, "promoted"))
    log.add(replace(decision(2, "promoted"), champion=decision(1, "promoted").challenger))
    log.add(decision(3, "refused"))
    assert daemon.tick() == "3 decisions sent"
    roll_back(log, "customers complained", datetime(2026, 3, 4))
    assert daemon.tick() == "1 decisions sent"
    assert daemon.tick() == "no new decision"
    events = receiver.events()
    assert [event["event"] for event in events] == ["promoted", "promoted", "refused", "rolled_back"]
    assert events[0]["pipeline"] == "shop/tiny_clip/quick"
    assert events[0]["reason"] == "+1.00 points “really”"
    assert events[3]["reason"] == "customers complained"


def test_what_was_decided_before_anybody_listened_is_not_told(
    daemon: Daemon, log: PromotionLog, receiver: Receiver
) -> None:
    log.add(decision(1, "promoted"))
    daemon.tick()
    daemon.tick()
    assert receiver.received == []


def test_a_receiver_that_is_down_is_told_later_and_nothing_twice(
    daemon: Daemon, log: PromotionLog, receiver: Receiver
) -> None:
    daemon.tick()
    log.add(decision(1, "promoted"))
    log.add(decision(2, "refused"))
    receiver.answers = [204, 503]
    said = daemon.tick()
    assert said is not None
    assert said.startswith("1 decisions sent; then refused of shop/tiny_clip/quick was not delivered")
    assert "503" in said
    assert daemon.tick() == "1 decisions sent"
    assert [event["event"] for event in receiver.events()] == ["promoted", "refused"]


def test_a_short_breakdown_is_waited_out(receiver: Receiver) -> None:
    receiver.answers = [503, 502]
    Webhook(url=receiver.url, secret=SECRET).send("promoted", {})
    assert [event["event"] for event in receiver.events()] == ["promoted"]


def test_an_answer_of_refusal_is_an_error_that_names_the_address(receiver: Receiver) -> None:
    receiver.answers = [403]
    with pytest.raises(requests.HTTPError, match=f"403.*{receiver.url}"):
        Webhook(url=receiver.url, secret="another").send("promoted", {})


def test_another_secret_or_another_time_gives_another_signature() -> None:
    body = b'{"event": "promoted"}'
    signed = signature(SECRET, "1", body)
    assert signed != signature("another", "1", body)
    assert signed != signature(SECRET, "2", body)
    assert signed != signature(SECRET, "1", body + b" ")


def test_without_an_address_nobody_is_told_and_the_tick_says_so(
    instance: dg.DagsterInstance, project: TrialProject, log: PromotionLog
) -> None:
    daemon = Daemon(instance, project.storage, Webhook(url="", secret=""))
    log.add(decision(1, "promoted"))
    assert daemon.tick() == NOBODY


def test_without_a_secret_nothing_is_sent_until_there_is_one(
    instance: dg.DagsterInstance, project: TrialProject, log: PromotionLog, receiver: Receiver
) -> None:
    webhook = Webhook(url=receiver.url, secret="")
    daemon = Daemon(instance, project.storage, webhook)
    daemon.tick()
    log.add(decision(1, "promoted"))
    assert daemon.tick() == UNSIGNED
    with pytest.raises(ValueError, match=r"set CIR_ASSETS_WEBHOOK_SECRET in \.env"):
        webhook.send("promoted", {})
    assert receiver.received == []
    daemon.webhook = Webhook(url=receiver.url, secret=SECRET)
    assert daemon.tick() == "1 decisions sent"


def test_a_failed_run_is_told_with_its_assets_and_steps(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    @dg.asset
    def features() -> None:
        raise RuntimeError("out of memory")

    run = dg.materialize([features], instance=instance, raise_on_error=False)
    failure = next(event for event in run.all_events if event.is_failure and not event.is_step_event)
    context = dg.build_run_status_sensor_context(
        sensor_name="failed_runs",
        dagster_event=failure,
        dagster_instance=instance,
        dagster_run=run.dagster_run,
        resources={"webhook": Webhook(url=receiver.url, secret=SECRET)},
    ).for_run_failure()
    failure_sensor()(context)
    [event] = receiver.events()
    assert event["event"] == "run_failed"
    assert event["run_id"] == run.run_id
    assert event["failed_steps"] == ["features"]
