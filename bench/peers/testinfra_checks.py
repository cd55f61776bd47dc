"""The ten checks as a user of pytest-testinfra writes them."""

import json

import pytest
import testinfra.host


@pytest.mark.parametrize("unit", ["hypervisor.service", "socat-sandbox@live.service", "socat-sandbox@dev.service"])
def test_service_is_running(host: testinfra.host.Host, unit: str) -> None:
    """The unit is active."""
    assert host.service(unit).is_running


@pytest.mark.parametrize("port", [9090, 8080, 8081])
def test_port_is_listened_on(host: testinfra.host.Host, port: int) -> None:
    """A process listens on the port."""
    assert host.socket(f"tcp://127.0.0.1:{port}").is_listening


def test_hypervisor_answers(host: testinfra.host.Host) -> None:
    """The login page answers."""
    assert "ChoirOS" in host.check_output("curl -fsS --max-time 5 http://127.0.0.1:9090/login")


@pytest.mark.parametrize(("port", "role"), [(8080, "live"), (8081, "dev")])
def test_sandbox_is_healthy(host: testinfra.host.Host, port: int, role: str) -> None:
    """The sandbox reports that it is healthy, and its name."""
    body = json.loads(host.check_output("curl -fsS --max-time 5 %s", f"http://127.0.0.1:{port}/health"))
    assert (body["status"], body["instance_role"]) == ("healthy", role)


def test_the_profile_is_what_runs(host: testinfra.host.Host) -> None:
    """The profile points to the running system."""
    links = host.check_output("readlink -e /run/current-system /nix/var/nix/profiles/system").split()
    assert links == links[:1] * 2
