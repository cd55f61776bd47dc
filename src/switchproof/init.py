"""The verb `init`: writes a first target file and a CI job into a flake repository, and never overwrites anything."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import ExitCode
from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers import KINDS
from switchproof.deploy.providers.ssh.table import SSH
from switchproof.deploy.settings import TARGETS, Settings, read_settings

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}")
_NOT_OVER_SSH = {name for kind in KINDS if kind is not SSH for name in kind.providers}
_PLACES = {"github": Path(".github/workflows/deploy.yml"), "gitlab": Path(".gitlab/switchproof.yml")}
_NIX_S = 120.0
"""Seconds that nix may take to evaluate the flake."""


def main(argv: Sequence[str]) -> int:
    """Write the files that are missing, have git ignore runs, and say what to do next.

    Args:
        argv: The command line after `switchproof init`.

    Returns:
        0, or 4 if there is no flake or a file cannot be written.
    """
    described = "Write a first target file and a CI job into a flake repository. Files that exist stay as they are."
    parser = Parser(prog="switchproof init", description=described)
    parser.add_argument(
        "name", nargs="?", default="ovh", help="the name of the target file and the provider (default: ovh)"
    )
    parser.add_argument("--ci", choices=tuple(_PLACES), help="the CI service (default: from the repository's remote)")
    arguments = parser.parse_args(list(argv))
    if not _NAME.fullmatch(arguments.name):
        parser.error(f"name: {arguments.name!r} is not a name of letters, digits and _.- (at most 40)")
    if arguments.name in _NOT_OVER_SSH:
        example = TARGETS / f"{arguments.name}.toml"
        start = f"; start from {example}" if example.is_file() else ""
        parser.error(f"name: {arguments.name!r} cannot be the name of hosts over SSH{start}")
    try:
        print(_write(read_settings(Path.cwd()), arguments.name, arguments.ci))
    except UsageError as error:
        print(f"switchproof init: {error}", file=sys.stderr)
        return ExitCode.USAGE
    except OSError as error:
        print(f"switchproof init: {error.filename}: cannot be written: {error.strerror}", file=sys.stderr)
        return ExitCode.USAGE
    return 0


def _write(settings: Settings, name: str, service: str | None) -> str:
    root = settings.root
    if not (root / "flake.nix").is_file():
        raise UsageError(
            f"{root}: flake.nix is missing: Switchproof builds hosts from the nixosConfigurations of a flake"
        )
    remote = _output(root, "git", "remote", "get-url", "origin") or ""
    hosts, problem = _configurations(root)
    variables = {host: re.sub(r"\W", "_", host).upper() for host in hosts}
    of_host = (_fill("host.toml", HOST=host, VARIABLE=variables[host]) for host in hosts)
    shown = (
        remote.strip()
        if re.fullmatch(r"https://[^\s@\"\\]+\n?", remote)
        else "https://git.example/team/repository.git"
    )
    names = [f"{variable}_{value}" for variable in variables.values() for value in ("ADDRESS", "HOST_KEY")]
    service = service or ("gitlab" if "gitlab" in remote or (root / ".gitlab-ci.yml").exists() else "github")
    target = settings.targets / f"{name}.toml"
    provider = f'provider = "{name}"' if name in SSH.providers else 'transport = "ssh"'
    job = root / _PLACES[service]
    files = {
        target: _fill("target.toml", NAME=name, PROVIDER=provider, URL=shown, HOSTS="".join(of_host).rstrip("\n")),
        job: _fill(
            f"{service}.yml",
            NAME=name,
            VARIABLES="\n".join(
                f"          {variable_name}: ${{{{ vars.{variable_name} }}}}" for variable_name in names
            ),
        ),
    }
    is_new = not target.exists()
    lines = [_keep_or_write(path, text, root) for path, text in files.items()]
    if not re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", job.read_text(encoding="utf-8", errors="replace")):
        lines[-1] += f", and does not name {name}: add a job for it"
    lines += _ignore_runs(settings)
    if is_new and shown not in remote:
        why = "the remote origin is not https without a user" if remote else "there is no remote origin"
        lines.append(f"[repository] url is an example, as {why}: write the hosts' own.")
    if is_new and problem:
        lines.append(problem)
    used = names if is_new else ["the variables that it names"]
    return "\n".join([*lines, "", "Next:", *_steps(name, _relative(target, root), used, service)])


def _steps(name: str, target: Path, variables: Sequence[str], service: str) -> Iterator[str]:
    """Say what is left to do until the first deploy, by hand and in CI."""
    place = "variables" if service == "gitlab" else "variables of the environment production"
    secret = "a file variable" if service == "gitlab" else "a secret"
    source = "SWITCHPROOF_PROJECT, SWITCHPROOF_URL" if service == "gitlab" else "SWITCHPROOF_REPOSITORY"
    yield f"1. Fill in {target}: what healthy means, and for which hosts."
    yield f"2. Set in this shell, and as {place} in CI:"
    yield from (f"     {variable}" for variable in variables)
    yield "3. Commit, and push to the repository in [repository] url: the hosts fetch the"
    yield "   commit themselves."
    yield "4. Show what a deploy would change, and deploy:"
    yield from (
        f"     switchproof {verb} --provider={name} --sha=$(git rev-parse HEAD)" for verb in ("plan", "deploy")
    )
    yield f"5. For the job in CI, set DEPLOY_SSH_KEY as {secret}, and as variables"
    yield f"   {source} (where Switchproof is) and"
    yield "   SWITCHPROOF_COMMIT (the commit of it to install, all 40 digits)."
    if service == "gitlab":
        yield f"6. Add to .gitlab-ci.yml: include: {{ local: {_PLACES[service]} }}"


def _configurations(root: Path) -> tuple[list[str], str]:
    """Name the flake's NixOS configurations; where nix cannot, an example and why."""
    if shutil.which("nix") is None:
        return ["web-1"], "nix is not installed here: replace the host web-1 by those of your nixosConfigurations."
    features = ("--extra-experimental-features", "nix-command flakes")
    shown = _output(root, "nix", *features, "flake", "show", "--json", "--no-write-lock-file", limit_s=_NIX_S)
    if shown is None:
        return ["web-1"], (
            "`nix flake show` failed; run it to see why. The host web-1 stands for yours: replace it, or remove the "
            "files above and run init again."
        )
    try:
        configurations = json.loads(shown)["nixosConfigurations"]
    except (ValueError, KeyError, TypeError):
        configurations = None
    names = [name for name in configurations if _NAME.fullmatch(name)] if isinstance(configurations, Mapping) else []
    if not names:
        return ["web-1"], "`nix flake show` names no NixOS configuration: replace the host web-1 by yours."
    return sorted(names), ""


def _output(folder: Path, *command: str, limit_s: float = 10.0) -> str | None:
    """Return what a command prints; None if it cannot be run or fails."""
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def _fill(template: str, **values: str) -> str:
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _keep_or_write(path: Path, text: str, root: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return f"{_relative(path, root)} exists and stays as it is"
    return f"{_relative(path, root)} is written"


def _ignore_runs(settings: Settings) -> list[str]:
    """Have git ignore what runs write, by lines at the end of `.gitignore`, unless git ignores it already."""
    root, home, runs = settings.root, settings.home, settings.report_dir
    written = [runs / "x"]
    if home != runs:
        written += [home / "latest", home / "index.html", settings.trials / "x"]
    if not runs.is_relative_to(root):
        return []
    if _output(root, "git", "rev-parse", "--git-dir") is None:
        return [f"{root} is not a git repository, so nothing ignores {_relative(runs, root)}"]
    missing = [
        f"/{(path.parent if path.name == 'x' else path).relative_to(root).as_posix()}{'/' * (path.name == 'x')}"
        for path in written
        if _output(root, "git", "check-ignore", "--quiet", "--no-index", str(path)) is None
    ]
    if not missing:
        return []
    file = root / ".gitignore"
    before = file.read_bytes() if file.exists() else b""
    with file.open("ab") as appended:
        appended.write(b"\n" * (before[-1:] not in {b"", b"\n"}) + "".join(f"{line}\n" for line in missing).encode())
    return [f".gitignore ignores what runs write: {', '.join(missing)} added"]


def _relative(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
