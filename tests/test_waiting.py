"""What waiting cannot mend fails at once, and what may still get well is waited for."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from switchproof.deploy.target.types import Endpoint
from tests.probing import UNIT, script

GOOD_BODY = json.dumps({"status": "healthy"})


@dataclass(frozen=True)
class Look:
    """What one look sees: the unit and the answer."""

    active: str = "active"
    sub: str = "running"
    result: str = "success"
    status: int = 0
    restarts: int = 0
    pid: int = 7
    job: str = ""
    triggered_by: str = ""
    code: int = 200
    curl: int = 0
    body: str = GOOD_BODY

    @property
    def line(self) -> str:
        """The same for the shell."""
        fields = (self.active, self.sub, self.result, self.status, self.restarts, self.pid, self.job)
        return "\x1f".join(map(str, (*fields, self.triggered_by, self.code, self.curl, self.body)))


GOOD = Look()
REFUSED = Look(code=0, curl=7, body="")
FAILED = replace(REFUSED, active="failed", sub="failed", result="exit-code", status=1, pid=0)
WAITS = replace(FAILED, active="activating", sub="auto-restart")


def crashes(*results: tuple[str, int], after: int = 0) -> list[Look]:
    """A unit that fails again and again, each time with a result; seen while it waits for its next start."""
    return [
        replace(WAITS, result=result, status=status, restarts=after + number)
        for number, (result, status) in enumerate(results)
    ]


def answers(code: int, body: str = "") -> Look:
    return Look(code=code, body=body)


def says(**keys: object) -> Look:
    return Look(body=json.dumps({"status": "healthy", **keys}))


EXIT = ("exit-code", 1)
EARLY = {
    "a unit that failed": ([FAILED], 1, "unit-failed", "web.service failed with exit-code 1, and systemd does not"),
    "a unit that reached its start limit": (
        [replace(FAILED, result="start-limit-hit")],
        1,
        "unit-failed",
        "start-",
    ),
    "a unit that was killed": (
        [replace(FAILED, result="signal", status=9)],
        1,
        "unit-failed",
        "with signal 9",
    ),
    "the fifth failure with one result": (
        crashes(*[EXIT] * 5),
        5,
        "failing-alike",
        "failed 5 times with exit-code",
    ),
    "five failures after one of another kind": (
        crashes(("signal", 9), *[EXIT] * 5),
        6,
        "failing-alike",
        "failed 5 times with exit-code",
    ),
    "failures between which it runs for a moment": (
        [look for crash in crashes(*[EXIT] * 5) for look in (crash, replace(REFUSED, restarts=crash.restarts + 1))],
        9,
        "failing-alike",
        "failed 5 times with exit-code",
    ),
    "five equal answers of 500": ([answers(500, "broken")] * 5, 5, "same-answer", "5 times in a row with HTTP 500"),
    "five equal redirects": ([answers(303)] * 5, 5, "same-answer", "with HTTP 303"),
    "500 after it started up": ([REFUSED, answers(503), *[answers(500)] * 5], 7, "same-answer", "with HTTP 500"),
    "another system's version": (
        [says(version="v1", at=at) for at in range(5)],
        5,
        "same-answer",
        '"version" v1, which is not of the system that runs',
    ),
}
"""What is seen, after how many looks it is given up, the word for it, and a part of the evidence."""

LATE = {
    "60 s of 503": [answers(503, "warming up")] * 60,
    "60 s of 502": [answers(502, "warming up")] * 60,
    "three crashes": crashes(*[EXIT] * 3),
    "four failures of one kind, and four of another": crashes(*[EXIT] * 4, *[("signal", 9)] * 4),
    "failures of changing kinds": crashes(*[EXIT, ("signal", 9)] * 10),
    "ends well and starts again": crashes(*[("success", 0)] * 20),
    "a notify unit that takes 50 s": [replace(REFUSED, active="activating", sub="start")] * 50,
    "refused connections": [REFUSED] * 60,
    "no answers in time": [replace(REFUSED, curl=28)] * 60,
    "closed without an answer": [replace(REFUSED, curl=52)] * 60,
    "the word starting": [says(status="starting")] * 60,
    "the word degraded": [says(status="degraded", version="v2")] * 60,
    "a body without the version": [says(status="starting")] * 60,
    "a version that is none yet": [says(version=""), *[says(version=None)] * 60],
    "a body that is not JSON": [Look(body="<html>")] * 60,
    "a failed unit that is being started": [replace(FAILED, job="17")] * 6,
    "a failed unit that its socket starts": [replace(FAILED, triggered_by="web.socket")] * 20,
    "a unit whose condition is not met": [replace(REFUSED, active="inactive", sub="dead")] * 9,
    "500 of four answers": [answers(500)] * 4,
    "500 of changing bodies": [answers(500, f"request {number}") for number in range(60)],
    "500 of one process after another": [replace(answers(500), pid=number) for number in range(1, 60)],
    "500 of a unit that is not up": [replace(answers(500), active="reloading", sub="reload")] * 60,
    "changing statuses": [answers(500), answers(404)] * 30,
}
"""What is seen until the endpoint is healthy."""


def watch(tmp_path: Path, looks: list[Look], *, noted: int | None = None, **values: str) -> str:
    """Have the script watch these looks, the last of them again and again; a second goes by with each.

    Returns:
        How the watch settled, after how many looks, and why.
    """
    (tmp_path / "version").write_text("v2\n")
    note = "" if noted is None else f"printf 'NRestarts={noted}\\nId={UNIT}\\n' >$RUN_DIR/restarts"
    text = f"""
    looks=({" ".join(shlex.quote(look.line) for look in looks)})
    look() {{
      local at=$((asks > 0 ? asks - 1 : 0)) last=$((${{#looks[@]}} - 1))
      REPLY=${{looks[at < last ? at : last]}}
    }}
    uptime_to() {{ printf -v "$1" %d.00 "$asks"; }}
    await_round() {{ :; }}
    show_units() {{
      local active sub result status restarts pid job by rest
      look; IFS=$US read -r active sub result status restarts pid job by rest <<<"$REPLY"
      take_shown "Id={UNIT}
ActiveState=$active
SubState=$sub
Result=$result
ExecMainStatus=$status
NRestarts=$restarts
MainPID=$pid
InvocationID=$pid$restarts
Job=$job
TriggeredBy=$by
"
    }}
    ask_urls() {{
      local code curl body
      look; IFS=$US read -r _ _ _ _ _ _ _ _ code curl body <<<"$REPLY"
      printf -v code %03d "$code"
      printf %s "$body" >"$SCRATCH/web.$asks"
      printf 'HTTP/1.1 %s Fine\\r\\n\\r\\n' "$code" >"$SCRATCH/web.$asks.head"
      printf '%s\\n' "web$US$code${{US}}0.1${{US}}0.1$US$curl$US${{#body}}${{US}}127.0.0.1${{US}}8080$US"
    }}
    mkdir -p "$RUN_DIR"
    {note}
    eval "$(declare -f read_wants | sed 's#/run/current-system/#{tmp_path}/#')"
    watch_endpoints
    asked=$(grep -c ' web ' <<<"${{said[watch.series]}}")
    printf '%s after %s: %s' "${{said[watch.settled]}}" "$asked" "${{said[watch.reasons]}}"
    """
    quick = {"READY_S": "120", "SOAK_S": "2", "ANSWERS": "3", "SWITCHPROOF_RUN": "r"}
    return script(tmp_path, text, {"web": wanted(looks)}, **quick | values)


def wanted(looks: list[Look]) -> Endpoint:
    """What the endpoint must answer: the version of the running system too, where a look is about that."""
    of_system = {"version": "version"} if any("version" in look.body for look in looks) else {}
    return Endpoint(
        units=(UNIT,),
        listen="127.0.0.1:8080",
        url="http://127.0.0.1:8080/health",
        json={"status": "healthy"},
        json_of_system=of_system,
    )


@pytest.mark.parametrize("case", EARLY)
def test_what_waiting_cannot_mend_fails_at_once(tmp_path: Path, case: str) -> None:
    """It is given up at the look that shows it, with a word for the rule and the evidence."""
    looks, after, word, evidence = EARLY[case]
    said = watch(tmp_path, looks)
    assert said.startswith(f"web {word} after {after}: web "), said
    assert evidence in said
    assert said.endswith("; waiting will not change that")


@pytest.mark.parametrize("case", LATE)
def test_what_may_get_well_is_waited_for(tmp_path: Path, case: str) -> None:
    """However long it takes within ready_s, what then is healthy passes."""
    looks = LATE[case]
    restarts = max(look.restarts for look in looks) + 1
    well = says(version="v2") if wanted(looks).json_of_system else GOOD
    said = watch(tmp_path, [*looks, replace(well, restarts=restarts, pid=looks[-1].pid or 7)])
    assert said == f"web healthy after {len(looks) + 3}: ", said


@pytest.mark.parametrize("case", EARLY)
def test_early_verdicts_can_be_turned_off(tmp_path: Path, case: str) -> None:
    """With zeros in the target file everything is waited for until ready_s is over."""
    said = watch(tmp_path, EARLY[case][0], SAME_FAILURES="0", SAME_ANSWERS="0", READY_S="30")
    assert said == "web unhealthy after 30: ", said


def test_a_status_is_transient_where_the_target_file_says_so(tmp_path: Path) -> None:
    """The list of statuses that are waited for is the target file's own."""
    assert "web unhealthy after 20: " in watch(tmp_path, [answers(500)], TRANSIENT_STATUS="500", READY_S="20")
    assert "web same-answer after 5: " in watch(tmp_path, [answers(503)], TRANSIENT_STATUS="500", READY_S="20")


@pytest.mark.parametrize(("noted", "since", "after"), [(None, "watch began", 5), (2, "switch", 4), (7, "switch", 2)])
def test_failures_count_from_the_switch(tmp_path: Path, noted: int | None, since: str, after: int) -> None:
    """Those between the switch and the watch count, those from before do not; a unit begun anew counts from 0."""
    said = watch(tmp_path, crashes(*[EXIT] * 9, after=3), noted=noted)
    assert said.startswith(f"web failing-alike after {after}: "), said
    assert f"failed 5 times with exit-code 1 since the {since};" in said


def test_failures_from_before_the_switch_do_not_count(tmp_path: Path) -> None:
    """A unit that had failed often, and gets well after three failures more, is healthy."""
    looks = [*crashes(*[EXIT] * 3, after=30), replace(GOOD, restarts=33)]
    assert watch(tmp_path, looks, noted=30) == "web healthy after 6: "


def test_what_is_waited_for_is_said_every_two_seconds(tmp_path: Path) -> None:
    """Whoever hears it at once gets the last answer and for how long yet, on one printable line of bounded length."""
    bad = answers(503, "\x1b[31mwarming\tup \u00e9 " + "x" * 900)
    said = watch(tmp_path, [bad] * 5 + [GOOD], SWITCHPROOF_PROGRESS="1", SWITCHPROOF_NONCE="ab")
    *lines, last = said.split("\n")
    assert last == "web healthy after 8: "
    left = [int(line.rpartition(" s ")[0].rpartition("(")[2].split()[-1]) for line in lines]
    assert left[0] == 119
    assert left == sorted(left, reverse=True)
    assert len(left) > 2
    assert lines[-1].endswith(" waits web: healthy (1 s of the soak left)")
    assert lines[0].startswith(
        "SWITCHPROOF/1 ab waits web: its answer is not the wanted one (code 503): ?[31mwarming?up ??"
    )
    assert all(line.isascii() and line.isprintable() and len(line) < 700 for line in lines)


def test_nothing_is_said_to_whom_it_would_reach_at_the_end(tmp_path: Path) -> None:
    """Through an agent, which sends all at the end, no line is printed."""
    assert watch(tmp_path, [answers(503)] * 5 + [GOOD], SWITCHPROOF_NONCE="ab") == "web healthy after 8: "
