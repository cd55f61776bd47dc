"""Diagnostics are recognised in the forms in which tools print them, and in no others."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable

import pytest

from switchproof.trials.emitted import shows_journal, shows_sockets, shows_state
from switchproof.trials.output import readable

UNIT = "cloud-hypervisor@live.service"
HOSTILE_S = 60.0
"""Seconds of processor time for a hostile output; a quadratic search takes many minutes."""

STATES = {
    "status": (
        "● cloud-hypervisor@live.service - ChoirOS sandbox live\n"
        "     Loaded: loaded (/etc/systemd/system/cloud-hypervisor@.service; linked)\n"
        "    Drop-In: /etc/systemd/system/cloud-hypervisor@live.service.d\n"
        "             └─overrides.conf\n"
        "     Active: active (running) since Mon 2026-11-23 12:00:00 UTC; 3s ago\n"
    ),
    "failed": "* cloud-hypervisor@live.service - ChoirOS sandbox live\n     Active: failed (Result: exit-code)\n",
    "show": "Type=exec\nId=cloud-hypervisor@live.service\nLoadState=loaded\nActiveState=failed\n",
    "show, in another order": "ActiveState=failed\nSubState=failed\nId=cloud-hypervisor@live.service\n",
    "under its name": "== cloud-hypervisor@live.service\nType=exec\nMainPID=0\nActiveState=failed\nSubState=failed\n",
    "list-units": "● cloud-hypervisor@live.service loaded failed failed ChoirOS sandbox live\n",
    "is-active": "cloud-hypervisor@live: failed\n",
    "a sentence": "cloud-hypervisor@live.service is inactive\n",
    "list-units as JSON": (
        '[{"unit":"cloud-hypervisor@live.service","load":"loaded","active":"failed","sub":"failed","description":""}]\n'
    ),
}
NO_STATES = {
    "nothing": "",
    "a name": "cloud-hypervisor@live.service\n",
    "a journal": "Nov 23 12:00:00 a systemd[1]: Started cloud-hypervisor@live.service - ChoirOS sandbox live.\n",
    "of another unit": "● cloud-hypervisor@dev.service - ChoirOS sandbox dev\n     Active: active (running)\n",
    "another's below it": (
        "restarting the following units: cloud-hypervisor@live.service\n\n● ssh.service\n    Active: active\n"
    ),
    "a unit that ends alike": "● my-cloud-hypervisor@live.service - x\n     Active: active (running)\n",
    "another's properties": "Id=ssh.service\nActiveState=active\n\nId=cloud-hypervisor@live.service\n",
    "a word after it": "cloud-hypervisor@live.service activated in 3 s\n",
    "of another host": "a | ● cloud-hypervisor@live.service - x\nb |      Active: active (running)\n",
    "as JSON of another unit": (
        '[{"unit":"cloud-hypervisor@live.service","load":"loaded"},{"unit":"ssh.service","active":"active"}]\n'
    ),
}
PREFIXES = {
    "a host and a bar": "choiros-a | ",
    "a host in brackets": "[choiros-a] ",
    "a host and a colon": "choiros-a: ",
    "a time of GitHub": "2026-11-23T12:00:0{0}.12345{0}7Z ",
    "a time of GitLab": "2026-11-23T12:00:0{0}.12345{0}Z 01O ",
    "a time and a level": "[12:00:0{0}] INFO  choiros-a: ",
    "a sign": "\u2139\ufe0f [activate] [INFO] ",
}


@pytest.mark.parametrize("text", STATES.values(), ids=STATES)
def test_a_state_is_recognised(text: str) -> None:
    """However systemctl was asked."""
    assert shows_state(f"deploying\n{text}done\n", [UNIT])


@pytest.mark.parametrize("text", NO_STATES.values(), ids=NO_STATES)
def test_what_is_no_state_is_none(text: str) -> None:
    """A name alone, a journal and another unit's state are not the unit's state."""
    assert not shows_state(f"deploying\n{text}done\n", [UNIT])


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
@pytest.mark.parametrize("form", ["status", "show", "under its name", "list-units", "is-active"])
def test_a_state_is_recognised_behind_what_tools_put_before_each_line(form: str, prefix: str) -> None:
    """A host's name, a time or a level before each line, different from line to line only in numbers."""
    lines = [f"{prefix.format(number)}{line}" for number, line in enumerate(STATES[form].splitlines())]
    assert shows_state("\n".join(lines), [UNIT])


def aws_cli(output: str) -> str:
    """What `aws ssm get-command-invocation` prints by default."""
    answer = {"CommandId": "c", "Status": "Failed", "StandardOutputContent": output, "StandardErrorContent": ""}
    return json.dumps(answer, indent=4)


PACKED = {
    "as it is": lambda text: text,
    "the AWS CLI": aws_cli,
    "the AWS CLI in a service's JSON": lambda text: json.dumps({"log": aws_cli(text)}),
    "a response that Python prints": lambda text: repr({"Status": "Failed", "StandardOutputContent": text}),
    "a log that colmena repeats": lambda text: "".join(f"ERROR   stdout) {line}\n" for line in text.splitlines()),
    "colours": lambda text: "".join(f"\x1b[1;31m{line}\x1b[0m\n" for line in text.splitlines()),
    "colours in the AWS CLI's JSON": lambda text: aws_cli("".join(f"\x1b[1m{x}\x1b[0m\n" for x in text.splitlines())),
    "a group of GitHub's log": lambda text: f"##[group]diagnostics\n{text}##[endgroup]\n".replace("\n", "\r\n"),
    "a section of GitLab's log": lambda text: f"section_start:1:x[collapsed=true]\r\x1b[0K{text}",
    "lines of Ansible": lambda text: json.dumps({"rc": 3, "stdout_lines": text.splitlines()}, indent=4),
    "lines of Ansible in one": lambda text: json.dumps({"stdout_lines": text.splitlines()}),
    "lines of JSON": lambda text: "".join(f"{json.dumps({'level': 'info', 'msg': x})}\n" for x in text.splitlines()),
    "slurp": lambda text: json.dumps({"content": b64encode(text.encode()).decode(), "encoding": "base64"}),
    "Lambda": lambda text: json.dumps({"StatusCode": 200, "LogResult": b64encode(text.encode()).decode()}),
}
TABLE = "State  Recv-Q Send-Q Local Address:Port\nLISTEN 0 64 127.0.0.1:9090 0.0.0.0:* users:((x))\n"


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_diagnostics_are_recognised_however_a_tool_gives_them(pack: Callable[[str], str]) -> None:
    """All three: in JSON, in base64 where a tool is known to give that, and among what a terminal understands."""
    text = readable(pack(f'{STATES["status"]}Nov 23 12:00:00 a start[1]: it\'s "word1"\n{TABLE}'))
    assert shows_state(text, [UNIT])
    assert shows_sockets(text)
    assert shows_journal(text, ["word1"])


@pytest.mark.parametrize("text", NO_STATES.values(), ids=NO_STATES)
@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_packing_makes_no_state_of_what_is_none(pack: Callable[[str], str], text: str) -> None:
    """What was none before is none inside another text."""
    assert not shows_state(readable(pack(text)), [UNIT])


def test_base64_that_nobody_announced_is_no_text() -> None:
    """A path that prints something encoded has shown it to nobody."""
    assert not shows_state(readable(json.dumps({"content": b64encode(STATES["status"].encode()).decode()})), [UNIT])


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("State  Recv-Q Send-Q Local Address:Port\nLISTEN 0 64 127.0.0.1:9090 0.0.0.0:* users:((x))\n", True),
        ("LISTEN 0      64     *:8080 *:*\n", True),
        ("tcp        0      0 127.0.0.1:9090          0.0.0.0:*               LISTEN      12/hypervisor\n", True),
        ("Netid State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n", True),
        ("hypervisor v2 listens on 127.0.0.1:9090\n", False),
        ("LISTEN\n", False),
        ("   CGroup: 12 socat TCP-LISTEN:8081,bind=127.0.0.1,fork TCP:10.0.0.101:8080\n", False),
        ("", False),
    ],
)
def test_sockets_are_recognised(text: str, there: bool) -> None:
    """As ss and netstat list them; a program that says where it listens lists nothing."""
    assert shows_sockets(text) is there


def test_a_line_without_end_takes_no_time() -> None:
    """A report on one line, as long as a path likes, is looked through at once."""
    line = "x LISTEN " * 400_000
    assert not shows_sockets(readable(line))
    assert not shows_state(readable(line + UNIT), [UNIT])


@pytest.mark.parametrize(
    "text",
    [
        '"\\"' * 300_000,
        "ActiveState=active\n" * 100_000,
        f"x={UNIT}\n" * 100_000,
        "\x1b]" * 300_000,
        f"{UNIT}\n a\n" * 50_000,
    ],
    ids=["quotes", "states", "properties", "escapes", "headings"],
)
def test_a_hostile_output_takes_no_time(text: str) -> None:
    """What is long and almost right is looked through in seconds, not in hours."""
    began = time.process_time()
    assert not shows_state(readable(text), [UNIT])
    assert time.process_time() - began < HOSTILE_S


def test_a_journal_is_recognised_by_its_word() -> None:
    """One of the words is enough, and another word is none."""
    assert shows_journal("Nov 23 sandbox[1]: GET /health 200 word2\n", ["word1", "word2"])
    assert not shows_journal("Nov 23 sandbox[1]: GET /health 200 word3\n", ["word1", "word2"])
