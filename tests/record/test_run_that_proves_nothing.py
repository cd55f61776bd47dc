"""A run in which everything passed proves nothing if it was not whole, for whatever reason alone."""

from __future__ import annotations

import msgspec
import pytest

from switchproof.deploy.contract import RunVerdict
from switchproof.deploy.record.fold import fold
from tests.reports import stories


@pytest.mark.parametrize(
    ("lack", "verdict"),
    [
        ({}, RunVerdict.CANONICAL),
        ({"interrupted": "SIGTERM"}, RunVerdict.INCONCLUSIVE),
        ({"unreported": "journal: no space left"}, RunVerdict.INCONCLUSIVE),
        ({"selected": "-k runtime"}, RunVerdict.INCONCLUSIVE),
    ],
)
def test_each_reason_alone_keeps_a_run_from_being_canonical(lack: dict[str, str], verdict: RunVerdict) -> None:
    """A run that was told to end, that lost a part of its report, or that left checks out by name is inconclusive."""
    *events, end = stories.canonical().events
    assert fold([*events, msgspec.structs.replace(end, **lack)]).verdict is verdict
