"""What a confirmation means in each state of a host, and in which order it takes effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host_functions import run

FRAGMENTS = ("files", "answer", "jobs", "guard", "confirm")
STATE = """
mkdir -p "$RUN_DIR/converge" "$LOCK"
printf '%s\\n' "run r" 'owner Ada' 'to earlier' 'expected new' 'seconds 60' 'boot_id now' >"$PENDING"
echo converge >"$RUN_DIR/armed"
PROFILE=/nowhere runs=new profile=new
decided_by() { printf '%s\\n' "by $1" 'at noon' 'why it was time' >"$RUN_DIR/converge/decided"; }
rebooted() { return 1; }
toplevel() { echo "$runs"; }
readlink() { echo "$profile"; }
profile_for() { echo "$1"; }
as_before() { :; }
"""


@pytest.mark.parametrize(
    ("keep", "state", "outcome"),
    [
        ("1", ":", "ok"),
        ("1", "runs=other", "foreign"),
        ("1", "rebooted() { :; }", "booted"),
        ("1", "decided_by confirm", "ok"),
        ("1", "decided_by guard", "late"),
        ("1", "decided_by rollback", "late"),
        ("1", "echo run other >$PENDING", "foreign"),
        ("1", "rm $PENDING", "foreign"),
        ("1", "rm $PENDING $RUN_DIR/armed", "ok"),
        ("broken", "runs=other", "ok"),
        ("broken", "rebooted() { :; }", "booted"),
        ("broken", "decided_by guard", "late"),
        ("", ":", "pending"),
        ("", "runs=earlier profile=earlier", "ok"),
        ("", "runs=earlier", "pending"),
        ("", "runs=earlier profile=earlier; as_before() { return 1; }", "pending"),
        ("", "decided_by rollback", "ok"),
        ("", "decided_by guard", "late"),
        ("", "rm $PENDING", "ok"),
    ],
)
def test_what_a_confirmation_means(tmp_path: Path, keep: str, state: str, outcome: str) -> None:
    """Only the very system that was switched to is kept; where a run ends without a word, the host goes back."""
    text = f"{STATE}\nkeep={keep} outcome=ok detail=''\n{state}\njudge\necho $outcome"
    assert run(text, *FRAGMENTS, folder=tmp_path) == f"{outcome}\n"


@pytest.mark.parametrize(
    ("work", "activation", "detail"),
    [
        ("converge", ":", "converge is still running"),
        ("", "activating=x.service", "x.service is still running"),
        ("", "! :", "a possible switch (systemd does not answer) is still running"),
    ],
)
def test_a_host_at_work_is_not_given_back(tmp_path: Path, work: str, activation: str, detail: str) -> None:
    """As long as a job or a switch may be at work, nothing is decided and the lock stays."""
    text = f"""
      {STATE}
      activating=''
      jobs_at_work() {{ echo {work}; }}
      find_activation() {{ {activation}; }}
      release() {{ echo released; }}
      disarm_own() {{ echo disarmed; }}
      SWITCHPROOF_KEEP=1 conclude
      echo "${{said[outcome]}}: ${{said[detail]}}"
    """
    assert run(text, *FRAGMENTS, folder=tmp_path) == f"busy: {detail}; the lock stays until it has ended\n"


@pytest.mark.parametrize(
    ("keep", "state", "ends"),
    [
        ("", "jobs_at_work() { echo rollback; }", True),
        ("broken", "jobs_at_work() { echo rollback; }", True),
        ("1", "jobs_at_work() { echo rollback; }", False),
        ("broken", "rebooted() { :; }", True),
        ("1", "rebooted() { :; }", False),
        ("broken", "decided_by guard", True),
    ],
)
def test_after_its_last_word_a_run_keeps_nobody_out_by_its_lease(
    tmp_path: Path, keep: str, state: str, ends: bool
) -> None:
    """The lease ends with a run that could not give the host back; one that goes on after a failed check keeps it."""
    text = f"""
      {STATE}
      printf '%s\n' "run r" 'owner Ada' 'since noon' 'lease 9999999999' >"$LOCK/holder"
      LEASE_S=1260
      jobs_at_work() {{ :; }}
      find_activation() {{ activating=''; }}
      say_boot() {{ :; }}
      {state}
      SWITCHPROOF_KEEP={keep} conclude
      lease_left
      echo "$ends_in"
    """
    left = int(run(text, "numbers", "clock", "lock", *FRAGMENTS, folder=tmp_path))
    assert (left == 0) == ends


@pytest.mark.parametrize(
    ("boots", "told"),
    [
        ("0", ["boots /nowhere with new", "decides confirm", "ok"]),
        ("1", ["boots /nowhere with new", "boots earlier", "unbootable"]),
        ("11", ["boots /nowhere with new", "busy"]),
    ],
)
def test_what_boots_comes_before_the_decision(tmp_path: Path, boots: str, told: list[str]) -> None:
    """A loss of power in between leaves an unconfirmed host; one that cannot boot the system is not confirmed."""
    text = f"""
      {STATE}
      call_switch() {{ echo "boots $1" >&3; return {boots}; }}
      decide() {{ echo "decides $1"; }}
      boots_for() {{ echo "$2 with $1"; }}
      boot_earlier() {{ echo "boots earlier" >&3; }}
      outcome=ok detail=''
      keep_system
      echo "$outcome"
    """
    assert run(f"exec 3>&1\n{text}", *FRAGMENTS, folder=tmp_path).splitlines() == told


def test_the_newest_twenty_runs_are_kept(tmp_path: Path) -> None:
    """At its end a run notes how it ended, gives the host back, and lets go of what runs long ago kept."""
    text = f"""
      {STATE}
      rm "$PENDING"
      ROOTS={tmp_path}/roots BELONGS={tmp_path}/belongs
      mkdir -p "$ROOTS/r" "$ROOTS/other" "$BELONGS"/gone
      for n in {{1..25}}; do mkdir "$STATE/runs/old-$n"; touch -d "2020-01-01 +$n hours" "$STATE/runs/old-$n"; done
      drop_unit() {{ echo "drops $1"; }}
      release() {{ echo released; }}
      SWITCHPROOF_OUTCOME=passed
      end_run
      cat "$RUN_DIR/outcome"
      ls "$STATE/runs" | wc -l
      ls "$ROOTS" "$BELONGS" | tr '\\n' ' '
    """
    output = run(text, *FRAGMENTS, folder=tmp_path).splitlines()
    assert output[:4] == ["drops switchproof-r-converge.service", "released", "passed", "20"]
    assert output[4].split() == [f"{tmp_path}/belongs:", f"{tmp_path}/roots:", "other"]


def test_a_run_that_the_host_does_not_know_is_refused(tmp_path: Path) -> None:
    """Nothing is given back for a run that was never here, and a lock that cannot be had is said."""
    text = """
      verb_confirm; echo "${said[outcome]}"
      mkdir -p "$RUN_DIR"; said=()
      unguarded='held by process 7'
      guarded() { return 1; }
      verb_confirm; echo "${said[outcome]}: ${said[detail]}"
    """
    assert run(text, *FRAGMENTS, folder=tmp_path).splitlines() == ["foreign", "busy: held by process 7"]
