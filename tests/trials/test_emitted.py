"""Diagnostics are recognised in the forms in which tools print them, and in no others."""

from __future__ import annotations

import pytest

from switchproof.trials.emitted import shows_journal, shows_sockets, shows_state

UNIT = "cloud-hypervisor@live.service"

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
}


@pytest.mark.parametrize("text", STATES.values(), ids=STATES)
def test_a_state_is_recognised(text: str) -> None:
    """However systemctl was asked."""
    assert shows_state(f"deploying\n{text}done\n", [UNIT])


@pytest.mark.parametrize("text", NO_STATES.values(), ids=NO_STATES)
def test_what_is_no_state_is_none(text: str) -> None:
    """A name alone, a journal and another unit's state are not the unit's state."""
    assert not shows_state(f"deploying\n{text}done\n", [UNIT])


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
    assert not shows_sockets(line)
    assert not shows_state(line + UNIT, [UNIT])


def test_a_journal_is_recognised_by_its_word() -> None:
    """One of the words is enough, and another word is none."""
    assert shows_journal("Nov 23 sandbox[1]: GET /health 200 word2\n", ["word1", "word2"])
    assert not shows_journal("Nov 23 sandbox[1]: GET /health 200 word3\n", ["word1", "word2"])
