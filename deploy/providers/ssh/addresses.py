"""Checks names and addresses of hosts (pure)."""

from __future__ import annotations

import ipaddress
import re


def address_problem(address: str) -> str | None:
    """Return why a text is not a host's name or address; None if it is."""
    actual = f"(found {address!r})"
    bare = address.strip("[]")
    if _is_ip(address):
        return None
    if address != bare and _is_ip(bare):
        return f"an address without brackets: write {bare!r} {actual}"
    if port := re.fullmatch(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*):(?P<port>[0-9]*)", address):
        return f"names a port; write the host alone and put {port['port'] or 'the port'} into `port` {actual}"
    if not address.isprintable() or re.search(r"[\s/@\[\]:,%#\\'\"]", address) or address.startswith("-"):
        return f"not a name or address of a host {actual}"
    labels = address.removesuffix(".").split(".")
    try:
        # Labels of 1 to 63 bytes, as getaddrinfo requires.
        sizes = [len(label.encode("ascii") if label.isascii() else label.encode("idna")) for label in labels]
    except UnicodeError:
        return f"not a name of a host {actual}"
    if min(sizes) == 0:
        return f"has an empty label between two dots {actual}"
    if max(sizes) > 63:  # noqa: PLR2004 - RFC 1035
        return f"has a label of {max(sizes)} characters; at most 63 are allowed {actual}"
    if sum(sizes) + len(sizes) > 254:  # noqa: PLR2004 - RFC 1035
        return f"is longer than the 253 characters that a name may have {actual}"
    if re.fullmatch(r"[0-9.]+", address) and len(labels) == 4:  # noqa: PLR2004
        return f"not an IPv4 address {actual}"
    return None


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
