"""People are told of failed runs, promotions, refusals and rollbacks: by a signed webhook."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from cir_assets.graph.resources import StorageFolder
from cir_assets.store.promotions import PromotionLog

URL = "CIR_ASSETS_WEBHOOK_URL"
SECRET = "CIR_ASSETS_WEBHOOK_SECRET"
NOBODY = f"nobody asked to be told: set {URL} (and {SECRET}) in .env"
UNSIGNED = (
    f"nothing is sent, as there is no secret to sign it with: set {SECRET} in .env to one the receiver knows"
)


class Webhook(dg.ConfigurableResource):
    """An address that is sent JSON, signed so that the receiver knows who sent it and when.

    The header ``X-Cir-Assets-Signature`` is ``sha256=`` and the hexadecimal HMAC-SHA256, under the secret, of the
    header ``X-Cir-Assets-Timestamp`` (seconds since 1970), a full stop and the body.
    """

    url: str = Field(
        default_factory=lambda: os.environ.get(URL, ""), description=f"Address; {URL} by default."
    )
    secret: str = Field(
        default_factory=lambda: os.environ.get(SECRET, ""), description=f"Shared secret; {SECRET} by default."
    )
    retries: int = Field(default=3, ge=0, description="Further attempts, a second and more apart.")

    @property
    def silent_because(self) -> str | None:
        """Why nothing can be sent; None where all is set."""
        if not self.url:
            return NOBODY
        return None if self.secret else UNSIGNED

    def send(self, event: str, content: Mapping[str, Any]) -> None:
        """Send one event.

        Raises:
            ValueError: without an address or a secret.
            OSError: when it does not arrive, or is answered by an error, naming the address and the answer.
        """
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3 import Retry

        if why := self.silent_because:
            raise ValueError(why)
        body = json.dumps({"event": event, **content}, ensure_ascii=False, default=str).encode()
        sent_at = str(int(time.time()))
        again = Retry(
            self.retries, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None
        )
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=again))
            answer = session.post(
                self.url,
                data=body,
                timeout=10,
                headers={
                    "Content-Type": "application/json",
                    "X-Cir-Assets-Timestamp": sent_at,
                    "X-Cir-Assets-Signature": signature(self.secret, sent_at, body),
                },
            )
            answer.raise_for_status()


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """The signature a receiver compares with the header's, by ``hmac.compare_digest``."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def asked_for() -> dg.DefaultSensorStatus:
    """Running where somebody asked to be told; a sensor nobody listens to would only look at the clock."""
    return dg.DefaultSensorStatus.RUNNING if os.environ.get(URL) else dg.DefaultSensorStatus.STOPPED


def failure_sensor() -> dg.SensorDefinition:
    """Tells of each run that failed."""

    @dg.run_failure_sensor(
        name="failed_runs",
        minimum_interval_seconds=30,
        default_status=asked_for(),
        description=f"Sends run_failed to the webhook for each run that fails. {NOBODY[0].upper()}{NOBODY[1:]}.",
    )
    def failed_runs(context: dg.RunFailureSensorContext, webhook: Webhook) -> dg.SkipReason | None:
        if why := webhook.silent_because:
            return dg.SkipReason(why)
        run = context.dagster_run
        webhook.send(
            "run_failed",
            {
                "run_id": run.run_id,
                "job": run.job_name,
                "assets": sorted(key.to_user_string() for key in run.asset_selection or ()),
                "failed_steps": [event.step_key for event in context.get_step_failure_events()],
                "message": context.failure_event.message,
            },
        )
        return None

    return failed_runs


def decision_sensor() -> dg.SensorDefinition:
    """Tells of each decision about a champion."""

    @dg.sensor(
        name="decisions",
        minimum_interval_seconds=30,
        default_status=asked_for(),
        description=(
            f"Sends promoted, refused and rolled_back to the webhook, with figures and reason. {NOBODY[0].upper()}"
            f"{NOBODY[1:]}."
        ),
    )
    def decisions(
        context: dg.SensorEvaluationContext, storage: StorageFolder, webhook: Webhook
    ) -> dg.SkipReason:
        logs = {
            "/".join(file.relative_to(storage.storage.champions).with_suffix("").parts): PromotionLog(
                file
            ).rows()
            for file in sorted(storage.storage.champions.rglob("*.parquet"))
        }
        if not webhook.url or context.cursor is None:
            # From now on; nobody wants to be told of last year's.
            context.update_cursor(json.dumps({name: rows.height for name, rows in logs.items()}))
            return dg.SkipReason(webhook.silent_because or "decisions from now on are sent")
        if why := webhook.silent_because:
            return dg.SkipReason(why)
        told_until: dict[str, int] = json.loads(context.cursor)
        sent = 0
        for name, rows in logs.items():
            for row in rows.slice(told_until.get(name, 0)).iter_rows(named=True):
                try:
                    webhook.send(row["decision"], {"pipeline": name, **row})
                except OSError as error:
                    # Raised, Dagster would forget how far this came, and all of it would be sent again.
                    context.update_cursor(json.dumps(told_until))
                    context.log.exception(f"{name}: {row['decision']} was not delivered")
                    return dg.SkipReason(
                        f"{sent} decisions sent; then {row['decision']} of {name} was not delivered and will be tried "
                        f"again: {error}"
                    )
                told_until[name] = told_until.get(name, 0) + 1
                sent += 1
        context.update_cursor(json.dumps(told_until))
        return dg.SkipReason(f"{sent} decisions sent" if sent else "no new decision")

    return decisions
