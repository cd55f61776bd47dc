"""Going back to a system: each part is tried, whatever became of the others."""

from pathlib import Path

import pytest

from tests.host_functions import run

STUBS = """
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
        ("writable", ["switch switch", "rc 0, runs earlier"]),
        ("read-only", ["switch switch", "switch test", "switch boot", "rc 1, runs earlier"]),
    ],
)
def test_host_goes_back_where_what_boots_cannot_be_written(tmp_path: Path, boot: str, told: list[str]) -> None:
    """A switch that ends at the boot loader activates nothing; the earlier system runs all the same."""
    assert run(f"cd {tmp_path}; boot={boot}\n{STUBS}", "restore").splitlines() == told
