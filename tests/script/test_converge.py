"""nixos-rebuild is called again where systemd did not answer it, and only where nothing was activated."""

import shlex
from pathlib import Path

import pytest

from tests.host_functions import run

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
      job_dir() {{ echo {tmp_path}; }}
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
