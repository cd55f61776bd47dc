"""Of several systems that a rollback might mean it takes the one that its words say."""

from __future__ import annotations

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.host.frame import FrameError
from switchproof.deploy.observe.earlier import choose
from tests.answers import SHA
from tests.observe.test_earlier import line, past, system


@pytest.mark.parametrize("others", ["a", "ab", "abd"])
def test_of_many_systems_of_a_commit_the_newest_is_meant(others: str) -> None:
    """A commit that was built more than once means the newest system of it, however many there are."""
    lines = [line(number, name, SHA) for number, name in enumerate([*others, "e"], 1)]
    assert choose(past(*lines, line(9, "c", current=True)), SHA).toplevel == system("e")


def test_of_many_collected_systems_the_newest_is_named() -> None:
    """Where garbage collection has taken every system of a commit, the newest of their generations is named."""
    gone = [line(number, name, SHA, there=False) for number, name in ((2, "a"), (3, "b"), (4, "d"))]
    with pytest.raises(UsageError, match="its generation 4 is garbage-collected"):
        choose(past(*gone, line(5, "c", current=True)), SHA)


def test_current_generation_is_not_the_one_before() -> None:
    """On a host that runs another system than its profile's current one, that one is no earlier system."""
    assert choose(past(line(1, "a"), line(2, "b", current=True), running="c"), None).toplevel == system("a")


def test_generations_are_read_past_empty_lines_whatever_follows_the_commit() -> None:
    """An empty line ends nothing, a commit may be the last field, and the number is the first."""
    short = "\x1f".join(("7", system("a"), "yes", "", SHA))
    read = past(f"{short}\n\n", line(8, "c", current=True))
    assert [(each.number, each.commit) for each in read.generations] == [(7, SHA), (8, "")]
    named = "\x1f".join(("7", system("a"), "yes", "", SHA, "by hand"))
    assert [each.number for each in past(f"{named}\n").generations] == [7]


@pytest.mark.parametrize("fields", [("7", "a", "yes", ""), ("x", "a", "yes", "", "7")])
def test_generation_without_its_fields_is_refused(fields: tuple[str, ...]) -> None:
    """A line that lacks the commit's field, or does not begin with a number, is no generation."""
    with pytest.raises(FrameError, match="cannot be understood"):
        past("\x1f".join(fields) + "\n")
