"""Going back to a system: each part is tried, whatever became of the others."""

from pathlib import Path

import pytest

from switchproof.deploy.host import limits
from switchproof.deploy.host.program import whole_script
from tests.host_functions import run

MISSED = "missed by the switch away from newer"
STUBS = """
  note_restarts() { :; }
  note_strays() { echo "missed by the switch away from $1"; }
  settle() { :; }
  ran_before() { echo "$to"; }
  bring_programs_back() { :; }
  restore_profile() { :; }
  renew_units() { :; }
  profile_for() { echo "$to"; }
  toplevel() { cat running; }
  run_switch() {
    echo "switch $2"
    case $2 in switch | boot) [ "$boot" = writable ] || return 1 ;; esac
    [ "$2" = boot ] || echo "$1" >running
  }
  set_what_boots() { run_switch "$1" boot; }
  to=$PWD/earlier
  mkdir -p earlier/bin && touch earlier/bin/switch-to-configuration && chmod +x earlier/bin/switch-to-configuration
  echo newer >running
  rc=0
  restore "$to" switch || rc=$?
  echo "rc $rc, runs $(basename "$(cat running)")"
"""


@pytest.mark.parametrize(
    ("boot", "told"),
    [
        ("writable", ["switch switch", MISSED, "rc 0, runs earlier"]),
        ("read-only", ["switch switch", "switch test", "switch boot", MISSED, "rc 1, runs earlier"]),
    ],
)
def test_host_goes_back_where_what_boots_cannot_be_written(tmp_path: Path, boot: str, told: list[str]) -> None:
    """A switch that ends at the boot loader activates nothing; the earlier system runs all the same."""
    assert run(f"cd {tmp_path}; boot={boot}\n{STUBS}", "restore").splitlines() == told


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ("0", "called 1, rc 0"),
        ("124 0", "called 2, rc 0"),
        ("137 4", "called 2, rc 4"),
        ("124 124 0", "called 2, rc 124"),
        ("11 124 11 0", "called 4, rc 0"),
        ("2 0", "called 1, rc 2"),
        ("124 1 0", "called 3, rc 0"),
        ("1 124 1 0", "called 3, rc 1"),
    ],
)
def test_a_switch_that_hangs_or_fails_on_the_way_back_is_tried_once_more(
    tmp_path: Path, ends: str, told: str
) -> None:
    """One that hangs is ended at its limit; what made it do so, such as a bus that restarted, may be over."""
    text = f"""
      cd {tmp_path}
      ends=({ends}) calls=0 PATIENCE_S=600 SWITCH_S=200
      settle() {{ :; }}
      sleep() {{ :; }}
      uptime_to() {{ printf -v "$1" 0; }}
      gone_by() {{ return 1; }}
      call_switch() {{ calls=$((calls + 1)); return "${{ends[calls - 1]}}"; }}
      rc=0
      run_switch /nix/store/earlier switch >said || rc=$?
      echo "called $calls, rc $rc"
    """
    assert run(text, "restore").splitlines() == [told]


def test_a_switch_on_the_way_back_has_a_limit(tmp_path: Path) -> None:
    """A switch-to-configuration that waits without end is killed, and its status says so."""
    system = tmp_path / "bin"
    system.mkdir()
    (system / "switch-to-configuration").write_text("#!/bin/sh\nsleep 600\n")
    (system / "switch-to-configuration").chmod(0o755)
    text = f"SWITCH_S=0.2; rc=0; call_switch {tmp_path} switch || rc=$?; echo $rc"
    assert run(text, "restore", "files") == "124\n"


@pytest.mark.parametrize(
    ("timeout_s", "shares"),
    [(10, "way back 600, patience 150, switch 200"), (3600, "way back 3600, patience 600, switch 1200")],
)
def test_a_way_back_has_time_to_end_what_hangs(timeout_s: int, shares: str) -> None:
    """Its limit holds waiting for a switch that hangs and two attempts of its own, however short a switch is."""
    text = f"""
      WAY_BACK_S={limits.WAY_BACK_S:g} TIMEOUT_S={timeout_s} PATIENCE_S=600
      share_time
      find_way_back
      echo "way back $way_back, patience $PATIENCE_S, switch $SWITCH_S"
    """
    assert run(text, "restore") == f"{shares}\n"
    assert f"readonly WAY_BACK_S={limits.WAY_BACK_S:g}\n" in whole_script()


@pytest.mark.parametrize(
    ("result", "has_result", "told"),
    [
        ("timeout", False, "ended"),
        ("timeout", True, "waits"),
        ("success", False, "waits"),
        ("signal", False, "waits"),
    ],
)
def test_a_switch_whose_time_is_over_is_not_waited_for(
    tmp_path: Path, result: str, has_result: bool, told: str
) -> None:
    """Where the host stopped a run's job at its limit, the switch that the job began is ended before the way back."""
    job = tmp_path / "converge"
    job.mkdir()
    if has_result:
        (job / "rc").write_text("0\n")
    text = f"""
      RUN_DIR={tmp_path} PATIENCE_S=600 TIMEOUT_S=60
      job_unit() {{ echo "$1.service"; }}
      ask_systemctl() {{ answered={result}; }}
      find_activation() {{ activating=$(cat {tmp_path}/activating 2>/dev/null) || true; }}
      switch_lock_is_held() {{ return 1; }}
      have_systemctl() {{ rm {tmp_path}/activating; }}
      uptime_to() {{ printf -v "$1" 0; }}
      gone_by() {{ (($1 == 0)); }}
      sleep() {{ echo waits; rm -f {tmp_path}/activating; }}
      echo nixos-rebuild-switch-to-configuration.service >{tmp_path}/activating
      settle >{tmp_path}/said
      head -n 1 {tmp_path}/said
    """
    said = "stopping nixos-rebuild-switch-to-configuration.service, which did not finish within 60 s"
    assert run(text, "restore", "jobs") == f"{said if told == 'ended' else 'waits'}\n"


def test_the_way_back_asks_no_pre_switch_check(tmp_path: Path) -> None:
    """D-4: the earlier system ran here before, so its checks are left out."""
    system = tmp_path / "bin"
    system.mkdir()
    (system / "switch-to-configuration").write_text('#!/bin/sh\necho "$1 ${NIXOS_NO_CHECK:-checked}"\n')
    (system / "switch-to-configuration").chmod(0o755)
    assert run(f"SWITCH_S=20; call_switch {tmp_path} switch", "restore", "files") == "switch 1\n"


GENERATIONS = """
  mkdir -p base-{4,5,6}/specialisation quiet plain other "$RUN_DIR"
  ln -s "$PWD/quiet" base-4/specialisation/quiet; ln -s "$PWD/quiet" base-5/specialisation/quiet
  for number in 4 5 6; do ln -s base-$number system-$number-link; done
  ln -s system-6-link system
  PROFILE=$PWD/system
  noted() { printf 'system.running 5\\n%s\\nsystem.profile 5\\n%s\\n' "$1" "$2" >"$RUN_DIR/before"; }
  ran_before() { section "$RUN_DIR/before" system.running; }
  say_aim() { echo "$(basename "$(profile_for "$1")") $(basename "$(boots_for "$1" "$(profile_for "$1")")")"; }
"""


@pytest.mark.parametrize(
    ("before", "to", "told"),
    [
        ("noted $PWD/quiet $PWD/base-5", "quiet", "base-5 base-5"),
        ("noted $PWD/quiet $PWD/gone", "quiet", "base-4 base-4"),
        ("noted $PWD/plain $PWD/plain", "quiet", "base-4 base-4"),
        ("noted $PWD/plain $PWD/other", "plain", "other plain"),
        ("noted $PWD/plain $PWD/plain", "base-6", "base-6 base-6"),
        ("noted $PWD/plain $PWD/plain", "other", "other other"),
    ],
)
def test_profile_of_a_specialisation_is_the_system_that_has_it(
    tmp_path: Path, before: str, to: str, told: str
) -> None:
    """For what ran before it is the noted one, else a generation's; and that boots, as no loader starts the other."""
    text = f"cd {tmp_path}; {GENERATIONS}\n{before}\nsay_aim $PWD/{to}"
    assert run(text, "files", "system", "restore", folder=tmp_path).splitlines() == [told]
