"""The flake makes the package that pyproject.toml describes, an app and a shell, evaluated with a stub of nixpkgs."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from switchproof.deploy.providers.lab import image, process

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
NAMES = [
    re.split(r"[<>=]", each)[0].replace(".", "-")
    for each in [*PROJECT["dependencies"], *EXTRAS["aws"], *EXTRAS["paths"]]
]
TOOLS = ("git", "just", "openssh", "ruff", "shellcheck", "uv")

# Grammars of tree-sitter have a set of their own in nixpkgs.
STUB = """
let
  package = name: { type = "derivation"; inherit name; outPath = "/nix/store/${name}"; };
  genAttrs = names: make: builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
  built = given: given // package given.pname;
  pkgs = genAttrs @TOOLS@ package // {
    lib.makeBinPath = packages: builtins.concatStringsSep ":" (map (each: "${each}/bin") packages);
    mkShell = given: given // package "shell";
    python3 = package "python3" // {
      pkgs = genAttrs @NAMES@ package // {
        hatchling = package "hatchling";
        tree-sitter-grammars = genAttrs @GRAMMARS@ package;
        buildPythonApplication = built;
      };
    };
  };
  nixpkgs = { lib = { inherit genAttrs; }; legacyPackages = genAttrs @SYSTEMS@ (_: pkgs); };
  outputs = (import /mnt/flake.nix).outputs { self = "/self"; inherit nixpkgs; };
  of = system: {
    inherit (outputs.packages.${system}.default) pname version src makeWrapperArgs;
    program = outputs.apps.${system}.default.program;
    dependencies = map (each: each.name) outputs.packages.${system}.default.dependencies;
    shell = map (each: each.name) outputs.devShells.${system}.default.packages;
  };
in genAttrs @SYSTEMS@ of
"""
SYSTEMS = ("x86_64-linux", "aarch64-linux", "x86_64-darwin", "aarch64-darwin")

ENTER = """
mount --bind "$1" "$1"
mount --options remount,bind,ro "$1"
mount --types proc proc "$1/proc"
mount --bind "$2" "$1/mnt"
root=$1
shift 2
exec chroot "$root" "$@"
"""

pytestmark = [pytest.mark.lab, pytest.mark.long]


def nix(*words: str) -> str:
    """Run a program of the lab's image, which stays as it is, with this repository at /mnt, and return its output."""
    root = image.ensure(print)
    command = ["sh", "-euc", ENTER, "enter", str(root), str(ROOT), *words]
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    return process.check(process.tied(command), timeout_s=120, env=environ)


def listed(names: list[str] | tuple[str, ...]) -> str:
    return f"[ {' '.join(json.dumps(name) for name in names)} ]"


def test_it_is_what_the_project_says() -> None:
    """On every system: name, version and dependencies of pyproject.toml, the command as app, and a shell of tools."""
    grammars = [name for name in NAMES if name.startswith("tree-sitter-")]
    expression = STUB.replace("@TOOLS@", listed(TOOLS)).replace("@GRAMMARS@", listed(grammars))
    expression = expression.replace("@NAMES@", listed([name for name in NAMES if name not in grammars]))
    words = ("--eval", "--strict", "--json", "--store", "dummy://", "-E")
    found = json.loads(nix("nix-instantiate", *words, expression.replace("@SYSTEMS@", listed(SYSTEMS))))
    package: dict[str, Any] = {
        "pname": "switchproof",
        "version": PROJECT["version"],
        "src": "/self",
        "makeWrapperArgs": ["--suffix", "PATH", ":", "/nix/store/git/bin:/nix/store/openssh/bin"],
        "program": "/nix/store/switchproof/bin/switchproof",
        "dependencies": NAMES,
        "shell": ["python3", *TOOLS],
    }
    assert found == dict.fromkeys(SYSTEMS, package)
    assert set(PROJECT["scripts"]) == {"switchproof"}
