"""What the bench counts as right, and what it says of the runs."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from bench.contenders import CHECKS, Contender, Ended, Floor, Pyinfra, Sample, Switchproof, edges, floor_right
from bench.cost import Cost, used_s
from bench.ground import Ground, Way, target
from bench.verify import Series, render
from switchproof.deploy.providers import load
from switchproof.deploy.providers.ssh.table import Ssh, SshHost
from switchproof.deploy.record.events import PhaseFinished
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


def _ground(folder: Path, hosts: int, round_trip_s: float = 0.04) -> Ground:
    ways = tuple(Way(f"h{number}", 2200 + number, HOST_KEY) for number in range(hosts))
    return Ground(ways, round_trip_s, folder / "id_ed25519", folder)


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
    assert "faster than" not in text


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
    assert "1 host, 40 ms: network part within 1.0 of the floor: no (2.00)" in text
    assert "1 host, 40 ms: faster than pyinfra: no (the fastest, pyinfra, takes 0.50 times as long)" in text
    assert "8 hosts, 40 ms: within twice the time of one host: yes (1.50)" in text


def test_row_has_the_processor_time_of_the_tool_and_of_the_hosts(tmp_path: Path) -> None:
    """The last two columns are medians; what is not known stays empty."""
    one = _ground(tmp_path, 1)
    text = render(
        [
            _series(one, Switchproof(), Sample(1.0, 0.5, cost=Cost(0.4), hosts_s=0.25)),
            _series(one, Pyinfra("pyinfra"), Sample(0.5)),
        ],
        [],
    )
    assert "| switchproof | 1.00 s | 1.00 to 1.00 s | 1.00 | 0.50 s |  | 0.40 s | 0.25 s |" in text
    assert "| pyinfra | 0.50 s | 0.50 to 0.50 s | 0.50 |  |  |  |  |" in text


@pytest.mark.parametrize(("ours_s", "hosts", "is_said"), [(9.0, 40, True), (9.0, 8, False), (4.0, 40, False)])
def test_miss_among_many_hosts_says_what_their_own_work_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours_s: float, hosts: int, *, is_said: bool
) -> None:
    """Hosts on shared processors may explain a miss among many; a few hosts and a hit need no explanation."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    many = _ground(tmp_path, hosts)
    ours = _series(many, Switchproof(), Sample(ours_s, ours_s / 2, hosts_s=9.0))
    text = render([ours, _series(many, Pyinfra("pyinfra"), Sample(6.0))], [])
    said = "of our 9.00 s, 4.50 s (50%) are the hosts' own 9.00 s of processor time on the 2 processors"
    assert (said in text) is is_said


def test_times_of_the_runner_itself_are_aims_on_the_nearest_ground(tmp_path: Path) -> None:
    """The way to the first packet and from the last answer are judged where no distance is in them."""
    sample = Sample(1.0, 0.5, first_packet_s=0.4, exit_s=0.2)
    near = render([_series(_ground(tmp_path, 1, 0.0), Switchproof(), sample)], [])
    assert "- 1 host, 0 ms: from the start to the first packet below 0.45 s: yes (0.40 s)" in near
    assert "- 1 host, 0 ms: from the last answer to the exit below 0.15 s: no (0.20 s)" in near
    assert "first packet" not in render([_series(_ground(tmp_path, 1), Switchproof(), sample)], [])


def test_first_packet_and_last_answer_are_those_that_the_proxy_saw(tmp_path: Path) -> None:
    """Packets of the run before, and the end of a connection after all answers, do not count."""
    notes = tmp_path / "notes"
    connected, answered = (90.0, 100.3, 100.4), (91.0, 100.9, 101.0, 101.2)
    lines = [*(f"{at} connected\n" for at in connected), *(f"{at} answered\n" for at in answered)]
    notes.write_text("".join(lines))
    where = replace(_ground(tmp_path, 1), notes=notes)
    observed = PhaseFinished(host="h1", phase="observe", seconds=0.5, at=dt.datetime.fromtimestamp(101.1, tz=dt.UTC))
    first_packet_s, exit_s = edges(where, Ended(0, "", 100.0, 1.5), [observed])
    assert first_packet_s == pytest.approx(0.3)
    assert exit_s == pytest.approx(0.5)
    assert edges(_ground(tmp_path, 1), Ended(0, "", 100.0, 1.5), [observed]) == (None, None)


def test_processor_time_of_a_host_is_that_of_its_control_group(tmp_path: Path) -> None:
    """The kernel counts microseconds of user and system time together."""
    (tmp_path / "cpu.stat").write_text("usage_usec 12522142\nuser_usec 6247079\nsystem_usec 6275063\n")
    assert used_s(tmp_path) == pytest.approx(12.522142)
