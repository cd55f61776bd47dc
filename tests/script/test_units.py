"""What systemd says of units, and which of them fail."""

from __future__ import annotations

from pathlib import Path

from tests.host_functions import run

SHOWN = """
Result=exit-code
Id=bad.service
ActiveState=failed
SubState=failed

Id=well.service
ActiveState=activating
SubState=auto-restart
Result=success

Id=ill.service
ActiveState=activating
SubState=auto-restart
Result=exit-code

Id=switchproof-r1-converge.service
ActiveState=failed
SubState=failed
Result=exit-code"""
"""What systemctl shows of units that failed or wait; systemd chooses the order of the lines."""


def test_what_ended_well_and_waits_has_not_failed() -> None:
    """A unit that waits for its next start counts as failed only if its last run failed."""
    text = f"""
      ask_systemctl() {{ answered='Id=init.scope\nActiveState=active\n{SHOWN}'; }}
      find_failed
      echo "$failed"
    """.replace("\\n", "\n")
    assert run(text, "units", "numbers").split() == ["bad.service", "ill.service"]


def test_one_question_tells_the_contract_s_units_and_all_that_failed() -> None:
    """What failed elsewhere is no unit of the contract, and is forgotten when it is well again."""
    text = f"""
      declare -A LEADER=() INSIDE=()
      HOST_UNITS=(a.service b.service)
      units=$'Id=a.service\nActiveState=active\n\nId=b.service\nActiveState=failed\nResult=exit-code'
      ask_systemctl() {{ answered="$units\n{SHOWN}"; }}
      show_units; [ "$shown" = "$units" ] && echo "<$failed> ${{value[b.service ActiveState]}}"
      ask_systemctl() {{ answered=$units; }}
      show_units; [ "$shown" = "$units" ] && echo "<$failed> ${{value[b.service ActiveState]}}"
    """
    assert run(text, "units", "numbers") == "<b.service\nbad.service\nill.service> failed\n<b.service> failed\n"


def test_what_flapped_lately_is_noted() -> None:
    """A unit that was started again within the last quarter of an hour is noted as failing before the deploy."""
    text = """
      uptime_to() { printf -v "$1" 2000.00; }
      ask_systemctl() {
        answered=$'Id=lately.service\\nNRestarts=3\\nInactiveExitTimestampMonotonic=1500000000\\n\\n'
        answered+=$'Id=once.service\\nNRestarts=0\\nInactiveExitTimestampMonotonic=1500000000\\n\\n'
        answered+=$'Id=long-ago.service\\nNRestarts=3\\nInactiveExitTimestampMonotonic=500000000\\n'
      }
      flapping_units
    """
    assert run(text, "units", "numbers").split() == ["lately.service"]


def test_a_silent_systemctl_leaves_what_was_seen() -> None:
    """Where no answer comes in time, that is said, and nothing takes the place of what was seen last."""
    text = """
      declare -A LEADER=() INSIDE=()
      HOST_UNITS=(a.service)
      ask_systemctl() { answered=$'Id=a.service\\nActiveState=active\\nMainPID=7'; }
      show_units; echo "${value[a.service ActiveState]} ${value[a.service MainPID]} <$silent>"
      ask_systemctl() { return 1; }
      show_units; echo "${value[a.service ActiveState]} ${value[a.service MainPID]} <$silent>"
    """
    assert run(text, "numbers", "units").splitlines() == ["active 7 <>", "active 7 <yes>"]


def test_units_that_are_not_told_are_not_taken_for_well() -> None:
    """Where systemctl does not answer, there is no list of failed units, not an empty one."""
    text = """
      ask_systemctl() { return 1; }
      find_failed || echo unknown; failing_before || echo unknown
      ask_systemctl() { answered=Id=init.scope; }
      flapping_units() { return 1; }
      failing_before || echo unknown
    """
    assert run(text, "numbers", "clock", "units").split() == ["unknown"] * 3


def test_what_fails_at_times_is_noticed_before_a_deploy(tmp_path: Path) -> None:
    """What was just starting at the first look is seen right before the switch, or as it restarts often."""
    text = """
      ask_systemctl() { answered=$'Id=init.scope\nActiveState=active\n\nActiveState=failed\nId='$fails; }
      flapping_units() { echo often.service; }
      mkdir -p "$RUN_DIR/$JOB"
      fails=a.service
      failing_before
      fails=b.service
      note_failing
      sed 's/^/then /' "$RUN_DIR/$JOB/failing"
    """
    assert run(text, "numbers", "jobs", "units", folder=tmp_path).splitlines() == [
        "a.service",
        "often.service",
        "then b.service",
    ]
