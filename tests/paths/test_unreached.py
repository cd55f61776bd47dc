"""What deploys although no entry point runs it is listed, at the line that does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.paths.repositories import survey


def listed(folder: Path, **files: str) -> list[str]:
    """Survey files whose names have `__` for a slash and `_` for a dot, and return the listed places."""
    named = {name.replace("__", "/").replace("_", "."): text for name, text in files.items()}
    return [str(each.place) for each in survey(folder, named).not_understood]


@pytest.mark.parametrize(
    ("line", "is_listed"),
    [
        ("ssh web 'cd /srv && git pull && docker compose up -d'", True),
        ("docker -H ssh://web compose up -d", True),
        ("sudo nixos-rebuild switch", True),
        ("ssh web uptime", False),
        ("systemctl restart cups", False),
        ("switchproof deploy --provider=ovh --sha=$1", False),
    ],
)
def test_a_script_that_nobody_calls_and_that_changes_a_host_is_listed(
    tmp_path: Path, line: str, is_listed: bool
) -> None:
    """A person runs it by hand; a unit of this machine, a question and a session of Switchproof need no answer."""
    assert listed(tmp_path, release_sh=f"#!/bin/sh\n{line}\n") == (["release.sh:2"] if is_listed else [])


def test_the_input_of_tests_is_not_listed(tmp_path: Path) -> None:
    """Scripts in folders of fixtures are data."""
    switch = "#!/bin/sh\nnixos-rebuild switch\n"
    assert listed(tmp_path, tests__fixtures__a_sh=switch, testdata__b_sh=switch, tests__c_sh=switch) == [
        "tests/c.sh:2"
    ]


def test_a_script_of_a_package_that_changes_a_host_is_listed(tmp_path: Path) -> None:
    """People run it as `npm run`; one that a recipe runs is followed there."""
    package = '{\n"scripts": {\n"build": "vite",\n"ship": "ssh web reboot",\n"go": "ssh db reboot"\n}\n}\n'
    assert listed(tmp_path, package_json=package, justfile="go:\n    npm run go\n") == ["package.json:4"]


@pytest.mark.parametrize("text", ["{", "[]", '{"scripts": []}', '{"scripts": {"a": 1}}'])
def test_a_package_without_scripts_lists_nothing(tmp_path: Path, text: str) -> None:
    """A file that is no package of JavaScript, or a broken one, has no scripts to run."""
    assert listed(tmp_path, package_json=text) == []


@pytest.mark.parametrize(
    ("text", "is_listed"),
    [
        ("services.comin = {\n  enable = true;\n};", True),
        ("services.comin = {\n  remotes = [ { name = x; } ];\n};", True),
        ("services.comin.enable = true;", True),
        ("services.comin.enable = false;", False),
        ("options.services.comin.enable = lib.mkEnableOption x;", False),
        ("# services.comin.enable = true;", False),
        ("comin = { url = x; };", False),
        ("comin = { enable = true; };", True),
        ("system.autoUpgrade = { flake = x; enable = true; };", True),
        ("system.autoUpgrade = { enable = lib.mkForce false; };", False),
        ("autoUpgrade.enable = config.isServer;", True),
        ("system.autoUpgrade = lib.mkIf (self ? rev) {\n  enable = true;\n};", True),
        ("system.autoUpgrade = lib.mkIf cfg.enable { enable = false; };", False),
    ],
)
def test_a_host_that_deploys_itself_is_listed(tmp_path: Path, text: str, is_listed: bool) -> None:
    """An option of NixOS takes whatever a branch holds, and nobody starts it."""
    assert listed(tmp_path, host_nix=f"{{\n{text}\n}}\n") == (["host.nix:2"] if is_listed else [])


@pytest.mark.parametrize(
    ("line", "is_listed"),
    [
        ('rebuild = "sudo nixos-rebuild switch --flake /etc/nixos";', True),
        ("${pkgs.nixos-rebuild}/bin/nixos-rebuild boot --flake ${self}#a", True),
        ('nixos-rebuild "$1" --flake .#a --target-host a', True),
        ("nixos-rebuild \\\n  --flake .#a \\\n  switch", True),
        ("exec colmena apply --on a", True),
        ("deploy \\\n  --skip-checks .#a", True),
        ("deploy .#a --dry-activate", False),
        ("deploy = { };", False),
        ("nixos-rebuild build --flake .#a", False),
        ("# nixos-rebuild switch", False),
        ('echo "then run nixos-rebuild switch"', False),
        ('description = "Runs nixos-rebuild switch";', False),
        ("packages = [ pkgs.nixos-rebuild pkgs.colmena ];", False),
        ("colmena = { meta = { }; };", False),
        ('testScript = "nixos-rebuild switch";', False),
    ],
)
def test_a_command_in_a_nix_file_is_listed(tmp_path: Path, line: str, is_listed: bool) -> None:
    """An app of a flake or an alias switches a host; a mention, a package or a test in a virtual machine does not."""
    assert listed(tmp_path, flake_nix=f"{{\n{line}\n}}\n") == (["flake.nix:2"] if is_listed else [])


@pytest.mark.parametrize(("tasks", "is_listed"), [("[tools]\njust = '1'\n", False), ("[tasks.a]\nrun = 'x'\n", True)])
def test_tasks_beside_a_tool_s_main_purpose_are_listed(tmp_path: Path, tasks: str, is_listed: bool) -> None:
    """A file of mise mostly names versions; its tasks are not read."""
    assert listed(tmp_path, mise_toml=tasks) == (["mise.toml:1"] if is_listed else [])


@pytest.mark.parametrize(("command", "is_listed"), [("ssh web reboot", True), ("nix flake check", False)])
def test_a_workflow_that_only_others_call_is_listed_if_it_changes_a_host(
    tmp_path: Path, command: str, is_listed: bool
) -> None:
    """Another repository runs it, which no entry point here shows."""
    job = f"on: workflow_call\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: {command}\n"
    files = {".github/workflows/a.yml": job}
    places = [str(each.place) for each in survey(tmp_path, files).not_understood]
    assert places == ([".github/workflows/a.yml:6"] if is_listed else [])
    caller = "on: push\njobs:\n  b:\n    uses: ./.github/workflows/a.yml\n"
    assert not survey(tmp_path, {**files, ".github/workflows/b.yml": caller}).not_understood
