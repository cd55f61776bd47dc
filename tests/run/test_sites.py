"""The machines that build: programs end with their connection, and a machine that is lost is no failed build."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.connection import ConnectionLost, HostKeyChanged
from switchproof.deploy.errors import BuildFailed
from switchproof.deploy.providers import load
from switchproof.deploy.record.events import Noted, SystemBuilt
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.run.building import TRIES, Workshop
from switchproof.deploy.run.sites import KILLED, Remote, Runner, Site, Stock, read_all
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.source import find_source
from switchproof.deploy.target.types import Build
from tests.run.builders import Builder, Shell

TOPLEVEL = f"/nix/store/{'a' * 32}-nixos-system-a-25.11"
NEEDED = f"/nix/store/{'b' * 32}-units"
BUILDS = f'ln -sfn {TOPLEVEL} "$7"'
LONGEST_S = 30.0


class Now(threading.Event):
    """Waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        return self.is_set()


@pytest.fixture
def nix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put programs in the place of a builder's nix and nix-store, whose home is empty."""

    def put(build: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        version = 'case "$*" in *--version*) echo "nix (Nix) 2.34.8"; exit ;; esac'
        programs = {"nix": f"{version}\n{build}", "nix-store": f"printf '%s\\n' {NEEDED} {TOPLEVEL}"}
        for name, body in programs.items():
            (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "its cache"))

    return put


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "clone"
    script = "git init -qb main clone && git -C clone -c user.name=x -c user.email=x commit -q --allow-empty -m 1"
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True)
    return folder


def build(tmp_path: Path, builder: Builder, clone: Path, *, is_sent: bool = False) -> tuple[Workshop, Journal]:
    """Build the only commit of a clone on a builder, for one host."""
    target = load(TARGETS / "lab.toml", {}, ())
    options = Build(on="big", repository="/nowhere" if is_sent else str(clone), timeout_s=LONGEST_S)
    source = find_source(str(clone), "main", dirty=False)
    journal = Journal(tmp_path / "run", Redactor(()))
    shop = Workshop(
        msgspec.structs.replace(target, build=options),
        journal,
        Remote("big", builder, "r-1"),
        source if is_sent else None,
        Now(),
    )
    with shop:
        list(shop.build(source.commit, {"a": "web"}))
    return shop, journal


def notes_of(journal: Journal) -> list[str]:
    return [event.text for event in journal.events if isinstance(event, Noted)]


def is_over(pid: str) -> bool:
    """Whether a process ends soon."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def line_of(site: Site, text: str, limit_s: float = 600.0) -> str:
    """Start a program, and return the first line that it prints."""
    return site.start(text, limit_s=limit_s).read(LONGEST_S).decode().strip()


def test_a_program_on_a_builder_ends_with_its_connection() -> None:
    """Nix does not build on for a run that is gone."""
    builder = Builder()
    pid = line_of(Remote("big", builder, "r-1"), "sleep 600 & echo $!; wait\n")
    builder.connections[0].lose()
    assert is_over(pid)


def test_a_program_on_a_builder_ends_also_if_timeout_does_not_pass_the_signal_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal ends `timeout` alone until its fork has returned, which on a busy machine may take a while."""
    early = tmp_path / "timeout"
    early.write_text(
        f"#!{sys.executable}\nimport os, signal, subprocess, sys\nos.setpgid(0, 0)\n"
        "subprocess.Popen(sys.argv[3:])\nsignal.pause()\n"
    )
    early.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    builder = Builder()
    pid = line_of(Remote("big", builder, "r-1"), "sleep 600 & echo $!; wait\n")
    builder.connections[0].lose()
    assert is_over(pid)


def test_a_program_on_a_builder_ends_when_its_time_is_over() -> None:
    """The builder itself ends it, although the connection lives."""
    pid = line_of(Remote("big", Builder(), "r-1"), "sleep 600 & echo $!; wait\n", limit_s=1.0)
    assert is_over(pid)


@pytest.mark.parametrize("site", [Runner(), Remote("big", Builder(), "r-1")], ids=["runner", "builder"])
def test_how_a_program_ended_is_told_the_same_by_every_machine(site: Site) -> None:
    """Its own failure, a signal, and its words."""
    printed, done = read_all(site.start("echo out; echo err >&2; exit 3\n", limit_s=LONGEST_S), LONGEST_S)
    assert (printed, done.stderr.strip(), done.exit_status) == ("out\n", b"err", 3)
    _, done = read_all(site.start("kill -KILL $$\n", limit_s=LONGEST_S), LONGEST_S)
    assert done.exit_status in KILLED
    output = site.start("sleep 600\n", limit_s=LONGEST_S)
    with pytest.raises(TimeoutError):
        output.read(0.1)
    assert output.end().exit_status is None


@pytest.mark.parametrize("site", [Runner(), Remote("big", Builder(), "r-1")], ids=["runner", "builder"])
def test_a_machine_on_which_the_run_was_broken_off_ends_everything(site: Site) -> None:
    """What runs is ended, and what is started after that ends at once or is refused."""
    pid = line_of(site, "sleep 600 & echo $!; wait\n")
    site.break_off()
    assert is_over(pid)
    began = time.monotonic()
    with suppress(ConnectionLost):
        read_all(site.start("sleep 600\n", limit_s=600.0), LONGEST_S)
    assert time.monotonic() - began < LONGEST_S


def test_programs_one_after_the_other_share_a_connection() -> None:
    """Only programs that run at the same time need one more."""
    builder = Builder()
    site = Remote("big", builder, "r-1")
    for _ in range(2):
        read_all(site.start("true\n", limit_s=LONGEST_S), LONGEST_S)
    assert len(builder.connections) == 1
    outputs = [site.start("echo x\n", limit_s=LONGEST_S) for _ in range(2)]
    assert [read_all(output, LONGEST_S)[0] for output in outputs] == ["x\n", "x\n"]
    assert len(builder.connections) == 2


def test_a_builder_builds_and_the_record_says_so(tmp_path: Path, clone: Path, nix: Callable[[str], None]) -> None:
    """It fetches by itself, and keeps nothing of the run at its end; the record has its name, its key and its nix."""
    nix(BUILDS)
    _, journal = build(tmp_path, Builder(), clone)
    (built,) = [event.build for event in journal.events if isinstance(event, SystemBuilt)]
    assert (built.on, built.toplevel, built.nix, built.paths) == ("big", TOPLEVEL, "nix (Nix) 2.34.8", 2)
    assert notes_of(journal)[0] == (
        "The builder big was reached as nix@192.0.2.9:22, with the pinned key ssh-ed25519 SHA256:x."
    )
    assert list((tmp_path / "its cache/switchproof/builds").iterdir()) == []


def test_a_commit_is_sent_to_a_builder_that_cannot_fetch_it(
    tmp_path: Path, clone: Path, nix: Callable[[str], None]
) -> None:
    """Git there takes it from what came, whatever the target file names."""
    nix(f'{BUILDS}; git -C "${{7%/*}}/source" log --format=%s FETCH_HEAD >&2')
    _, journal = build(tmp_path, Builder(), clone, is_sent=True)
    log = tmp_path / "run/evidence/run/build-web.log"
    assert log.read_text(encoding="utf-8") == "1\n"
    assert [event for event in journal.events if isinstance(event, SystemBuilt)]


def test_a_builder_that_is_lost_is_asked_again(tmp_path: Path, clone: Path, nix: Callable[[str], None]) -> None:
    """What was lost is a note, and the build goes on where it was."""
    nix(BUILDS)
    builder = Builder()

    def lose_the_build(shell: Shell, begun: int) -> None:
        if begun == 5:
            shell.lose()

    builder.on_start = lose_the_build
    _, journal = build(tmp_path, builder, clone)
    assert [event for event in journal.events if isinstance(event, SystemBuilt)]
    assert any(note.startswith("The builder big was lost and is asked again: ") for note in notes_of(journal))
    assert len(builder.connections) == 2


def test_a_builder_that_stays_away_is_no_failed_build(
    tmp_path: Path, clone: Path, nix: Callable[[str], None]
) -> None:
    """The sentence says that the builder was lost, and no configuration counts as one that cannot be built."""
    nix(BUILDS)
    builder = Builder()

    def vanish(shell: Shell, begun: int) -> None:
        if begun == 5:
            builder.away = TRIES
            shell.lose()

    builder.on_start = vanish
    with pytest.raises(
        BuildFailed, match=r"^nix could not build web on the builder big, because the builder big was lost; no host"
    ) as raised:
        build(tmp_path, builder, clone)
    assert not raised.value.configuration


FOREIGN = """echo "error: a 'aarch64-linux' with features {} is required to build '/nix/store/x.drv', \\
but I am a 'x86_64-linux' with features {kvm}"; exit 1"""
FOREIGN_NOW = """cat <<'END'; exit 1
error: Cannot build '/nix/store/x.drv'.
       Reason: required system or feature not available
       Required system: 'aarch64-linux' with features {}
       Current system: 'x86_64-linux' with features {kvm}
END"""
NO_DAEMON = (
    "error: Nix daemon disconnected unexpectedly (maybe it crashed?)",
    "     error: cannot open connection to remote store 'daemon': error: reading from file: Connection reset by peer",
    "       error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused",
    "error: opening lock file '/nix/var/nix/db/big-lock': Permission denied",
)


@pytest.mark.parametrize(
    ("nix_does", "said"),
    [
        ("echo 'error: no such attribute' >&2; exit 1", r"on the builder big \(exit status 1\); no host was touched"),
        ("kill -KILL $$", "because it was killed there; no host was touched"),
        *((f'echo "{words}"; exit 1', "because its Nix daemon does not run, ended, or") for words in NO_DAEMON),
        (f"echo 'test> {NO_DAEMON[0]}'; exit 1", r"\(exit status 1\); no host was touched"),
        (FOREIGN, "web is built on aarch64-linux, and the builder big is x86_64-linux; choose a builder"),
        (FOREIGN_NOW, "web is built on aarch64-linux, and the builder big is x86_64-linux; choose a builder"),
    ],
    ids=[
        *("failed", "killed", "daemon ended", "user not allowed", "daemon stopped", "no daemon"),
        *("words of a build", "foreign", "foreign in nix 2.34"),
    ],
)
def test_each_way_in_which_a_build_ends_has_its_own_sentence(
    tmp_path: Path, clone: Path, nix: Callable[[str], None], *, nix_does: str, said: str
) -> None:
    """Only a failure of the commit itself counts as one; the others are the machine's."""
    nix(nix_does)
    with pytest.raises(BuildFailed, match=said) as raised:
        build(tmp_path, Builder(), clone)
    assert bool(raised.value.configuration) is ("exit status" in said)


def test_another_machine_in_the_place_of_the_builder_is_not_asked_again(
    tmp_path: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host key does not become the right one by waiting."""
    asked: list[str] = []

    def connect(host: str) -> Shell:
        asked.append(host)
        raise HostKeyChanged(host, "it shows another key", "Look.")

    monkeypatch.setattr(builder := Builder(), "connect", connect)
    with pytest.raises(BuildFailed, match="it shows another key"):
        build(tmp_path, builder, clone)
    assert asked == ["big"]
    with pytest.raises(HostKeyChanged):
        Remote("big", builder, "r-1").reach()


def test_a_builder_tells_the_size_of_paths_or_is_named(nix: Callable[[str], None]) -> None:
    """What could not be measured is no size."""
    nix("true")
    with pytest.raises(BuildFailed, match="nix-store on the builder big did not report sizes of paths"):
        Stock(Remote("big", Builder(), "r-1")).sizes([NEEDED])
