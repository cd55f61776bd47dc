"""What systemd says of units, and which of them fail."""

from __future__ import annotations

from tests.host_functions import run


def test_what_ended_well_and_waits_has_not_failed() -> None:
    """A unit that waits for its next start counts as failed only if its last run failed."""
    text = """
      ask_systemctl() {
        case $* in
          list-units*) answered=$(cat) ;;
          *well.service) answered=Result=success ;;
          *) answered=Result=exit-code ;;
        esac
      }
      failed_units <<<'bad.service loaded failed failed x
well.service loaded activating auto-restart x
ill.service loaded activating auto-restart x
switchproof-r1-converge.service loaded failed failed x'
    """
    assert run(text, "units", "numbers").split() == ["bad.service", "ill.service"]


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
