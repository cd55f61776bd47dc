"""The keys that the table of an endpoint may have, by the kind of its probe (pure)."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from switchproof.deploy.target.types import Endpoint

_BODY = ("contains", "json", "json_of_system")
_ASKED = ("url", "headers_file", "status", *_BODY)
_OWN = {
    "http": ("exposure", "backend", *_ASKED),
    "https": ("exposure", "backend", "ca_file", *_ASKED),
    "tcp": ("exposure", "backend", "expect"),
    "unix": ("backend", *_ASKED),
    "exec": ("exposure", "command", "user", "exit_code", *_BODY),
}
"""Keys that belong to some kinds of probe only, by kind; all others belong to every kind."""

_NEEDED = {
    "http": ("units", "listen", "url"),
    "https": ("units", "listen", "url"),
    "tcp": ("units", "listen"),
    "unix": ("units", "listen", "url"),
    "exec": ("units", "command", "user"),
}
_EXAMPLES = {
    "units": '["hypervisor.service"]',
    "listen": '"127.0.0.1:8080"',
    "url": '"http://127.0.0.1:8080/health"',
    "command": '["/run/current-system/sw/bin/pg_isready", "--quiet"]',
    "user": '"nobody"',
}
_EXAMPLES_OF_KIND = {
    ("https", "url"): '"https://web.example:8443/health"',
    ("unix", "listen"): '"/run/web/web.sock"',
    ("unix", "url"): '"http://localhost/health"',
}
_DEFAULT_PORTS = {"http": 80, "https": 443}


def endpoint_problem(key: str, endpoint: Endpoint) -> str | None:
    """Return the first problem of an endpoint that types cannot express; None without one.

    Args:
        key: The key of its table, for the message.
        endpoint: The endpoint of the target file.
    """
    if endpoint.absent is not None:
        return _absent_problem(key, endpoint)
    looks: tuple[Callable[[str, Endpoint], Iterator[str]], ...] = (
        _keys_problems,
        _url_problems,
        _listen_problems,
        _command_problems,
        _value_problems,
        _unit_problems,
    )
    return next((problem for look in looks for problem in look(key, endpoint)), None)


def schema_rules() -> dict[str, object]:
    """Return the required keys of an endpoint's table, as JSON Schema."""
    kinds = [
        {
            "if": {"properties": {"probe": {"const": kind}}, "required": ["probe"] if kind != "http" else []},
            "then": {"required": list(names)},
        }
        for kind, names in _NEEDED.items()
    ]
    return {"if": {"required": ["absent"]}, "then": {"maxProperties": 1}, "else": {"allOf": kinds}}


def _absent_problem(key: str, endpoint: Endpoint) -> str | None:
    if key != "hypervisor":
        return f"{key}.absent: only the hypervisor may be absent; remove the table instead"
    if not (endpoint.absent or "").strip():
        return f"{key}.absent: must say why there is none (found {endpoint.absent!r})"
    if given := [name for name in _given(endpoint) if name != "absent"]:
        return f"{key}.{given[0]}: {key}.absent says that there is none; remove one of them"
    return None


def _given(endpoint: Endpoint) -> list[str]:
    """Return the keys whose values are not the defaults."""
    plain = type(endpoint)()
    return [name for name in endpoint.__struct_fields__ if getattr(endpoint, name) != getattr(plain, name)]


def _keys_problems(key: str, endpoint: Endpoint) -> Iterator[str]:
    given, kind = _given(endpoint), endpoint.probe
    of_kinds = {name for names in _OWN.values() for name in names}
    if "units" not in given and key == "hypervisor":
        yield f'{key}.units: missing; for example units = {_EXAMPLES["units"]}, or only absent = "why there is none"'
    for name in _NEEDED[kind]:
        if name not in given:
            example = _EXAMPLES_OF_KIND.get((kind, name), _EXAMPLES[name])
            needed = "" if kind == "http" else f', which probe = "{kind}" needs'
            yield f"{key}.{name}: missing{needed}; for example {name} = {example}"
    for name in given:
        if name in of_kinds and name not in _OWN[kind]:
            kinds = " or ".join(f'"{other}"' for other, names in _OWN.items() if name in names)
            yield f'{key}.{name}: only with probe = {kinds} (found probe = "{kind}")'


def _url_problems(key: str, endpoint: Endpoint) -> Iterator[str]:
    scheme = "https" if endpoint.probe == "https" else "http"
    for name, url in (("url", endpoint.url), ("backend", endpoint.backend)):
        if url is None or (name == "url" and not url):
            continue
        if has_login(url):
            yield (
                f"{key}.{name}: has a user or a password, which the reports would show; "
                "take them out; ask a path that the service answers without a login, such as its health path, or "
                "name a file on the host with the header to send as headers_file"
            )
        elif problem := url_problem(url):
            yield f"{key}.{name}: {problem} (found {url!r}); allowed: http(s)://HOST[:PORT]/PATH"
    actual = urlsplit(endpoint.url).scheme
    if endpoint.url and actual != scheme:
        yield (
            f'{key}.url: probe = "{endpoint.probe}" asks {scheme}:// (found {endpoint.url!r})'
            + ('; for TLS write probe = "https"' if actual == "https" and endpoint.probe == "http" else "")
        )


def _listen_problems(key: str, endpoint: Endpoint) -> Iterator[str]:
    if not endpoint.listen:
        if endpoint.exposure is not None or endpoint.listener is not None:
            yield f"{key}.listen: missing; {'exposure' if endpoint.exposure else 'listener'} needs it"
        return
    if endpoint.probe == "unix":
        if endpoint.port:
            yield f'{key}.listen: probe = "unix" needs the socket\'s absolute path (found {endpoint.listen!r})'
        return
    if not endpoint.port:
        yield (
            f'{key}.listen: must be ADDRESS:PORT; a socket\'s path needs probe = "unix" (found {endpoint.listen!r})'
        )
        return
    if problem := listen_problem(endpoint.listen):
        yield f"{key}.listen: {problem} (found {endpoint.listen!r})"
        return
    if endpoint.url and (problem := _elsewhere(endpoint.url, endpoint.listen, by_name=endpoint.probe == "https")):
        yield f"{key}.url: {problem}, so its answers would prove nothing (found {endpoint.url!r})"
    if endpoint.exposure == "loopback" and not endpoint.is_private:
        yield f"{key}.exposure: {endpoint.listen} is not a loopback address (found 'loopback')"


def _command_problems(key: str, endpoint: Endpoint) -> Iterator[str]:
    if endpoint.command and not re.fullmatch(r"(/[^/\s]+)+", endpoint.command[0]):
        yield (
            f"{key}.command[0]: must be the program's absolute path, such as {_EXAMPLES['command'][1:-1]}; "
            f"there is no shell (found {endpoint.command[0]!r})"
        )


def _value_problems(key: str, endpoint: Endpoint) -> Iterator[str]:
    for name, value in endpoint.json.items():
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{key}.json.{name}: not a JSON number (found {value!r})"
    if twice := sorted(endpoint.json.keys() & endpoint.json_of_system):
        yield f"{key}.json_of_system.{twice[0]}: is also in {key}.json; remove one of them"


def _unit_problems(key: str, endpoint: Endpoint) -> Iterator[str]:
    named = {"listener": endpoint.listening_unit, "container": endpoint.container}
    if endpoint.machine:
        named["machine.unit"] = endpoint.machine.unit
    for name, unit in named.items():
        if unit is not None and unit not in endpoint.units:
            yield f"{key}.{name}: not one of {key}.units (found {unit!r}; allowed: {', '.join(endpoint.units)})"
    if endpoint.container is None and (inner := [unit for unit in endpoint.units if "/" in unit]):
        yield f"{key}.container: missing; {inner[0]} is inside a container, so say which of {key}.units that is"


def listen_problem(listen: str) -> str | None:
    """Return why `ss` does not print an `address:port` in this spelling; None if it does."""
    address, _, port = listen.rpartition(":")
    if not 1 <= int(port) <= 65535:  # noqa: PLR2004 - the range of TCP ports
        return "port out of range 1 to 65535"
    try:
        parsed = ipaddress.ip_address(address.strip("[]"))
    except ValueError as error:
        return f"not an address: {error}"
    spelled = f"[{parsed}]:{int(port)}" if parsed.version == 6 else f"{parsed}:{int(port)}"  # noqa: PLR2004 - IPv6
    return None if listen == spelled else f"must be written {spelled!r}, as ss writes it"


def _elsewhere(url: str, listen: str, *, by_name: bool) -> str | None:
    """Return how a URL leads elsewhere than to `listen`; None if it does not, or if only DNS can tell.

    Args:
        url: The URL.
        listen: `address:port`.
        by_name: Whether the probe connects to `listen` whatever host the URL names.
    """
    parts = urlsplit(url)
    own, _, own_port = listen.rpartition(":")
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    if port != int(own_port):
        return f"asks port {port}, but the service listens on {listen}"
    if by_name:
        return None
    try:
        asked = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return None
    here = ipaddress.ip_address(own.strip("[]"))
    if here.is_unspecified or asked == here:
        return None
    return f"asks {asked}, but the service listens on {listen}"


def has_login(url: str) -> bool:
    """Whether a URL contains a user or a password, so that it must not be shown."""
    return "@" in re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]


def url_problem(url: str) -> str | None:
    """Return why a URL cannot be requested; None if it can."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"not a URL: {error}"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return "not a URL that can be asked"
    if any(character.isspace() or not character.isprintable() or character in "\"'\\" for character in url):
        return "a URL with a character that must be percent-encoded"
    return None
