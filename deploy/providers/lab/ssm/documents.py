"""Documents of the endpoint: their parameters, and the shell text that the agent makes of them (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from switchproof.deploy.providers.lab.ssm.errors import Refused

MAX_CONTENT = 64 * 1024
"""Bytes of a document (AWS's quota; MaxDocumentSizeExceeded)."""
MAX_RUN_S, DEFAULT_RUN_S = 172_800, 3600
"""Seconds; for limits outside of 5 to the first value the agent uses the second (amazon-ssm-agent's pluginutil)."""

_SECONDS = r"^(([1-9][0-9]{0,4})|(1[0-6][0-9]{4})|(17[0-1][0-9]{3})|(172[0-7][0-9]{2})|(172800))$"
_TOP = {"schemaVersion", "description", "parameters", "mainSteps"}
_STEP = {"action", "name", "inputs", "precondition"}
_INPUTS = {"runCommand", "workingDirectory", "timeoutSeconds"}
_PARAMETER = {
    "type",
    "description",
    "default",
    "allowedValues",
    "allowedPattern",
    "minItems",
    "maxItems",
    "minChars",
    "maxChars",
    "displayType",
    "interpolationType",
}


class Script(msgspec.Struct, frozen=True):
    """A script for the agent.

    Attributes:
        text: The shell text.
        folder: The working directory; empty for the agent's own.
        limit_s: Seconds that it may run.
        environment: Parameters that become environment variables.
    """

    text: str
    folder: str
    limit_s: float
    environment: Mapping[str, str]


class Document(msgspec.Struct, frozen=True):
    """A document of one aws:runShellScript step.

    Attributes:
        name: Its name.
        schema: Its schema version.
        plugin: The name under which output is kept.
        parameters: Their declarations.
        commands: Lines of shell text, or one reference to a list.
        folder: The working directory, with references.
        limit: The limit in seconds, with references.
    """

    name: str
    schema: str
    plugin: str
    parameters: Mapping[str, Mapping[str, Any]]
    commands: Sequence[str]
    folder: str
    limit: str

    def script(self, given: Mapping[str, Sequence[str]]) -> Script:
        """Return the script for a request's parameters.

        Raises:
            Refused: The parameters are not valid (InvalidParameters).
        """
        values = self._values(given)
        lines: list[str] = []
        for line in self.commands:
            whole = re.fullmatch(r"\{\{\s*(\w+)\s*\}\}", line)
            if whole and self.parameters.get(whole[1], {}).get("type") == "StringList":
                lines += values[whole[1]]
            else:
                lines.append(_filled_in(line, values))
        seconds = _filled_in(self.limit, values)
        limit = float(seconds) if re.fullmatch(r"\d{1,9}", seconds) else 0.0
        environment = {
            f"SSM_{name}": value[0]
            for name, value in values.items()
            if self.parameters[name].get("interpolationType") == "ENV_VAR"
        }
        folder = _filled_in(self.folder, values)
        return Script("\n".join(lines), folder, limit if 5 <= limit <= MAX_RUN_S else DEFAULT_RUN_S, environment)  # noqa: PLR2004 - the agent's

    def _values(self, given: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        if unknown := sorted(given.keys() - self.parameters.keys()):
            raise Refused("InvalidParameters", f"{self.name} has no parameter {', '.join(unknown)}")
        values = {}
        for name, declared in self.parameters.items():
            if name in given:
                value = list(given[name])
            elif "default" in declared:
                default = declared["default"]
                value = list(default) if isinstance(default, list) else [str(default)]
            else:
                raise Refused("InvalidParameters", f"{self.name} needs the parameter {name}")
            _check_value(name, declared, value)
            values[name] = value
        return values


def _check_value(name: str, declared: Mapping[str, Any], value: list[str]) -> None:
    def refuse(why: str) -> Refused:
        return Refused("InvalidParameters", f"parameter {name} {why}")

    if declared["type"] == "String" and len(value) != 1:
        raise refuse("takes one value")
    if len(value) < int(declared.get("minItems", 0)) or len(value) > int(declared.get("maxItems", 2**31)):
        raise refuse("has too few or too many values")
    for item in value:
        if re.search(r"\{\{\s*ssm(-secure)?:", item):
            raise refuse("refers to Parameter Store, which this endpoint does not model")
        if "allowedValues" in declared and item not in declared["allowedValues"]:
            raise refuse(f"must be one of {', '.join(declared['allowedValues'])}")
        if "allowedPattern" in declared and not re.search(_python(declared["allowedPattern"]), item):
            raise refuse(f"must match {declared['allowedPattern']}")
        if not int(declared.get("minChars", 0)) <= len(item) <= int(declared.get("maxChars", 2**31)):
            raise refuse("is too short or too long")


def _python(pattern: str) -> str:
    """Return a pattern of Go as one of Python, in which `$` would allow a newline at the end."""
    return re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", lambda part: r"\Z" if part[0] == "$" else part[0], pattern)


def _filled_in(text: str, values: Mapping[str, Sequence[str]]) -> str:
    """Replace `{{ name }}` by values, as the agent does: as text, whatever the values contain.

    Inside a longer line `$$` in a value becomes `$`, because of documents for an old agent.
    """

    def value(reference: re.Match[str]) -> str:
        if reference[1] not in values:
            return reference[0]
        given = values[reference[1]][0]
        return given if reference[0] == text else given.replace("$$", "$")

    return re.sub(r"\{\{\s*(\w+)\s*\}\}", value, text)


RUN_SHELL_SCRIPT = Document(
    name="AWS-RunShellScript",
    schema="1.2",
    plugin="aws:runShellScript",
    parameters={
        "commands": {"type": "StringList", "minItems": 1},
        "workingDirectory": {"type": "String", "default": "", "maxChars": 4096},
        "executionTimeout": {"type": "String", "default": "3600", "allowedPattern": _SECONDS},
    },
    commands=["{{ commands }}"],
    folder="{{ workingDirectory }}",
    limit="{{ executionTimeout }}",
)
"""AWS's own document."""
RUN_SHELL_SCRIPT_HASH = "99749de5e62f71e5ebe9a55c2321e2c394796afe7208cff048696541e6f6771e"
"""The Sha256 that AWS tells of version 1, the only one."""


def read_document(name: str, content: str) -> Document:
    """Read a user's document.

    Raises:
        Refused: It is too large, or this endpoint cannot run it as AWS would.
    """
    if len(content.encode()) > MAX_CONTENT:
        raise Refused("MaxDocumentSizeExceeded", f"The size limit of a document is 64 KB; it has {len(content)}")

    def refuse(why: str) -> Refused:
        return Refused("InvalidDocumentContent", f"{name}: {why}")

    try:
        whole = json.loads(content)
    except ValueError as error:
        raise refuse(f"no JSON: {error}") from None
    if not isinstance(whole, dict) or whole.get("schemaVersion") != "2.2":
        raise refuse("only schemaVersion 2.2 is modelled")
    steps = whole.get("mainSteps", [])
    if unknown := sorted(whole.keys() - _TOP):
        raise refuse(f"unknown key {unknown[0]}")
    if len(steps) != 1 or steps[0].get("action") != "aws:runShellScript" or steps[0].keys() - _STEP:
        raise refuse("only one step aws:runShellScript is modelled")
    inputs = steps[0].get("inputs", {})
    if inputs.keys() - _INPUTS or not isinstance(inputs.get("runCommand"), list):
        raise refuse("inputs are runCommand, workingDirectory and timeoutSeconds")
    parameters = whole.get("parameters", {})
    for key, declared in parameters.items():
        if not re.fullmatch(r"[A-Za-z0-9]+", key):
            raise refuse(f"parameter {key}: a name has letters and digits only")
        if declared.keys() - _PARAMETER or declared.get("type") not in {"String", "StringList"}:
            raise refuse(f"parameter {key}: a type or key that is not modelled")
    return Document(
        name=name,
        schema="2.2",
        plugin=str(steps[0].get("name")),
        parameters=parameters,
        commands=inputs["runCommand"],
        folder=str(inputs.get("workingDirectory", "")),
        limit=str(inputs.get("timeoutSeconds", DEFAULT_RUN_S)),
    )
