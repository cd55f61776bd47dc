"""A rollback goes back to one system that is there, or is refused before anything is touched."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.errors import UsageError
from switchproof.deploy.host.frame import Frame, FrameError
from switchproof.deploy.observe.earlier import NothingEarlier, Past, Proven, choose, read_past, read_returned
from tests.answers import SHA

OTHER = "9" * 40


def system(name: str) -> str:
    return f"/nix/store/{name * 32}-nixos-system-a"


def line(number: int, name: str, commit: str = "", *, there: bool = True, current: bool = False) -> str:
    parts = (str(number), system(name), "yes" if there else "no", "yes" if current else "", commit, "1763910000")
    return "\x1f".join(parts) + "\n"


def past(*lines: str, running: str = "c", earlier: str = "") -> Past:
    sections = {"generations": "".join(lines), "running": system(running), "earlier": earlier}
    return read_past(Frame("generations", {name: text.encode() for name, text in sections.items()}))


GAPS = (
    line(2, "a", SHA),
    line(5, "b", OTHER),
    line(6, "a", SHA),
    line(9, "d", there=False),
    line(12, "c", current=True),
    line(14, "e"),
)


def chosen(asked: str | None = None, *proven: str, earlier: str = "", of: Past | None = None) -> str:
    return choose(
        of or past(*GAPS, earlier=earlier), asked, [Proven(system(each), "run-7") for each in proven]
    ).toplevel


def test_generation_is_named_by_its_number_whatever_the_gaps() -> None:
    """A generation's number means the very system that it points to, also above the current one and after gaps."""
    assert [chosen(str(number)) for number in (2, 5, 12, 14)] == [system(name) for name in "abce"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("3", "--rollback=3: the host has no generation 3; what it has: generation 2 of commit 1a2b3c4d5e6f, "),
        ("9", "--rollback=9: generation 9 is gone: garbage collection removed /nix/store/dddd"),
        ("8" * 40, f"--rollback={'8' * 40}: the host has no system of that commit; what it has: "),
        ("main", "--rollback=main: the host has no system of that commit"),
    ],
)
def test_what_is_not_there_is_refused(asked: str, said: str) -> None:
    """A missing or garbage-collected system is refused, with what the host has instead."""
    with pytest.raises(UsageError, match=re.escape(said)):
        chosen(asked)


def test_commit_that_was_collected_is_told_apart_from_one_never_there() -> None:
    """Where the system of a commit was there once, the refusal says which generation it was."""
    with pytest.raises(UsageError, match="its generation 2 is garbage-collected"):
        choose(past(line(2, "a", SHA, there=False), line(3, "c", current=True)), SHA)


@pytest.mark.parametrize("asked", [SHA, SHA[:7], SHA[:12]])
def test_commit_means_its_newest_system(asked: str) -> None:
    """A commit, full or abbreviated, means the newest generation that was built from it."""
    made = choose(past(*GAPS), asked)
    assert (made.toplevel, made.commit) == (system("a"), SHA)
    assert "(generation 6 of commit 1a2b3c4d5e6f)" in made.intent


def test_left_open_it_is_what_the_newest_canonical_run_left() -> None:
    """Without a value, the newest record counts whose system is another than runs, and is still there."""
    assert chosen(None, "c", "d", "b", "a", earlier=system("e")) == system("b")


def test_without_a_record_it_is_what_ran_before_the_newest_deploy() -> None:
    """Where no record helps, the host's own word of what ran before counts, also if no generation points to it."""
    assert chosen(None, "c", "d", earlier=system("f")) == system("f")
    assert chosen(None, "f", earlier=system("f")) == system("f")


def test_host_that_we_never_deployed_to_goes_to_the_generation_before() -> None:
    """Without records and without a word, it is the newest one below the current that is there and differs."""
    assert chosen() == system("a")
    rolled_back = past(line(1, "a"), line(2, "c", current=True), line(3, "b"))
    assert chosen(of=rolled_back) == system("a")
    same_again = past(line(1, "a"), line(2, "c"), line(3, "c", current=True))
    assert chosen(of=same_again) == system("a")


def test_nothing_to_go_back_to_is_refused() -> None:
    """A host with one system only has nothing to go back to, which is no mistake of an option."""
    with pytest.raises(NothingEarlier, match="nothing to go back to; what it has: generation 1 "):
        chosen(of=past(line(1, "c", SHA, current=True)))
    with pytest.raises(UsageError, match="what it has: no generation"):
        chosen(of=past())


def with_special(number: int, name: str, **special: str) -> str:
    parts = "".join(f"{each} {system(of)}\x1e" for each, of in special.items())
    return line(number, name).removesuffix("\n") + f"\x1f{parts}\n"


def test_generation_is_restored_with_the_specialisation_of_the_target_file() -> None:
    """One that has none of that name is restored itself, and the reason says so."""
    host = past(with_special(2, "a", quiet="b", loud="d"), line(3, "e"), running="f")
    quiet = choose(host, "2", specialisation="quiet")
    assert (quiet.toplevel, quiet.why) == (system("b"), "--rollback=2 asks for that generation")
    assert quiet.intent.endswith(f"to {system('b')} (specialisation 'quiet' of generation 2)")
    assert choose(host, "2").toplevel == system("a")
    without = choose(host, "3", specialisation="quiet")
    assert (without.toplevel, without.why) == (
        system("e"),
        "--rollback=3 asks for that generation, which has no specialisation 'quiet'",
    )


def test_specialisation_that_a_canonical_run_left_is_there_as_long_as_its_generation() -> None:
    """Its path is no generation's, but a generation has it."""
    host = past(with_special(2, "a", quiet="b"), line(3, "c", current=True))
    assert chosen(None, "b", of=host) == system("b")


def test_intent_says_from_what_to_what() -> None:
    """Before anything changes, a rollback says both systems with generation and commit, and why this one."""
    made = choose(past(*GAPS), "5")
    assert made.intent == f"from {system('c')} (generation 12) to {system('b')} (generation 5 of commit 999999999999)"
    assert made.why == "--rollback=5 asks for that generation"


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=8, unique_by=lambda each: (each[0], each[1])
    ),
    st.lists(st.sampled_from("abcdef"), max_size=3),
    st.sampled_from(["", system("b")]),
)
def test_left_open_it_never_goes_to_what_runs_or_is_gone(
    told: list[tuple[str, bool]], proven: list[str], earlier: str
) -> None:
    """Whatever a host has, the choice is another system than runs and is there, or there is none."""
    lines = [line(number, name, there=there) for number, (name, there) in enumerate(told, 1)]
    host = past(*lines, earlier=earlier)
    try:
        found = choose(host, None, [Proven(system(name), "run") for name in proven]).toplevel
    except UsageError:
        return
    assert found != system("c")
    assert found == earlier or any(system(name) == found and there for name, there in told)


@pytest.mark.parametrize("text", ["7\x1f/nix/store/x\n", "x\x1fa\x1fyes\x1f\x1f\n", "generation 7\n"])
def test_generations_that_cannot_be_read_are_no_generations(text: str) -> None:
    """A list with a line of another form is refused whole."""
    with pytest.raises(FrameError, match="generations cannot be understood"):
        past(text)


def test_return_is_told_with_time_reason_and_run() -> None:
    """What a host says of going back by itself becomes one sentence with everything in it."""
    said = (
        "run r-1\nat 2026-11-24T01:02:03Z\nwhy not confirmed within 30 s\nfrom /new\nto /old\nrc 0\nowner me@here\n"
    )
    found = read_returned(Frame("observe", {"returned": said.encode()}))
    assert found
    assert found.run == "r-1"
    assert found.message("r-1") == (
        "It went back by itself at 2026-11-24T01:02:03Z: not confirmed within 30 s (run r-1, me@here). "
        "From /new to /old."
    )
    assert found.message("r-2").startswith("Before this run, the host went back by itself at 2026-11-24T01:02:03Z: ")
    assert read_returned(Frame("observe", {})) is None
    assert read_returned(Frame("observe", {"returned": b""})) is None


@pytest.mark.parametrize(
    ("why", "unreached"),
    [
        ("no new connection came within 30 s after the switch ended", True),
        ("not confirmed within 60 s after the switch ended", False),
        ("", False),
    ],
)
def test_return_of_a_host_that_nobody_reached_is_told_from_others(why: str, unreached: bool) -> None:
    """Its reason says whether a new connection was what it waited for."""
    found = read_returned(Frame("observe", {"returned": f"run r-1\nwhy {why}\n".encode()}))
    assert found
    assert found.is_unreached is unreached


def test_return_that_failed_says_so() -> None:
    """A way back that did not end well is never told as if it had."""
    said = b"run r-1\nat now\nwhy x\nfrom /new\nto /old\nrc 4"
    found = read_returned(Frame("observe", {"returned": said}))
    assert found
    assert found.message("r-1").endswith("to /old; that ended with 4.")
    said = b"run r-1\nat now\nwhy x\nfrom /new\nto /old"
    found = read_returned(Frame("observe", {"returned": said}))
    assert found
    assert found.message("r-1").endswith("to /old; that ended with an unknown status.")
