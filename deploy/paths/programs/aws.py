"""AWS's command line: the commands that SSM runs on hosts."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

from msgspec.structs import replace

from switchproof.deploy.paths.call import Text
from switchproof.deploy.paths.meaning import HOST_SCRIPT
from switchproof.deploy.paths.programs.scripts import run_file
from switchproof.deploy.paths.programs.shells import separate_scope
from switchproof.deploy.paths.programs.switchproof import unseen_host_script
from switchproof.deploy.paths.survey import SESSION, Kind
from switchproof.deploy.paths.values import is_known

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker


_DEPLOYS = {
    ("autoscaling", "start-instance-refresh"),
    ("deploy", "create-deployment"),
    ("ecs", "deploy"),
    ("ecs", "update-service"),
    ("ec2", "reboot-instances"),
    ("elasticbeanstalk", "update-environment"),
    ("ssm", "start-automation-execution"),
}
"""Commands with which AWS itself deploys to instances and containers."""


_DOCUMENT = "--document-name"


def aws(walker: Walker, call: Call) -> None:
    """Note a call of AWS's tools, and follow the commands that SSM runs."""
    walker.trail.find(Kind.AWS, call.place, f"{call.name} only works with AWS")
    plain = [word for word in call.plain if not word.startswith("-")]
    for command in set(itertools.pairwise(plain)) & _DEPLOYS:
        walker.note_change(call, f"aws {' '.join(command)}", "aws")
    at = call.plain.index("ssm") if "ssm" in call.plain else -1
    if call.name != "aws" or at < 0 or not plain:
        return
    verb = call.plain[at + 1] if at + 1 < len(call.plain) else ""
    if verb == "send-command" or (verb == "start-session" and any(map(_is_command, call.option(_DOCUMENT) or ()))):
        _send_command(walker, call, f"aws ssm {verb}")
    elif verb == "start-session" and not call.option(_DOCUMENT):
        walker.trail.find(Kind.BY_HAND, call.place, SESSION)


def _is_command(document: str) -> bool:
    """Whether a session with this document may run a command; other documents forward ports and connections."""
    return not is_known(document) or document.endswith("Command") or not document.startswith("AWS-")


def _send_command(walker: Walker, call: Call, name: str) -> None:
    """Follow the commands of SSM if they can be read; else the shared script, if the entry point mentions it."""
    parameters = (*(call.option("--parameters") or ()), *(call.option("--cli-input-json") or ()))
    commands = [command for text in parameters for command in _commands(text)]
    if commands:
        walker.trail.act(name, call.place, "aws", shared=True, inline=False)
        place = call.place
        text = Text("\n".join(commands), place.file, (place.line,), entry=call.text.entry, provider="aws")
        walker.shell(text, separate_scope(call))
        return
    if walker.trail.strings:
        walker.trail.act(name, call.place, "aws", shared=True, inline=False)
        on_host = replace(call, words=(), text=replace(call.text, provider="aws"))
        for path in walker.files.called(HOST_SCRIPT):
            run_file(walker, path, on_host)
        if not walker.files.called(HOST_SCRIPT):
            unseen_host_script(walker, call, HOST_SCRIPT)
        return
    walker.note_change(call, name, "aws")
    walker.trail.unknown(call.place, "the command that SSM runs is known only at run time")


def _commands(text: str) -> list[str]:
    """Read the commands in the parameters of SSM, in JSON or in the short form of the command line."""
    text = text.replace("\\\n", "")
    try:
        document = json.loads(text)
    except ValueError:
        _, separator, rest = text.partition("commands=")
        if not separator:
            return []
        try:
            document = {"commands": json.loads(rest)}
        except ValueError:
            return [rest.strip("[]'\"")] if is_known(rest) and rest else []
    if isinstance(document, dict) and "Parameters" in document:
        document = document["Parameters"]
    commands = document.get("commands") if isinstance(document, dict) else None
    if isinstance(commands, str):
        commands = [commands]
    return [command for command in commands if isinstance(command, str)] if isinstance(commands, list) else []
