"""What the host sees of what is behind an endpoint."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

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
    path = tmp_path / "api.sock"
    with UnixStreamServer(str(path), Monitor) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        told = run(f"ask_monitor api:{path}; ask_monitor api:{tmp_path}/none", "behind")
        server.shutdown()
    assert told == "running\nabsent\n"
    assert run(f"ask_monitor api:{path}", "behind") == "silent\n"


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
    assert run(text, "numbers", "clock", "files", "behind", values=values).splitlines() == told


def test_a_container_without_a_first_process_is_not_looked_into() -> None:
    """Nothing else is said of one that is not up."""
    text = "declare -A value=() LEADER=(); find_container container@box.service box/app.service; echo $facts_seen"
    assert run(text, "numbers", "behind") == "leader none\n"
