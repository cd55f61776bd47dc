"""A plan builds and compares, and leaves nothing behind; a preflight only looks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host_functions import run


def test_a_plan_is_begun_once_and_told_at_its_end(tmp_path: Path) -> None:
    """The first question begins it; the one after its end has all that differs, and the run's folder goes."""
    text = """
      launch() { echo "launches $1 as $JOB"; }
      drop_unit() { echo "drops $1"; }
      toplevel() { echo /nix/store/running; }
      say_reboot_parts() { say system.reboot "kernel of $1"; }
      verb_plan
      mkdir -p "$RUN_DIR/plan"; cd "$RUN_DIR/plan"
      echo /nix/store/new >expected; echo 'x: 1 → 2' >closure; echo 'would restart a.service' >units; echo 0 >rc
      echo 'nothing' >forecast; echo 'new 7' >sizes; ln -s /nix/store/new system
      cd /
      verb_plan
      for name in outcome running expected forecast closure sizes units system.reboot; do
        echo "$name ${said[$name]}"
      done
      [ -e "$RUN_DIR" ] || echo gone
    """
    assert run(text, "files", "answer", "jobs", "plan", folder=tmp_path).splitlines() == [
        "launches plan as plan",
        "drops switchproof-r-plan.service",
        "outcome finished",
        "running /nix/store/running",
        "expected /nix/store/new",
        "forecast nothing",
        "closure x: 1 → 2",
        "sizes new 7",
        "units would restart a.service",
        "system.reboot kernel of /nix/store/new",
        "gone",
    ]


@pytest.mark.parametrize(
    ("failing", "told"),
    [
        ("", "0 compare dry-activate would"),
        ("build --dry-run", "1 forecast"),
        ("build --print-build-logs", "1 build"),
        ("store diff-closures", "1 compare"),
        ("path-info --closure-size", "1 compare"),
        ("dry-activate", "3 compare dry-activate would"),
    ],
)
def test_a_plan_fails_where_it_cannot_know(tmp_path: Path, failing: str, told: str) -> None:
    """Whatever cannot be built or compared fails the job; nothing is activated but for show."""
    text = f"""
      mkdir -p "$RUN_DIR/$JOB" {tmp_path}/top/bin
      switch={tmp_path}/top/bin/switch-to-configuration
      printf '#!/bin/sh\\necho "$1" would; [ "$1" != "{failing}" ] || exit 3\\n' >"$switch"
      chmod +x "$switch"
      NIX=(nix)
      nix() {{
        [ "$1 $2" != '{failing}' ] || return 1
        [ "$1 $2" != 'build --print-build-logs' ] || ln -sfn {tmp_path}/top "$RUN_DIR/$JOB/system"
      }}
      flake() {{ :; }}
      toplevel_attr() {{ :; }}
      toplevel() {{ :; }}
      rc=0
      job_plan >/dev/null || rc=$?
      echo "$rc $(cat "$RUN_DIR/$JOB/stage") $(cat "$RUN_DIR/$JOB/units" 2>/dev/null)"
    """
    assert run(text, "files", "jobs", "converge", "plan", folder=tmp_path).strip() == told


SEEN = """
  say_room() { say room much; }
  locked_secrets() { echo a.age: no key; }
  say_reboot_parts() { say system.reboot kernel; }
  failing_before() { echo a.service; }
  lacks='git '
"""


@pytest.mark.parametrize(
    ("state", "holder"),
    [
        ("foreign_switch() { :; }", ""),
        ("foreign_switch() { echo a switch by hand; }", "a switch by hand"),
        ("run_that_holds() { echo run o; }; foreign_switch() { echo unasked; }", "run o"),
    ],
)
def test_a_preflight_tells_all_and_touches_nothing(tmp_path: Path, state: str, holder: str) -> None:
    """It says room, secrets, pending reboot, failed units, lock and missing commands, and makes no file or folder."""
    text = f"""
      {SEEN}
      {state}
      verb_preflight
      for name in room secrets system.reboot units.failed holder commands; do echo "$name=${{said[$name]}}"; done
    """
    told = run(
        text,
        "numbers",
        "clock",
        "files",
        "answer",
        "units",
        "system",
        "jobs",
        "guard",
        "lock",
        "plan",
        folder=tmp_path,
    )
    assert told.splitlines() == [
        "room=much",
        "secrets=a.age: no key",
        "system.reboot=kernel",
        "units.failed=a.service",
        f"holder={holder}",
        "commands=git ",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_preflight_of_a_silent_systemd_says_so() -> None:
    """Which units have failed is unseen, not none."""
    text = f"""
      {SEEN}
      failing_before() {{ return 1; }}
      run_that_holds() {{ :; }}
      foreign_switch() {{ :; }}
      verb_preflight
      echo "${{said[units.problem]}}"
    """
    assert run(text, "answer", "units", "system", "plan") == "systemctl did not answer which units failed\n"


def test_a_plan_of_what_the_runner_built_builds_nothing(tmp_path: Path) -> None:
    """The host neither evaluates nor builds; it compares with what it got."""
    top = tmp_path / "top"
    (top / "bin").mkdir(parents=True)
    (top / "bin/switch-to-configuration").write_text("#!/bin/sh\necho would restart\n")
    (top / "bin/switch-to-configuration").chmod(0o755)
    text = f"""
      mkdir -p "$RUN_DIR/$JOB"
      SWITCHPROOF_BUILT={top}
      NIX=(nix)
      nix() {{ echo "nix $1 $2" >&2; }}
      nix-store() {{ ln -s {top} "$2"; }}
      toplevel() {{ echo /nix/store/old; }}
      exec 2>&1
      job_plan
      cat "$RUN_DIR/$JOB/expected" "$RUN_DIR/$JOB/units"
    """
    assert run(text, "files", "jobs", "converge", "plan", folder=tmp_path).splitlines() == [
        "--- build",
        "--- compare",
        "nix store diff-closures",
        "nix path-info --closure-size",
        str(top),
        "would restart",
    ]
