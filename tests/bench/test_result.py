"""What the bench counts as right, and what it says of the runs."""

from pathlib import Path

import pytest

from bench.contenders import CHECKS, Contender, Floor, Pyinfra, Sample, Switchproof, floor_right
from bench.ground import Ground, Way, target
from bench.verify import Series, render
from switchproof.deploy.providers import load
from switchproof.deploy.providers.ssh.table import Ssh, SshHost
from tests.answers import HOST_KEY

SYSTEM = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-choiros-a-25.11"
SAID = f"""\
{{"status":"healthy","version":"v1","instance_role":"live","hostname":"choiros-a"}}
HTTP 200 http://127.0.0.1:8080/health
<head><title>ChoirOS</title></head>
HTTP 200 http://127.0.0.1:9090/login
{{"status":"healthy","instance_role":"dev","version":"v1","uptime":3.20,"hostname":"choiros-a"}}
HTTP 200 http://127.0.0.1:8081/health
Id=hypervisor.service
ActiveState=active

Id=socat-sandbox@live.service
ActiveState=active

Id=socat-sandbox@dev.service
ActiveState=active
{SYSTEM}
{SYSTEM}
LISTEN 0 64 127.0.0.1:8080 0.0.0.0:*
LISTEN 0 64 127.0.0.1:8081 0.0.0.0:*
LISTEN 0 64 127.0.0.1:9090 0.0.0.0:*
"""


def _ground(folder: Path, hosts: int) -> Ground:
    ways = tuple(Way(f"h{number}", 2200 + number, HOST_KEY) for number in range(hosts))
    return Ground(ways, 0.04, folder / "id_ed25519", folder)


def _series(ground: Ground, contender: Contender, *samples: Sample) -> Series:
    return Series(ground, contender, list(samples))


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("Id=socat-sandbox@dev.service\nActiveState=active", "Id=socat-sandbox@dev.service\nActiveState=failed"),
        ("LISTEN 0 64 127.0.0.1:8081", "LISTEN 0 64 127.0.0.1:80810"),
        ('"instance_role":"dev"', '"instance_role":"live"'),
        (f"{SYSTEM}\n{SYSTEM}\n", f"{SYSTEM}\n{SYSTEM}.v2\n"),
    ],
)
def test_a_wrong_answer_of_the_floor_is_seen(said: str, instead: str) -> None:
    """All ten are right in a good answer, and nine when one thing is wrong."""
    assert floor_right(SAID) == CHECKS
    assert floor_right(SAID.replace(said, instead)) == CHECKS - 1


def test_answers_that_did_not_all_come_are_none() -> None:
    """With one HTTP status missing, no answer counts: which one it was is not known."""
    assert floor_right(SAID.replace("HTTP 200", "HTTP 502", 1)) == CHECKS - 3


def test_the_target_file_is_one(tmp_path: Path) -> None:
    """What is written for ourselves is a target file of the provider ovh that asks once, of every host."""
    path = tmp_path / "target.toml"
    path.write_text(target(_ground(tmp_path, 8), "file:///srv/sample.git"), encoding="utf-8")
    read = load(path, {})
    assert read.provider == "ovh"
    assert [host.part(SshHost).port for host in read.hosts] == list(range(2200, 2208))
    assert (read.health.answers, read.health.soak_s) == (1, 0.0)
    assert not read.table(Ssh).agent


def test_a_failed_contender_is_shown(tmp_path: Path) -> None:
    """A contender that failed once stands in the table as failed, with the reason below it."""
    ground = _ground(tmp_path, 1)
    text = render(
        [
            _series(ground, Switchproof(), Sample(1.0, 0.5)),
            _series(ground, Floor(), Sample(0.4, 0.4)),
            _series(ground, Pyinfra("pyinfra"), Sample(0.9), Sample(0.1, problem="no such host")),
        ],
        [],
    )
    assert "| 1 | 40 ms | pyinfra | failed |" in text
    assert "- pyinfra, 1 host, 40 ms: failed: no such host" in text
    assert "faster than every peer" not in text


def test_aims_that_are_missed_are_told(tmp_path: Path) -> None:
    """Ratios and aims come from medians, and a missed aim is said to be missed."""
    one, eight = _ground(tmp_path, 1), _ground(tmp_path, 8)
    text = render(
        [
            _series(one, Switchproof(), Sample(1.0, 0.5), Sample(9.0, 9.0), Sample(1.0, 0.5)),
            _series(one, Floor(), Sample(0.25, 0.25)),
            _series(one, Pyinfra("pyinfra"), Sample(0.5)),
            _series(eight, Switchproof(), Sample(1.5, 1.0)),
        ],
        [],
    )
    assert "1 host, 40 ms: network part within 1.25 of the floor: no (2.00)" in text
    assert "1 host, 40 ms: faster than every peer: no (the fastest, pyinfra, takes 0.50 times as long)" in text
    assert "8 hosts, 40 ms: within twice the time of one host: yes (1.50)" in text
