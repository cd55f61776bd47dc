"""What the runner builds for its hosts: once for each configuration, or in one sentence why not."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.errors import BuildFailed
from switchproof.deploy.providers import load
from switchproof.deploy.record.events import SystemBuilt
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.run import building
from switchproof.deploy.run.building import Log, Printed, Workshop
from switchproof.deploy.run.sites import Runner
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.source import Source, find_source
from switchproof.deploy.target.types import Build

TOPLEVEL = f"/nix/store/{'a' * 32}-nixos-system-a-25.11"
NEEDED = f"/nix/store/{'b' * 32}-units"
BUILDS = f"""
case "$*" in
*--version*) echo 'nix (Nix) 2.34.8' ;;
*)
    echo "$*" >>"$CALLS"
    for line in 'this derivation will be built:' '  {NEEDED}.drv' 'building units.drv'; do
        printf '@nix {{"action":"msg","level":3,"msg":"%s"}}\\n' "$line" >&2
    done
    ln -s {TOPLEVEL} "${{7}}"
    ;;
esac
"""
FAILS = """
case "$*" in
*--version*) echo 'nix (Nix) 2.34.8' ;;
*) echo "error: builder for 'units.drv' failed with exit code 1" >&2; exit 1 ;;
esac
"""
HANGS = """
case "$*" in
*--version*) echo 'nix (Nix) 2.34.8' ;;
*) echo $$ >"$CALLS"; sleep 600 ;;
esac
"""


def git(folder: Path, *words: str) -> str:
    own = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    return subprocess.run(["git", "-C", str(folder), *own, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "one")
    return folder


@pytest.fixture
def sha(repository: Path) -> str:
    return git(repository, "rev-parse", "HEAD").strip()


@pytest.fixture
def nix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put programs in the place of nix and nix-store; what it is called with comes into the file that is returned."""

    def put(text: str) -> Path:
        folder, calls = tmp_path / "bin", tmp_path / "calls"
        folder.mkdir()
        programs = {"nix": text, "nix-store": f"printf '%s\\n' {NEEDED} {TOPLEVEL}"}
        for name, body in programs.items():
            (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        monkeypatch.setenv("CALLS", str(calls))
        return calls

    return put


def workshop(
    tmp_path: Path, repository: Path, timeout_s: float = 60.0, source: Source | None = None
) -> tuple[Workshop, Journal]:
    target = load(TARGETS / "lab.toml", {}, ())
    build = Build(on="runner", repository=str(repository), timeout_s=timeout_s)
    journal = Journal(tmp_path / "run", Redactor(()))
    shop = Workshop(msgspec.structs.replace(target, build=build), journal, Runner(), source, threading.Event())
    return shop, journal


def test_hosts_of_one_configuration_share_one_build(
    tmp_path: Path, repository: Path, sha: str, nix: Callable[[str], Path]
) -> None:
    """It is built once from the very commit, and the record names its system, nix and the hosts."""
    calls = nix(BUILDS)
    shop, journal = workshop(tmp_path, repository)
    with shop:
        built = dict(shop.build(sha, {"a": "web", "b": "web"}))
    (call,) = calls.read_text(encoding="utf-8").splitlines()
    assert f'?rev={sha}#nixosConfigurations."web".config.system.build.toplevel' in call
    assert (built["web"].toplevel, built["web"].paths) == (TOPLEVEL, (NEEDED, TOPLEVEL))
    assert built["web"].forecast == f"this derivation will be built:\n  {NEEDED}.drv"
    (told,) = [event.build for event in journal.events if isinstance(event, SystemBuilt)]
    assert (told.configuration, told.toplevel, told.nix, told.paths) == ("web", TOPLEVEL, "nix (Nix) 2.34.8", 2)
    log = tmp_path / "run" / "evidence" / "run" / "build-web.log"
    assert log.read_text(encoding="utf-8") == f"{built['web'].forecast}\nbuilding units.drv\n"


def test_a_big_path_is_not_fetched_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nix prints no line while it fetches one, only how far it is."""
    monkeypatch.setattr(building, "SAY_S", 0.0)
    reported: list[str] = []
    printed = Printed(Log(), reported.append)
    for words in ('"start","id":1,"type":103', '"result","id":1,"type":105,"fields":[2,9,1,0]'):
        printed.take(f'@nix {{"action":{words}}}\n'.encode())
    assert reported == ["2 of 9 store paths fetched"]


def test_an_evaluation_builds_nothing_and_is_of_the_full_commit(
    tmp_path: Path, repository: Path, sha: str, nix: Callable[[str], Path]
) -> None:
    """An audit may name a part of the commit; each configuration is evaluated once."""
    calls = nix(f'echo "$*" >>"$CALLS"; printf %s {TOPLEVEL}')
    shop, journal = workshop(tmp_path, repository)
    with shop:
        assert shop.evaluate(sha[:8], ["web", "web"]) == {"web": TOPLEVEL}
    (call,) = calls.read_text(encoding="utf-8").splitlines()
    assert " eval --raw " in call
    assert call.endswith(f'?rev={sha}#nixosConfigurations."web".config.system.build.toplevel.outPath')
    assert not [event for event in journal.events if isinstance(event, SystemBuilt)]


def test_what_cannot_be_evaluated_is_told(
    tmp_path: Path, repository: Path, sha: str, nix: Callable[[str], Path]
) -> None:
    """nix's own words come with it; other words than a store path are no system."""
    nix('case "$*" in *web*) echo no ;; *) echo "error: undefined" >&2; exit 1 ;; esac')
    shop, _ = workshop(tmp_path, repository)
    with shop, pytest.raises(BuildFailed, match="no store path, but 'no'"):
        shop.evaluate(sha, ["web"])
    with shop, pytest.raises(BuildFailed, match=r"(?s)could not evaluate db on the runner.*undefined"):
        shop.evaluate(sha, ["db"])


BUILDS_A_FILE = f"""
case "$*" in
*--version*) echo 'nix (Nix) 2.34.8' ;;
*eval*) echo "$*" >>"$CALLS"; echo /nix/store/tree ;;
*) echo "$NIX_PATH $*" >>"$CALLS"; ln -s {TOPLEVEL} "${{7}}" ;;
esac
"""


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("hosts.a", "hosts.a.config.system.build.toplevel"),
        ("nix/all.nix", "config.system.build.toplevel"),
    ],
)
def test_a_file_of_the_commit_is_built_without_channels(
    tmp_path: Path, repository: Path, sha: str, nix: Callable[[str], Path], *, name: str, asked: str
) -> None:
    """Nix makes a store path of the commit's files, and builds the file there; the file's name is no attribute."""
    calls = nix(BUILDS_A_FILE)
    shop, _ = workshop(tmp_path, repository)
    own = msgspec.structs.replace(shop._target.repository, file="nix/all.nix")
    shop._target = msgspec.structs.replace(shop._target, repository=own)
    with shop:
        assert dict(shop.build(sha, {"a": name}))[name].toplevel == TOPLEVEL
        with pytest.raises(BuildFailed, match="no store path"):
            shop.evaluate(sha, [name])
    tree, build, *_, evaluation = calls.read_text(encoding="utf-8").splitlines()
    assert f'rev = "{sha}"' in tree
    assert build.startswith("none=/none ")
    assert build.endswith(f" --file /nix/store/tree/nix/all.nix {asked}")
    assert evaluation.endswith(f" eval --raw --file /nix/store/tree/nix/all.nix {asked}.outPath")


def test_a_commit_that_is_not_pushed_is_built_from_its_clone(
    tmp_path: Path, repository: Path, sha: str, nix: Callable[[str], Path]
) -> None:
    """The runner asks no other repository for it."""
    nix(BUILDS)
    shop, _ = workshop(tmp_path, Path("/nowhere"), source=Source(repository, sha))
    with shop:
        assert dict(shop.build(sha, {"a": "web"}))["web"].toplevel == TOPLEVEL


def test_a_tree_that_is_not_committed_is_built(tmp_path: Path, repository: Path, nix: Callable[[str], Path]) -> None:
    """No branch of the clone contains its commit. A clone that cannot be read any more is named."""
    nix(BUILDS)
    (repository / "file").write_text("x", encoding="utf-8")
    git(repository, "add", "file")
    source = find_source(str(repository), None, dirty=True)
    shop, _ = workshop(tmp_path, Path("/nowhere"), source=source)
    with shop:
        assert dict(shop.build(source.commit, {"a": "web"}))["web"].toplevel == TOPLEVEL
    (repository / ".git/HEAD").unlink()
    with shop, pytest.raises(BuildFailed, match=f"{source.commit} cannot be read from {repository}: "):
        list(shop.build(source.commit, {"a": "web"}))


ARCHIVES = """
echo "$*" >>"$CALLS"
echo '{"path":"/nix/store/0-self","inputs":{"one":{"path":"/nix/store/PATH/sub","inputs":{
  "two":{"path":"/nix/store/PATH","inputs":{}},"none":{"inputs":{}}}}}}'
"""


def test_the_inputs_of_a_commit_are_fetched_here(
    tmp_path: Path, repository: Path, sha: str, nix: Callable[[str], Path]
) -> None:
    """Each store path is named once, whoever needs it, and not that of the commit itself."""
    path = f"{'c' * 32}-source"
    calls = nix(ARCHIVES.replace("PATH", path))
    shop, _ = workshop(tmp_path, Path("/nowhere"))
    with shop:
        assert shop.archive(Source(repository, sha)) == (f"/nix/store/{path}",)
    assert f"flake archive --json --no-write-lock-file git+file://{repository}?rev={sha}" in calls.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo 'error: Permission denied (publickey)' >&2; exit 1", "no host was touched:\nerror: Permission denied"),
        ("echo null", "it listed none"),
        (ARCHIVES.replace("PATH", "x"), "it listed something else than store paths"),
    ],
)
def test_inputs_that_nix_cannot_fetch_end_in_a_sentence(
    tmp_path: Path, nix: Callable[[str], Path], text: str, said: str
) -> None:
    """It has nix's last words, where nix said any."""
    nix(text)
    shop, _ = workshop(tmp_path, Path("/nowhere"))
    with shop, pytest.raises(BuildFailed, match="could not fetch the inputs of the flake on the runner") as raised:
        shop.archive(Source(tmp_path, "1" * 40))
    assert said in str(raised.value)


def test_a_build_that_fails_says_so_with_the_last_words_of_nix(
    tmp_path: Path, repository: Path, sha: str, nix: Callable[[str], Path]
) -> None:
    """The sentence names the configuration, and that no host was touched."""
    nix(FAILS)
    shop, _ = workshop(tmp_path, repository)
    with shop, pytest.raises(BuildFailed, match=r"could not build web on the runner .*no host was touched") as raised:
        list(shop.build(sha, {"a": "web"}))
    assert "builder for 'units.drv' failed" in str(raised.value)
    assert (raised.value.configuration, raised.value.log_path) == ("web", "evidence/run/build-web.log")


def test_a_build_ends_at_its_deadline(tmp_path: Path, repository: Path, sha: str, nix: Callable[[str], Path]) -> None:
    """Nix and what it began are ended, and the sentence names the key that limits it."""
    calls = nix(HANGS)
    shop, _ = workshop(tmp_path, repository, timeout_s=2.0)
    began = time.monotonic()
    with shop, pytest.raises(BuildFailed, match=r"within build\.timeout_s = 2 s") as raised:
        list(shop.build(sha, {"a": "web"}))
    assert not raised.value.configuration
    assert time.monotonic() - began < 60
    assert not Path(f"/proc/{calls.read_text(encoding='utf-8').strip()}/exe").exists()


def test_a_build_that_was_broken_off_between_two_programs_begins_nothing(
    tmp_path: Path, repository: Path, sha: str, nix: Callable[[str], Path]
) -> None:
    """A signal that comes while no program runs ends the build as well, long before its deadline."""
    calls = nix(HANGS)
    shop, _ = workshop(tmp_path, repository)
    shop.break_off()
    began = time.monotonic()
    with shop, pytest.raises(BuildFailed, match="the run was interrupted"):
        list(shop.build(sha, {"a": "web"}))
    assert time.monotonic() - began < 30
    assert not calls.exists()


def test_a_commit_that_the_runner_cannot_fetch_is_named(
    tmp_path: Path, repository: Path, nix: Callable[[str], Path]
) -> None:
    """What the hosts resolved is built, and nothing else."""
    calls = nix(BUILDS)
    shop, _ = workshop(tmp_path, repository)
    with shop, pytest.raises(BuildFailed, match=f"build.repository\\) has no commit {'0' * 40}"):
        list(shop.build("0" * 40, {"a": "web"}))
    assert not calls.exists()
