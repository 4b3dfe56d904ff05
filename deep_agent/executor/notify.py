"""Owns how webhooks are signed, sent and retried, after Standard Webhooks 1.0.0; keeps the signing secret's file.

The id of a delivery is the same over all attempts; the timestamp and with it the signature are those of
the attempt. Where deliveries are stored is the outbox's matter, not this module's.
"""

import base64
import datetime
import email.utils
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Literal

from standardwebhooks.webhooks import Webhook

from deep_agent.errors import ResourceExhausted
from deep_agent.executor.egress import Answered, Egress, Refused, Reply, Unreachable
from deep_agent.htdag.job import Delivery, DeliveryAttempt
from deep_agent.ports import Clock, Deliveries
from deep_agent.problem.value import FrozenValue

TIMEOUT_S = 15.0
WAITS_S = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds before the second, third, ... attempt: about 75.6 hours in all."""
LONGEST_WAIT_S = 86400.0
SECRET_FILE = "webhook.secret"  # noqa: S105 - a file name
SECRET_BYTES = 32


class Delivered(FrozenValue):
    """The receiver took it."""

    kind: Literal["delivered"] = "delivered"


class RetryAt(FrozenValue):
    """Another attempt follows."""

    kind: Literal["retry"] = "retry"
    at_s: float
    reason: str


class GaveUp(FrozenValue):
    """No further attempt; a redelivery by the user stays possible."""

    kind: Literal["gave_up"] = "gave_up"
    reason: str
    disable: bool
    """Whether further deliveries to the same address are pointless: it is gone, or long dead."""


Verdict = Delivered | RetryAt | GaveUp


def after_attempt(reply: Reply, *, attempt: int, now_s: float, rng: Random) -> Verdict:
    """Decide what follows an attempt; attempts count from 1.

    2xx alone is success. 410 ends deliveries to the address. A `Retry-After` lengthens the wait, never
    shortens it, up to a day; the wait grows by up to a fifth by chance.
    """
    if isinstance(reply, Answered):
        if 200 <= reply.status < 300:
            return Delivered()
        if reply.status == 410:
            return GaveUp(reason="the receiver answered 410 Gone", disable=True)
        reason = f"the receiver answered {reply.status}"
        asked_s = _retry_after_s(reply.retry_after, now_s=now_s)
    elif isinstance(reply, Unreachable):
        reason, asked_s = reply.reason, 0.0
    else:
        # The owner may open the address later, so it is not held against the receiver.
        return GaveUp(reason=reply.reason, disable=False)
    if attempt > len(WAITS_S):
        return GaveUp(reason=f"{reason}, after {attempt} attempts", disable=True)
    wait_s = min(max(WAITS_S[attempt - 1], asked_s), LONGEST_WAIT_S)
    return RetryAt(at_s=now_s + wait_s * (1 + rng.random() / 5), reason=reason)


def _retry_after_s(header: str | None, *, now_s: float) -> float:
    """Read `Retry-After` in either form; 0 where it is absent or makes no sense."""
    if header is None:
        return 0.0
    if header.strip().isdecimal():
        return min(float(header.strip()), LONGEST_WAIT_S)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - now_s)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def signed_headers(secret: str, *, delivery_id: str, now_s: float, body: str) -> dict[str, str]:
    """Make the headers of one attempt.

    Args:
        secret: `whsec_` and base64, as `signing_secret` gives it.
        delivery_id: stable over attempts; the receiver drops what it has seen.
        now_s: time of the attempt.
        body: exactly the text that is sent.
    """
    moment = datetime.datetime.fromtimestamp(int(now_s), tz=datetime.UTC)
    return {
        "Content-Type": "application/json",
        "User-Agent": "deep-agent-webhooks/1",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(now_s)),
        "webhook-signature": Webhook(secret).sign(delivery_id, moment, body),
    }


def send(egress: Egress, *, url: str, secret: str, delivery_id: str, body: str, now_s: float) -> Reply:
    """Make one attempt; never raises for what the receiver does."""
    headers = signed_headers(secret, delivery_id=delivery_id, now_s=now_s, body=body)
    return egress.post(url, headers=headers, body=body.encode(), timeout_s=TIMEOUT_S)


class WebhookNotifier:
    """Makes one attempt at a delivery and records what came of it; safe to share between threads."""

    def __init__(
        self,
        deliveries: Deliveries,
        egress: Egress,
        *,
        secret: Callable[[], str],
        clock: Clock,
        monotonic_s: Callable[[], float],
        rng: Random,
    ) -> None:
        """Keep the ports; `secret` is asked at every attempt, so that a new one needs no restart."""
        self._deliveries = deliveries
        self._egress = egress
        self._secret = secret
        self._clock = clock
        self._monotonic_s = monotonic_s
        self._rng = rng

    def deliver(self, delivery: Delivery) -> None:
        """Send, decide, record. A receiver that was disabled meanwhile gets nothing."""
        now_s, started_s, n = self._clock.now_s(), self._monotonic_s(), delivery.tries + 1
        endpoint = self._deliveries.endpoint(delivery.url)
        if endpoint is not None and endpoint.disabled_s is not None:
            reply: Reply = Refused(reason=f"the receiver is disabled: {endpoint.reason}")
        else:
            body = json.dumps(delivery.body, ensure_ascii=False, separators=(",", ":"))
            reply = send(
                self._egress, url=delivery.url, secret=self._secret(), delivery_id=delivery.id, body=body, now_s=now_s
            )
        verdict = after_attempt(reply, attempt=n, now_s=self._clock.now_s(), rng=self._rng)
        latency_s = max(0.0, self._monotonic_s() - started_s)
        attempt = _attempt(reply, verdict, n=n, at_s=now_s, latency_s=latency_s)
        retry_at_s = verdict.at_s if isinstance(verdict, RetryAt) else None
        self._deliveries.record_attempt(delivery.id, attempt, retry_at_s=retry_at_s)
        if isinstance(verdict, GaveUp) and verdict.disable:
            self._deliveries.disable_endpoint(delivery.url, now_s=self._clock.now_s(), reason=verdict.reason)


def _attempt(reply: Reply, verdict: Verdict, *, n: int, at_s: float, latency_s: float) -> DeliveryAttempt:
    answered = reply if isinstance(reply, Answered) else None
    return DeliveryAttempt(
        n=n,
        at_s=at_s,
        latency_s=latency_s,
        status_code=None if answered is None else answered.status,
        answer="" if answered is None else answered.body,
        error="" if isinstance(verdict, Delivered) else verdict.reason,
    )


def signing_secret(home: Path) -> str:
    """Read this installation's signing secret, making it on first use (mode 0600).

    Raises:
        ResourceExhausted: the home folder cannot be written.
    """
    path = home / SECRET_FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
        _create_once(path)
        return path.read_text("ascii").strip()
    except OSError as error:
        raise ResourceExhausted(
            f"the webhook secret {path} cannot be kept: {error.strerror}.", remedy="Make the folder writable."
        ) from error


def _create_once(path: Path) -> None:
    """Create the secret unless it exists; two processes that start together agree on one."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write("whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii") + "\n")
        # A link, unlike a rename, fails when the other process was first, and is complete when it appears.
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
