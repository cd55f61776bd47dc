"""Tables of commands and actions, and small judgements of one word (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from switchproof.deploy.paths.values import is_known, marks

SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
PYTHON = re.compile(r"python[0-9.]*\Z")
HOST_SCRIPT = "host-switch.sh"
"""Name of the shared host-side script."""

HOST_DUTIES = {
    "switch the host with nixos-rebuild": frozenset({"nixos-rebuild switch"}),
    "ask a health endpoint": frozenset({"curl", "wget", "nc", "ncat"}),
    "emit the journal": frozenset({"journalctl"}),
}
"""Duties of a host-side script other than Switchproof's, and the programs that show each."""

WRAPPERS: dict[str, frozenset[str]] = {
    "sudo": frozenset({"-u", "-g", "-C", "-h", "-p", "-r", "-t", "-U", "--user", "--group"}),
    "doas": frozenset({"-u", "-C"}),
    "env": frozenset({"-u", "-C", "--unset", "--chdir"}),
    "nice": frozenset({"-n", "--adjustment"}),
    "ionice": frozenset({"-c", "-n"}),
    "nohup": frozenset(),
    "setsid": frozenset(),
    "command": frozenset(),
    "builtin": frozenset(),
    "exec": frozenset({"-a"}),
    "time": frozenset({"-f", "-o"}),
    "stdbuf": frozenset({"-i", "-o", "-e"}),
    "xargs": frozenset({"-I", "-n", "-P", "-L", "-d", "-a", "-s", "-E"}),
    "systemd-run": frozenset({"-p", "-u", "--unit", "--property", "-E", "--setenv", "-M", "--description"}),
    "caffeinate": frozenset(),
    "uvx": frozenset({"--from", "--with", "--python", "-p"}),
    "npx": frozenset({"-p", "--package"}),
    "bunx": frozenset(),
    "then": frozenset(),
}
"""Commands that run another command, and their options that take a value."""

LEADING = {"timeout": 1, "flock": 1, "chroot": 1, "retry": 1}
"""Commands that run another command, and the number of their own arguments before it."""

LEADING_VALUES = frozenset(
    {"-k", "-s", "--kill-after", "--signal", "-w", "-E", "--wait", "--timeout"}
    | {"--directory", "--extra", "--from", "--group", "--project", "--python", "--spec", "--with"}
)
"""Options of these commands that take a value."""

RUNNERS = {
    "uv": ("run",),
    "poetry": ("run",),
    "pipenv": ("run",),
    "pipx": ("run",),
    "rye": ("run",),
    "hatch": ("run",),
    "bundle": ("exec",),
    "mise": ("exec", "x"),
    "direnv": ("exec",),
}
"""Tools whose subcommand runs a program."""

SSH_VALUES = frozenset(
    {
        "-B",
        "-b",
        "-c",
        "-D",
        "-E",
        "-e",
        "-F",
        "-I",
        "-i",
        "-J",
        "-L",
        "-l",
        "-m",
        "-O",
        "-o",
        "-P",
        "-p",
        "-Q",
        "-R",
        "-S",
        "-W",
        "-w",
    }
)
"""Options of ssh(1) that take a value."""

SWITCHES = frozenset({"switch", "boot", "test"})
CONVERGES = frozenset({"nixos-rebuild", "switch-to-configuration", "nix-env"})
"""Programs that put a system on a NixOS host."""
CHANGES_UNITS = frozenset(
    {
        "restart",
        "start",
        "stop",
        "reload",
        "try-restart",
        "reload-or-restart",
        "try-reload-or-restart",
        "isolate",
        "kill",
    }
)

RUN_BY_OTHERS = frozenset(
    {"ssh", "nixos-rebuild", "switch-to-configuration", "colmena", "nixos-anywhere", "systemctl"}
)
"""Programs that are followed if any other program has them among its arguments."""

ASKS = frozenset(
    {"which", "type", "hash", "man", "info", "whatis", "grep", "rg", "pgrep", "pkill", "killall", "apt", "apt-get"}
    | {"brew", "dnf", "apk", "pacman", "pip", "echo", "printf", "cat", "ls", "cp", "mv", "ln", "install", "test", "["}
)
"""Programs for which the name of another program is only a word."""

PASSING = ("/tmp/", "/var/tmp/", "/run/", "/dev/")  # noqa: S108 - the folders as scripts name them
"""Folders whose files a host may lose."""

AWS_PROGRAMS = frozenset(
    {"aws", "aws-vault", "session-manager-plugin", "sam", "cdk", "eksctl", "copilot", "ssm-session"}
)

_AWS_WORD = re.compile(
    r"AWS_[A-Z_]+|amazonaws\.com|amazon-ssm|169\.254\.169\.254|fd00:ec2::254|\baws:|arn:aws|\bi-[0-9a-f]{17}\b|\bboto3\b"
)
_KEY_FIRST = re.compile(r"StrictHostKeyChecking[=\s\"']*accept-new\b", re.IGNORECASE)
_KEY_UNCHECKED = re.compile(
    r"StrictHostKeyChecking[=\s\"']*(no|off|false)\b|(User|Global)KnownHostsFile[=\s\"']*/dev/null"
    r"|HOST_KEY_CHECKING[=\s\"']*(false|0|no)\b|CheckHostIP[=\s]*no\b(?=.*StrictHostKeyChecking)",
    re.IGNORECASE,
)

REVISION_VARIABLES = frozenset(
    {
        "RELEASE_SHA",
        "DEPLOY_SHA",
        "DEPLOY_REV",
        "RELEASE_REV",
        "RELEASE_REF",
        "DEPLOY_REF",
        "GIT_REV",
        "TARGET_SHA",
        "TARGET_REV",
    }
)

_BRANCHES = frozenset(
    {
        "main",
        "master",
        "trunk",
        "develop",
        "development",
        "dev",
        "production",
        "prod",
        "staging",
        "stable",
        "release",
        "latest",
    }
)
_FULL = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?\Z")
_VERSION = re.compile(r"(refs/tags/)?v?[0-9]+(\.[0-9]+)+([-+.][\w.]+)?\Z")
_MOVING_MARK = re.compile(
    r"(ref_name|head_ref|REF_NAME|HEAD_REF|\bBRANCH|_BRANCH|branch|BRANCH_NAME|base_ref|head\.ref)\Z|github\.ref\Z|GITHUB_REF\Z"
)

PUBLISHERS: dict[str, frozenset[str] | None] = {
    "aws": frozenset({"amplify", "cloudfront", "lambda", "s3"}),
    "cargo": frozenset({"publish"}),
    "docker": frozenset({"push"}),
    "firebase": frozenset({"deploy"}),
    "fly": frozenset({"deploy"}),
    "flyctl": frozenset({"deploy"}),
    "gcloud": frozenset({"app", "functions", "run"}),
    "gem": frozenset({"push"}),
    "gh": frozenset({"release"}),
    "gh-pages": None,
    "hugo": frozenset({"deploy"}),
    "mike": frozenset({"deploy"}),
    "mkdocs": frozenset({"gh-deploy"}),
    "netlify": frozenset({"deploy"}),
    "npm": frozenset({"publish"}),
    "pnpm": frozenset({"publish"}),
    "poetry": frozenset({"publish"}),
    "serverless": frozenset({"deploy"}),
    "surge": None,
    "twine": frozenset({"upload"}),
    "uv": frozenset({"publish"}),
    "vercel": None,
    "wrangler": frozenset({"deploy", "publish", "pages"}),
    "yarn": frozenset({"publish"}),
}
"""Programs that deploy to registries and services, not to hosts, with the arguments for that; None for any."""

PUBLISHING_ACTIONS = (
    "actions/deploy-pages",
    "JamesIves/github-pages-deploy-action",
    "ncipollo/release-action",
    "peaceiris/actions-gh-pages",
    "pypa/gh-action-pypi-publish",
    "softprops/action-gh-release",
)
"""Actions that deploy to registries and services, not to hosts."""

HARMLESS_ACTIONS = (
    "actions/",
    "github/codeql-action",
    "docker/setup-",
    "docker/login-action",
    "docker/build-push-action",
    "docker/metadata-action",
    "cachix/",
    "DeterminateSystems/",
    "nixbuild/",
    "dtolnay/rust-toolchain",
    "Swatinem/rust-cache",
    "taiki-e/install-action",
    "extractions/setup-just",
    "taiki-e/setup-",
    "astral-sh/setup-uv",
    "pnpm/action-setup",
    "oven-sh/setup-bun",
    "ruby/setup-ruby",
    "codecov/codecov-action",
    "webfactory/ssh-agent",
    "step-security/harden-runner",
    "tailscale/github-action",
    "peter-evans/create-pull-request",
    "superfly/flyctl-actions/setup-flyctl",
    "wimpysworld/nothing-but-nix",
    "golangci/golangci-lint-action",
    "pre-commit/action",
    "hashicorp/setup-",
    "google-github-actions/auth",
    "google-github-actions/setup-gcloud",
    "shimataro/ssh-key-action",
)
"""Third-party actions that set up a job and change no host."""


def publishes(name: str, arguments: list[str]) -> bool:
    """Whether a program deploys to a registry or service, not to a host."""
    if name not in PUBLISHERS:
        return False
    verbs = PUBLISHERS[name]
    return verbs is None or bool(verbs & set(arguments))


def is_moving(text: str, *, any_name: bool = False) -> bool:
    """Whether a revision can be another commit tomorrow.

    Args:
        text: The revision as written.
        any_name: Whether the text must be a revision, so that a name other than a version counts as a branch.
    """
    if not is_known(text):
        return any(_MOVING_MARK.search(name) for name in marks(text))
    name = text.strip()
    if name.startswith(("origin/", "upstream/", "refs/heads/", "refs/remotes/")) or "@{u" in name:
        return True
    if name in _BRANCHES:
        return True
    if not any_name or not name or name == "HEAD" or name.startswith(("HEAD~", "HEAD^", "refs/tags/")):
        return False
    return not (_FULL.match(name) or _VERSION.match(name) or re.fullmatch(r"[0-9a-f]{7,39}", name))


def moving_flake(reference: str) -> bool:
    """Whether a flake reference follows a branch."""
    place = reference.partition("#")[0]
    if "rev=" in place:
        return False
    if place.startswith(("git+", "hg+")) and "://" in place:
        return True
    if place.startswith(("github:", "gitlab:", "sourcehut:")):
        parts = place.partition(":")[2].partition("?")[0].split("/")
        revision = "/".join(parts[2:])
        return not revision or is_moving(revision, any_name=True)
    return False


def key_problem(text: str) -> str:
    """Return how a text weakens host key checking; empty if it does not."""
    if _KEY_UNCHECKED.search(text):
        return "host key checking is switched off"
    if _KEY_FIRST.search(text):
        return "the first host key is trusted (accept-new), so a new runner trusts any key"
    return ""


def of_aws(text: str) -> bool:
    """Whether a word only makes sense with AWS."""
    return bool(_AWS_WORD.search(text))


_DEPLOYING = re.compile(r"deploy|promot|releas(e|ing)-?to|roll-?(out|back)|cut-?over|go-?live", re.IGNORECASE)
_ASKING = re.compile(
    r"(\A|[-_./:])(status|check|audit|plan|diff|show|list|logs?|verify|dry|dry-?run|docs?|help|tests?|summary|reports?|notify|prepare)([-_./:]|\Z)",
    re.IGNORECASE,
)


def sounds_like_deploy(name: str) -> bool:
    """Whether a name suggests a deploy, and not a question about a deploy."""
    return bool(_DEPLOYING.search(name)) and not _ASKING.search(name)


def session_of(inputs: Mapping[str, str], commit: str) -> str:
    """Return the command that Switchproof's GitHub action or GitLab component runs.

    Args:
        inputs: The inputs of the job.
        commit: The revision if the job names none.
    """
    words = ["switchproof", inputs.get("command", "deploy"), f"--provider={inputs.get('provider', '')}"]
    revision = inputs.get("sha", commit)
    words += [f"--sha={revision}"] if revision else []
    words += [line for line in inputs.get("arguments", "").splitlines() if line]
    return " ".join('"' + re.sub(r'(["`\\])', r"\\\1", word) + '"' for word in words)
