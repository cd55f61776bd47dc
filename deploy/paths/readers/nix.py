"""Nix files: options with which a host deploys itself, and commands in their texts (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from switchproof.deploy.paths.values import mark

_OPTION = re.compile(
    r"\b(?P<name>(?:services\.)?comin|(?:system\.)?autoUpgrade)"
    r"(?:\.enable\s*=\s*(?P<value>[^;]+);|\s*=\s*(?:(?:lib\.)?mk\w+\b[^{};]*)?\{(?P<body>[^{}]*))"
)
_ENABLE = re.compile(r"\benable\s*=\s*([^;]+);")
_OFF = re.compile(r"\bfalse\b|\bmkEnableOption\b|\bmkOption\b")
_COMMAND = re.compile(
    r"(?<![\w`.-])(nixos-rebuild|nixos-rebuild-ng|switch-to-configuration|colmena|morph|nixops)\s+\S"
    r"|(?<![\w`.-])deploy\s+(?:\\\Z|--\w|\"?\.#)"
)
_MENTION = re.compile(
    r"\b(echo|printf|warn|throw|trace|assertMsg)\b|\b(description|longDescription|message|title)\s*=", re.IGNORECASE
)
_INSERTED = re.compile(r"(?:'')?\$\{[^}]*\}")


def options(text: str) -> Iterator[tuple[int, str]]:
    """Yield the row and the name of each option with which a host deploys itself."""
    for option in _OPTION.finditer(text):
        start = text.rfind("\n", 0, option.start()) + 1
        if "#" in text[start : option.start()]:
            continue
        value = option["value"]
        if option["body"] is not None:
            enable = _ENABLE.search(option["body"])
            value = enable[1] if enable else "true" if option["name"] == "services.comin" else "false"
        if not _OFF.search(value):
            yield text.count("\n", 0, option.start()), option["name"]


def commands(text: str) -> Iterator[tuple[int, str]]:
    """Yield the row and the shell of each line that calls a program for deploys, but in a test's virtual machine."""
    if "testScript" in text:
        return
    lines = text.split("\n")
    for row, line in enumerate(lines):
        command = _COMMAND.search(line)
        if not command or line.lstrip().startswith("#") or _MENTION.search(line[: command.start()]):
            continue
        shell, following = line[command.start() :], row + 1
        while shell.endswith("\\") and following < len(lines):
            shell = f"{shell[:-1]} {lines[following].strip()}"
            following += 1
        shell = _INSERTED.sub(mark("nix"), shell).replace("''", "").replace('"', "")
        yield row, shell.rstrip(" ;,)]}")
