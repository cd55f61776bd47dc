"""Switchproof's own programs: the host-side script, the command and its pytest sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from switchproof.deploy.paths.meaning import HOST_SCRIPT, is_moving
from switchproof.deploy.paths.survey import Kind
from switchproof.deploy.paths.values import is_known, shown

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker

_READ_ONLY = frozenset({"observe", "diagnose", "status", "resolve", "generations", "confirm", "plan", "preflight"})
"""Verbs of the host-side script that put no other system on a host."""


def host_script(walker: Walker, call: Call) -> None:
    """Note a call of the shared host-side script."""
    verb = call.plain[0] if call.words else "deploy"
    if verb not in _READ_ONLY:
        walker.trail.act(f"{HOST_SCRIPT} {shown(verb)}", call.place, call.text.provider, shared=True, inline=False)


def unseen_host_script(walker: Walker, call: Call, name: str) -> None:
    """Note a program that has the name of the host-side script, and whose text is not in the repository."""
    if not walker.vouches(name):
        walker.trail.unknown(
            call.place, f"{shown(name)} has the name of the host-side script, but its content cannot be read here"
        )


def session(walker: Walker, call: Call) -> None:
    """Note a session of Switchproof: pytest with --provider."""
    provider = call.option("--provider")
    if provider is None:
        return
    words = {text for word in call.words for text in word}
    if words & {"--audit", "--plan", "--preflight", "--collect-only", "--co"}:
        return
    for name in provider:
        known = name if is_known(name) else "any"
        walker.trail.act(f"{call.name} --provider={shown(name)}", call.place, known, shared=True, inline=False)
    if provider == ("lab",):
        return
    for text in call.option("--sha") or ():
        if is_moving(text, any_name=True):
            walker.trail.find(Kind.FLOATING, call.place, f"--sha={shown(text)} can be another commit tomorrow")


def command(walker: Walker, call: Call) -> None:
    """Note a call of the command `switchproof`, whose verbs take the options of a session."""
    verb = call.words[0][0] if call.words else ""
    if verb in {"deploy", "rollback", "drill"}:
        session(walker, replace(call, name=f"switchproof {verb}", words=call.words[1:]))
