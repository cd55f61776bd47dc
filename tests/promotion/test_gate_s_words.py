"""What the gate asks of a record where the target file demands less, and how much of its reasons it tells."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Plan
from switchproof.deploy.run.gate import pass_gate
from tests.promotion.runs import CONTRACT, NOW, OTHER_COMMIT, Keys, changed, failed, production, signed_run, target


def undemanding(plan: Plan) -> Plan:
    return replace(plan, target=target())


def test_deploy_that_asks_for_no_record_needs_none(run: Path, keys: Keys) -> None:
    """Without the option there is no gate, and nothing that let the deploy through."""
    plan = replace(production(run, keys.allowed()), gate=None)
    assert pass_gate(plan, CONTRACT, NOW) is None


def test_target_file_that_demands_nothing_takes_any_signed_run(run: Path, keys: Keys) -> None:
    """Neither a group, nor an age, nor a drill, nor a signer is asked for; that of the record is told."""
    plan = undemanding(production(run, keys.allowed()))
    passed = pass_gate(plan, CONTRACT, NOW + dt.timedelta(days=400))
    assert passed is not None
    assert passed.signer == "ci@staging"


def test_refusal_says_where_to_deploy_first(keys: Keys, tmp_path: Path) -> None:
    """To the group that the target file demands, or where it demands none, to other hosts."""
    signed_run(tmp_path, keys)
    plan = production(tmp_path, keys.allowed(), commit=OTHER_COMMIT)
    for asked, where in (
        (plan, "deploy it to group staging first, with"),
        (undemanding(plan), "deploy it to other hosts first, with"),
    ):
        with pytest.raises(UsageError, match=f"none of the runs there \\(1\\) is of this commit: {where}"):
            pass_gate(asked, CONTRACT, NOW)


@pytest.mark.parametrize(("runs", "others"), [(1, 0), (3, 0), (4, 1)])
def test_three_runs_are_told_and_the_others_counted(runs: int, others: int, keys: Keys, tmp_path: Path) -> None:
    """Each of the newest three has a line of its own; of more there is one line with their number."""
    for number in range(runs):
        signed_run(tmp_path, keys, changed(failed), f"{number}")
    with pytest.raises(UsageError) as raised:
        pass_gate(production(tmp_path, keys.allowed()), CONTRACT, NOW)
    _, *lines = str(raised.value).split("\n")
    assert sum("its verdict is non-canonical" in line for line in lines) == min(runs, 3)
    told = [line.strip() for line in lines if "of this commit" in line]
    assert told == ([f"other runs of this commit that do not count either: {others}"] if others else [])


def test_folder_is_no_list_of_signers(run: Path, keys: Keys, tmp_path: Path) -> None:
    """What is there and can be read, and is no file, names no signer."""
    with pytest.raises(UsageError, match="not a readable file"):
        pass_gate(production(run, tmp_path), CONTRACT, NOW)
    with pytest.raises(UsageError, match="no such run"):
        pass_gate(production(run / "evidence" / "none", keys.allowed()), CONTRACT, NOW)


def test_times_without_a_zone_are_utc_where_runs_are_put_in_order(keys: Keys, tmp_path: Path) -> None:
    """A record may say a time without one; it is compared with the others all the same."""
    for hour, zone in ((9, dt.UTC), (10, None), (8, dt.timezone(dt.timedelta(hours=-3)))):
        record = changed(lambda _: None)
        record.run = msgspec.structs.replace(
            record.run, id=f"run-{hour}", started=dt.datetime(NOW.year, NOW.month, NOW.day, hour, tzinfo=zone)
        )
        signed_run(tmp_path, keys, record, f"{hour}")
    passed = pass_gate(production(tmp_path, keys.allowed()), CONTRACT, NOW)
    assert passed is not None
    assert passed.run == "run-8"
