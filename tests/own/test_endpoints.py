"""Sessions on hosts with other units than ours: any number, any names, any kind of probe."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, ExitCode
from tests.answers import SHA
from tests.own.sessions import Asked, Scenario, run_alone

HYPERVISOR = """
[hypervisor]
units = ["hypervisor.service"]
listen = "127.0.0.1:9090"
url = "http://127.0.0.1:9090/login"
"""
ONE = """
[runtime.web]
units = ["web.service"]
listen = "127.0.0.1:80"
url = "http://127.0.0.1/"
"""
FIVE = """
[runtime.api]
units = ["api.service"]
probe = "https"
listen = "127.0.0.1:8443"
url = "https://api.example:8443/health"
ca_file = "/etc/ssl/ours.pem"
contains = "healthy"
[runtime.mail]
units = ["mail.socket", "mail.service"]
probe = "tcp"
listen = "127.0.0.1:25"
expect = "220 "
[runtime.queue-2]
units = ["queue.service"]
probe = "unix"
listen = "/run/queue/queue.sock"
url = "http://localhost/"
[runtime.db]
units = ["db.service"]
probe = "exec"
command = ["/run/current-system/sw/bin/db-ready", "--quiet", "a b"]
user = "db"
exit_code = 3
[runtime.4]
units = ["api.service", "four.service"]
listen = "127.0.0.1:4444"
url = "http://127.0.0.1:4444/"
"""
PROBES = {
    "hypervisor": "http http://127.0.0.1:9090/login",
    "web": "http http://127.0.0.1/",
    "api": "https https://api.example:8443/health",
    "mail": "tcp 127.0.0.1:25",
    "queue-2": "unix /run/queue/queue.sock http://localhost/",
    "db": "exec /run/current-system/sw/bin/db-ready --quiet 'a b'",
    "4": "http http://127.0.0.1:4444/",
}
WANTED = {
    "api": "HTTP 200 from https://api.example:8443/health, with a certificate that the authorities in /etc/ssl/",
    "mail": "a connection to 127.0.0.1:25 that a process of mail.service accepts, a banner with '220 '",
    "queue-2": "HTTP 200 from http://localhost/ over /run/queue/queue.sock",
    "db": "exit code 3 of /run/current-system/sw/bin/db-ready --quiet 'a b', run as db",
}


@pytest.mark.parametrize(("runtime", "names"), [(ONE, ["web"]), (FIVE, ["api", "mail", "queue-2", "db", "4"])])
@pytest.mark.parametrize("options", [("--audit",), (f"--sha={SHA}",)])
def test_any_number_and_names_of_units(
    runtime: str, names: list[str], options: tuple[str, ...], tmp_path: Path
) -> None:
    """One unit or five, of every kind: each has its checks, and every line of the report says how it was asked."""
    ended = run_alone(tmp_path / "run", Scenario(options=options, endpoints=HYPERVISOR + runtime), kind=Asked)
    assert ended.status == ExitCode.CANONICAL, ended.output
    (clause,) = (clause for clause in ended.record.host("a").clauses if clause.id is Clause.RUNTIME)
    assert {check.id.split("/")[1] for check in clause.checks} == set(names)
    assert len(clause.checks) == 4 * len(names)
    watches = {watch.endpoint: watch for watch in ended.record.host("a").watches}
    assert {name: watch.probe for name, watch in watches.items()} == {
        name: PROBES[name] for name in ["hypervisor", *names]
    }
    page = (ended.folder / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")
    for name in names:
        assert f'<th scope="row">{name} <small>{PROBES[name]}</small></th>' in page
    expected = {check.id: check.expected for check in clause.checks}
    for name in WANTED.keys() & set(names):
        assert expected[f"runtime/{name}/it-answers-as-it-should"].startswith(WANTED[name])
    raw = json.loads((ended.folder / "record.json").read_text(encoding="utf-8"))
    assert not re.search(r"(?<!/)\b(?:live|dev)\b", json.dumps([host["clauses"] for host in raw["hosts"]]))
