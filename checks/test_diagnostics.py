"""Clause `diagnostics`: when anything fails, unit state, logs and sockets are emitted.

When nothing fails, it is shown that they would have been.
"""

import pytest

from checks.fixtures import Diagnosis, Show

pytestmark = pytest.mark.clause("diagnostics")


def test_unit_states_are_emitted(diagnosis: Diagnosis, show: Show) -> None:
    """systemctl says the state of every unit of the contract."""
    show(expected="the state of every unit", seen=diagnosis.told(diagnosis.states), evidence=diagnosis.kept("status"))
    assert not diagnosis.missing(diagnosis.states), f"no state of {', '.join(diagnosis.missing(diagnosis.states))}"


def test_logs_are_emitted(diagnosis: Diagnosis, show: Show) -> None:
    """journalctl gives the journal of every unit of the contract."""
    show(
        expected="the journal of every unit", seen=diagnosis.told(diagnosis.logs), evidence=diagnosis.kept("journal")
    )
    assert not diagnosis.missing(diagnosis.logs), f"no journal of {', '.join(diagnosis.missing(diagnosis.logs))}"


def test_sockets_are_emitted(diagnosis: Diagnosis, show: Show) -> None:
    """ss lists the sockets with their owners."""
    show(expected="the sockets", seen=diagnosis.told(diagnosis.sockets), evidence=diagnosis.kept("sockets"))
    assert diagnosis.sockets, "ss listed no socket"
