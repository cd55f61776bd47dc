"""What the host sees of what is behind an endpoint."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import StreamRequestHandler, UnixStreamServer

import pytest

from tests.host_functions import run


class Monitor(BaseHTTPRequestHandler):
    """cloud-hypervisor's, as far as it is asked."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"config":{},"state": "Running","memory":1}')

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def test_a_monitor_tells_the_machine_s_state(tmp_path: Path) -> None:
    """It is asked over its socket; one that is not there, and one that nobody answers on, are told apart."""

    def state(socket: Path) -> str:
        return run(f'ask_monitor api:{socket}; echo "$monitor_state"', "behind").strip()

    path = tmp_path / "api.sock"
    with UnixStreamServer(str(path), Monitor) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        assert state(path) == "running"
        server.shutdown()
    assert state(path) == "silent"
    assert state(tmp_path / "none") == "absent"


class Qemu(StreamRequestHandler):
    """QEMU's monitor, which greets, takes commands by the line and keeps the connection."""

    def handle(self) -> None:
        self.wfile.write(b'{"QMP": {"version": {}, "capabilities": []}}\r\n')
        replies = {
            b"qmp_capabilities": b'{"return": {}}',
            b"query-status": b'{"return": {"status": "paused", "running": false}}',
        }
        while line := self.rfile.readline():
            assert line.endswith(b"\r\n")
            self.wfile.write(replies[line.split(b'"')[3]] + b"\r\n")


def test_the_monitor_of_qemu_is_asked_in_its_own_words(tmp_path: Path) -> None:
    """Its capabilities are agreed on before it is asked, and the host does not wait for the end of the connection."""
    path = tmp_path / "qmp.sock"
    with UnixStreamServer(str(path), Qemu) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state = run(f'ask_monitor qmp:{path}; echo "$monitor_state"', "behind").strip()
        server.shutdown()
    assert state == "paused"


@pytest.mark.parametrize(
    ("machine", "backend", "told"),
    [
        ("vm.service\x1enone0\x1e\x1e", "", ["tap absent"]),
        ("vm.service\x1elo\x1e\x1e", "", ["tap unknown 1 "]),
        ("vm.service\x1e\x1e\x1eapi:/nowhere", "http://127.0.0.9:80/", ["monitor absent", "neighbour "]),
        ("vm.service\x1e\x1e\x1e", "", []),
    ],
)
def test_a_machine_is_told_from_outside(machine: str, backend: str, told: list[str]) -> None:
    """Each fact that the target file makes possible is one line; a process that is not there has none."""
    text = 'declare -A value=(); find_machine "$MACHINE" "$BACKEND"; printf %s "$facts_seen"'
    values = {"MACHINE": machine, "BACKEND": backend}
    assert run(text, "numbers", "contract", "clock", "files", "behind", values=values).splitlines() == told


def test_a_container_without_a_first_process_is_not_looked_into() -> None:
    """Nothing else is said of one that is not up."""
    text = "declare -A value=() LEADER=(); find_container container@box.service box/app.service; echo $facts_seen"
    assert run(text, "numbers", "contract", "behind") == "leader none\n"


@pytest.mark.parametrize(("address", "state"), [("10.0.0.1", "REACHABLE"), ("10.0.0.10", "FAILED"), ("10.0.0.2", "")])
def test_the_way_to_each_machine_is_its_own(address: str, state: str) -> None:
    """All are asked for at once, and no address is taken for one that begins alike."""
    text = f"""
      declare -A value=()
      ask_within() {{ answered=$'10.0.0.1 dev tap0 lladdr 02:00 REACHABLE \\n10.0.0.10 dev tap1 FAILED '; }}
      ask_neighbours 10.0.0.1 10.0.0.10 10.0.0.2
      find_machine vm.service$RS$RS$RS http://{address}:80/
      echo "$facts_seen"
    """
    assert run(text, "numbers", "contract", "clock", "files", "behind") == f"neighbour {state}\n"
