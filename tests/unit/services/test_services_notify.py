import random
import stat
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from deep_agent.executor.egress import Answered, Refused, Unreachable
from deep_agent.executor.notify import (
    LONGEST_WAIT_S,
    WAITS_S,
    Delivered,
    GaveUp,
    RetryAt,
    after_attempt,
    signed_headers,
    signing_secret,
)


def verdict(reply, attempt: int = 1, seed: int = 0):
    return after_attempt(reply, attempt=attempt, now_s=1000.0, rng=random.Random(seed))


@given(st.integers(200, 299))
def test_every_2xx_is_delivered(status: int) -> None:
    assert verdict(Answered(status=status)) == Delivered()


@given(st.integers(100, 599).filter(lambda s: not 200 <= s < 300 and s != 410), st.integers(1, 9), st.integers())
def test_other_answers_are_retried_on_the_schedule_with_jitter(status: int, attempt: int, seed: int) -> None:
    follow = verdict(Answered(status=status), attempt, seed)
    assert isinstance(follow, RetryAt)
    assert WAITS_S[attempt - 1] <= follow.at_s - 1000.0 <= WAITS_S[attempt - 1] * 1.2 + 1e-6


def test_410_disables_the_address() -> None:
    follow = verdict(Answered(status=410))
    assert isinstance(follow, GaveUp)
    assert follow.disable


def test_a_refused_address_is_given_up_at_once() -> None:
    assert isinstance(verdict(Refused(reason="private")), GaveUp)


def test_the_tenth_failure_is_the_last() -> None:
    assert isinstance(verdict(Unreachable(reason="gone"), 9), RetryAt)
    assert isinstance(verdict(Unreachable(reason="gone"), 10), GaveUp)


@pytest.mark.parametrize(
    ("header", "least_s"),
    [
        ("60", 60.0),
        ("1", 5.0),
        ("999999999", LONGEST_WAIT_S),
        ("soon", 5.0),
        ("-3", 5.0),
        ("", 5.0),
        ("Thu, 01 Jan 1970 00:26:40 GMT", 600.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 5.0),
    ],
)
def test_retry_after_lengthens_the_wait_and_never_shortens_it(header: str, least_s: float) -> None:
    follow = verdict(Answered(status=503, retry_after=header))
    assert isinstance(follow, RetryAt)
    assert least_s <= follow.at_s - 1000.0 <= least_s * 1.2


@given(st.text(max_size=200))
def test_a_signature_verifies_with_the_public_library(body: str) -> None:
    import time

    secret = "whsec_" + "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISE="
    headers = signed_headers(secret, delivery_id="job1:7", now_s=time.time(), body=body)
    Webhook(secret).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + "x", headers, json_parse=False)


def test_the_secret_is_made_once_and_is_nobody_elses(tmp_path) -> None:
    home = tmp_path / "home"
    first = signing_secret(home)
    assert first.startswith("whsec_")
    assert signing_secret(home) == first
    assert stat.S_IMODE((home / "webhook.secret").stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == ["webhook.secret"]


def test_processes_that_start_together_agree_on_one_secret(tmp_path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(signing_secret(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
