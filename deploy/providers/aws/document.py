"""Makes an SSM document that runs only the host's script, so that its callers have no shell.

    switchproof schema ssm-document deploy/targets/aws.toml >document.json

The document itself contains the target file's repository and health limits. A caller gives the rest as typed
parameters, which the agent passes on as environment variables, so that no value ever becomes shell text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.host.program import bridge, carried_script, endpoints, path_variable
from switchproof.deploy.host.vocabulary import NUMBER, STORE_PATH, VARIABLES, VERBS
from switchproof.deploy.providers.aws.carrier import CARRIER, USER, Errand
from switchproof.deploy.providers.aws.packing import gzip_of
from switchproof.deploy.providers.aws.table import Ssm
from switchproof.deploy.target.types import Target

VALUES: Mapping[str, str] = {
    name: variable.allowed for name, variable in VARIABLES.items() if variable.given_by == "run"
}
"""The script's variables that a caller may set, with the pattern of allowed values."""

_PATH_VARIABLE = re.compile(r"[A-Z0-9_]+_STORE_PATH")
"""The pattern of the store paths that a caller gives for each program of the target file's bridge."""

_ERRAND: Mapping[str, str] = {
    "question": r"^[0-9a-f]{16}$",
    "action": r"^(ask|look|withdraw)$",
    "digest": r"^([0-9a-f]{64})?$",
    "argument": f"^({'|'.join(name for name, verb in VERBS.items() if verb.asked_by == 'run')})?$",
    "offset": NUMBER,
    "limit": r"^[0-9]{1,15}$",
    "patience": NUMBER,
}
_FIXED = "Fixed"
_LIMIT = "ExecutionTimeout"


def fixed_values(target: Target) -> dict[str, str]:
    """Return the script's variables that the document itself contains, so that no caller chooses them."""
    user = target.table(Ssm).user
    return {
        **({USER: user} if user else {}),
        "REPO_URL": target.repository.url or "",
        "WORKDIR": target.repository.checkout,
        "NIX_FILE": target.repository.file or "",
        "SWITCHPROOF_ENDPOINTS": endpoints(target),
        "SWITCHPROOF_BRIDGE": bridge(target.bridge.programs),
    }


def document(target: Target) -> dict[str, Any]:
    """Make the document for a target file, of SSM's schema 2.2."""
    fixed = fixed_values(target)
    values = {**VALUES, **{path_variable(name): STORE_PATH for name in target.bridge.programs}}
    lines = [
        # Agents older than 3.3.2746.0 do not pass parameters as variables.
        ': "${SSM_Question:?this agent does not pass parameters as variables; update amazon-ssm-agent}"',
        *(f'{name}="$SSM_{_name(name)}"' for name in _ERRAND),
        "interpreter=bash",
        "values=''",
        *(f'export {name}="$SSM_{_name(name)}"' for name in values),
        *(f"export {name}={shlex.quote(value)}" for name, value in fixed.items()),
        f"packed='{base64.b64encode(gzip_of(carried_script().encode())).decode()}'",
        f'[ "$SSM_{_FIXED}" = {_digest(fixed)} ] || digest=other',
        # AWS accepts documents of up to 64 KB, including comments and indentation.
        *(line for line in map(str.strip, CARRIER.read_text("utf-8").splitlines()) if line and line[0] != "#"),
    ]
    return {
        "schemaVersion": "2.2",
        "description": "One verb of Switchproof's host-switch.sh, for the repository and endpoints written in here.",
        "parameters": {
            # Without descriptions, as there is no room for them: the names are those of the vocabulary.
            **{_name(name): _parameter(pattern) for name, pattern in {**_ERRAND, **values}.items()},
            _FIXED: _parameter("^[0-9a-f]{64}$"),
            _LIMIT: {
                "type": "String",
                "default": "600",
                "allowedPattern": "^[1-9][0-9]{0,4}$",
            },
        },
        "mainSteps": [
            {
                "action": "aws:runShellScript",
                "name": "carry",
                "precondition": {"StringEquals": ["platformType", "Linux"]},
                "inputs": {"timeoutSeconds": f"{{{{ {_LIMIT} }}}}", "runCommand": lines},
            }
        ],
    }


def text(made: Mapping[str, Any]) -> str:
    """Return a document as text for AWS: one item per line, without indentation."""
    return json.dumps(made, indent=0, separators=(",", ":")) + "\n"


def parameters(errand: Errand, fixed: Mapping[str, str], limit_s: int) -> dict[str, list[str]]:
    """Return an errand as the parameters of such a document.

    Raises:
        Inconclusive: The document does not accept a value.
    """
    given = {name: errand.assignments[name] for name in _ERRAND}
    for name, value in (errand.load.values if errand.load else {}).items():
        pattern = STORE_PATH if _PATH_VARIABLE.fullmatch(name) else VALUES.get(name)
        if fixed.get(name, value) != value or (pattern is None and name not in fixed):
            raise Inconclusive(f"the document does not take {name}")
        if pattern is not None:
            if not re.fullmatch(pattern, value):
                raise Inconclusive(f"the document does not take {value!r} for {name}; allowed: {pattern}")
            given[name] = value
    return {
        **{_name(name): [value] for name, value in given.items()},
        _FIXED: [_digest(fixed)],
        _LIMIT: [str(limit_s)],
    }


def _digest(fixed: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def _name(variable: str) -> str:
    """Return a variable's name as a parameter, with letters and digits only."""
    return "".join(part.capitalize() for part in variable.split("_"))


def _parameter(pattern: str) -> dict[str, str]:
    given = {"type": "String", "allowedPattern": pattern, "interpolationType": "ENV_VAR"}
    return given if re.fullmatch(pattern, "") is None else {**given, "default": ""}
