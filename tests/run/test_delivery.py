"""How a system comes from the runner to a host: only what is missing, again where it is cut off, never half."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from switchproof.deploy.connection import Completed, ConnectionFacts, ConnectionLost, Program, text_of
from switchproof.deploy.errors import BuildFailed, Inconclusive
from switchproof.deploy.record.events import Happened, LogLine, Noted
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.run import delivery
from switchproof.deploy.run.building import System
from switchproof.deploy.run.delivery import TRIES, Delivery
from switchproof.deploy.run.sites import Runner, Stock
from switchproof.deploy.run.variables import source_file
from switchproof.deploy.source import Source, find_source
from tests.run.builders import Builder, Shell, Shown

SYSTEM = System(f"/nix/store/{'c' * 32}-system", (f"/nix/store/{'a' * 32}-one", f"/nix/store/{'c' * 32}-system"))
NAMES = 'shift; printf "%s\\n" "$@"'


class Store:
    """A host's store, reached over connections of which the first ones break.

    Args:
        has: What is in it.
        breaks: How many copies are cut off, each when one path has come.
        forgets: Whether nothing stays of a copy that is cut off.
        status: With what an import ends.
        free: What df prints of the store.
        cached: What comes from the substituter.
        words: What an import says on standard error.
        unrooted: Why it cannot hold the system.
    """

    host = "a"
    facts = ConnectionFacts(kind="ssh")

    def __init__(
        self,
        *has: str,
        breaks: int = 0,
        forgets: bool = False,
        status: int = 0,
        free: str = f"{2**30}",
        cached: Sequence[str] = (),
        words: str = "",
        unrooted: str = "",
    ) -> None:
        self.has, self.breaks, self.forgets, self.status = set(has), breaks, forgets, status
        self.free, self.cached, self.fetches = free, cached, list[str]()
        self.sent, self.words, self.unrooted = list[list[str]](), words, unrooted

    def connect(self, _: str) -> Store:
        return self

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        assert timeout_s > 0
        text = text_of(program).decode()
        if "--print-invalid" in text:
            absent = "\n".join(path for path in SYSTEM.paths if path not in self.has)
            return Completed(f"     Avail\n{self.free}\n{absent}\n".encode(), b"", 0, 0.0)
        if "--keep-going" in text:
            self.fetches.append(text)
            self.has.update(self.cached)
            return Completed(b"", b"copying path\nwarning: not signed\nerror: build failed", 1, 0.0)
        if text.endswith("df -B1 --output=avail /nix/store\n"):
            return Completed(f"     Avail\n{self.free}\n".encode(), b"", 0, 0.0)
        asked = text.partition("--realise ")[2].partition(" >")[0].split()
        there = {*asked} <= self.has and not self.unrooted
        words = b"" if there else (self.unrooted or "no such path").encode()
        return Completed(asked[0].encode() if there else b"", words, not there, 0.0)

    def feed(self, command: str, chunks: Iterable[bytes], *, stall_s: float) -> Completed:
        assert "nix-store --import" in command
        assert stall_s > 0
        paths = b"".join(chunks).decode().split()
        self.sent.append(paths)
        if self.breaks:
            self.breaks -= 1
            self.has.update([] if self.forgets else paths[:1])
            raise ConnectionLost("a", "gone", "Look.")
        if not self.status:
            self.has.update(paths)
        return Completed(b"", self.words.encode(), self.status, 0.0)

    def close(self) -> None:
        pass


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a program in the place of the runner's nix-store."""

    def put(text: str) -> None:
        sizes = '[ "$2" != --size ] || { shift 2; for path; do echo 1048576; done; exit; }'
        (tmp_path / "nix-store").write_text(f"#!/bin/sh\n{sizes}\n{text}\n", encoding="utf-8")
        (tmp_path / "nix-store").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return put


class Now(threading.Event):
    """Waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        return self.is_set()


def deliver(tmp_path: Path, store: Store, reserve_mib: int = 0, substituter: str = "") -> Journal:
    return brought(tmp_path, store, reserve_mib, substituter)[0]


def brought(
    tmp_path: Path, store: Store, reserve_mib: int = 0, substituter: str = ""
) -> tuple[Journal, tuple[int, int]]:
    journal = Journal(tmp_path / "run", Redactor(()))
    delivery = Delivery(
        "a", "r-1", store, journal, stop=Now(), stall_s=20.0, reserve_mib=reserve_mib, substituter=substituter
    )
    return journal, delivery.bring(SYSTEM, Stock(Runner()))


def notes_of(journal: Journal) -> list[str]:
    return [event.text for event in journal.events if isinstance(event, Noted)]


def test_only_what_is_missing_is_sent(tmp_path: Path, exports: Callable[[str], None]) -> None:
    """The host is asked which paths it lacks, and the record says how many came."""
    exports(NAMES)
    store = Store(SYSTEM.paths[0])
    journal = deliver(tmp_path, store)
    assert store.sent == [[SYSTEM.toplevel]]
    (note,) = [event.text for event in journal.events if isinstance(event, Noted)]
    assert note.startswith("1 of 2 store paths were copied from the runner")
    assert note.endswith(" s). Root imported them over the run's own connection, where nobody checks signatures.")


def test_a_host_that_has_the_system_is_sent_nothing(tmp_path: Path) -> None:
    """Neither side is asked to copy."""
    store = Store(*SYSTEM.paths)
    assert brought(tmp_path, store)[1] == (0, 0)
    assert store.sent == []


def test_a_copy_that_is_cut_off_goes_on_where_it_was(tmp_path: Path, exports: Callable[[str], None]) -> None:
    """What has come is not sent again, and the record has both the loss and the second try."""
    exports(NAMES)
    store = Store(breaks=1)
    journal, lacked = brought(tmp_path, store)
    assert lacked == (2, 2 * 2**20)
    assert store.sent == [list(SYSTEM.paths), [SYSTEM.toplevel]]
    assert [event.kind for event in journal.events if isinstance(event, Happened)] == ["lost"]
    assert any("interrupted" in event.text for event in journal.events if isinstance(event, Noted))


def test_a_copy_that_is_always_cut_off_ends_in_a_sentence(tmp_path: Path, exports: Callable[[str], None]) -> None:
    """After some tries nothing is switched, and the sentence says that."""
    exports(NAMES)
    store = Store(breaks=TRIES, forgets=True)
    with pytest.raises(Inconclusive, match="was only partly copied, so nothing was switched"):
        deliver(tmp_path, store)
    assert len(store.sent) == TRIES


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "error: cannot open connection",
            "the system was only partly copied, so nothing was switched: error: cannot",
        ),
        ("error: writing: No space left on device", "became full during the copy, and has 1024 MiB now; nothing was"),
        ("error: executing SQLite query: database or disk is full", "became full during the copy, and has 1024 MiB"),
    ],
)
def test_a_host_that_cannot_take_the_system_says_why(
    tmp_path: Path, exports: Callable[[str], None], words: str, said: str
) -> None:
    """Its own last words are in the sentence, and it is not tried again."""
    exports(NAMES)
    store = Store(status=1, words=words)
    with pytest.raises(Inconclusive, match=said) as raised:
        deliver(tmp_path, store)
    assert words in str(raised.value)
    assert len(store.sent) == 1


@pytest.mark.parametrize(("free_mib", "reserve_mib"), [(11, 10), (1, 0)])
def test_a_copy_that_does_not_fit_is_not_begun(
    tmp_path: Path, exports: Callable[[str], None], free_mib: int, reserve_mib: int
) -> None:
    """Two paths of 1 MiB and the reserve must fit; the sentence has all three numbers, and nothing is sent."""
    exports(NAMES)
    store = Store(free=str(free_mib * 2**20))
    said = f"paths have 2 MiB, and {reserve_mib} MiB must stay free, but /nix/store on the host has {free_mib} MiB"
    with pytest.raises(Inconclusive, match=f"{said}; nothing was copied or switched"):
        deliver(tmp_path, store, reserve_mib)
    assert store.sent == []


def test_a_copy_that_just_fits_is_made(tmp_path: Path, exports: Callable[[str], None]) -> None:
    """What is left may be the reserve itself, and only missing paths count."""
    exports(NAMES)
    store = Store(SYSTEM.paths[0], free=str(11 * 2**20))
    deliver(tmp_path, store, 10)
    assert store.sent == [[SYSTEM.toplevel]]


def test_inputs_that_a_host_lacks_are_sent_and_held(tmp_path: Path, exports: Callable[[str], None]) -> None:
    """As store paths, again where it is cut off; the record says how many came, and whether any had to."""
    exports(NAMES)
    store, journal = Store(SYSTEM.paths[0], breaks=1, forgets=True), Journal(tmp_path / "run", Redactor(()))
    delivery = Delivery("a", "r-1", store, journal, stop=Now(), stall_s=20.0, substituter="https://cache.example.org")
    for _ in range(2):
        delivery.bring_inputs(SYSTEM.paths, Stock(Runner()))
    assert store.sent == [[SYSTEM.paths[1]], [SYSTEM.paths[1]]]
    assert store.fetches == []
    _, came, there = notes_of(journal)
    assert came.startswith("The flake's inputs: 1 of 2 store paths were copied from the runner")
    assert there == "All inputs of the flake were on the host already."


def test_inputs_that_are_gone_after_the_copy_end_in_a_sentence(
    tmp_path: Path, exports: Callable[[str], None]
) -> None:
    """Nix on the host would fetch them otherwise, and fail."""
    exports(NAMES)
    store = Store(unrooted="error: path is not valid")
    delivery = Delivery("a", "r-1", store, Journal(tmp_path / "run", Redactor(())), stop=Now(), stall_s=20.0)
    with pytest.raises(Inconclusive, match=r"another input is missing on the host after the copy: error: path"):
        delivery.bring_inputs(SYSTEM.paths, Stock(Runner()))


@pytest.mark.parametrize("free", ["", "-"])
def test_a_host_that_does_not_tell_its_free_space_gets_no_copy(
    tmp_path: Path, exports: Callable[[str], None], free: str
) -> None:
    """What could not be seen is inconclusive."""
    exports(NAMES)
    store = Store(free=free)
    with pytest.raises(Inconclusive, match="did not report its free space"):
        deliver(tmp_path, store)
    assert store.sent == []


def test_what_a_substituter_has_is_not_copied(tmp_path: Path, exports: Callable[[str], None]) -> None:
    """Only the rest is sent, and the record says what came from where, with nix's words about the rest."""
    exports(NAMES)
    store = Store(cached=SYSTEM.paths[:1])
    notes = notes_of(deliver(tmp_path, store, substituter="https://cache.example"))
    assert store.sent == [[SYSTEM.toplevel]]
    assert notes[0].startswith("1 of 2 missing store paths came from https://cache.example (")
    assert notes[0].endswith("the others did not: warning: not signed")
    assert notes[1].startswith("1 of 2 store paths were copied from the runner")


def test_a_substituter_that_has_everything_leaves_nothing_to_copy(
    tmp_path: Path, exports: Callable[[str], None]
) -> None:
    """Nothing is sent, and the host may build nothing."""
    exports("exit 1")
    store = Store(cached=SYSTEM.paths)
    (note,) = notes_of(deliver(tmp_path, store, substituter="https://cache.example"))
    assert store.sent == []
    assert note.startswith("2 of 2 missing store paths came from https://cache.example (")
    assert "max-jobs = 0" in store.fetches[0]
    assert "substituters = https://cache.example\n" in store.fetches[0]


EXPORTS = r"""
shift; for path; do
    head -c 1048576 /dev/zero; printf 'NIXE\0\0\0\0\060\0\0\0\0\0\0\0%s\0' "$path"
done
"""
FETCHES = """
cat >&2 <<'END'
@nix {"action":"start","id":1,"type":103}
@nix {"action":"result","id":1,"type":105,"fields":[1,2,1,0]}
@nix {"action":"start","id":2,"type":100,"level":3,"text":"copying path 'x'"}
@nix {"action":"msg","level":1,"msg":"warning: not signed"}
END
exit 1
"""


def lines_of(tmp_path: Path, store: Store, substituter: str = "") -> tuple[list[str], list[str]]:
    """Bring the system; return what is shown meanwhile, and the notes."""
    journal, lines = Journal(tmp_path / "run", Redactor(())), list[str]()
    journal.watch(lambda event: lines.append(event.text) if isinstance(event, LogLine) else None)
    Delivery("a", "r-1", store, journal, stop=Now(), stall_s=20.0, substituter=substituter).bring(
        SYSTEM, Stock(Runner())
    )
    return lines, notes_of(journal)


def test_a_copy_shows_bytes_and_paths_of_all(
    tmp_path: Path, exports: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is known beforehand what is missing; a path counts when all its contents were read."""
    exports(EXPORTS)
    monkeypatch.setattr(delivery, "_SAY_S", 0.0)

    class Taking(Store):
        def feed(self, command: str, chunks: Iterable[bytes], *, stall_s: float) -> Completed:
            assert stall_s
            assert "--import" in command
            assert len(b"".join(chunks)) > 2 * 2**20
            self.has.update(SYSTEM.paths)
            return Completed(b"", b"", 0, 0.0)

    lines, _ = lines_of(tmp_path, Taking())
    assert re.fullmatch(r"copied 0\.[01] of 2\.1 MB, 0 of 2 store paths", lines[0])
    assert any(line.endswith("1 of 2 store paths") for line in lines)
    assert lines[-1] == "copied 2.1 of 2.1 MB, 2 of 2 store paths"


def test_a_path_s_end_is_seen_wherever_the_export_is_cut() -> None:
    """Pieces of one byte show as many paths as the whole."""
    path = SYSTEM.paths[0].encode()
    sent = delivery._Sent({"one": 3_000_000, "two": 4_000_000})
    for byte in (b"x" * 9 + b"NIXE\0\0\0\0" + len(path).to_bytes(8, "little") + path) * 2:
        sent.take(bytes([byte]))
    assert sent.progress == "0.0 of 7.0 MB, 2 of 2 store paths"


def test_a_fetch_shows_how_far_nix_is(tmp_path: Path, exports: Callable[[str], None]) -> None:
    """What it prints is shown as it comes, with its counts; its warning is in the note, and the rest is copied."""
    exports(f'[ "$1" != --export ] || {{ {NAMES}; exit; }}\n{FETCHES}')

    class Showing(Store):
        def draw(self, program: bytes, *, timeout_s: float) -> Shown:
            self.has.update(SYSTEM.paths[:1])
            return Shell("a", Builder()).draw(program, timeout_s=timeout_s)

    lines, notes = lines_of(tmp_path, Showing(), "https://cache.example")
    assert lines[:3] == [
        "fetches 2 store paths from https://cache.example",
        "1 of 2 store paths fetched: copying path 'x'...",
        "1 of 2 store paths fetched: warning: not signed",
    ]
    assert notes[0].startswith("1 of 2 missing store paths came from https://cache.example (")
    assert notes[0].endswith("the others did not: warning: not signed")


def test_a_damaged_path_of_the_runner_is_told_from_a_host_s_trouble(
    tmp_path: Path, exports: Callable[[str], None]
) -> None:
    """An export that fails is the runner's fault, whatever the host says of what came."""
    exports("echo 'error: hash of path has changed' >&2; exit 1")
    with pytest.raises(BuildFailed, match=r"the runner's copy .* damaged.*hash of path has changed"):
        deliver(tmp_path, Store(status=1))


def test_an_import_that_ends_early_is_not_the_runner_s_fault(tmp_path: Path, exports: Callable[[str], None]) -> None:
    """An export that nobody reads to its end fails as well, and the host's own trouble is told."""
    exports("trap '' PIPE; while echo x 2>/dev/null; do :; done; exit 1")

    class Ending(Store):
        def feed(self, command: str, chunks: Iterable[bytes], *, stall_s: float) -> Completed:
            assert command
            assert stall_s
            assert next(iter(chunks))
            return Completed(b"", b"", None, 0.0)

    with pytest.raises(
        Inconclusive, match=r"was only partly copied, so nothing was switched: .* ended with a signal"
    ):
        deliver(tmp_path, Ending())


def test_what_is_not_there_after_the_copy_is_not_switched_to(tmp_path: Path, exports: Callable[[str], None]) -> None:
    """The host is asked, whatever the import said."""
    exports("exit 0")
    with pytest.raises(Inconclusive, match="is missing on the host after the copy: no such path"):
        deliver(tmp_path, Store())


def test_a_store_without_room_for_the_root_is_full(tmp_path: Path, exports: Callable[[str], None]) -> None:
    """The system is there, and is not called missing."""
    exports(NAMES)
    store = Store(unrooted="error: writing to file: No space left on device")
    with pytest.raises(Inconclusive, match="became full during the copy, and has 1024 MiB now; nothing was switched"):
        deliver(tmp_path, store)


class Receiver(Store):
    """A host whose clone has commits, and which takes a source.

    Args:
        knows: The commits that its clone has.
        breaks: How many streams are cut off.
        status: With what the command ends that takes it.
    """

    def __init__(self, *knows: str, breaks: int = 0, status: int = 0) -> None:
        super().__init__(breaks=breaks, status=status)
        self.knows, self.commands, self.bundles = knows, list[str](), list[bytes]()

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        assert timeout_s > 0
        assert "git -C '/srv/a clone' for-each-ref" in text_of(program).decode()
        return Completed("\n".join(self.knows).encode(), b"", 0, 0.0)

    def feed(self, command: str, chunks: Iterable[bytes], *, stall_s: float) -> Completed:
        assert stall_s > 0
        self.commands.append(command)
        self.bundles.append(b"".join(chunks))
        if self.breaks:
            self.breaks -= 1
            raise ConnectionLost("a", "gone", "Look.")
        return Completed(b"", b"sh: write error: No space left on device", self.status, 0.0)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """The working tree of a clone with two commits."""
    clone = tmp_path / "clone"
    script = (
        "git init -q clone && cd clone && for n in 1 2; do echo $n >file; git add file; "
        "git -c user.name=x -c user.email=x commit -qm $n; done"
    )
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True)
    return find_source(str(clone), None, dirty=True)


def supply(tmp_path: Path, source: Source, receiver: Receiver) -> Journal:
    journal = Journal(tmp_path / "run", Redactor(()))
    Delivery("a", "r-1", receiver, journal, stop=Now(), stall_s=20.0).bring_source(source, "/srv/a clone")
    return journal


def test_a_source_is_sent_into_a_file_of_the_run(tmp_path: Path, source: Source) -> None:
    """The host gets a bundle of its own run, again if it is cut off, and the record says so."""
    receiver = Receiver(breaks=1)
    journal = supply(tmp_path, source, receiver)
    assert [bundle.startswith(b"# v2 git bundle") for bundle in receiver.bundles] == [True, True]
    assert all(command.endswith(f"cat >{source_file('r-1')}'") for command in receiver.commands)
    notes = [event.text for event in journal.events if isinstance(event, Noted)]
    assert notes[-1].startswith(f"The commit was sent from {source.clone} on the runner")


def test_a_host_without_room_for_a_source_says_so(tmp_path: Path, source: Source) -> None:
    """Its own words are in the sentence, and nothing was switched."""
    with pytest.raises(Inconclusive, match=r"the source did not arrive, so nothing was switched: .*No space left"):
        supply(tmp_path, source, Receiver(status=1))
