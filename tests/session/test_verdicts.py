"""A check's verdict follows from how its call ended, its waiver, and whether its endpoint was given time."""

from __future__ import annotations

import pytest

from switchproof.deploy.contract import Verdict
from switchproof.deploy.errors import Inconclusive, UsageError
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import read_observation
from switchproof.deploy.plan import Mode
from switchproof.deploy.target.types import Endpoint, Health
from switchproof.session.verdicts import judge, judge_call
from tests.answers import LIVE, frame

ENDPOINT = Endpoint(units=LIVE, listen="127.0.0.1:8080", url="http://127.0.0.1:8080/health")
CUT_SHORT = EndpointSeen(
    "live", ENDPOINT, Health(), read_observation(frame({"watch.settled": "hypervisor same-answer\nlive cut-short\n"}))
)
REFUSED = UsageError("no such system")


def ended(error: Exception | None) -> tuple[pytest.CallInfo[None], pytest.TestReport]:
    """A call of a check, and pytest's report of it."""

    def check() -> None:
        if error is not None:
            raise error

    call = pytest.CallInfo.from_call(check, when="call")
    return call, pytest.TestReport("x", ("x", 0, "x"), {}, "passed" if error is None else "failed", None, "call")


@pytest.mark.parametrize(
    ("error", "mode", "unwaived", "waived"),
    [
        (None, Mode.DEPLOY, Verdict.PASSED, Verdict.PASSED),
        (AssertionError("down"), Mode.DEPLOY, Verdict.FAILED, Verdict.WAIVED),
        (Inconclusive("cut"), Mode.DEPLOY, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        (REFUSED, Mode.DEPLOY, Verdict.FAILED, Verdict.FAILED),
        (REFUSED, Mode.AUDIT, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
    ],
)
def test_waiver_covers_a_failure_and_nothing_else(
    error: Exception | None, mode: Mode, unwaived: Verdict, waived: Verdict
) -> None:
    """What was not seen, and a request that cannot be met, stay what they are under a waiver."""
    call, report = ended(error)
    assert judge(call, report, endpoint=None, is_waived=False, mode=mode)[0] is unwaived
    assert judge(call, report, endpoint=None, is_waived=True, mode=mode)[0] is waived


def test_endpoint_that_was_given_no_time_is_blocked_and_not_failed() -> None:
    """If the host stopped waiting because of another endpoint, this one might still have become healthy."""
    failed = ended(AssertionError("not active"))
    verdict, message = judge(*failed, endpoint=CUT_SHORT, is_waived=True, mode=Mode.DEPLOY)
    assert verdict is Verdict.BLOCKED
    assert message.startswith("blocked: not watched to its end")
    passed = judge(*ended(None), endpoint=CUT_SHORT, is_waived=False, mode=Mode.DEPLOY)
    assert passed == (Verdict.PASSED, "")


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (
            "assert False\n +  where False = <file /etc/motd>.exists\n +    where <file /etc/motd> = host.file",
            "assert False, where False = <file /etc/motd>.exists\n +    where <file /etc/motd> = host.file",
        ),
        ("there is no motd\nassert False\n +  where False = <file /etc/motd>.exists", "there is no motd"),
        ("assert 1 == 2", "assert 1 == 2"),
    ],
    ids=["plain", "with-words", "nothing-found-out"],
)
def test_first_line_of_a_plain_assert_says_what_was_compared(raised: str, message: str) -> None:
    """A terminal shows the first line alone, and “assert False” says nothing."""
    assert judge_call(*ended(AssertionError(raised))) == (Verdict.FAILED, message)
