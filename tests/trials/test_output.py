"""What a path printed is read as a person reads it, and its words of going back are known."""

from __future__ import annotations

import pytest

from switchproof.trials.output import last_line, reported_rollback


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ("ERROR Deployment to node a failed, rolled back to previous generation\n", True),
        ("a: reverted to the earlier system\n", True),
        ("rollback successful\n", True),
        ("rollback: done\n", True),
        ("Revert succeeded\n", True),
        ("Restored previous generation 12\n", True),
        ("rolled back: no\n", None),
        ("Rollback failed\n", False),
        ("went back to generation 41\n", True),
        ("Rolling back...\n", False),
        ("+ nixos-rebuild switch --rollback\n", False),
        ("\x1b[33mDe-activating due to error\x1b[0m\n", False),
        ("rolling back\nrolled back\nbye\n", True),
        ("rolling back\nit could not be rolled back\n", False),
        ("nothing was rolled back\n", None),
        ("if it fails it is rolled back\n", None),
        ("this path has no way back\n", None),
        ("Magic rollback is enabled\n", None),
        ("", None),
    ],
)
def test_words_of_going_back_are_known(text: str, done: bool | None) -> None:
    """Having gone back, trying to, and saying that it was not done are three things."""
    said = reported_rollback(text)
    assert (said.done if said else None) is done


def test_the_last_line_is_one_that_says_something() -> None:
    """Colours and empty lines are left out, and a long line is cut."""
    assert last_line("first\n\x1b[31mlast\x1b[0m\n\n  \n") == "last"
    assert last_line("\n") == ""
    assert len(last_line("x" * 5000)) < 300


def test_a_long_last_line_keeps_how_it_ends() -> None:
    """nixos-rebuild repeats a whole command line before its exit status."""
    command = f"ssh {'-o Option=value ' * 40}host -- switch-to-configuration switch"
    last = last_line(f"building\nCommand '{command}' returned non-zero exit status 4.\n")
    assert last.startswith("Command 'ssh -o Option=value")
    assert last.endswith("returned non-zero exit status 4.")
