"""What SSM says of a command only tells whether to wait; nothing of it is ever a verdict."""

from __future__ import annotations

import pytest

from switchproof.deploy.providers.aws.status import Fate, read

KNOWN = [
    ("Pending", "Pending", Fate.WAIT, "not sent"),
    ("InProgress", "In Progress", Fate.WAIT, "received by the agent"),
    ("Delayed", "Delayed", Fate.WAIT, "does not accept it at the moment"),
    ("Cancelling", "Cancelling", Fate.WAIT, "being cancelled"),
    ("Success", "Success", Fate.READ, "ended"),
    ("Failed", "Failed", Fate.READ, "carrying script itself failed"),
    ("Failed", "Undeliverable", Fate.UNCERTAIN, "has reported this for commands that ran"),
    ("Failed", "Terminated", Fate.NEVER_RAN, "too many other commands"),
    ("Failed", "InvalidPlatform", Fate.NEVER_RAN, "platform"),
    ("Failed", "Access Denied", Fate.NEVER_RAN, "do not allow access to that instance"),
    ("TimedOut", "DeliveryTimedOut", Fate.NEVER_RAN, "never started"),
    ("TimedOut", "Execution Timed Out", Fate.CUT_OFF, "killed it at its timeout"),
    ("Cancelled", "Cancelled", Fate.CUT_OFF, "was cancelled"),
]


@pytest.mark.parametrize(("status", "details", "fate", "words"), KNOWN)
def test_each_status_has_its_own_words(status: str, details: str, fate: Fate, words: str) -> None:
    """Never started, timed out, undeliverable, cancelled and denied are told apart, however AWS spells them."""
    reading = read({"Status": status, "StatusDetails": details, "ResponseCode": -1})
    assert reading.fate is fate
    assert words in reading.text
    assert status in reading.text


def test_no_two_statuses_say_the_same() -> None:
    """A reader can tell every status from every other one."""
    said = {read({"Status": status, "StatusDetails": details}).text for status, details, _, _ in KNOWN}
    assert len(said) == len(KNOWN)


@pytest.mark.parametrize(
    "answer", [{}, {"Status": "Success", "StatusDetails": "Failed"}, {"Status": "Shiny", "StatusDetails": "New"}]
)
def test_what_is_not_known_is_uncertain(answer: dict[str, str]) -> None:
    """A status that nobody here has heard of is neither success nor failure."""
    assert read(answer).fate is Fate.UNCERTAIN


def test_response_code_is_told_unless_it_means_nothing() -> None:
    """-1 says only that nothing was received, so it is not shown as if the program had ended with it."""
    assert "response code 137" in read({"Status": "Failed", "StatusDetails": "Failed", "ResponseCode": 137}).text
    assert (
        "response code" not in read({"Status": "Failed", "StatusDetails": "Undeliverable", "ResponseCode": -1}).text
    )


def test_a_killed_worker_is_told_from_a_script_that_failed() -> None:
    """Of a script that failed, the agent writes the exit code to its errors; of a killed worker it has nothing."""
    failed = {"Status": "Failed", "StatusDetails": "Failed", "ResponseCode": 1, "StandardOutputContent": ""}
    told = read(failed | {"StandardErrorContent": ""})
    assert told.fate is Fate.READ
    assert "which the agent reports for a killed worker (SSM: Failed, response code 1)" in told.text
    assert "worker" not in read(failed | {"StandardErrorContent": "failed to run commands: exit status 1"}).text
    assert "worker" not in read({"Status": "Failed", "StatusDetails": "Failed"}).text
