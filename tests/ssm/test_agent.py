"""The stand-in for the agent replies as the real one was seen to reply, and as its source says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from switchproof.deploy.providers.lab.ssm.commands import Command, Pace
from switchproof.deploy.providers.lab.ssm.documents import RUN_SHELL_SCRIPT, read_document
from switchproof.deploy.providers.lab.ssm.errors import Refused
from switchproof.deploy.providers.lab.ssm.faults import Fault
from switchproof.deploy.providers.lab.ssm.instance import WAITING, WORKERS, Instance
from switchproof.deploy.providers.lab.ssm.outputs import Finished, Reply, cut, reply_to, text_of

SOON_S = 20.0
AT_ONCE = Pace().times(0.001)
FAILED_STEP = "Therefore, marking step as Failed."
SKIPPED = "Further document steps will be skipped."


def reply(code: int, stdout: bytes = b"", stderr: bytes = b"", **more: Any) -> Reply:
    """The agent's reply of a script that nobody cancelled."""
    return reply_to(Finished(code, stdout, stderr, **more), cancelled=False)


def test_output_is_cut_in_bytes() -> None:
    """24,000 bytes of a stream are cut already; the mark is part of what is passed on."""
    assert reply(0, b"o" * 23_999).stdout == "o" * 23_999
    assert reply(0, b"o" * 24_000).stdout == "o" * 23_980 + "--output truncated--"
    assert reply(0, b"", b"e" * 9_000).stderr == "e" * 9_000
    assert reply(3, b"", b"e" * 24_100).stderr == "e" * 23_980 + "--output truncated--"
    # 11,990 characters of two bytes, one byte before them: the last one is cut in two.
    told = reply(0, b"o" + "é".encode() * 12_000).stdout
    assert told == "o" + "é" * 11_989 + "\ufffd--output truncated--"
    assert cut(b"", 24_000) == b""


def test_aws_returns_the_first_8000_characters_of_standard_error_without_a_mark() -> None:
    """So the agent's own last line, with the exit status, is not there after a long standard error."""
    command = Command({"Parameters": {"commands": ["x"]}}, "i-1", RUN_SHELL_SCRIPT, set())
    command.conclude(reply(7, b"", b"e" * 7_990))
    told = command.invocation()["StandardErrorContent"]
    assert told == "e" * 7_990 + "failed to "


TITLE = "\n----------ERROR-------\n"
NO_MORE_OUT, NO_MORE_ERR = "\n---Output truncated---", "\n---Error truncated----"


@pytest.mark.parametrize(
    ("out", "err", "kept"),
    [
        (2499, 0, "o" * 2499),
        (2500, 0, "o" * 2477 + NO_MORE_OUT),
        (2474, 1, "o" * 2474 + TITLE + "e"),
        (2475, 1, "o" * 2452 + NO_MORE_OUT + TITLE + "e"),
        (2450, 30, "o" * 2423 + NO_MORE_OUT + TITLE + "e" * 30),
        (0, 2475, TITLE + "e" * 2475),
        (0, 2476, TITLE + "e" * 2453 + NO_MORE_ERR),
        (100, 2400, "o" * 100 + TITLE + "e" * 2353 + NO_MORE_ERR),
        (1200, 1275, "o" * 1200 + TITLE + "e" * 1275),
        (3000, 3000, "o" * 1215 + NO_MORE_OUT + TITLE + "e" * 1215 + NO_MORE_ERR),
    ],
)
def test_both_streams_share_2500_bytes_as_the_real_agent_shared_them(out: int, err: int, kept: str) -> None:
    """The shorter stream stays whole, and each cut stream says so: the numbers are those of the real agent."""
    assert reply(0, b"o" * out, b"e" * err).both == kept


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    """Each one byte, as Go's JSON does it."""
    assert text_of(b"a\xff\xc3\xe2\x82z") == "a\ufffd\ufffd\ufffd\ufffdz"


@pytest.mark.parametrize(
    ("finished", "expected"),
    [
        (Finished(0, b"o", b"e"), ("Success", "Success", 0, "o", "e")),
        (Finished(3, b"o", b"e\n"), ("Failed", "Failed", 3, "o", "e\nfailed to run commands: exit status 3")),
        (Finished(-9, b"", b""), ("Failed", "Failed", -1, "", "failed to run commands: signal: killed")),
        (Finished(137, b"o", b"e"), ("TimedOut", "ExecutionTimedOut", 137, "o", "e")),
        (Finished(137, b"o", b"e", late=True), ("TimedOut", "ExecutionTimedOut", 137, "o", "e")),
        (
            Finished(168, b"o", b"e"),
            (
                "Success",
                "Success",
                168,
                f"o\nStep exited with code 168. Therefore, marking step as succeeded. {SKIPPED}",
                "",
            ),
        ),
        (
            Finished(169, b"o", b""),
            (
                *("Failed", "Failed", 169),
                f"o\nStep exited with code 169. {FAILED_STEP} {SKIPPED}",
                f"failed to run commands: exit status 169\nStep exited with code 169. {FAILED_STEP} {SKIPPED}",
            ),
        ),
    ],
    ids=["good", "exit-3", "signal", "137", "late", "168", "169"],
)
def test_an_end_is_told_in_the_agent_s_words(finished: Finished, expected: tuple[str, str, int, str, str]) -> None:
    """What an exit code means to the agent, and which sentences it adds."""
    told = reply_to(finished, cancelled=False)
    assert (told.status, told.details, told.code, told.stdout, told.stderr) == expected


def test_a_cancelled_script_has_code_137_and_keeps_its_output() -> None:
    """Cancelling kills the script; what it had printed is passed on."""
    told = reply_to(Finished(-9, b"so far", b""), cancelled=True)
    assert (told.status, told.code, told.stdout) == ("Cancelled", 137, "so far")


def test_a_limit_below_five_seconds_means_an_hour() -> None:
    """The agent takes its default where a limit is outside of what it takes."""
    for given, limit_s in (("4", 3600), ("5", 5), ("172800", 172_800)):
        assert RUN_SHELL_SCRIPT.script({"commands": ["true"], "executionTimeout": [given]}).limit_s == limit_s


def made(line: str, pattern: str = ".*") -> Any:
    """A document of one line with the parameter x."""
    parameter = f'{{"type": "String", "allowedPattern": "{pattern}"}}'
    step = f'{{"action": "aws:runShellScript", "name": "s", "inputs": {{"runCommand": ["{line}"]}}}}'
    content = f'{{"schemaVersion": "2.2", "parameters": {{"x": {parameter}}}, "mainSteps": [{step}]}}'
    return read_document("Own", content)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("{{ x }}", "a$$b"),
        ("{{x}}", "a$$b"),
        ("echo {{ x }}$$", "echo a$b$$"),
        (" {{ x }}", " a$b"),
        ("{{ y }}", "{{ y }}"),
    ],
)
def test_a_value_inside_a_line_loses_half_of_its_dollars(line: str, text: str) -> None:
    """In a longer line `$$` in a value becomes `$`; alone on its line a value stays as it is."""
    assert made(line).script({"x": ["a$$b"]}).text == text


def test_the_end_of_a_pattern_is_the_end_of_the_value() -> None:
    """`$` means the end of the text, as in Go, and a dollar in a class or behind a backslash is a dollar."""
    with pytest.raises(Refused):
        made("{{ x }}", "^a$").script({"x": ["a\n"]})
    assert made("{{ x }}", "^[$]a$").script({"x": ["$a"]}).text == "$a"


class Host:
    """A host whose scripts end as they are told."""

    def __init__(self, end: Callable[[int, threading.Event], Finished]) -> None:
        self.runs: list[str] = []
        self._end = end

    def run(self, command: str, _: object, __: str, ending: threading.Event, *, bare_path: bool = False) -> Finished:
        assert not bare_path
        self.runs.append(command)
        return self._end(len(self.runs), ending)

    def forget(self) -> None:
        """Nothing is left there."""


@pytest.fixture
def instances() -> Iterator[list[Instance]]:
    """Instances to close in the end."""
    made: list[Instance] = []
    yield made
    for instance in made:
        instance.close()


def instance_of(host: Host, instances: list[Instance], pace: Pace = AT_ONCE) -> Instance:
    """An instance with such a host."""
    agent: Any = host
    instances.append(Instance(agent, pace, lambda *_: None))
    return instances[-1]


def send(instance: Instance, *faults: Fault, **request: Any) -> Command:
    """Send a command."""
    command = Command({"Parameters": {"commands": ["x"]}, **request}, "i-0", RUN_SHELL_SCRIPT, set(faults))
    instance.begin(command)
    return command


def wait_for(what: Callable[[], object]) -> None:
    """Wait for a state."""
    deadline = time.monotonic() + SOON_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def good(_: int, __: threading.Event) -> Finished:
    """A script that ends well."""
    return Finished(0, b"out", b"")


def test_five_run_and_five_wait(instances: list[Instance]) -> None:
    """All that the agent took are in progress, also those that wait for a worker; it refuses more until one ends."""
    go_on = threading.Event()

    def wait(_: int, __: threading.Event) -> Finished:
        go_on.wait(SOON_S)
        return Finished(0, b"", b"")

    host = Host(wait)
    instance = instance_of(host, instances)
    sent = [send(instance) for _ in range(WORKERS + WAITING + 2)]
    wait_for(lambda: sum(command.status == "InProgress" for command in sent) == WORKERS + WAITING)
    wait_for(lambda: len(host.runs) == WORKERS)
    assert sorted(command.status for command in sent)[-2:] == ["Pending", "Pending"]
    go_on.set()
    wait_for(lambda: all(command.status == "Success" for command in sent))


def test_a_message_is_taken_once(instances: list[Instance]) -> None:
    """The same message twice does not run twice."""
    host = Host(good)
    command = send(instance_of(host, instances), Fault.DELIVERED_TWICE)
    wait_for(lambda: command.over)
    assert host.runs == [command.id]


def test_exit_194_stops_everything_until_the_reboot(instances: list[Instance]) -> None:
    """Until its restart the agent takes nothing; then the script runs again, and its output follows the first one."""
    host = Host(lambda run, _: Finished(194 if run == 1 else 0, b"%d." % run, b""))
    instance = instance_of(host, instances, Pace(pickup_s=0, reboot_s=0.5, report_s=0))
    first = send(instance)
    wait_for(lambda: instance._rebooting)
    second = send(instance)
    wait_for(lambda: first.over or second.status != "Pending")
    assert first.status == "Success"
    assert first.reply
    assert first.reply.stdout == "1.2."
    wait_for(lambda: second.over)
    assert host.runs == [first.id, first.id, second.id]


def test_a_killed_worker_is_told_late_and_with_nothing(instances: list[Instance]) -> None:
    """Failed with code 1 and neither output nor errors, a minute later, up to which it counts as running."""
    host = Host(lambda _, ending: Finished(-9 if ending.wait(SOON_S) else 0, b"lost", b"lost"))
    command = send(instance_of(host, instances, Pace(pickup_s=0, worker_lost_s=0.2)), Fault.AGENT_DIES)
    wait_for(lambda: command.over)
    told = command.invocation()
    assert (told["Status"], told["ResponseCode"]) == ("Failed", 1)
    assert (told["StandardOutputContent"], told["StandardErrorContent"]) == ("", "")
    assert "failed unexpectedly" in command.listed_invocation(plugins=True)["CommandPlugins"][0]["Output"]
    assert command.ended
    assert command.known
    assert command.spent.host_s >= 0.2


def test_what_died_with_the_agent_is_told_a_minute_after_its_return(instances: list[Instance]) -> None:
    """The new agent knows of the script, and waits for its worker first."""
    host = Host(lambda _, ending: Finished(-9 if ending.wait(SOON_S) else 0, b"lost", b"lost"))
    instance = instance_of(host, instances, Pace(pickup_s=0, back_s=0.3, worker_lost_s=0.3))
    command = send(instance)
    wait_for(lambda: host.runs)
    instance.die()
    wait_for(lambda: instance.online)
    assert command.status == "InProgress"
    wait_for(lambda: command.over)
    assert command.invocation()["Status"] == "Failed"
    assert command.spent.host_s >= 0.5


def test_an_agent_whose_processes_were_killed_is_back_after_a_while(instances: list[Instance]) -> None:
    """NixOS starts it again 90 s after; until then it is away."""
    instance = instance_of(Host(good), instances, Pace(back_s=0.3))
    instance.die()
    assert not instance.online
    wait_for(lambda: instance.online)


def test_reconnecting_takes_the_longer_the_longer_it_was_away(
    instances: list[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts come after 5, 15, 35 … s, at most 40 minutes apart; between them the agent stays away."""
    now = [1000.0]
    monkeypatch.setattr("switchproof.deploy.providers.lab.ssm.instance.time.monotonic", lambda: now[0])
    instance = instance_of(Host(good), instances, Pace())
    for away_s, back_s in ((1, 5), (20, 35), (7200, 7355)):
        began = now[0]
        instance.go_offline()
        now[0] = began + away_s
        instance.come_back()
        now[0] = began + back_s - 1
        assert not instance.online
        now[0] = began + back_s
        assert instance.online


def test_a_lost_reply_is_repeated_at_the_agent_s_restart(instances: list[Instance]) -> None:
    """A command whose reply is lost stays in progress, though its script ended, until the agent repeats it."""
    host = Host(good)
    instance = instance_of(host, instances, Pace(pickup_s=0, report_s=0, restart_s=0.05))
    command = send(instance, Fault.REPLY_LOST)
    wait_for(lambda: command.ended)
    assert command.status == "InProgress"
    deadline = time.monotonic() + SOON_S
    while not command.over and time.monotonic() < deadline:
        instance.restart()
        time.sleep(0.1)
    assert command.status == "Success"


def test_a_dropped_message_stays_pending(instances: list[Instance]) -> None:
    """A message that the agent lost is in no status but Pending until somebody cancels the command."""
    host = Host(good)
    instance = instance_of(host, instances)
    command = send(instance, Fault.DROPPED)
    other = send(instance)
    wait_for(lambda: other.over)
    assert command.status == "Pending"
    command.cancel()
    wait_for(lambda: command.over)
    assert (command.status, host.runs) == ("Cancelled", [other.id])


def test_a_reply_that_is_too_long_never_comes(instances: list[Instance]) -> None:
    """24,000 bytes that JSON spells with six each are more than the agent's websocket takes."""
    host = Host(lambda *_: Finished(0, b"\x01" * 24_000, b""))
    instance = instance_of(host, instances)
    command = send(instance)
    wait_for(lambda: command.ended)
    other = send(instance_of(Host(good), instances))
    wait_for(lambda: other.over)
    assert command.status == "InProgress"
    command.cancel()
    wait_for(lambda: command.over)
    assert command.status == "Cancelled"


def test_a_bucket_that_is_away_delays_the_reply(instances: list[Instance]) -> None:
    """Half a minute for each of the two streams, before the status comes."""
    instance = instance_of(Host(good), instances, Pace(pickup_s=0, report_s=0, upload_s=0.2))
    command = send(instance, Fault.BUCKET_AWAY, OutputS3BucketName="b")
    wait_for(lambda: command.over)
    assert command.spent.aws_s >= 0.4


def test_a_pace_is_scaled_as_a_whole() -> None:
    """Every duration becomes shorter, and output is read faster."""
    assert (AT_ONCE.back_s, AT_ONCE.output_rate) == pytest.approx((0.095, 500e6))
