"""Assembles the program for a host: `host-switch.sh`, one verb, and the values that it needs."""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from switchproof.deploy.connection import Question
from switchproof.deploy.observe.asking import reached_at
from switchproof.deploy.target.types import Bridge, BridgedProgram, Contract, Endpoint, Health, JsonValue, Target

SCRIPT = Path(__file__).with_name("host-switch.sh")

_FIELD, _PART = "\x1f", "\x1e"

_FRAGMENT = re.compile(r'^source "\$HERE/(script/[a-z_]+\.sh)"\n', re.MULTILINE)
_BY_HAND = 'source "$HERE/script/by_hand.sh"\n'
_FOLDER = re.compile(r"^if .* readonly HERE=.*\n", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*#(?!!).*\n", re.MULTILINE)
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)
_BLANK = re.compile(r"\n{2,}")
_ASSEMBLING = threading.Lock()


def fragments() -> tuple[str, ...]:
    """Return the script's fragments, in the order in which it sources them."""
    return tuple(_FRAGMENT.findall(SCRIPT.read_text(encoding="utf-8")))


def whole_script() -> str:
    """Return the script with its fragments inserted."""
    return _put_together(SCRIPT.read_text(encoding="utf-8"))


def carried_script() -> str:
    """Return the script as it is sent; it is assembled once, because every question to every host carries it."""
    with _ASSEMBLING:  # the hosts of a fleet are asked at the same time
        return _carried(SCRIPT)


@functools.cache
def _carried(script: Path) -> str:
    return pack(script)


def pack(script: Path) -> str:
    """Return a script as it is sent, because arguments and documents have size limits.

    It lacks the fragment for people, comments, indentation and empty lines. Only awk programs and nested shell
    programs span lines with indentation, and they do not depend on it.
    """
    travelling = _put_together(script.read_text(encoding="utf-8").replace(_BY_HAND, "", 1))
    return _BLANK.sub("\n", _INDENT.sub("", _COMMENT.sub("", travelling)))


def question(
    verb: str, nonce: str, values: Mapping[str, str], hear: Callable[[bytes], None] | None = None
) -> Question:
    """Make the question for one verb.

    Args:
        verb: A verb of `host-switch.sh`.
        nonce: Identifies this question's answer.
        values: Environment variables of the script.
        hear: Receives the host's output as it arrives, if the connection supports that.
    """
    return Question(carried_script(), verb, {"SWITCHPROOF_NONCE": nonce, **values}, hear)


def _put_together(text: str) -> str:
    return _FRAGMENT.sub(
        lambda match: SCRIPT.parent.joinpath(match[1]).read_text(encoding="utf-8"), _FOLDER.sub("", text)
    )


def health_values(health: Health) -> dict[str, str]:
    """Return the health limits as variables of the script."""
    return {
        "READY_S": f"{health.ready_s:f}",
        "ANSWERS": str(health.answers),
        "INTERVAL_S": f"{health.interval_s:f}",
        "SOAK_S": f"{health.soak_s:f}",
        "ANSWER_TIMEOUT_S": f"{health.timeout_s:f}",
        "MAX_BYTES": str(health.max_bytes),
        "SAME_FAILURES": str(health.same_failures),
        "SAME_ANSWERS": str(health.same_answers),
        "TRANSIENT_STATUS": " ".join(map(str, health.transient_status)) or "0",
    }


def endpoints(target: Target | Contract) -> str:
    """Return the endpoints to probe in the script's format, one per line."""
    return "\n".join(
        _FIELD.join(
            (
                name,
                _PART.join(endpoint.units),
                endpoint.listen,
                endpoint.listening_unit,
                _PART.join(_question(endpoint)),
                f"{endpoint.code:03d}",
                endpoint.backend or "",
                _PART.join(_wants(endpoint)),
                _PART.join(endpoint.inside),
                _PART.join(_machine(endpoint)),
                _PART.join(part for key, file in endpoint.json_of_system.items() for part in (_spelled(key), file)),
                endpoint.container or "",
            )
        )
        for name, endpoint in target.endpoints.items()
    )


def bridge(programs: Mapping[str, BridgedProgram]) -> str:
    """Return the programs of the store path bridge in the script's format, one per line."""
    return "\n".join(
        _FIELD.join((name, program.file, program.at, _PART.join(program.units), program.build or ""))
        for name, program in programs.items()
    )


def bridge_values(bridged: Bridge) -> dict[str, str]:
    """Return the store path bridge as variables of the script."""
    return {
        "SWITCHPROOF_BRIDGE": bridge(bridged.programs),
        "ALLOW_HOST_BUILD_FALLBACK": bridged.build_on_host,
        **{path_variable(name): program.path for name, program in bridged.programs.items()},
    }


def path_variable(program: str) -> str:
    """Return the script's variable for the store path of a program."""
    return f"{program.upper().replace('-', '_')}_STORE_PATH"


def _question(endpoint: Endpoint) -> tuple[str, ...]:
    """Return an endpoint's probe in the script's format: its kind, then the kind's values."""
    match endpoint.probe:
        case "tcp":
            address, _, port = reached_at(endpoint.listen).rpartition(":")
            return ("tcp", address.strip("[]"), port)
        case "exec":
            return ("exec", endpoint.user or "", *endpoint.command)
        case "unix":
            return ("unix", endpoint.url, endpoint.headers_file or "", endpoint.listen)
        case "https":
            connect_to = f"::{reached_at(endpoint.listen)}"
            return ("https", endpoint.url, endpoint.headers_file or "", connect_to, endpoint.ca_file or "")
        case _:
            return ("http", endpoint.url, endpoint.headers_file or "")


def _machine(endpoint: Endpoint) -> tuple[str, ...]:
    machine = endpoint.machine
    return (machine.unit, machine.tap or "", machine.bridge or "", machine.monitor or "") if machine else ()


def _wants(endpoint: Endpoint) -> list[str]:
    """Return the expected content of a body: a text, then keys and values in turn."""
    pairs = [part for key, value in endpoint.json.items() for part in (_spelled(key), _spelled(value))]
    return [endpoint.text or "", *pairs] if endpoint.text or pairs else []


def _spelled(value: JsonValue) -> str:
    """Spell a value as JSON in ASCII, without characters that separate fields."""
    return json.dumps(value)
