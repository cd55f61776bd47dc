"""Probes as text: what they ask, which answer they expect, and the command for a person on the host (pure)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

from switchproof.deploy.target.types import Endpoint, Health, JsonValue


def kind_of(want: Endpoint) -> str:
    """Return the kind of a probe and its address, URL or command, as one line."""
    match want.probe:
        case "tcp":
            return f"tcp {want.listen}"
        case "unix":
            return f"unix {want.listen} {want.url}"
        case "exec":
            return f"exec {shlex.join(want.command)}"
        case kind:
            return f"{kind} {want.url}"


def wanted(want: Endpoint, due: Mapping[str, JsonValue]) -> str:
    """Describe the answer that the target file asks for.

    Args:
        want: The endpoint.
        due: JSON keys and values that the body must contain.
    """
    match want.probe:
        case "tcp":
            parts = [f"a connection to {want.listen} that a process of {want.listening_unit} accepts"]
            body = "a banner"
        case "exec":
            parts = [f"exit code {want.exit_code} of {shlex.join(want.command)}, run as {want.user}"]
            body = "an output"
        case "unix":
            parts = [f"HTTP {want.status} from {want.url} over {want.listen}"]
            body = "a body"
        case "https":
            parts = [f"HTTP {want.status} from {want.url}, with a certificate that {_authorities(want)} trust"]
            body = "a body"
        case _:
            parts = [f"HTTP {want.status} from {want.url}"]
            body = "a body"
    if want.text:
        parts.append(f"{body} with {want.text!r}")
    parts += [f'"{key}": {json.dumps(value)}' for key, value in due.items()]
    return ", ".join(parts)


def command(want: Endpoint, health: Health) -> str:
    """Return the command with which a person sends the probe on the host."""
    limits = f"--max-time {health.timeout_s:g} --max-filesize {health.max_bytes}"
    curl = f"curl -q -sS -i --noproxy '*' --max-redirs 0 {limits}"
    match want.probe:
        case "tcp":
            address, _, port = reached_at(want.listen).rpartition(":")
            where = shlex.quote(f"/dev/tcp/{address.strip('[]')}/{port}")
            return f"timeout {health.timeout_s:g} bash -c 'exec 3<>{where} && head -c {health.max_bytes} <&3'"
        case "exec":
            return f"timeout {health.timeout_s:g} runuser -u {want.user} -- {shlex.join(want.command)}"
        case "unix":
            curl += f" --unix-socket {shlex.quote(want.listen)}"
        case "https":
            curl += f" --connect-to {shlex.quote(f'::{reached_at(want.listen)}')}"
            curl += f" --cacert {shlex.quote(want.ca_file)}" if want.ca_file else ""
        case _:
            pass
    return f"{curl} -- {shlex.quote(want.url)}"


def reached_at(listen: str) -> str:
    """Return the `address:port` at which the host itself reaches a listener, also one on every address."""
    address, _, port = listen.rpartition(":")
    return f"{_LOOPBACK.get(address, address)}:{port}"


_LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - compared, never bound


def _authorities(want: Endpoint) -> str:
    return f"the authorities in {want.ca_file}" if want.ca_file else "the host's authorities"
