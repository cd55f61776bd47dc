"""Who decides what becomes of an unconfirmed host, and when it goes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.observe import earlier
from tests.host_functions import run

PENDING = """
mkdir -p "$RUN_DIR/converge" "${SINCE%/*}"
printf '%s\\n' "run ${1:-r}" 'job converge' 'owner Ada' 'to /nix/store/earlier' 'expected /nix/store/new' \\
  'seconds 60' "boot_id $(</proc/sys/kernel/random/boot_id)" >"$PENDING"
echo converge >"$RUN_DIR/armed"
"""
RECONNECT = """reconnect() { printf '%s\\n' "reconnect $1" >>"$PENDING"; }"""
UNREACHED = f"{earlier.UNREACHED} within 30 s after the switch ended"
UNCONFIRMED = "not confirmed within 60 s after the switch ended"
FRAGMENTS = ("numbers", "clock", "files", "answer", "jobs", "guard")


@pytest.mark.parametrize(
    ("before", "who", "wins", "after"),
    [
        ("", "confirm", True, "confirm"),
        ("", "rollback", True, "rollback"),
        ("", "guard", True, "guard"),
        ("confirm", "guard", False, "confirm"),
        ("confirm", "rollback", False, "confirm"),
        ("confirm", "confirm", False, "confirm"),
        ("rollback", "confirm", False, "rollback"),
        ("rollback", "rollback", True, "rollback"),
        ("rollback", "guard", True, "guard"),
        ("guard", "guard", True, "guard"),
        ("guard", "confirm", False, "guard"),
        ("guard", "rollback", False, "guard"),
    ],
)
def test_the_first_decision_wins(tmp_path: Path, before: str, who: str, wins: bool, after: str) -> None:
    """But a guard takes over from a rollback that did not end, and nobody from the guard or a confirmation."""
    text = f"""
      {PENDING}
      [ -z "{before}" ] || printf 'by {before}\\nat noon\\n' >"$RUN_DIR/converge/decided"
      if decide {who} 'why x'; then echo wins; else echo loses; fi
      decided by
    """
    assert run(text, *FRAGMENTS, folder=tmp_path).split() == ["wins" if wins else "loses", after]


@pytest.mark.parametrize("who", ["confirm", "rollback", "guard"])
def test_nobody_decides_for_another_run(tmp_path: Path, who: str) -> None:
    """What waits for another run's confirmation is not this run's to decide."""
    text = f"set -- other; {PENDING} decide {who} '' && echo wins || echo loses; decided by"
    assert run(text, *FRAGMENTS, folder=tmp_path) == "loses\n"


@pytest.mark.parametrize(("who", "wins"), [("guard", True), ("confirm", False), ("rollback", False)])
def test_a_full_disk_keeps_no_host_from_going_back(tmp_path: Path, who: str, wins: bool) -> None:
    """Where no decision can be written, the guard goes back all the same, and nobody is taken to have confirmed."""
    text = f"""
      {PENDING}
      keep_first() {{ cat >/dev/null; return 1; }}
      decide {who} '' && echo wins || echo loses
    """
    assert run(text, *FRAGMENTS, folder=tmp_path).strip() == ("wins" if wins else "loses")


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("has_ended() { return 1; }", ""),
        ("has_ended() { return 0; }", ""),
        ("echo 1000 >$SINCE", ""),
        ("echo 941 >$SINCE", ""),
        ("echo 940 >$SINCE", UNCONFIRMED),
        ("echo 'a[$(exit 1)]' >$SINCE", ""),
        (": >$SINCE", ""),
        ("sed -i 's/^boot_id.*/boot_id other/' $PENDING", "rebooted before it was confirmed"),
        ("reconnect 30; echo 970 >$ENDED; echo 1000 >$SINCE", UNREACHED),
        ("reconnect 30; echo 971 >$ENDED; echo 1000 >$SINCE", ""),
        ("reconnect 30; echo 1 >$ENDED; echo 1 >$SINCE", UNREACHED),
        ("reconnect 30; echo 900 >$ENDED; echo 1000 >$SINCE; echo converge >$CAME", ""),
        ("reconnect 30; echo 1 >$ENDED; echo 940 >$SINCE; echo converge >$CAME", UNCONFIRMED),
        ("reconnect 30; echo 1 >$ENDED; echo 1000 >$SINCE; echo again >$CAME", UNREACHED),
        ("reconnect 30; : >$ENDED; echo 1000 >$SINCE", ""),
        ("reconnect 30; echo 1000 >$SINCE", ""),
        ("reconnect 'a[$(exit 1)]'; echo 1 >$ENDED; echo 1000 >$SINCE", ""),
        ("reconnect 0; echo 1 >$ENDED; echo 1000 >$SINCE", ""),
        ("reconnect 30; has_ended() { return 0; }", ""),
        ("echo 5000 >$SINCE; sed -i 's/^boot_id.*/boot_id other/' $PENDING", "rebooted before it was confirmed"),
        ("decided_by rollback; ended() { return 1; }; echo 1 >$SINCE", ""),
        ("decided_by rollback; ended() { [ $1 = back ]; }", "the rollback did not finish"),
        ("decided_by guard; echo 1000 >$SINCE", "it was time"),
    ],
)
def test_when_a_host_goes_back(tmp_path: Path, state: str, why: str) -> None:
    """At the end of a countdown, after a reboot or a rollback that did not end; not before, and not by a guess."""
    text = f"""
      {PENDING}
      {RECONNECT}
      has_ended() {{ return 1; }}
      uptime_to() {{ printf -v "$1" 1000; }}
      count_down() {{ counted=yes; }}
      decided_by() {{ printf '%s\\n' "by $1" 'job back' 'why it was time' >"$RUN_DIR/converge/decided"; }}
      {state}
      why=''
      if due; then echo "$why"; else echo "waits"; fi
    """
    assert run(text, *FRAGMENTS, folder=tmp_path).strip() == (why or "waits")


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        ("has_ended() { return 0; }", "since"),
        ("has_ended() { return 1; }", ""),
        (': >"$RUN_DIR/converge/rc"', "since"),
        ("asked=996; has_ended() { return 0; }", ""),
        (": >$SINCE", "since"),
        ("echo 1000 >$SINCE", ""),
        ("reconnect 30; has_ended() { return 0; }", "ended since"),
        ("reconnect 30; has_ended() { return 0; }; echo converge >$CAME", "since"),
        ("reconnect 30; echo 1000 >$SINCE; : >$ENDED", "ended"),
        ("reconnect 30; echo 1000 >$SINCE; echo 1000 >$ENDED", ""),
    ],
)
def test_when_a_countdown_begins(tmp_path: Path, state: str, counts: str) -> None:
    """It begins when the switch has ended, and again where its beginning cannot be read."""
    text = f"""
      {PENDING}
      {RECONNECT}
      uptime_to() {{ printf -v "$1" 1000; }}
      count_down() {{ echo "${{1##*/}}"; }}
      {state}
      due || true
    """
    assert run(text, *FRAGMENTS, folder=tmp_path).split() == counts.split()


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ("AFTER=converge", True),
        ("AFTER=again", False),
        ("AFTER=", False),
        ("AFTER=converge; RUN=other", False),
    ],
)
def test_a_connection_counts_after_its_own_switch(tmp_path: Path, given: str, counts: bool) -> None:
    """A question says after which job's end its connection began; of another job or run it means nothing."""
    text = f"{PENDING} {RECONNECT}; reconnect 30; {given}; note_connection; awaits_connection || echo came"
    assert run(text, *FRAGMENTS, folder=tmp_path) == ("came\n" if counts else "")


@pytest.mark.parametrize(("came", "left"), [("", "10"), ("converge", "50")])
def test_another_run_learns_when_the_host_goes_back(tmp_path: Path, came: str, left: str) -> None:
    """What waits, and what has come, is the host's, whoever asks."""
    text = f"""
      {PENDING}
      {RECONNECT}
      reconnect 30; echo 990 >"$SINCE"; echo 980 >"$ENDED"; echo {came} >"$CAME"
      uptime_to() {{ printf -v "$1" 1000; }}
      RUN=other RUN_DIR=$STATE/runs/other
      seconds_left
      echo "$left"
    """
    assert run(text, *FRAGMENTS, folder=tmp_path) == f"{left}\n"


def test_a_runner_at_work_does_not_stand_for_a_new_connection(tmp_path: Path) -> None:
    """It may be at work over the connection from before the switch, so only the other countdown begins again."""
    text = f"""
      {PENDING}
      echo 1 >"$SINCE"; echo 1 >"$ENDED"
      restart_countdown
      [ "$(<"$SINCE")" = 1 ] || echo since; [ "$(<"$ENDED")" = 1 ] || echo ended
    """
    assert run(text, *FRAGMENTS, folder=tmp_path).split() == ["since"]


@pytest.mark.parametrize(
    ("comes", "goes_back"), [("", True), ("echo converge >$CAME", False), ("echo by rollback >$decided", False)]
)
def test_what_comes_before_the_guard_has_decided_counts(tmp_path: Path, comes: str, goes_back: bool) -> None:
    """It looks once more under the lock, and waits on where a connection or a rollback came in between."""
    text = f"""
      {PENDING}
      {RECONNECT}
      reconnect 30; echo 1 >"$ENDED"; echo 1000 >"$SINCE"; decided=$RUN_DIR/converge/decided
      uptime_to() {{ printf -v "$1" 1000; }}
      share_time() {{ :; }}
      disarm() {{ :; }}
      has_ended() {{ return 1; }}
      open_idle() {{ idle=0; }}
      guarded() {{ {comes or ":"}; "$@"; }}
      go_back() {{ echo "goes back"; }}
      read() {{ if [ "$1 $2" = '-r -t' ]; then echo waits; rm "$PENDING"; else builtin read "$@"; fi; }}
      verb_guard
    """
    assert run(text, *FRAGMENTS, folder=tmp_path) == ("goes back\n" if goes_back else "waits\n")


def test_only_an_undecided_countdown_is_renewed(tmp_path: Path) -> None:
    """A runner that is at work has the countdown begin again; not before the switch, nor after a decision."""
    text = f"""
      {PENDING}
      count_down() {{ echo counted; }}
      restart_countdown; echo 1
      : >"$SINCE"; restart_countdown; echo 2
      printf 'by rollback\\n' >"$RUN_DIR/converge/decided"; restart_countdown; echo 3
    """
    assert run(text, *FRAGMENTS, folder=tmp_path).split() == ["1", "counted", "2", "3"]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (":", "armed|"),
        ("echo 970 >$SINCE", "armed|30"),
        ("echo 100 >$SINCE", "armed|0"),
        ("reconnect 30; echo 990 >$SINCE; echo 980 >$ENDED", "armed|10"),
        ("reconnect 30; echo 945 >$SINCE; echo 980 >$ENDED", "armed|5"),
        ("reconnect 30; echo 990 >$SINCE; echo 980 >$ENDED; echo converge >$CAME", "armed|50"),
        ("echo by confirm >$RUN_DIR/converge/decided", "confirmed|"),
        ("echo by rollback >$RUN_DIR/converge/decided", "rolled-back|"),
        ("echo by guard >$RUN_DIR/converge/decided", "returning|"),
        ("echo by guard >$RUN_DIR/converge/decided; : >$RUN_DIR/converge/returned", "returned|"),
        ("sed -i 's/^run r/run other/' $PENDING", "|"),
        ("rm $RUN_DIR/armed", "|"),
    ],
)
def test_what_is_told_of_the_guard(tmp_path: Path, state: str, told: str) -> None:
    """A run learns whether its host waits, goes back, or has decided; of another run's guard it learns nothing."""
    text = f"""
      {PENDING}
      {RECONNECT}
      uptime_to() {{ printf -v "$1" 1000; }}
      {state}
      say_guard
      echo "${{said[guard]}}|${{said[guard.left]}}"
    """
    assert run(text, *FRAGMENTS, folder=tmp_path) == f"{told}\n"


@pytest.mark.parametrize(
    ("job", "back"), [("converge", "return"), ("rollback", "return"), ("again", "return-again"), ("", "return-")]
)
def test_a_return_is_a_job_of_its_own(job: str, back: str) -> None:
    """What the guard undoes first and in a drill again are told apart."""
    assert run(f"return_of '{job}'", "guard") == f"{back}\n"


SET_UP = """
  DEADMAN_S=60 CONTROL={folder}/control
  mkdir -p "$RUN_DIR/$JOB" {folder}/earlier/bin "${{SINCE%/*}}"
  install -m 755 /dev/null {folder}/earlier/bin/switch-to-configuration
  guarded() {{ "$@"; }}
  holds_host() {{ :; }}
  find_script() {{ script=text; }}
  has_ended() {{ :; }}
  ran_before() {{ echo {folder}/earlier; }}
  have_systemctl() {{ echo "systemctl $*" >>{folder}/asked; }}
  ask_systemctl() {{ answered="FragmentPath=$known"$'\n'"NeedDaemonReload=$stale"; }}
  look_at_unit() {{ unit_active=$is; }}
  known='' stale=no is=active
"""


def test_the_guard_s_unit_needs_nobody(tmp_path: Path) -> None:
    """It is the same for every run, starts only where something is pending, and is started again if it fails."""
    lines = run('find_guard_unit; echo "$unit"', "guard", folder=tmp_path).splitlines()
    assert f"ConditionPathExists={tmp_path}/state/pending" in lines
    assert f"EnvironmentFile={tmp_path}/state/guard/environment" in lines
    assert any(line.endswith(f"{tmp_path}/state/guard/host-switch.sh guard") for line in lines)
    assert "Restart=on-failure" in lines
    assert "StartLimitIntervalSec=0" in lines


def test_the_guard_is_told_the_run_and_the_way_back(tmp_path: Path) -> None:
    """What differs from run to run stands in its environment, which is there before anything is pending."""
    text = SET_UP.format(folder=tmp_path) + f"arm /nix/store/new && cat {tmp_path}/state/guard/environment"
    assert run(text, *FRAGMENTS, folder=tmp_path).splitlines() == [
        "--- arm",
        "SWITCHPROOF_RUN=r",
        f"SWITCHPROOF_TO={tmp_path}/earlier",
        "SWITCHPROOF_TIMEOUT_S=3600",
    ]


def test_nothing_is_armed_with_a_script_that_cannot_be_read(tmp_path: Path) -> None:
    """A guard without its script would be started, and started again, and never bring the host back."""
    text = (
        SET_UP.format(folder=tmp_path)
        + f"""
      find_script() {{ return 1; }}
      arm /nix/store/new || echo refused
      [ ! -e {tmp_path}/state/pending ] && echo 'nothing is pending'
    """
    )
    told = run(text, *FRAGMENTS, folder=tmp_path).splitlines()
    assert told[0] == "--- arm"
    assert "cannot be armed: " in told[1]
    assert told[1].endswith("cannot be read")
    assert told[2:] == ["refused", "nothing is pending"]


@pytest.mark.parametrize(
    ("change", "reloads"),
    [
        ("", 0),
        ("stale=yes", 1),
        ("known=/elsewhere", 1),
        ('echo more >>"$CONTROL/$GUARD"', 1),
        ('rm "$CONTROL/multi-user.target.wants/$GUARD"', 1),
        ('rm -r "$CONTROL"', 1),
    ],
)
def test_systemd_reads_its_units_anew_only_where_the_guard_s_is_not_as_it_is_to_be(
    tmp_path: Path, change: str, reloads: int
) -> None:
    """After the first run it knows the guard; a unit that is another one, or not known, is made what it is to be."""
    text = (
        SET_UP.format(folder=tmp_path)
        + f"""
      arm /nix/store/new; disarm
      cp "$CONTROL/$GUARD" {tmp_path}/first; known="$CONTROL/$GUARD"
      {change}
      : >{tmp_path}/asked
      arm /nix/store/new; disarm
      grep -c daemon-reload {tmp_path}/asked || true
      cmp {tmp_path}/first "$CONTROL/multi-user.target.wants/$GUARD" && echo same
    """
    )
    output = run(text, *FRAGMENTS, folder=tmp_path).splitlines()
    assert output[-2:] == [str(reloads), "same"]


@pytest.mark.parametrize(
    "problem",
    [
        "holds_host() { return 1; }",
        "have_systemctl() { return 1; }",
        "ran_before() { echo /nowhere; }",
        "is=inactive",
        "look_at_unit() { return 1; }",
    ],
)
def test_what_cannot_be_armed_is_not_switched(tmp_path: Path, problem: str) -> None:
    """Without a guard the job ends before its switch, and takes away what of the guard was made."""
    text = (
        SET_UP.format(folder=tmp_path)
        + f"""
      {problem}
      arm /nix/store/new && echo armed
      find "$PENDING" -type f 2>/dev/null || true
      echo end
    """
    )
    output = run(text, *FRAGMENTS, folder=tmp_path).splitlines()
    assert output[0] == "--- arm"
    assert output[1].startswith("the dead man's switch cannot be armed: ")
    assert output[-1] == "end"
    assert "armed" not in output
    assert not [line for line in output if line.endswith("/pending") and "holds_host" not in problem]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("is=inactive", "switchproof-guard.service is inactive after its start"),
        ("is=failed", "switchproof-guard.service is failed after its start"),
        ("look_at_unit() { return 1; }", "systemd does not say whether switchproof-guard.service runs"),
        ("is=active", "armed"),
        ("is=activating", "armed"),
    ],
)
def test_a_guard_that_was_started_is_seen_to_run(tmp_path: Path, state: str, words: str) -> None:
    """`systemctl restart` succeeds where a condition of the unit does not hold and nothing was started."""
    output = run(
        SET_UP.format(folder=tmp_path) + f"{state}\narm /new && echo armed || true", *FRAGMENTS, folder=tmp_path
    )
    assert output.splitlines()[1].endswith(words)
