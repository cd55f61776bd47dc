"""Three lines tell a scenario: what was prepared, what the host saw and what the path said."""

from __future__ import annotations

from msgspec.structs import replace

from switchproof.trials import account
from tests.trials.seeing import ASKED, BEFORE, UNCHANGED, activation, ended, seen


def test_a_deploy_is_told_in_three_lines() -> None:
    """Commits, times from the path's start, and the path's own last words."""
    given = seen("hypervisor-500", ended(0, output="all is well\n\n"), cut=False)
    assert account.prepared(given) == (
        f"A fresh host on {BEFORE[:12]}, set by the lab. The hypervisor answers 500. "
        f"Requested: {ASKED[:12]} (broken/hypervisor-500)."
    )
    assert account.host_saw(given) == (
        f"activated {ASKED[:12]} (at 5.0 to 7.0 s) by nixos-rebuild; "
        f"asked hypervisor once, live once, dev once; in the end it runs {ASKED[:12]}."
    )
    assert account.path_said(given) == (
        f"success for {ASKED[:12]}: it ended with exit code 0, after 10.0 s; its last line: all is well"
    )


def test_nothing_is_told_as_that() -> None:
    """No activation, request or output is said, and so are a limit of the lab and who set the first system."""
    given = seen(
        "good", ended(None), cut=False, **UNCHANGED | {"limits": ("its stand-in builds flakes only",), "logins": 2}
    )
    given = replace(given, first_by_path=True)
    assert "deployed by the path itself" in account.prepared(given)
    assert account.host_saw(given) == (
        "no activation; no request; logged in 2 times; the lab could not: its stand-in builds flakes only; "
        f"in the end it runs {BEFORE[:12]}."
    )
    assert account.path_said(given).startswith(f"nothing for {ASKED[:12]}: it did not end within")
    assert account.path_said(given).endswith("; it printed nothing")


def test_a_switch_that_failed_is_told_with_its_status() -> None:
    """A switch that reported its failure has ended; one that reported nothing has not."""
    failed = seen("hypervisor-down", ended(4), activations=(activation(failed=4),))
    assert f"activated {ASKED[:12]} (at 5.0 to 7.0 s, failed with status 4)" in account.host_saw(failed)
    silent = seen("hypervisor-down", ended(4), activations=(activation(finished=None),))
    assert f"activated {ASKED[:12]} (at 5.0 s, not finished)" in account.host_saw(silent)


def test_a_cut_connection_is_told() -> None:
    """Without it, the path's failure after a switch that ended well could not be understood."""
    assert "; the connection was cut meanwhile; " in account.host_saw(seen("connection-cut", ended(255)))


def test_nixos_rebuild_is_not_said_to_have_made_every_one_of_several_switches() -> None:
    """A path may switch with nixos-rebuild and go back without it; the host shows only that it was there."""
    several = {"activations": (activation(), activation(BEFORE, 8, 9))}
    said = account.host_saw(seen("good", ended(1), cut=False, **several))
    assert f"then {BEFORE[:12]} (at 8.0 to 9.0 s), at least one of them by nixos-rebuild; " in said
    assert ", not by nixos-rebuild; " in account.host_saw(seen("good", ended(1), nixos_rebuild=False, **several))
