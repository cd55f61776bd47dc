"""An endpoint behind a login is asked with headers out of a file on its host, which nothing else sees."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from switchproof.deploy.observe.answers import NOT_SENT
from tests.host_functions import run

ANSWERED = "ANSWER_TIMEOUT_S=10 MAX_BYTES=1000\ndeclare -A LEADER=()\n"


class Guarded(BaseHTTPRequestHandler):
    """Answers 200 to whom it knows, and 401 to others."""

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == "Bearer s3cret" and self.headers.get("X-Team") == "ops"
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(b"healthy" if known else b"who are you?")

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/health"
        server.shutdown()


def asked(url: str, headers: str, tmp_path: Path) -> list[str]:
    """Ask as the host does, with a curl that notes its arguments; return the fields of the answer."""
    noting = tmp_path / "curl"
    noting.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/arguments\nexec {shutil.which("curl")} "$@"\n')
    noting.chmod(0o755)
    values = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    text = f"""{ANSWERED}
      question='http'$RS'{url}'$RS'{headers}'
      if take_question web "$question" '{tmp_path}/body'; then
        ask_urls '' "${{asking[@]}}"
      else
        printf web$US; ask_endpoint "$question"
      fi
    """
    name, *answer = run(text, "contract", "probes", values=values).strip("\n").split("\x1f")
    assert name == "web"
    return answer


def test_headers_are_sent_and_stand_nowhere_else(url: str, tmp_path: Path) -> None:
    """The endpoint lets the host in by the file's headers; curl's arguments hold the path alone."""
    (tmp_path / "headers").write_text("Authorization: Bearer s3cret\nX-Team: ops\n")
    answer = asked(url, str(tmp_path / "headers"), tmp_path)
    assert (answer[0], answer[3]) == ("200", "0")
    arguments = (tmp_path / "arguments").read_text()
    assert f"@{tmp_path / 'headers'}" in arguments
    assert "s3cret" not in "".join([arguments, *answer])
    assert asked(url, "", tmp_path)[0] == "401"


def test_a_file_that_cannot_be_read_is_named(url: str, tmp_path: Path) -> None:
    """Without the headers nothing is asked, as the answer would be that to a stranger."""
    answer = asked(url, str(tmp_path / "none"), tmp_path)
    assert (answer[0], answer[3]) == ("000", str(NOT_SENT))
    assert answer[-1] == f"{tmp_path / 'none'}, which headers_file names, is not a file that can be read"
    assert not (tmp_path / "arguments").exists()
