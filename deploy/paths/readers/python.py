"""Whether a Python program can reach a host, by the imports and strings in its syntax tree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import msgspec

from switchproof.deploy.paths.files import Files

_LIBRARIES = frozenset({"boto3", "botocore", "paramiko", "fabric", "asyncssh", "pyinfra", "ansible", "parallel_ssh"})
_AWS = frozenset({"boto3", "botocore"})
_COMMANDS = re.compile(
    r"\A(ssh|scp|rsync)\Z|\A(ssh|scp) |nixos-rebuild|switch-to-configuration|send-command|\A--provider\b|"
    r"host-switch\.sh|profiles/system|systemctl (re)?start"
)
_OWN = frozenset({"switchproof", "conftest"})
"""Switchproof's own packages, whose sessions are recognised by how pytest is called."""


class Suspicion(msgspec.Struct, frozen=True):
    """A line with which a program can reach a host.

    Attributes:
        file: The file; None for a text within shell.
        line: The line.
        why: The code that raises the suspicion.
        of_aws: Whether it only makes sense with AWS.
    """

    file: str | None
    line: int
    why: str
    of_aws: bool = False


class Suspect(msgspec.Struct):
    """A program and the modules of the repository that it imports.

    Args:
        files: The repository.
    """

    files: Files
    _seen: set[str] = msgspec.field(default_factory=set)

    def look(self, text: str, path: str | None) -> Iterator[Suspicion]:
        """Yield every line with which a program can reach a host.

        Args:
            text: The program.
            path: Its file; None for a text within shell.
        """
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            yield Suspicion(path, 1, "it cannot be parsed")
            return
        bodies = (getattr(parent, "body", None) for parent in ast.walk(tree))
        documents = {
            id(node.value) for body in bodies if isinstance(body, list) for node in body if isinstance(node, ast.Expr)
        }
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    for name in names:
                        yield from self._imported(name.name, node.lineno, path)
                case ast.ImportFrom(module=str(module), level=0):
                    yield from self._imported(module, node.lineno, path)
                    for name in node.names:
                        yield from self._module(f"{module}.{name.name}")
                case ast.Constant(value=str(value)) if id(node) not in documents:
                    if command := _COMMANDS.search(value):
                        yield Suspicion(path, node.lineno, repr(command[0].strip()), "send-command" in value)
                case ast.Attribute(attr="send_command"):
                    yield Suspicion(path, node.lineno, "send_command", of_aws=True)
                case _:
                    pass

    def _imported(self, module: str, line: int, path: str | None) -> Iterator[Suspicion]:
        top = module.partition(".")[0]
        if top in _LIBRARIES:
            yield Suspicion(path, line, f"import {top}", top in _AWS)
        else:
            yield from self._module(module)

    def _module(self, module: str) -> Iterator[Suspicion]:
        """Inspect a module of the repository, once."""
        path = module.replace(".", "/")
        if path.split("/")[0] in _OWN and self.files.is_file("deploy/host/host-switch.sh"):
            return
        for candidate in (f"{path}.py", f"{path}/__init__.py", f"src/{path}.py", f"scripts/{path}.py"):
            if candidate not in self._seen and (text := self.files.text(candidate)) is not None:
                self._seen.add(candidate)
                yield from self.look(text, candidate)
                return
