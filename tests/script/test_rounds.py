"""The rest between two rounds of asking."""

from __future__ import annotations

import pytest

from tests.host_functions import run


@pytest.mark.parametrize(
    ("interval", "states", "took", "waits"),
    [
        # How long the pause is, by how long the states of the endpoints have lasted, and what the round took.
        ("0.25", "0", "0", "0.250"),
        ("0.25", "1", "0", "0.250"),
        ("0.25", "2.5", "0", "0.500"),
        ("0.25", "60", "0", "1.000"),
        ("0.25", "60 0.1", "0", "0.250"),
        ("0.1", "0.1", "0", "0.100"),
        ("3", "0", "0", "3.000"),
        ("3", "60", "0", "3.000"),
        ("0.25", "0", "0.15", "0.100"),
        ("0.25", "60", "0.40", "0.600"),
        ("0.25", "0", "5", "0.050"),
    ],
)
def test_new_states_are_asked_for_often_and_old_ones_once_a_second(
    interval: str, states: str, took: str, waits: str
) -> None:
    """The newest state among the endpoints that are waited for decides, from the begin of one round to the next."""
    text = f"""
      read() {{ if [ "$1 $2" = '-r -t' ]; then echo "$3"; else builtin read "$@"; fi; }}
      uptime_to() {{ printf -v "$1" '%s' "$(awk -v t={took} 'BEGIN {{ printf "%.2f", 1000 + t }}')"; }}
      declare -A since=() again=(); began=0 now=1000.00 idle=0
      for state in {states}; do
        since[web$state]=$(awk -v s="$state" 'BEGIN {{ printf "%.3f", 1000 - s }}')
        names+=" web$state"
      done
      await_round "$names"
    """
    assert run(text, "numbers", "clock", "rounds", values={"INTERVAL_S": interval}).split() == [waits]
