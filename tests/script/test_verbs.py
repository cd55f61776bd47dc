"""What is told of a job, and what a host can be brought back to."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.host_functions import run

FRAGMENTS = ("numbers", "clock", "files", "answer", "jobs", "guard", "verbs")
JOB = """
refresh_lease() { :; }
say_guard() { :; }
look() { verb_status; echo "${said[state]} ${said[log.size]} ${said[rc]}"; }
mkdir -p "$RUN_DIR/$JOB"
"""


@pytest.mark.parametrize(
    ("made", "ended", "told"),
    [
        ("", "1", "running 0 "),
        ("", "0", "lost 0 "),
        ("echo 0 >rc", "1", "finished 0 0"),
        ("echo 100 >rc", "0", "finished 0 100"),
        ("printf 12345 >log", "1", "running 5 "),
    ],
)
def test_what_is_told_of_a_job(tmp_path: Path, made: str, ended: str, told: str) -> None:
    """A job runs until it wrote how it ended; it is lost where systemd says that it is over and it wrote nothing."""
    text = f'{JOB}has_ended() {{ answered=word; return {ended}; }}\ncd "$RUN_DIR/$JOB"; {made}\ncd /; look'
    assert run(text, *FRAGMENTS, folder=tmp_path) == f"{told}\n"


def test_a_job_that_ends_while_systemd_is_asked_has_finished(tmp_path: Path) -> None:
    """What it wrote counts before systemd's word and after it."""
    text = f'{JOB}has_ended() {{ echo 0 >"$dir/rc"; answered=word; }}\nlook'
    assert run(text, *FRAGMENTS, folder=tmp_path) == "finished 0 0\n"


def test_a_log_is_told_from_an_offset_on(tmp_path: Path) -> None:
    """The bytes after those that the run has are sent, however they are spelled."""
    text = f"""
      {JOB}
      has_ended() {{ return 1; }}
      printf 'caf\\303\\251\\0\\n' >"$RUN_DIR/$JOB/log"
      OFFSET=4 WAIT_S=0
      verb_status
      echo "${{said[log]}}"
    """
    assert base64.b64decode(run(text, *FRAGMENTS, folder=tmp_path)) == b"\xa9\0\n"


WAITING = f"""
{JOB}
clock=1000 asked_systemd=0
uptime_to() {{ printf -v "$1" '%d.%02d' "$((clock / 100))" "$((clock % 100))"; }}
has_ended() {{ asked_systemd=$((asked_systemd + 1)); answered=word; return 1; }}
stage() {{ printf '%s\\n' "$1" >"$dir/stage"; printf -- '--- %s\\n' "$1" >>"$dir/log"; ring; }}
at() {{ :; }}
ring() {{ rung=yes; }}
read() {{
  local left=10
  if [ "$1 $2" != '-r -N' ]; then builtin read "$@"; return; fi
  rung=''
  until [ -n "$rung" ] || [ "$((left--))" = 0 ]; do
    clock=$((clock + 5))
    at "$((clock - 1000))"
  done
}}
took() {{
  WAIT_S=$1 verb_status
  echo "${{said[state]}} ${{said[stage]}} after $((clock - 1000)), systemd asked $asked_systemd times"
}}
"""
"""A host on which hundredths of seconds go by only while a job is waited for; `at` is called with them. The wait is
over when a job rings, or after half a second."""


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        # News wait for more of them, as each answer costs the host as much as many lines.
        (":", "running  after 500, systemd asked 5 times"),
        ("[ $1 != 30 ] || echo a line >>$dir/log", "running  after 200, systemd asked 2 times"),
        ("[ $1 != 330 ] || echo a line >>$dir/log", "running  after 400, systemd asked 4 times"),
        ("[ $1 != 30 ] || head -c 70000 /dev/zero >$dir/log", "running  after 100, systemd asked 1 times"),
        # That the job begins to change the host, or has ended, does not wait.
        ("[ $1 != 30 ] || stage build", "running build after 230, systemd asked 2 times"),
        ("[ $1 != 35 ] || stage switch", "running switch after 35, systemd asked 0 times"),
        ("[ $1 != 40 ] || end_job 0", "finished  after 40, systemd asked 0 times"),
        ("[ $1 != 40 ] || echo 0 >$dir/rc", "finished  after 50, systemd asked 0 times"),
    ],
)
def test_news_of_a_job_are_waited_for_without_asking_for_them_all_the_time(
    tmp_path: Path, happens: str, told: str
) -> None:
    """The end of a job and the begin of its change are told at once, the rest about every two seconds."""
    text = f"{WAITING}at() {{ {happens}; }}\ntook 5"
    assert run(text, *FRAGMENTS, folder=tmp_path) == f"{told}\n"


def test_the_begin_of_a_change_is_told_once(tmp_path: Path) -> None:
    """Who has the line that tells it waits for what comes after it; who has not is answered at once."""
    text = f"""{WAITING}
      dir=$RUN_DIR/$JOB; stage switch; echo a line >>"$dir/log"
      OFFSET=0 took 5
      clock=1000 OFFSET=11; took 5
    """
    lines = run(text, *FRAGMENTS, folder=tmp_path).splitlines()
    assert [line.partition(",")[0] for line in lines] == ["running switch after 0", "running switch after 200"]


@pytest.mark.parametrize(
    ("to", "state", "outcome"),
    [
        ("/srv/evil", ":", "malformed"),
        ("/nix/store/a/../../srv", ":", "malformed"),
        ("", ":", "malformed"),
        ("/nix/store/gone", ":", "gone"),
        ("TOP", ":", "started"),
        ("TOP", "is_decided_by() { [ $1 = guard ]; }", "returning"),
        ("TOP", "is_pending() { :; }; rebooted() { :; }", "returning"),
        ("TOP", "is_pending() { return 1; }; rebooted() { :; }", "started"),
        ("TOP", "claim() { refuse locked Ada; return 1; }", "locked"),
    ],
)
def test_what_a_rollback_may_go_back_to(tmp_path: Path, to: str, state: str, outcome: str) -> None:
    """Only a system that is on the host, and only while the host does not go back by itself already."""
    system = tmp_path / "nix" / "store" / "top"
    (system / "bin").mkdir(parents=True)
    (system / "bin" / "switch-to-configuration").touch(mode=0o755)
    text = f"""
      is_decided_by() {{ return 1; }}
      is_pending() {{ return 1; }}
      rebooted() {{ return 1; }}
      have_systemctl() {{ :; }}
      give_room() {{ :; }}
      claim() {{ :; }}
      hold_system() {{ :; }}
      launch() {{ say outcome started; }}
      {state}
      SWITCHPROOF_NONCE=x SWITCHPROOF_TO={to.replace("TOP", str(system))}
      verb_rollback
      echo "${{said[outcome]}} ${{said[job]:-}}"
    """
    told = run(text, *FRAGMENTS, folder=tmp_path, replace={"^/nix/store/": f"^({tmp_path})?/nix/store/"})
    assert told.split() == [outcome, *(["return-"] if outcome == "returning" else [])]


@pytest.mark.parametrize(
    ("sha", "bridge", "outcome"),
    [
        ("main", "", "malformed"),
        ("A" * 40, "", "malformed"),
        ("a" * 40, "no path", "malformed"),
        ("a" * 40, "", "launched"),
    ],
)
def test_a_switch_begins_only_to_a_full_commit(tmp_path: Path, sha: str, bridge: str, outcome: str) -> None:
    """Nothing is claimed for a name, or for store paths that are none."""
    text = f"""
      bridge_problem() {{ printf '%s' '{bridge}'; }}
      claim() {{ echo claimed; }}
      launch() {{ say outcome launched; }}
      RELEASE_SHA={sha}
      verb_converge
      echo "${{said[outcome]}}"
    """
    told = run(text, *FRAGMENTS, folder=tmp_path).split()
    assert told == (["claimed", "launched"] if outcome == "launched" else [outcome])


def test_generations_are_told_newest_first(tmp_path: Path) -> None:
    """Each has its number, its system, whether that is there, whether it is the current one, and its commit."""
    text = f"""
      mkdir -p {tmp_path}/{{profiles,a/bin}} "$STATE/systems"
      touch {tmp_path}/a/bin/switch-to-configuration; chmod +x {tmp_path}/a/bin/switch-to-configuration
      PROFILE={tmp_path}/profiles/system
      ln -s {tmp_path}/a "$PROFILE-9-link"; ln -s {tmp_path}/gone "$PROFILE-10-link"; ln -s x "$PROFILE-backup"
      echo {"c" * 40} >"$STATE/systems/a"
      toplevel() {{ echo {tmp_path}/a; }}
      generation_to() {{ printf -v "$1" 9; }}
      verb_generations
      cut -d"$US" -f1-5 --output-delimiter=' ' <<<"${{said[generations]}}"
    """
    assert run(text, *FRAGMENTS, folder=tmp_path).splitlines() == [
        f"10 {tmp_path}/gone no  ",
        f"9 {tmp_path}/a yes yes {'c' * 40}",
    ]


def test_what_ran_earlier_is_the_newest_other_system_that_is_there(tmp_path: Path) -> None:
    """Of the systems that runs noted before they began, neither the running one nor one that is gone counts."""
    text = f"""
      for n in 1 2 3 4; do
        mkdir -p "$STATE/runs/$n" {tmp_path}/top-$n/bin
        touch {tmp_path}/top-$n/bin/switch-to-configuration; chmod +x {tmp_path}/top-$n/bin/switch-to-configuration
        printf 'system.running 1\\n%s\\n' {tmp_path}/top-$n >"$STATE/runs/$n/before"
        touch -d "2020-01-0$n" "$STATE/runs/$n/before"
      done
      rm -r {tmp_path}/top-3
      ran_earlier {tmp_path}/top-4
    """
    assert run(text, *FRAGMENTS, folder=tmp_path) == f"{tmp_path}/top-2"
