"""nixos-rebuild is called again only where nothing was activated; a switch's own record tells how it ended."""

import shlex
from pathlib import Path

import pytest

from tests.host_functions import run

ACTIVATION = "nixos-rebuild-switch-to-configuration"
REFUSED = "Failed to start transient service unit: Connection reset by peer"


@pytest.mark.parametrize(
    ("words", "source", "running", "calls"),
    [
        (REFUSED, "nixos-rebuild", "earlier", 3),
        (
            "Failed to connect to system scope bus via local transport: Connection refused",
            "nixos-rebuild",
            "earlier",
            3,
        ),
        # The unit is known to have run, or its system runs.
        (REFUSED, "systemd's record of its unit", "earlier", 1),
        (REFUSED, "its own line in the journal", "earlier", 1),
        (REFUSED, "nixos-rebuild", "newer", 1),
        # It failed for another reason.
        ("error: builder for '/nix/store/x.drv' failed", "nixos-rebuild", "earlier", 1),
        ("Unit nixos-rebuild-switch-to-configuration.service was already loaded", "nixos-rebuild", "earlier", 1),
    ],
)
def test_only_a_switch_that_was_not_begun_is_tried_again(
    tmp_path: Path, words: str, source: str, running: str, calls: int
) -> None:
    """It is called until it works or its time is over; the words of an earlier call count for that call alone."""
    text = f"""
      cd {tmp_path}
      DONE_WITHIN_S=30 FLAKE_ATTR=a ACTIVATION=activation calls=0 switch_result='' switch_source=''
      touch log
      RUN_DIR={tmp_path.parent} JOB={tmp_path.name}
      drop_unit() {{ :; }}
      mark_journal() {{ :; }}
      openly() {{ "$@"; }}
      flake() {{ :; }}
      uptime_to() {{ printf -v "$1" 1; }}
      gone_by() {{ return 1; }}
      note_silence() {{ :; }}
      sleep() {{ :; }}
      toplevel() {{ echo {running}; }}
      ran_before() {{ echo earlier; }}
      nixos-rebuild() {{ calls=$((calls + 1)); if ((calls < 3)); then printf '%s\\n' "$words" >>log; return 1; fi; }}
      take_switch_result() {{ switch_result=$1 switch_source=$source; }}
      words={shlex.quote(words)} source="{source}"
      call_nixos_rebuild >/dev/null
      echo "$calls"
    """
    assert run(text, "converge", "numbers") == f"{calls}\n"


@pytest.mark.parametrize(
    ("journal", "status"),
    [
        (f"{ACTIVATION}.service: Main process exited, code=exited, status=4/NOPERMISSION", "4"),
        (f"{ACTIVATION}-12.service: Main process exited, code=exited, status=100/n/a", "100"),
        (f"{ACTIVATION}.service: Main process exited, code=killed, status=9/KILL", "137"),
        (f"{ACTIVATION}.service: Deactivated successfully.", "0"),
        (f"{ACTIVATION}.service: Succeeded.", "0"),
        ("other.service: Main process exited, code=exited, status=4/NOPERMISSION", ""),
        ("", ""),
    ],
)
def test_systemd_s_record_of_the_switch_is_read(journal: str, status: str) -> None:
    """Its own line tells how the unit ended, whatever nixos-rebuild returned and however the unit is called."""
    text = f"""
      ACTIVATION={ACTIVATION} SINCE_MARK=()
      timeout() {{ printf '%s\\n' {shlex.quote(journal)}; }}
      switch_status_of_unit
    """
    assert run(text, "converge").strip() == status


@pytest.mark.parametrize(
    ("journal", "status"),
    [
        (
            "switching to system configuration /nix/store/x\nfinished switching to system configuration /nix/store/x",
            "0",
        ),
        ("switching to system configuration /nix/store/x failed (status 4)", "4"),
        ("switching to system configuration /nix/store/x", ""),
    ],
)
def test_the_switch_s_own_line_in_the_journal_is_read(journal: str, status: str) -> None:
    """switch-to-configuration writes to syslog how it ended; a switch that only began has no end."""
    text = f"""
      SINCE_MARK=()
      timeout() {{ printf '%s\\n' {shlex.quote(journal)}; }}
      switch_status_of_journal
    """
    assert run(text, "converge").strip() == status


@pytest.mark.parametrize(
    ("unit", "journal", "busy", "returned", "result"),
    [
        ("4", "0", "", "0", "4 systemd's record of its unit"),
        ("", "2", "", "0", "2 its own line in the journal"),
        ("", "", "", "1", "1 nixos-rebuild"),
        ("", "", "", "0", "0 nixos-rebuild"),
        ("", "", "yes", "0", "unknown nobody: it went on after nixos-rebuild had returned"),
        ("0", "", "yes", "0", "0 systemd's record of its unit"),
    ],
)
def test_the_switch_s_own_end_counts(unit: str, journal: str, busy: str, returned: str, result: str) -> None:
    """A switch that went on after nixos-rebuild returned with 0 is known by its record, or not at all."""
    text = f"""
      RESULT_UNKNOWN=unknown activating={busy}
      find_activation() {{ :; }}
      switch_lock_is_held() {{ return 1; }}
      settle() {{ activating=''; }}
      timeout() {{ :; }}
      switch_status_of_unit() {{ printf '%s' '{unit}'; }}
      switch_status_of_journal() {{ printf '%s' '{journal}'; }}
      take_switch_result {returned} >/dev/null
      echo "$switch_result $switch_source"
    """
    assert run(text, "converge").strip() == result


@pytest.mark.parametrize(
    ("status", "told"),
    [("0", ["missed since earlier", "renewed"]), ("4", ["missed since earlier", "renewed"]), ("2", [])],
)
def test_services_that_the_switch_missed_are_restarted_once_it_has_ended(
    tmp_path: Path, status: str, told: list[str]
) -> None:
    """Only a switch that went through has units to restart; one that failed goes back."""
    text = f"""
      NIX=(true)
      mkdir -p "$RUN_DIR/$JOB"; ln -s /bin "$RUN_DIR/$JOB/system"
      compare_closures() {{ :; }}; realise_programs() {{ :; }}; arm() {{ :; }}; install_programs() {{ :; }}
      check_secrets() {{ :; }}
      note_restarts() {{ :; }}; note_failing() {{ :; }}; needs_reboot() {{ return 1; }}; boot_earlier() {{ :; }}
      ran_before() {{ echo earlier; }}
      flake() {{ :; }}; toplevel_attr() {{ :; }}
      call_nixos_rebuild() {{ switch_result={status}; }}
      note_strays() {{ echo "missed since $1"; }}
      renew_units() {{ echo renewed; }}
      job_converge || true
    """
    answer = run(text, "jobs", "converge", folder=tmp_path).splitlines()
    assert [line for line in answer if not line.startswith("---")] == told


@pytest.mark.parametrize(
    ("words", "by_itself"),
    [
        ("", False),
        ("nixos-rebuild: error: unrecognized arguments: --store-path", True),
        ("/run/current-system/sw/bin/nixos-rebuild: unknown option `--store-path'", True),
        ("warning: error(s) occurred while switching to the new configuration", False),
    ],
)
def test_what_the_runner_built_switches_itself_only_where_nixos_rebuild_takes_no_store_path(
    tmp_path: Path, words: str, by_itself: bool
) -> None:
    """The profile is set, and what is to run switches itself in the unit of that name; other failures are told."""
    text = f"""
      cd {tmp_path}
      SWITCHPROOF_BUILT=/nix/store/new PROFILE=/profile ACTIVATION={ACTIVATION}
      RUN_DIR={tmp_path.parent} JOB={tmp_path.name}
      openly() {{ "$@"; }}
      nixos-rebuild() {{
        echo "nixos-rebuild $*"
        [ -z "$words" ] || {{ printf '%s\\n' "$words" >>log; return 1; }}
      }}
      nix-env() {{ echo "nix-env $*"; }}
      systemd-run() {{ echo "${{*: -3}}"; }}
      words={shlex.quote(words)}
      echo 'unknown option --store-path, of an earlier call' >log
      echo /nix/store/special >expected
      switch_to_built "$(($(stat -c %s log) + 1))" || echo "status $?"
    """
    lines = run(text, "converge").splitlines()
    assert lines[0] == "nixos-rebuild switch --store-path /nix/store/new"
    last = f"--unit={ACTIVATION} /nix/store/special/bin/switch-to-configuration switch"
    ended = [last] if by_itself else ["status 1"] if words else []
    assert lines[-1:] == (ended or lines[:1])
    assert ("nix-env -p /profile --set /nix/store/new" in lines) is by_itself


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("", "0 top"),
        ("quiet", "0 quiet"),
        ("loud", "1 top has no specialisation 'loud'; it has: broken quiet"),
        ("broken", "1 top has no specialisation 'broken'; it has: broken quiet"),
    ],
)
def test_specialisation_is_looked_for_before_anything_is_switched(tmp_path: Path, asked: str, told: str) -> None:
    """nixos-rebuild moves the profile first; one without a program to switch with is none."""
    text = f"""
      cd {tmp_path}
      mkdir -p top/specialisation/broken quiet/bin
      touch quiet/bin/switch-to-configuration; chmod +x quiet/bin/switch-to-configuration
      ln -s "$PWD/quiet" top/specialisation/quiet
      stage() {{ echo "$1" >stage; }}
      SPECIALISATION={asked} top=top rc=0
      words=$(specialise) || rc=$?
      [ "$rc" = 0 ] || {{ echo "$rc ${{words#error: }}"; [ "$(cat stage)" = specialisation ]; exit; }}
      specialise
      echo "0 ${{top##*/}}"
    """
    assert run(text, "converge").splitlines() == [told]


def test_system_without_specialisations_says_that_it_has_none(tmp_path: Path) -> None:
    """Nothing of the shell's pattern is told."""
    text = f"cd {tmp_path}; stage() {{ :; }}; SPECIALISATION=quiet top=top; specialise || echo no"
    assert run(text, "converge").splitlines() == ["error: top has no specialisation 'quiet'; it has: none", "no"]


TREE = "--file /nix/store/t"


@pytest.mark.parametrize(
    ("file", "attr", "built", "switched"),
    [
        (
            "",
            "a",
            'git+file:///w?rev=c#nixosConfigurations."a".config.system.build.toplevel',
            "--flake git+file:///w?rev=c#a",
        ),
        ("d.nix", "a.b", f"{TREE}/d.nix a.b.config.system.build.toplevel", f"--no-flake {TREE}/d.nix --attr a.b"),
        ("n/d.nix", "", f"{TREE}/n/d.nix config.system.build.toplevel", f"--no-flake {TREE}/n/d.nix"),
    ],
)
def test_nixos_rebuild_is_asked_for_what_was_built(
    tmp_path: Path, file: str, attr: str, built: str, switched: str
) -> None:
    """A file is one of a store path with the commit's files; nixos-rebuild is kept from a flake in /etc/nixos."""
    text = f"""
      cd {tmp_path}
      WORKDIR=/w RELEASE_SHA=c FLAKE_ATTR={attr} NIX_FILE={file} NIX=(nix)
      RUN_DIR=. JOB=.
      stage() {{ :; }}
      nix() {{ if [ "$1" = eval ]; then echo "$*" >evaluated; echo /nix/store/t; else echo "$NIX_PATH $*"; fi; }}
      nix-store() {{ :; }}
      NIX_PATH=channels
      build_system
      echo "${{system[*]}}"
      cat evaluated 2>/dev/null || true
    """
    lines = run(text, "revision", "converge").splitlines()
    assert lines[0].endswith(f" {built}")
    assert lines[0].startswith("none=/none " if file else "channels ")
    assert lines[1] == switched
    assert ['url = "file:///w"; rev = "c"' in line for line in lines[2:]] == ([True] if file else [])


def test_commit_that_nix_cannot_read_builds_nothing(tmp_path: Path) -> None:
    """Nix says why, and no file of another place is built instead."""
    text = f"""
      cd {tmp_path}
      NIX_FILE=d.nix NIX=(nix)
      RUN_DIR=. JOB=.
      stage() {{ :; }}
      nix() {{ [ "$1" != eval ] || return 3; echo built; }}
      rc=0; build_system || rc=$?
      echo "$rc"
    """
    assert run(text, "revision", "converge").splitlines() == ["3"]
