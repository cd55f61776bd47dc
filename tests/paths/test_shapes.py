"""Repositories in shapes that real ones have: what is clean, what breaks the contract, and what is not known."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from switchproof.deploy.host.by_hand import by_hand
from switchproof.deploy.host.program import whole_script
from switchproof.deploy.paths.survey import Kind, State, SurveyVerdict
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.loading import load_contract
from tests.paths.repositories import HOST_SCRIPT, job, recipe, survey

THROUGH = "RELEASE_SHA=$SHA scripts/host-switch.sh deploy"


def kinds(entry: object) -> set[Kind]:
    return {finding.kind for finding in entry.findings}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("#!/bin/sh\necho hi\n", "switch the host with nixos-rebuild, ask a health endpoint, emit the journal"),
        ("nixos-rebuild build --flake x#a\ncurl -f x\njournalctl -n 5\n", "switch the host with nixos-rebuild"),
        ("nixos-rebuild switch --flake x#a\njournalctl -n 5\n", "ask a health endpoint"),
        ("nixos-rebuild switch --flake x#a\ncurl -f x\n", "emit the journal"),
        ("f() { journalctl; }\nnixos-rebuild switch --flake x#a\ncurl -f x\n", "emit the journal"),
    ],
)
def test_a_host_side_script_is_not_known_by_its_name(tmp_path: Path, text: str, missing: str) -> None:
    """One that is not ours is read, and what it does not do of the contract breaks it."""
    entry = recipe(tmp_path, THROUGH, **{"scripts__host-switch": text})
    (finding,) = [finding for finding in entry.findings if finding.kind is Kind.HOST_SCRIPT]
    assert finding.breaks
    assert finding.words.endswith(f"does not {missing}")


def test_a_host_side_script_that_does_all_of_it_is_clean(tmp_path: Path) -> None:
    """One that switches, asks for health and emits the journal keeps to the contract, as far as reading tells."""
    assert kinds(recipe(tmp_path, THROUGH, **{"scripts__host-switch": HOST_SCRIPT})) == set()


@pytest.mark.parametrize("add", ["", "# What the target file says of this host.\n"])
def test_our_script_is_known_by_its_text(tmp_path: Path, add: str) -> None:
    """As it is written for people it is ours, with a target file's values in it; with one command more it is not."""
    contract = load_contract(TARGETS / "ovh.toml", {})
    ours = by_hand(contract)
    assert kinds(recipe(tmp_path / "ours", THROUGH, **{"scripts__host-switch": ours})) == set()
    plain = recipe(tmp_path / "plain", THROUGH, **{"scripts__host-switch": whole_script()})
    assert (kinds(plain), plain.not_understood) == (set(), ())
    evil = ours.replace("set -euo pipefail\n", f"set -euo pipefail\n{add}true; rm -rf /nix/store\n", 1)
    changed = recipe(tmp_path / "changed", THROUGH, **{"scripts__host-switch": evil})
    assert changed.not_understood or kinds(changed)


def test_a_host_side_script_that_only_the_host_has_is_not_known(tmp_path: Path) -> None:
    """What a file on the host holds cannot be read here, whatever it is called."""
    entry = recipe(tmp_path, "ssh root@h '/opt/host-switch.sh deploy'")
    assert (entry.state, len(entry.not_understood)) == (State.NOT_UNDERSTOOD, 1)


@pytest.mark.parametrize(
    "path",
    [
        ".forgejo/workflows/deploy.yml",
        ".gitea/workflows/deploy.yaml",
        ".woodpecker.yml",
        ".woodpecker/deploy.yaml",
        ".circleci/config.yml",
        ".buildkite/pipeline.yml",
        ".build.yml",
        ".builds/deploy.yml",
        ".cirrus.yml",
        "Jenkinsfile",
        "tasks.py",
        "fabfile.py",
    ],
)
def test_a_service_that_is_not_read_is_listed(tmp_path: Path, path: str) -> None:
    """Beside a clean path, a file of another service leaves the repository not understood."""
    files = {"justfile": "ship:\n    switchproof deploy --provider=ovh --sha=$SHA\n", path: "x\n"}
    found = survey(tmp_path, files)
    assert (found.verdict, [each.place.file for each in found.not_understood]) == (
        SurveyVerdict.NOT_UNDERSTOOD,
        [path],
    )


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("#!/usr/bin/env bash\nssh root@h nixos-rebuild switch --flake .#h\n", True),
        ("#!/bin/sh\ncolmena apply\n", True),
        ("#!/bin/sh\nnixos-rebuild build --flake .#h\n", False),
        ("#!/bin/sh\nsystemctl restart cups\n", False),
    ],
)
def test_a_script_that_nobody_calls_is_listed_if_it_switches_hosts(tmp_path: Path, text: str, listed: bool) -> None:
    """A person runs it by hand, which is a deploy path that nothing else names."""
    found = survey(tmp_path, {"switch-prod.sh": text})
    assert bool(found.not_understood) is listed
    assert found.exit_code == 11


@pytest.mark.parametrize(
    ("there", "state"),
    [
        ("git pull && docker compose up -d", State.ACTIVE),
        ("cd /srv && git pull", State.ACTIVE),
        ("podman run -d x", State.ACTIVE),
        ("reboot", State.ACTIVE),
        ("apt-get install -y x", State.ACTIVE),
        ("our-tool --go", State.NOT_UNDERSTOOD),
        ("cp app /srv/app/app", State.NOT_UNDERSTOOD),
        ("rm -rf /etc/nixos", State.NOT_UNDERSTOOD),
        ("rm -f /tmp/x; tar -xf - -C /run/x", State.NO_DEPLOY),
        ("docker ps", State.NO_DEPLOY),
        ("journalctl -u x | tail -n 5", State.NO_DEPLOY),
        ("test -f /etc/x && cat /etc/x", State.NO_DEPLOY),
        ("systemctl status x; df -h", State.NO_DEPLOY),
    ],
)
def test_what_runs_on_a_host_counts(tmp_path: Path, there: str, state: State) -> None:
    """What changes a host over SSH is a deploy path, and what is not known there is not understood."""
    assert recipe(tmp_path, f"ssh root@h {shlex.quote(there)}").state is state


@pytest.mark.parametrize(
    ("command", "state"),
    [
        ("scp app root@h:/srv/app/", State.NOT_UNDERSTOOD),
        ("rsync -a site/ h:/var/www/", State.NOT_UNDERSTOOD),
        ("scp app root@h:/tmp/", State.NO_DEPLOY),
        ("scp root@h:/var/log/x logs/", State.NO_DEPLOY),
        ("rsync -a a/ b/", State.NO_DEPLOY),
    ],
)
def test_what_is_copied_to_a_host_for_good_is_not_passed_over(tmp_path: Path, command: str, state: State) -> None:
    """Files that stay on a host may be what it serves; a look at its files, or a copy here, changes nothing."""
    assert recipe(tmp_path, command).state is state


@pytest.mark.parametrize(
    ("command", "providers"),
    [
        ("nixos-rebuild switch --flake .#a --target-host root@a", ("ssh",)),
        ("nixos-rebuild switch --flake .#a", ("local",)),
        ("nh os switch --target-host a .", ("ssh",)),
        ("nh os switch .", ("local",)),
        ("colmena apply --on a", ("ssh",)),
        ("colmena apply-local", ("local",)),
        ("nix run github:serokell/deploy-rs/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa -- .#a", ("ssh",)),
        ("morph deploy x.nix switch", ("ssh",)),
        ("nixos-anywhere --flake .#a root@a", ("ssh",)),
        ("clan machines update a", ("ssh",)),
    ],
)
def test_a_tool_s_own_meaning_says_where_it_deploys_to(
    tmp_path: Path, command: str, providers: tuple[str, ...]
) -> None:
    """A tool that reaches its hosts by itself is not local."""
    assert recipe(tmp_path, command).providers == providers


@pytest.mark.parametrize(
    ("option", "words"),
    [("accept-new", "the first host key is trusted"), ("no", "is switched off"), ("off", "is switched off")],
)
def test_trust_on_first_use_is_not_called_switched_off(tmp_path: Path, option: str, words: str) -> None:
    """Both break the contract; which of them it is decides what to do about it."""
    entry = recipe(tmp_path, f"ssh -o StrictHostKeyChecking={option} root@h nixos-rebuild switch")
    (finding,) = [finding for finding in entry.findings if finding.kind is Kind.HOST_KEY]
    assert words in finding.words


@pytest.mark.parametrize(
    ("runner", "state"),
    [
        ("ubuntu-24.04", State.NO_DEPLOY),
        ("[ubuntu-latest]", State.NO_DEPLOY),
        ("${{ matrix.os }}\n    strategy: {matrix: {os: [ubuntu-latest, macos-14]}}", State.NO_DEPLOY),
        ("${{ matrix.os }}\n    strategy: {matrix: {include: [{os: ubuntu-latest}]}}", State.NO_DEPLOY),
        ("${{ matrix.os }}\n    strategy: {matrix: {os: [ubuntu-latest, metal]}}", State.ACTIVE),
        ("${{ matrix.os }}\n    strategy: {matrix: {os: [ubuntu-latest], include: [{os: metal}]}}", State.ACTIVE),
        ("${{ matrix.os }}\n    strategy: {matrix: {os: '${{ fromJSON(inputs.os) }}'}}", State.ACTIVE),
        ("${{ matrix.os }}\n    strategy: {matrix: '${{ fromJSON(inputs.all) }}'}", State.ACTIVE),
        ("${{ matrix.os }}", State.ACTIVE),
        (
            "${{ matrix.os }}\n    strategy: {matrix: {os: [ubuntu-latest], include: '${{ fromJSON(inputs.a) }}'}}",
            State.ACTIVE,
        ),
        ("{group: metal}", State.ACTIVE),
        ("[self-hosted, ubuntu-24.04]", State.ACTIVE),
        ("self-hosted", State.ACTIVE),
    ],
)
def test_the_machine_of_the_ci_service_is_no_host(tmp_path: Path, runner: str, state: State) -> None:
    """Units of a hosted runner are stopped without deploying anything; a machine of one's own may be a host."""
    files = {
        ".github/workflows/w.yml": f"on: push\njobs:\n  tidy:\n    runs-on: {runner}\n"
        "    steps:\n      - run: sudo systemctl stop docker\n"
    }
    (entry,) = survey(tmp_path, files).named("tidy")
    assert entry.state is state


@pytest.mark.parametrize(
    "name",
    [
        "cutover-status",
        "deploy-check",
        "dry-deploy",
        "deploy-summary",
        "prepare-deployment",
        "release-to-prod-plan",
        "rollback-log",
    ],
)
def test_a_name_that_asks_about_a_deploy_promises_none(tmp_path: Path, name: str) -> None:
    """A recipe whose name says that it asks, and that asks, is understood."""
    (entry,) = survey(tmp_path, {"justfile": f"{name}:\n    ssh h systemctl status x\n"}).entry_points
    assert (entry.state, entry.not_understood) == (State.NO_DEPLOY, ())


@pytest.mark.parametrize(
    ("line", "by_hand"),
    [
        ("ssh root@web", True),
        ("ssh -t -p 22 web", True),
        ("aws ssm start-session --target i-0", True),
        ("ssh -fN -L 9090:localhost:9090 web", False),
        ("ssh -fNL 9090:localhost:9090 web", False),
        ("ssh -N web", False),
        ("aws ssm start-session --target i-0 --document-name AWS-StartPortForwardingSession", False),
        ("aws ssm start-session --target i-0 --document-name AWS-StartSSHSession", False),
    ],
)
def test_a_session_of_a_person_is_no_deploy_path(tmp_path: Path, line: str, by_hand: bool) -> None:
    """Over SSH and through SSM alike, it is named as work by hand; a tunnel is nothing."""
    (entry,) = survey(tmp_path, {"justfile": f"shell:\n    {line}\n"}).entry_points
    assert (entry.state, entry.not_understood, entry.actions) == (State.NO_DEPLOY, (), ())
    assert [(finding.kind, finding.breaks) for finding in entry.findings] == [(Kind.BY_HAND, False)] * by_hand


def test_a_session_that_runs_a_command_is_followed(tmp_path: Path) -> None:
    """A document of SSM that runs a command in a session deploys what the command deploys."""
    document = "--document-name AWS-StartNonInteractiveCommand"
    line = f"""aws ssm start-session --target i-0 {document} --parameters 'command="nixos-rebuild switch"'"""
    entry = recipe(tmp_path, line)
    assert entry.state is State.ACTIVE
    assert "aws ssm start-session" in {action.what for action in entry.actions}


def test_that_a_path_is_for_aws_alone_is_told_once(tmp_path: Path) -> None:
    """Every further line of AWS says nothing new of the path."""
    entry = recipe(tmp_path, "aws s3 cp a s3://b\naws s3 cp c s3://d\naws ecs update-service --service x")
    assert [finding.kind for finding in entry.findings].count(Kind.AWS) == 1


@pytest.mark.parametrize(
    "text",
    [
        "if true; then :; fi \\\n\nnixos-rebuild switch\n",
        "if ! command -v nix; then\n  true\nfi\nnixos-rebuild switch\n",
    ],
)
def test_valid_shell_is_read(tmp_path: Path, text: str) -> None:
    """A backslash at a compound's end, and a negated condition, are shell like any other."""
    entry = job(tmp_path, "bash ./x.sh", x=text)
    assert (entry.state, entry.not_understood) == (State.ACTIVE, ())


def test_a_download_that_is_run_is_told_at_its_own_line(tmp_path: Path) -> None:
    """The line that is cited is the one with the command, not the one that the condition is on."""
    entry = job(tmp_path, "if ! command -v nix; then\n  curl -L https://example.org/x | sh\nfi")
    assert [each.place.text for each in entry.not_understood] == ["curl -L https://example.org/x | sh"]
