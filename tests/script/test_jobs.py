"""A job is begun once, and is over by its own word or by systemd's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host_functions import run

JOB = 'mkdir -p "$RUN_DIR/$JOB"\n'


@pytest.mark.parametrize(
    ("rc", "has_ended", "over"),
    [("0", "1", True), ("1", "1", True), ("", "0", True), ("", "1", False)],
)
def test_a_job_is_over_by_what_it_wrote_or_by_systemd_s_word(
    tmp_path: Path, rc: str, has_ended: str, over: bool
) -> None:
    """What the job wrote counts whatever systemd says; without it only an explicit answer ends it."""
    text = f"""
      {JOB}
      has_ended() {{ [ "$1" = switchproof-r-converge.service ] && return {has_ended}; }}
      [ -z "{rc}" ] || end_job {rc}
      ended converge && echo over || echo not
      jobs_at_work
    """
    told = run(text, "files", "jobs", folder=tmp_path).splitlines()
    assert told == (["over"] if over else ["not", "converge"])


@pytest.mark.parametrize(
    ("run_unit", "stage", "load", "told"),
    [
        ("0", "", "", ["tried 1", "started"]),
        # systemd-run failed, and the job has begun all the same.
        ("1", "written", "", ["tried 1", "started"]),
        ("1", "", "loaded", ["tried 1", "started"]),
        ("1", "", "not-found", ["tried 3", "unstarted"]),
        ("1", "", "", ["tried 3", "unstarted"]),
    ],
)
def test_a_job_is_begun_until_it_is_known_to_be(
    tmp_path: Path, run_unit: str, stage: str, load: str, told: list[str]
) -> None:
    """A call that failed may have worked; it is repeated until the unit is there or the time is over."""
    text = f"""
      find_script() {{ script=''; }}
      bridge_table() {{ :; }}
      note_silence() {{ :; }}
      sleep() {{ :; }}
      uptime_to() {{ printf -v "$1" 0; }}
      tries=0 DONE_WITHIN_S=30
      gone_by() {{ ((tries >= 3)); }}
      ask_systemctl() {{ answered={load}; [ -n "$answered" ]; }}
      run_unit() {{ tries=$((tries + 1)); [ -z "{stage}" ] || echo build >"$dir/stage"; return {run_unit}; }}
      launch converge
      echo "tried $tries"
      echo "${{said[outcome]}}"
    """
    assert run(text, "answer", "files", "jobs", folder=tmp_path).splitlines() == told


def test_no_job_is_begun_with_a_script_that_cannot_be_read(tmp_path: Path) -> None:
    """What came through a pipe is gone: an empty job would end at once, and be taken for one that was lost."""
    text = """
      begin_unit() { echo begun; }
      unset BASH_EXECUTION_STRING
      launch converge
      echo "${said[outcome]}: ${said[detail]}"
    """
    assert run(text, "answer", "files", "jobs", folder=tmp_path) == "unready: host-switch.sh cannot be read\n"


def test_a_job_that_has_begun_is_not_begun_again(tmp_path: Path) -> None:
    """A question that is asked twice begins nothing twice, also after the job has ended."""
    text = f"""
      {JOB}
      begin_unit() {{ echo begun; }}
      echo switch >"$RUN_DIR/$JOB/stage"
      launch converge
      end_job 0
      launch converge
      echo "${{said[outcome]}}"
    """
    assert run(text, "answer", "files", "jobs", folder=tmp_path) == "started\n"


@pytest.mark.parametrize("rc", [0, 4, 100])
def test_how_a_job_ends_is_written_down(tmp_path: Path, rc: int) -> None:
    """Its exit status and what the switch said to the journal are kept, and the unit ends with the same status."""
    text = f"""
      {JOB}
      mark_journal() {{ SINCE_MARK=(); }}
      job_converge() {{ cat; return {rc}; }}
      timeout() {{ [[ "$*" != *-t\\ nixos* ]] || echo "the switch said"; }}
      rc=0
      (verb_job converge) || rc=$?
      echo "unit $rc; $(cat "$RUN_DIR/$JOB/rc"); $(cat "$RUN_DIR/$JOB/journal")"
    """
    output = run(text, "numbers", "files", "systemd", "jobs", folder=tmp_path)
    assert output.splitlines()[-1] == f"unit {rc}; {rc}; the switch said"


def test_the_stage_is_written_and_logged(tmp_path: Path) -> None:
    """Each stage stands in a file for the next question and in the log for people."""
    assert run(f'{JOB} stage build; cat "$RUN_DIR/$JOB/stage"', "jobs", folder=tmp_path) == "--- build\nbuild\n"


@pytest.mark.parametrize("tells", ["stage switch >/dev/null", "end_job 0"])
def test_a_job_wakes_who_waits_for_what_it_tells(tmp_path: Path, tells: str) -> None:
    """Whoever has begun to wait need not look again and again, and nobody need wait for a job to ring."""
    text = f"""
      mkdir -p "$RUN_DIR/$JOB"
      {tells} # without a bell
      mkfifo "$RUN_DIR/$JOB/bell"
      {tells} # and without anybody who hears it
      open_bell "$RUN_DIR/$JOB"
      if read -r -N 1 -t 0 -u "$bell"; then echo early; fi
      {{ {tells}; }} &
      if read -r -N 1 -t 30 -u "$bell" _; then echo woken; fi
      wait
    """
    assert run(text, "clock", "files", "jobs", folder=tmp_path).split() == ["woken"]
