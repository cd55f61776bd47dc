"""What can be connected to, and what is refused before anything is tried."""

from __future__ import annotations

import pytest

from switchproof.deploy.providers.ssh.addresses import address_problem


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "fd00::1",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "node-a",
        "node_a",
        "a.example.org",
        "a.",
        "bücher.de",
    ],
)
def test_names_and_addresses_are_taken(address: str) -> None:
    """Names with or without a domain, IPv4 and IPv6 addresses are what a host can be reached by."""
    assert address_problem(address) is None


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("", "empty label"),
        ("a..b", "empty label"),
        (".a", "empty label"),
        (f"{'x' * 70}.example.org", "a label of 70 characters; at most 63"),
        (f"{'ü' * 70}.example.org", "not a name of a host"),
        (".".join(["x" * 60] * 5), "longer than the 253"),
        ("[fd00::1]", "write 'fd00::1'"),
        ("[fd00::1]:2222", "put 2222 into `port`"),
        ("10.0.0.1:22", "put 22 into `port`"),
        ("host:", "names a port"),
        ("a b", "not a name or address"),
        ("root@a", "not a name or address"),
        ("-oProxyCommand=x", "not a name or address"),
        ("a\n", "not a name or address"),
        ("\udcff", "not a name or address"),
        ("10.0.0.256", "not an IPv4 address"),
    ],
)
def test_what_is_no_address_says_why(address: str, problem: str) -> None:
    """Whatever cannot be looked up is refused with what is wrong and how it is written."""
    assert problem in (address_problem(address) or "")
