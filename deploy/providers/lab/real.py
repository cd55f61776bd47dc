"""Real programs that replace stand-ins on a lab's hosts: their checks and installation."""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
from pathlib import Path
from typing import Final

import msgspec

from switchproof.deploy.errors import UsageError

FOLDER: Final = "real"
"""The lab's folder, which every host sees read-only as /usr/local/lib/switchproof-lab/real."""
AGENT_FOLDER: Final = "ssm-agent"
"""The folder of amazon-ssm-agent's programs below it."""
AGENT_PROGRAMS: Final = ("amazon-ssm-agent", "ssm-agent-worker", "ssm-document-worker", "ssm-session-worker")
"""The programs without which the agent does not start from a folder of its own."""
_PACKAGE: Final = "nixos_rebuild"
_ELF: Final = b"\x7fELF"
_MACHINE: Final = slice(18, 20)
"""The bytes of an ELF binary that name the kind of machine (e_machine)."""
_LAUNCHER: Final = f"""\
#!/usr/bin/python3
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from {_PACKAGE} import main

main()
"""
_PLACEHOLDERS: Final = {
    "bash": "/usr",
    "coreutils": "/usr",
    "distroId": "$ENV{DISTRO_ID}",
    "executable": "nixos-rebuild",
    "installBootLoader": "/usr/local/lib/switchproof-lab/install-boot-loader",
    "localeArchive": "$ENV{LOCALE_ARCHIVE}",
    "out": "$ENV{OUT}",
    "path": "/usr/bin",
    "perl": "/usr",
    "preSwitchCheck": "$ENV{PRE_SWITCH_CHECK}",
    "runtimeShell": "/bin/bash",
    "shell": "/bin/bash",
    "su": "/usr/bin/su",
    "systemd": "$ENV{SYSTEMD}",
    "toplevel": "$ENV{TOPLEVEL}",
    "utillinux": "/usr",
    "withShellFiles": "false",
}
"""Placeholders that nixpkgs replaces when it builds a script; scripts with a system's name are in Perl."""


class Program(msgspec.Struct, frozen=True):
    """A program given by its path: a file, or the folder of a Python package."""

    path: str
    sha256: str

    @property
    def label(self) -> str:
        """Return its name, with a digest that distinguishes it from others of that name."""
        return f"{Path(self.path).name} (SHA-256 {self.sha256[:12]})"


class RealPrograms(msgspec.Struct, frozen=True):
    """The real programs on a lab's hosts; None keeps the stand-in."""

    nixos_rebuild: Program | None = None
    switch: Program | None = None
    ssm_agent: Program | None = None

    @property
    def of_nixos(self) -> bool:
        """Whether there is a program of NixOS, which needs more packages on the hosts."""
        return self.nixos_rebuild is not None or self.switch is not None

    @property
    def described(self) -> tuple[str, ...]:
        """Return a sentence about each program on the hosts."""
        names = {"nixos-rebuild": self.nixos_rebuild, "switch-to-configuration": self.switch}
        agent = self.ssm_agent
        given = () if agent is None else (f"amazon-ssm-agent is the program that the lab was given: {agent.label}",)
        return given + tuple(
            f"{name} is a stand-in with the real one's order of steps, lock and exit codes"
            if program is None
            else f"{name} is the program that the lab was given: {program.label}"
            for name, program in names.items()
        )


def look(nixos_rebuild: str | None, switch: str | None, ssm_agent: str | None = None) -> RealPrograms:
    """Find programs by their paths.

    Args:
        nixos_rebuild: An executable, or the folder of nixos-rebuild-ng's Python package.
        switch: An executable.
        ssm_agent: The folder of amazon-ssm-agent's programs.

    Raises:
        UsageError: There is no such program; the message says what the path must be.
    """
    return RealPrograms(
        nixos_rebuild=None if nixos_rebuild is None else _nixos_rebuild(Path(nixos_rebuild)),
        switch=None if switch is None else _file("--lab-switch", Path(switch)),
        ssm_agent=None if ssm_agent is None else _ssm_agent(Path(ssm_agent)),
    )


def install(programs: RealPrograms, folder: Path) -> None:
    """Install programs into a lab's folder, as executables with the names that the hosts call.

    Args:
        programs: The result of `look`.
        folder: The folder, created if missing.

    Raises:
        UsageError: A program no longer exists.
    """
    folder.mkdir(exist_ok=True)
    if programs.switch is not None:
        _install_file(Path(programs.switch.path), folder / "switch-to-configuration")
    if programs.ssm_agent is not None:
        (folder / AGENT_FOLDER).mkdir(exist_ok=True)
        for name in AGENT_PROGRAMS:
            _install_file(Path(programs.ssm_agent.path, name), folder / AGENT_FOLDER / name)
    if programs.nixos_rebuild is None:
        return
    source = Path(programs.nixos_rebuild.path)
    target = folder / "nixos-rebuild"
    if source.is_dir():
        shutil.copytree(source, folder / _PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        for file in (folder / _PACKAGE).rglob("*.py"):
            file.write_bytes(_filled(file.read_bytes()))
        target.write_text(_LAUNCHER, "utf-8")
        target.chmod(0o755)
    else:
        _install_file(source, target)


def _nixos_rebuild(path: Path) -> Program:
    option = "--lab-nixos-rebuild"
    if not path.is_dir():
        return _file(option, path)
    package = next((folder for folder in (path, path / _PACKAGE) if (folder / "__init__.py").is_file()), None)
    if package is None or "def main(" not in (package / "__init__.py").read_text("utf-8", errors="replace"):
        raise UsageError(
            f"{option}={path}: this folder is not a Python package with a function main; give the folder "
            f"{_PACKAGE} of nixos-rebuild-ng, with __init__.py and the modules beside it, or an executable"
        )
    total = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        total.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return Program(str(package.resolve()), total.hexdigest())


def _file(option: str, path: Path) -> Program:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{option}={path}: {error.strerror}; {_wanted(option)}") from error
    if not content.startswith((b"#!", _ELF)):
        raise UsageError(f"{option}={path}: this file is neither a script (#!) nor an ELF binary; {_wanted(option)}")
    return Program(str(path.resolve()), hashlib.sha256(content).hexdigest())


def _ssm_agent(folder: Path) -> Program:
    option = f"--lab-ssm-agent={folder}"
    wanted = f"give the folder of a built amazon-ssm-agent, with {', '.join(AGENT_PROGRAMS)}"
    if not folder.is_dir():
        raise UsageError(f"{option}: there is no such folder; {wanted}")
    total = hashlib.sha256()
    here = _machine_of(Path(sys.executable))
    for name in AGENT_PROGRAMS:
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise UsageError(f"{option}: {name}: {error.strerror}; {wanted}") from error
        if not content.startswith(_ELF) or content[_MACHINE] != here:
            raise UsageError(
                f"{option}: {name} is not an ELF binary for this machine ({platform.machine()}); {wanted}"
            )
        total.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return Program(str(folder.resolve()), total.hexdigest())


def _machine_of(program: Path) -> bytes:
    """Return the kind of machine that an ELF binary is for."""
    with program.open("rb") as stream:
        return stream.read(_MACHINE.stop)[_MACHINE]


def _wanted(option: str) -> str:
    if option == "--lab-switch":
        return "give a switch-to-configuration: the Perl script as nixpkgs has it, or the built binary"
    return f"give a nixos-rebuild: the shell script as nixpkgs has it, or the folder {_PACKAGE} of nixos-rebuild-ng"


def _install_file(source: Path, target: Path) -> None:
    """Copy an executable under the name that the hosts call."""
    try:
        content = source.read_bytes()
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}; the lab needs this program") from error
    target.write_bytes(content if content.startswith(_ELF) else _filled(content))
    target.chmod(0o755)


def _filled(content: bytes) -> bytes:
    for name, value in _PLACEHOLDERS.items():
        content = content.replace(f"@{name}@".encode(), value.encode())
    return content
