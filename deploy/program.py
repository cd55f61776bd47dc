"""The text that a host is given: one verb of `host-switch.sh` with the values it needs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from deploy.target import Endpoint, Health, Target

SCRIPT = Path(__file__).parent / "host" / "host-switch.sh"

_FIELD, _PART = "\x1f", "\x1e"
_END = "END-OF-HOST-SWITCH"


def program(verb: str, nonce: str, values: Mapping[str, str]) -> bytes:
    """Make the program text for one verb.

    Values are assignments in the text, quoted for the shell, so they stand in no argument list.

    Args:
        verb: A verb of `host-switch.sh`.
        nonce: Tells this question's answer from all others.
        values: Environment variables of the script.
    """
    script = SCRIPT.read_text(encoding="utf-8")
    exports = "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in {"SWITCHPROOF_NONCE": nonce, **values}.items()
    )
    return (
        f"{exports}"
        'PATH="/run/current-system/sw/bin:$PATH:/usr/local/bin:/usr/bin:/bin"; export PATH\n'
        f"script=$(cat <<'{_END}'\n{script}{_END}\n)\n"
        f'exec bash -c "$script" host-switch.sh {shlex.quote(verb)} </dev/null\n'
    ).encode()


def health_values(health: Health) -> dict[str, str]:
    """Say when a host counts as healthy, as the script's variables."""
    return {
        "READY_S": str(health.ready_s),
        "ANSWERS": str(health.answers),
        "INTERVAL_S": str(health.interval_s),
        "SOAK_S": str(health.soak_s),
        "ANSWER_TIMEOUT_S": str(health.timeout_s),
        "MAX_BYTES": str(health.max_bytes),
    }


def endpoints(target: Target) -> str:
    """Say what to probe, one endpoint a line, as the script reads it."""
    return "\n".join(
        _FIELD.join(
            (
                name,
                _PART.join(endpoint.units),
                endpoint.listen,
                endpoint.listening_unit,
                endpoint.url,
                str(endpoint.status),
                endpoint.backend or "",
                _PART.join(_patterns(endpoint)),
                _PART.join(endpoint.inside),
            )
        )
        for name, endpoint in target.endpoints.items()
    )


def _patterns(endpoint: Endpoint) -> list[str]:
    """Extended regular expressions that a good body matches: enough to wait by; checks read the body properly."""
    patterns = [_literal(endpoint.contains)] if endpoint.contains else []
    for key, value in endpoint.json.items():
        patterns.append(f"{_literal(json.dumps(key))}[[:space:]]*:[[:space:]]*{_literal(json.dumps(value))}")
    return patterns


def _literal(text: str) -> str:
    return re.sub(r"([\\.^$*+?()\[\]{}|])", r"\\\1", text)
