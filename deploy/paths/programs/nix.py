"""Nix and the programs that deploy NixOS: whether they change a host, and which commit they build."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from switchproof.deploy.paths.meaning import SWITCHES, moving_flake
from switchproof.deploy.paths.programs.shells import inline
from switchproof.deploy.paths.programs.tools import DEPLOYERS, deployer
from switchproof.deploy.paths.survey import Kind
from switchproof.deploy.paths.values import Values, is_known, shown

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker

_BUILDS = frozenset(
    {"build", "build-image", "build-vm", "build-vm-with-bootloader", "dry-activate", "dry-build", "dry-run"}
    | {"edit", "list-generations", "repl"}
)
"""Verbs of nixos-rebuild that change no host."""


def nixos_rebuild(walker: Walker, call: Call) -> None:
    """Note nixos-rebuild if it switches a host, or builds a commit that can change."""
    _note_flake(walker, call, call.option("--flake", "-f"))
    for word in call.plain:
        if word in {"--upgrade", "--upgrade-all", "--recreate-lock-file"} or word.startswith("--update-input"):
            walker.trail.find(Kind.FLOATING, call.place, f"{word} builds new, unreviewed inputs")
    target = call.option("--target-host")
    provider = None if target is None else "ovh" if any("ovh" in text.lower() for text in target) else "ssh"
    if SWITCHES & {text for word in call.words for text in word}:
        walker.note_change(call, "nixos-rebuild", provider)
    elif any(not is_known(text) for word in call.words for text in word) and not any(
        _BUILDS.issuperset(word) for word in call.words
    ):
        walker.trail.unknown(call.place, "the arguments of nixos-rebuild are known only at run time")


def _note_flake(walker: Walker, call: Call, reference: Values | None) -> None:
    for text in reference or ():
        if moving_flake(text):
            walker.trail.find(Kind.FLOATING, call.place, f"the flake {shown(text)} follows a branch")


def switch_to_configuration(walker: Walker, call: Call) -> None:
    """Note the activation of a system."""
    if not call.words or call.plain[0] != "dry-activate":
        walker.note_change(call, "switch-to-configuration")


def nix_env(walker: Walker, call: Call) -> None:
    """Note nix-env if it sets the system profile."""
    if any(word in {"--set", "--rollback", "--switch-generation", "-G"} for word in call.plain) and any(
        "profiles/system" in text for word in call.words for text in word
    ):
        walker.note_change(call, "nix-env")


def nix(walker: Walker, call: Call) -> None:
    """Follow a program that nix runs, and note new inputs of a flake."""
    plain = call.plain
    while plain and plain[0].startswith("-"):
        plain = plain[3:] if plain[0] == "--option" else plain[2:] if plain[0].startswith("--extra-") else plain[1:]
    match plain:
        case ["flake", "update" | "lock", *rest] if plain[1] == "update" or "--update-input" in rest:
            walker.trail.find(Kind.FLOATING, call.place, f"nix flake {plain[1]} builds new, unreviewed inputs")
        case ["build", *_] if any("profiles/system" in text for text in call.option("--profile") or ()):
            walker.note_change(call, "nix build")
        case ["run", *rest]:
            _nix_run(walker, call, rest)
        case ["develop" | "shell", *_]:
            for option in ("-c", "--command"):
                if option in call.plain and (words := call.words[call.plain.index(option) + 1 :]):
                    walker.again(call, words)
        case _:
            pass


def _nix_run(walker: Walker, call: Call, rest: list[str]) -> None:
    reference = next((word for word in rest if not word.startswith("-")), ".")
    _note_flake(walker, call, (reference,))
    program = reference.rpartition("#")[2] or reference
    parts = re.split(r"[/#.:]", reference)
    for known in (*DEPLOYERS, "nixos-rebuild", "nixos-rebuild-ng"):
        if known in parts:
            separator = "--" if "--" in call.plain else reference
            words = call.words[call.plain.index(separator) + 1 :] if separator in call.plain else ()
            walker.run(replace(call, name=known, words=tuple(words)))
            return
    if not walker.vouches(reference) and (not is_known(reference) or reference.startswith((".", "/", "path:"))):
        walker.trail.unknown(call.place, f"nix run {shown(program)} runs a program of the flake, which is not read")


def nix_channel(walker: Walker, call: Call) -> None:
    """Note an update of channels, which brings new inputs."""
    if "--update" in call.plain:
        walker.trail.find(Kind.FLOATING, call.place, "nix-channel --update builds new, unreviewed inputs")


def nix_shell(walker: Walker, call: Call) -> None:
    """Follow the command of nix-shell."""
    command = call.option("--run", "--command")
    if command:
        inline(walker, call, command)


def deploy_rs(walker: Walker, call: Call) -> None:
    """Note deploy-rs, whose program is called `deploy`."""
    for text in call.plain:
        _note_flake(walker, call, (text,))
    deployer(walker, replace(call, name="deploy-rs"))
