"""What follows from the keys of a target file, where they leave something to follow."""

from __future__ import annotations

import datetime as dt

import pytest

from switchproof.deploy.target.types import (
    Endpoint,
    Health,
    Host,
    Repository,
    Requires,
    Rollback,
    Target,
    probed,
)

WEB = Endpoint(units=("a.service", "b.service"), listen="127.0.0.1:80", url="http://127.0.0.1/")


def target(**changes: object) -> Target:
    return Target(
        **{  # type: ignore[arg-type]  # as given
            "provider": "lab",
            "repository": Repository(url="x"),
            "hosts": (Host(name="a", flake_attr="a"),),
            "hypervisor": Endpoint(units=("h.service", "a.service"), listen="127.0.0.1:90"),
            "runtime": {"live": WEB},
            **changes,
        }
    )


def test_repository_is_named_by_its_url_or_the_host_s_checkout() -> None:
    """Without a URL the hosts fetch from where their checkout comes from."""
    assert Repository(url="https://example.org/x.git").source == "https://example.org/x.git"
    assert Repository(checkout="/srv/x").source == "the remote origin of /srv/x"


def test_system_of_a_host_is_named_by_the_flake_or_in_the_file() -> None:
    """A host's own attribute comes before that of the repository; without any the file's value is the system."""
    flake, own, plain = Host(name="a", flake_attr="x"), Host(name="b", attr="hosts.b"), Host(name="c")
    in_flake = target()
    assert (in_flake.attribute(flake), in_flake.configuration(flake)) == ("x", "x")
    one = target(repository=Repository(file="d.nix"))
    assert (one.attribute(own), one.attribute(plain), one.configuration(plain)) == ("hosts.b", "", "d.nix")
    shared = target(repository=Repository(file="d.nix", attr="all"))
    assert (shared.attribute(own), shared.configuration(plain)) == ("hosts.b", "all")


def test_listening_unit_is_the_named_one_or_the_last() -> None:
    """The last unit of an endpoint is the one that answers, unless another is named."""
    assert WEB.listening_unit == "b.service"
    assert Endpoint(units=WEB.units, listener="a.service").listening_unit == "a.service"


@pytest.mark.parametrize(
    ("listen", "exposure", "port", "is_private"),
    [
        ("127.0.0.1:80", None, "127.0.0.1:80", True),
        ("127.0.0.1:80", "loopback", "127.0.0.1:80", True),
        ("127.0.0.1:80", "any", "127.0.0.1:80", False),
        ("[::1]:80", None, "[::1]:80", True),
        ("0.0.0.0:80", None, "0.0.0.0:80", False),
        ("10.0.0.1:80", None, "10.0.0.1:80", False),
        ("[::]:80", None, "[::]:80", False),
        ("/run/s", None, "", False),
        ("", None, "", False),
    ],
)
def test_only_a_port_on_loopback_is_the_host_s_own(
    listen: str, exposure: str | None, port: str, *, is_private: bool
) -> None:
    """A socket in a file has no port, and a port that may be open to others is not private."""
    endpoint = Endpoint(units=("a.service",), listen=listen, exposure=exposure)  # type: ignore[arg-type]  # as given
    assert (endpoint.port, endpoint.is_private) == (port, is_private)


@pytest.mark.parametrize(
    ("endpoint", "code", "text"),
    [
        (Endpoint(status=204, contains="x", exit_code=3), 204, "x"),
        (Endpoint(probe="https", status=204), 204, None),
        (Endpoint(probe="unix", status=204), 204, None),
        (Endpoint(probe="tcp", expect="220 ", contains="x"), 0, "220 "),
        (Endpoint(probe="exec", exit_code=3, contains="x"), 3, "x"),
    ],
    ids=["http", "https", "unix", "tcp", "exec"],
)
def test_good_answer_has_the_code_and_text_of_its_probe(endpoint: Endpoint, code: int, text: str | None) -> None:
    """A program has an exit code, HTTP a status, and a connection only what it is sent."""
    assert (endpoint.code, endpoint.text) == (code, text)


def test_longest_look_is_twice_as_long_as_waiting_and_soak_and_all_answers() -> None:
    """What restarts once it was healthy is watched as long again; each answer may take its time and its pause."""
    slow = Health(ready_s=100.0, soak_s=10.0, answers=3, interval_s=2.0, timeout_s=4.0)
    assert slow.longest_s == pytest.approx(2 * 110.0 + 5 * 6.0)
    quick = Health(ready_s=100.0, soak_s=10.0, answers=3, interval_s=0.1, timeout_s=4.0)
    assert quick.longest_s == pytest.approx(2 * 110.0 + 5 * 5.0)


def test_host_waits_for_its_confirmation_as_long_as_the_checks_take_and_four_minutes() -> None:
    """A time of the target file's own counts instead, and 0 means that the host never goes back by itself."""
    assert target().confirm_s == pytest.approx(Health().longest_s + 240.0)
    assert target(rollback=Rollback(confirm_s=7.0)).confirm_s == pytest.approx(7.0)
    assert target(rollback=Rollback(confirm_s=0.0)).confirm_s == 0


@pytest.mark.parametrize(
    ("age", "longest"),
    [
        ("90m", dt.timedelta(minutes=90)),
        ("36h", dt.timedelta(hours=36)),
        ("10d", dt.timedelta(days=10)),
        ("2w", dt.timedelta(weeks=2)),
    ],
)
def test_age_of_a_record_is_all_its_digits_and_a_unit(age: str, longest: dt.timedelta) -> None:
    """All digits count, and the letter behind them is the unit."""
    assert Requires(group="staging", max_age=age).longest == longest


def test_hypervisor_is_probed_first_unless_it_is_absent() -> None:
    """What is declared to be absent is not asked."""
    seen = target()
    assert [*seen.endpoints] == ["hypervisor", "live"]
    assert probed(Endpoint(absent="there is none"), {"live": WEB}) == {"live": WEB}


def test_each_unit_of_the_contract_is_named_once_in_order() -> None:
    """Endpoints may share a unit."""
    assert target().contract_units == ("h.service", "a.service", "b.service")
