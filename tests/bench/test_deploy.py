"""The bench of deploys believes no contender: it looks at what runs, what the profile is and what boots."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from bench.deploy import (
    FAST,
    GOOD,
    LOOP,
    ONE_BREAKS,
    OURS,
    PROFILE,
    PUSHED,
    Build,
    Case,
    Contender,
    End,
    Sample,
    Series,
    Site,
    aims,
    left_by,
    numbers,
    peer,
    render,
    with_peers,
)
from bench.ground import Ground, Way
from bench.yard import BASE, Yard
from switchproof.deploy.providers.lab.host import LabHost
from tests.answers import HOST_KEY

OLD, NEW = Build("0" * 40, "/nix/store/old"), Build("1" * 40, "/nix/store/new")
FAULT: Case = "answers with 500"


class Host:
    """A host whose three systems stand in a file, a line each: what runs, the profile, what boots."""

    name = "h1"

    def __init__(self, file: Path) -> None:
        self._file = file

    def run(self, command: Sequence[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        del timeout_s
        if command[0] == "sh":  # restore the base
            self._file.write_text(f"{OLD.system}\n" * 3)
        said = "\n".join(self._file.read_text().splitlines()[:2])
        return subprocess.CompletedProcess(command, 0, said, "")

    def boots(self) -> str:
        return self._file.read_text().splitlines()[2]


class Built:
    """A yard whose every commit is built as the new system."""

    environ: Mapping[str, str] = {"BUILT": NEW.system}

    def fresh(self) -> str:
        return NEW.commit

    def flake(self, commit: str) -> str:
        return f"built:{commit}"

    def system(self, commit: str) -> str:
        assert commit == NEW.commit
        return NEW.system


def take(folder: Path, case: Case, end: End, script: str) -> Sample:
    """Have a contender, which is a shell script that gets at the host's file, deploy to one host."""
    file = folder / "host"
    file.write_text(f"{NEW.system}\n{OLD.system}\n{OLD.system}\n")  # what the one before has left
    hosts = {"h1": cast("LabHost", Host(file))}
    ground = Ground((Way("h1", 22, HOST_KEY),), 0.0, folder / "key", folder)
    site = Site(hosts, {BASE: OLD, GOOD: NEW, FAULT: NEW}, cast("Yard", Built()))
    contender = Contender("somebody", ("sh", "-c", f"file={file}\n{script}"), {case: end})
    return site.run(Series(ground, case, contender))


SETS = f"printf '{NEW.system}\\n%.0s' 1 2 3 >$file"
DONE = End(good=True, leaves="new")


def test_contender_that_does_its_work_counts(tmp_path: Path) -> None:
    """Success, and the new system in all three places, is a sample without a problem."""
    assert take(tmp_path, GOOD, DONE, SETS).problem is None


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("true", "h1: runs /nix/store/old, profile /nix/store/old, boots /nix/store/old; expected /nix/store/new"),
        (f"printf '{NEW.system}\\n{NEW.system}\\n{OLD.system}\\n' >$file", "h1: boots /nix/store/old;"),
        (f"{SETS}; echo 'error: no space left'; exit 1", "exit status 1: error: no space left"),
    ],
)
def test_contender_that_does_not_deploy_is_seen(tmp_path: Path, script: str, says: str) -> None:
    """An old system in one of the three places, or a failure, is the sample's problem."""
    assert says in (take(tmp_path, GOOD, DONE, script).problem or "")


def test_what_is_pushed_is_a_commit_that_nobody_has_built(tmp_path: Path) -> None:
    """Who pushes gets a new commit and nix here, and must leave the system that the commit evaluates to."""
    seen = f'[ "$0 $1" = "built:{NEW.commit} h1" ] && [ "$BUILT" = {NEW.system} ]'
    assert take(tmp_path, PUSHED, DONE, f"{seen} && {SETS}").problem is None
    assert "h1: profile /nix/store/old, boots /nix/store/old" in (take(tmp_path, PUSHED, DONE, "true").problem or "")
    assert "exit status 1: no route" in (take(tmp_path, PUSHED, DONE, f"{SETS}; echo no route; exit 1").problem or "")


def test_profile_of_links_to_a_system_is_that_system(tmp_path: Path) -> None:
    """A tool with profiles of its own leaves the system that its profile consists of."""
    for name in ("new/bin", "profile"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "profile/bin").symlink_to(tmp_path / "new/bin")
    system = str(tmp_path / "new")

    class Linked:
        name = "h1"

        def run(self, command: Sequence[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
            places = {"/run/current-system": system, PROFILE: f"{tmp_path}/profile"}
            there = [
                places.get(str(Path(word).parent), word) + f"/{Path(word).name}" if word[0] == "/" else word
                for word in command
            ]
            return subprocess.run(there, capture_output=True, text=True, timeout=timeout_s, check=True)

        def boots(self) -> str:
            return system

    assert left_by([cast("LabHost", Linked())], system) is None
    assert "expected /nix/store/other" in (left_by([cast("LabHost", Linked())], "/nix/store/other") or "")


def test_fault_is_judged_by_what_the_contender_is_known_for(tmp_path: Path) -> None:
    """Who goes back must fail and leave the old system; who notices nothing leaves the new one."""
    undone = End(good=False, leaves="old")
    assert take(tmp_path, FAULT, undone, "exit 1").problem is None
    assert "expected /nix/store/old" in (take(tmp_path, FAULT, undone, f"{SETS}; exit 1").problem or "")
    assert take(tmp_path, FAULT, undone, "exit 0").problem == "it says success where the deploy failed"
    assert take(tmp_path, FAULT, DONE, SETS).problem is None


def test_who_goes_back_has_deployed_what_it_goes_back_to(tmp_path: Path) -> None:
    """Tools with profiles of their own cannot go back to a system that somebody else has deployed."""
    undone = End(good=False, leaves="old")
    assert take(tmp_path, FAULT, undone, f'echo "$0" >>{tmp_path}/asked; exit 1').problem is None
    asked = (tmp_path / "asked").read_text(encoding="utf-8").split()
    assert [f"rev={build.commit}#" in flake for build, flake in zip((OLD, NEW), asked, strict=True)] == [True, True]


@pytest.mark.parametrize("text", ["deploy-rs", "deploy-rs=/no/such/program", "somebody=/bin/sh"])
def test_peer_that_nobody_knows_or_can_start_is_refused(text: str) -> None:
    """Without a program, or without a known end to hold it to, nothing is measured."""
    with pytest.raises(RuntimeError, match="expected NAME=PROGRAM"):
        peer(text)


def test_peer_is_called_as_the_loop_is(tmp_path: Path) -> None:
    """A peer's program gets what to build and the hosts, and is held to what it is known to leave."""
    found = peer("morph=/bin/sh")
    ground = Ground((Way("h1", 22, HOST_KEY), Way("h2", 23, HOST_KEY)), 0.0, tmp_path / "key", tmp_path)
    command = found.command(ground, "1" * 40)
    assert (Path(command[0]).name, command[2:]) == (Path("/bin/sh").resolve().name, ["h1", "h2"])
    assert command[1].startswith(f"git+file:///srv/sample.git?rev={'1' * 40}#")
    assert found.ends[FAULT] == End(good=False, leaves="new")


def test_table_has_the_times_beside_the_loop(tmp_path: Path) -> None:
    """A row says how many times as long as the loop a contender takes, and what it says and leaves."""
    ground = Ground((Way("h1", 22, HOST_KEY),), 0.0, tmp_path / "key", tmp_path)
    series = [
        Series(ground, GOOD, Contender("switchproof"), [Sample(12.0, 2.0), Sample(10.0, 2.0), Sample(20.0, 2.0)]),
        Series(ground, GOOD, Contender("loop", ("sh",), {GOOD: DONE}), [Sample(3.0, 0.2)]),
        Series(ground, FAULT, Contender("loop", ("sh",), {FAULT: DONE}), [Sample(3.0, 0.2, "broke")]),
    ]
    text = render(series, 3)
    assert "| 1 | one unit changed | switchproof | 12.0 s | 10.0 to 20.0 s | 4.0 |  | 2.0 s | success |" in text
    assert "| 1 | answers with 500 | loop | failed |" in text
    assert numbers(series)["1 host, one unit changed: switchproof"] == 12.0
    assert not any("500" in name for name in numbers(series))


def hosts(folder: Path, count: int) -> Ground:
    """A ground of some hosts."""
    ways = tuple(Way(f"h{number}", 22, HOST_KEY) for number in range(count))
    return Ground(ways, 0.0, folder / "key", folder)


def test_aims_are_those_of_a_deploy_without_the_soak(tmp_path: Path) -> None:
    """One host is held to the loop, several to their slowest switch, and what is pushed to the fastest other."""
    one, eight = hosts(tmp_path, 1), hosts(tmp_path, 8)
    fast, loop, colmena = Contender(FAST), Contender(LOOP, ("sh",)), Contender("colmena", ("sh",))
    lines = aims(
        [
            Series(one, GOOD, Contender(OURS), [Sample(30.0, 1.0)]),
            Series(one, GOOD, fast, [Sample(4.5, 1.0, switch_s=1.0)]),
            Series(one, GOOD, loop, [Sample(3.0, 1.0)]),
            Series(eight, GOOD, fast, [Sample(9.0, 1.0, switch_s=7.0), Sample(20.0, 1.0, switch_s=17.0)]),
            Series(eight, GOOD, loop, [Sample(1.0, 1.0)]),
            Series(eight, PUSHED, fast, [Sample(12.0, 1.0)]),
            Series(eight, PUSHED, loop, [Sample(10.0, 1.0)]),
            Series(eight, PUSHED, colmena, [Sample(8.0, 1.0)]),
        ]
    )
    assert lines == [
        "1 host, one unit changed: no soak at most 1.5 s above the loop: yes (+1.5 s)",
        "8 hosts, one unit changed: no soak at most 3.0 s above the slowest host's own switch: yes (+2.5 s)",
        "8 hosts, one unit changed, pushed: no soak at most 3.0 s above the fastest other, colmena: no (+4.0 s)",
    ]


def test_aim_of_a_failing_deploy_counts_from_the_end_of_the_switch(tmp_path: Path) -> None:
    """The whole command, with the soak of the way back, is no part of it."""
    series = Series(hosts(tmp_path, 1), FAULT, Contender(OURS), [Sample(30.0, 1.0, switch_s=2.0, back_s=9.5)])
    assert aims([series]) == [
        "1 host, answers with 500: the earlier system answers within 10 s of the switch's end: yes (9.5 s)"
    ]
    assert numbers([series])["1 host, answers with 500: switchproof, switch's end to answers"] == 9.5


def test_last_result_with_peers_stays_until_they_are_measured_again() -> None:
    """Its whole text follows under a heading of its own, also after a second time without them."""
    before = "\n- 2026-11-01, 3 rounds\n\n| 1 | one unit changed | colmena | 3.4 s |\n"
    kept = with_peers(before, {OURS, LOOP})
    assert kept.startswith("\n## ")
    assert kept.endswith(before)
    assert with_peers(f"\n| 1 | one unit changed | loop | 2.0 s |\n{kept}", {OURS, LOOP}) == kept
    assert with_peers(f"\n| 1 | one unit changed | loop | 2.0 s |\n{kept}", {OURS, LOOP, "colmena"}) == ""
    assert with_peers("\n| 1 | one unit changed | loop | 2.0 s |\n", {OURS, LOOP}) == ""


@pytest.mark.parametrize("spreads", [False, True])
def test_host_that_breaks_alone_is_the_only_one_that_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, spreads: bool
) -> None:
    """The first host must have the old system and the other one the new; anything else is the sample's problem."""
    files = [tmp_path / name for name in ("h0", "h1")]
    for file in files:
        file.write_text(f"{OLD.system}\n" * 3)
    good = str(files[1]) if not spreads else "/dev/null"
    script = f"printf '{NEW.system}\\n%.0s' 1 2 3 >{good}; exit 1"
    monkeypatch.setattr(Contender, "command", lambda *_: ["sh", "-c", script])
    monkeypatch.setattr("bench.deploy._back_s", lambda _, broken, __: float(len(broken)))
    by_name = {file.name: cast("LabHost", Host(file)) for file in files}
    site = Site(by_name, {BASE: OLD, ONE_BREAKS: NEW})
    ours = Contender(OURS, ends={ONE_BREAKS: End(good=False, leaves="old")})
    sample = site.run(Series(hosts(tmp_path, 2), ONE_BREAKS, ours))
    if spreads:
        assert "expected /nix/store/new" in (sample.problem or "")
    else:
        assert (sample.problem, sample.back_s) == (None, 1.0)
