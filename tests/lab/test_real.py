"""A lab takes real programs by path, says what a wrong path must look like, and its hosts run them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.lab import __main__ as program
from switchproof.deploy.providers.lab.real import RealPrograms, install, look
from switchproof.deploy.providers.lab.recipe import Recipe


def package(folder: Path) -> Path:
    """A Python package that looks like nixos-rebuild-ng's."""
    made = folder / "src" / "nixos_rebuild"
    made.mkdir(parents=True)
    (made / "__init__.py").write_text(
        "import sys\nfrom .words import WORD\n\ndef main():\n    print(WORD, *sys.argv[1:])\n"
    )
    (made / "words.py").write_text("WORD = 'really'\n")
    return made


def script(folder: Path, text: str) -> Path:
    """A script without its mode, as a single file that was fetched."""
    made = folder / "program"
    made.write_text(text)
    return made


@pytest.mark.parametrize("give", [lambda made: made, lambda made: made.parent])
def test_a_python_package_becomes_a_program(tmp_path: Path, give: Callable[[Path], Path]) -> None:
    """The package or the folder around it is taken, and hosts get one executable that calls its main."""
    programs = look(str(give(package(tmp_path))), None)
    install(programs, tmp_path / "real")
    done = subprocess.run([tmp_path / "real" / "nixos-rebuild", "switch"], capture_output=True, text=True, check=True)
    assert done.stdout == "really switch\n"
    assert programs.nixos_rebuild is not None
    assert programs.described[0].startswith("nixos-rebuild is the program that the lab was given: nixos_rebuild (SHA")
    assert programs.described[1].startswith("switch-to-configuration is a stand-in")


def test_what_nixpkgs_fills_in_is_filled_in(tmp_path: Path) -> None:
    """Single files of nixpkgs run as they are there: interpreters are Debian's, systems come from the environment."""
    perl = '#! @perl@/bin/perl\nmy $out = "@out@";\nsystem("@systemd@/bin/systemctl", "@unknown@");\n'
    programs = look(str(script(tmp_path, "#! @runtimeShell@\nexport PATH=@path@:$PATH\n")), None)
    install(programs, tmp_path / "real")
    assert (tmp_path / "real" / "nixos-rebuild").read_text() == "#! /bin/bash\nexport PATH=/usr/bin:$PATH\n"
    install(look(None, str(script(tmp_path, perl))), tmp_path / "real")
    text = (tmp_path / "real" / "switch-to-configuration").read_text()
    assert text == '#! /usr/bin/perl\nmy $out = "$ENV{OUT}";\nsystem("$ENV{SYSTEMD}/bin/systemctl", "@unknown@");\n'


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda folder: folder / "absent", "No such file or directory; give a nixos-rebuild: the shell script"),
        (lambda folder: folder, "not a Python package with a function main; give the folder nixos_rebuild"),
        (lambda folder: script(folder, "echo hello\n"), "neither a script (#!) nor an ELF binary"),
    ],
)
def test_a_wrong_path_says_what_it_must_look_like(
    tmp_path: Path, make: Callable[[Path], Path], fragment: str
) -> None:
    """The message names the option and the path, and what the path must lead to."""
    path = make(tmp_path)
    with pytest.raises(UsageError) as refused:
        look(str(path), None)
    assert str(refused.value).startswith(f"--lab-nixos-rebuild={path}: ")
    assert fragment in str(refused.value)


def test_the_command_line_refuses_a_wrong_path_with_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`up` with a path that leads nowhere touches nothing and exits 4."""
    monkeypatch.setattr("switchproof.deploy.providers.lab.preflight.require", lambda *_: None)
    assert program.main(["up", "--lab-switch=/no/such/file"]) == 4
    assert capsys.readouterr().err.startswith("--lab-switch=/no/such/file: No such file or directory; give a switch-")


def test_the_image_differs_only_where_it_must() -> None:
    """The standard image has no Python and no PAM session; another suite or real programs ask for another image."""
    standard, real, forky = Recipe(), Recipe(real_programs=True), Recipe("forky")
    assert len({kind.digest() for kind in (standard, real, forky)}) == 3
    assert len({kind.packages_digest() for kind in (standard, real, forky)}) == 3
    assert not {"python3", "libpam-systemd"} & set(standard.packages)
    assert {"python3", "libpam-systemd"} <= set(real.packages)
    assert not RealPrograms().of_nixos


def agent_folder(folder: Path, machine: bytes | None = None) -> Path:
    """A folder with the names of amazon-ssm-agent's programs; each is an ELF binary for this machine, or another."""
    made = folder / "agent"
    made.mkdir()
    content = Path(sys.executable).read_bytes()[:64]
    for name in ("amazon-ssm-agent", "ssm-agent-worker", "ssm-document-worker", "ssm-session-worker"):
        (made / name).write_bytes(content if machine is None else content[:18] + machine + content[20:])
    return made


def test_a_real_ssm_agent_is_installed_with_its_workers(tmp_path: Path) -> None:
    """Hosts get the four programs without which the agent does not start, and the record names the agent."""
    programs = look(None, None, str(agent_folder(tmp_path)))
    install(programs, tmp_path / "real")
    installed = sorted((tmp_path / "real" / "ssm-agent").iterdir())
    assert [file.name for file in installed] == [
        "amazon-ssm-agent",
        "ssm-agent-worker",
        "ssm-document-worker",
        "ssm-session-worker",
    ]
    assert {file.stat().st_mode & 0o777 for file in installed} == {0o755}
    assert programs.described[0].startswith("amazon-ssm-agent is the program that the lab was given: agent (SHA-256 ")
    assert not programs.of_nixos, "the hosts need no other image"


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda folder: folder / "absent", "there is no such folder; give the folder of a built amazon-ssm-agent"),
        (lambda folder: folder, "amazon-ssm-agent: No such file or directory; give the folder of a built"),
        (
            lambda folder: agent_folder(folder, b"\xff\x7f"),
            "amazon-ssm-agent is not an ELF binary for this machine",
        ),
    ],
)
def test_a_wrong_folder_of_an_agent_is_refused_with_4_in_one_sentence(
    tmp_path: Path,
    make: Callable[[Path], Path],
    fragment: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No folder, a program that is missing, programs of another architecture: nothing is touched."""
    monkeypatch.setattr("switchproof.deploy.providers.lab.preflight.require", lambda *_: None)
    folder = make(tmp_path)
    assert program.main(["up", "--shape=aws", f"--lab-ssm-agent={folder}"]) == 4
    message = capsys.readouterr().err
    assert message.startswith(f"--lab-ssm-agent={folder}: {fragment}")
    assert message.count("\n") == 1


def test_an_agent_for_hosts_that_are_reached_over_ssh_is_refused_with_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only hosts of the shape aws have an agent."""
    monkeypatch.setattr("switchproof.deploy.providers.lab.preflight.require", lambda *_: None)
    assert program.main(["up", f"--lab-ssm-agent={agent_folder(tmp_path)}"]) == 4
    assert capsys.readouterr().err == "--lab-ssm-agent: only for hosts of --shape=aws (found --shape=ovh)\n"
