"""What is made of the answers of endpoints while the script waits for them."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest

from switchproof.deploy.target.types import Endpoint
from tests import probing
from tests.host_functions import run
from tests.probing import GOOD, UNIT, answers, ask, port


@pytest.mark.parametrize(
    ("line", "good"),
    [
        ("HTTP/1.1 200 OK", True),
        ("HTTP/1.1 200", True),
        ("HTTP/2 200 ", True),
        ("HTTP/1.1 200garbage", False),
        ("HTTP/1.1 2000 OK", False),
        ("HTTP/1.1 404 Not Found", False),
        ("ICY 200 OK", False),
    ],
)
def test_a_status_line_is_taken_as_it_stands(tmp_path: Path, line: str, good: bool) -> None:
    """What curl makes 200 of and is no status line of that is no answer."""
    text = f"""
      SCRATCH={tmp_path} asks=1
      declare -A facts=() reply=() body=() odd=() status_of=() how=() kind=([live]=http)
      keep_body() {{ :; }}
      printf '%s\\r\\n\\r\\n' {shlex.quote(line)} >{tmp_path}/live.1.head; echo x >{tmp_path}/live.1
      take_answer live "200${{US}}0.1${{US}}0.2${{US}}0${{US}}2${{US}}127.0.0.1${{US}}80${{US}}"
      echo "${{status_of[live]}}"
    """
    assert run(text, "contract", "watch").strip() == ("200 0" if good else "200 8")


def test_one_process_asks_all_urls(tmp_path: Path) -> None:
    """One that is not asked, gets no answer or sends too much keeps none of the others from theirs."""
    counting = tmp_path / "curl"
    counting.write_text(f'#!/bin/sh\necho asked >>{tmp_path}/count\nexec {shutil.which("curl")} "$@"\n')
    counting.chmod(0o755)

    def at(listen: str, **details: object) -> Endpoint:
        return Endpoint(units=(UNIT,), listen=listen, **{"url": f"http://{listen}/{{a,b}}[1-2]", **details})  # type: ignore[arg-type]

    with (
        port(answers()) as first,
        port(answers(GOOD + b" too")) as second,
        port(answers(b"HTTP/1.0 200 OK\r\nContent-Length: 5000\r\n\r\n")) as long,
        port(None) as silent,
        probing.path(tmp_path / "web.sock", answers()) as socket,
    ):
        wants = {
            "first": at(first),
            "no-ca": at(first, probe="https", url=f"https://{first}/", ca_file="/nonexistent.pem"),
            "silent": at(silent),
            "long": at(long),
            "second": at(second),
            "socket": at(socket, probe="unix", url="http://localhost/"),
        }
        given = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ANSWER_TIMEOUT_S": "2"}
        found = ask(tmp_path, wants, **given)
    assert {name: answer.curl for name, answer in found.items()} == {
        "first": 0,
        "no-ca": 77,
        "silent": 28,
        "long": 63,
        "second": 0,
        "socket": 0,
    }
    assert [found[name].body for name in ("first", "second", "socket")] == [b"healthy", b"healthy too", b"healthy"]
    assert (tmp_path / "count").read_text().split() == ["asked"]


@pytest.mark.parametrize(
    ("started", "lived"),
    [(("99.0", "98.9"), True), (("99.0", "99.1"), False), (("99.1", "10"), False), (("", "0"), True)],
)
def test_nothing_is_healthy_before_its_units_have_been_up_for_a_second(started: tuple[str, str], lived: bool) -> None:
    """All units of an endpoint count, each from the moment at which systemd said that it is active."""
    entered = [f"{float(word) * 1_000_000:.0f}" if word else "" for word in started]
    text = f"""
      value["a.service ActiveEnterTimestampMonotonic"]={entered[0]}
      value["b/c.service ActiveEnterTimestampMonotonic"]={entered[1]}
      now=100.00
      if have_lived a.service b/c.service; then echo lived; fi
    """
    assert (run(text, "numbers", "clock", "units", "watch").strip() == "lived") is lived


@pytest.mark.parametrize(
    ("states", "there"),
    [
        ({"a.service": "active running 9899 0", "b.mount": "active mounted 0 98990000"}, True),
        ({"a.service": "active running 9900 0", "b.mount": "active mounted 0 98990000"}, False),
        ({"a.service": "active running 9899 0", "b.mount": "active mounted 0 99000000"}, False),
        ({"a.service": "active running 9899 0", "b.mount": "active mounted 0 0"}, False),
        ({"a.service": "activating start 9899 0", "b.mount": "active mounted 0 98990000"}, False),
        ({"a.service": "failed failed 0 98990000", "b.mount": "active mounted 0 98990000"}, False),
        ({"a.service": "active running gone 0", "b.mount": "active mounted 0 98990000"}, False),
    ],
    ids=["both", "as the watch began", "without a process", "never", "starting", "failed", "ended"],
)
def test_who_was_there_is_told_by_when_its_process_began(states: dict[str, str], there: bool) -> None:
    """A unit is as old as its main process, or as its state where it has none; hundredths are what is told of it."""
    given = ""
    for unit, state in states.items():
        active, sub, process, entered = state.split()
        given += f"""
          UNITS+=({unit}) unit_state[{unit}]="{active} {sub}"
          value["{unit} MainPID"]={0 if process == "0" else 7} value["{unit} ActiveEnterTimestampMonotonic"]={entered}
          began_at={process if process != "0" else "$began_at"}
        """
    text = f"""
      UNITS=() began_at=''; declare -A unit_state
      {given}
      note_began() {{ [ "$1" = 0 ] || [ "$began_at" = gone ] || began+="$1 $began_at"$'\\n'; }}
      if were_there 99.00; then echo there; fi
    """
    assert (run(text, "numbers", "clock", "units", "watch").strip() == "there") is there


STORY = """
  NAMES=(live) UNITS=(live.service) LEADER=() SCRATCH={folder} RUN_DIR={folder}
  declare -A ENDPOINT=(["live units"]=live.service)
  READY_S=60 SOAK_S=0 ANSWERS=1 SAME_FAILURES=0 SAME_ANSWERS=0 rounds=0
  make_scratch() {{ :; }}; read_wants() {{ :; }}; say_bodies() {{ :; }}; look_behind() {{ :; }}
  await_round() {{ :; }}; say_waiting() {{ :; }}; have_lived() {{ :; }}
  uptime_to() {{ printf -v "$1" '%d.00' "$((100 + rounds))"; }}
  say() {{ [[ $1 != watch.@(settled|units) ]] || printf '%s\n' "$2"; }}
  sample_answers() {{ rounds=$((rounds + 1)) good[live]=yes steady[live]='' how[live]=''; echo "asked"; }}
  show_units() {{
    value=(["live.service ActiveState"]=active ["live.service SubState"]=running ["live.service MainPID"]=7
      ["live.service InvocationID"]=i ["live.service NRestarts"]=0)
  }}
  note_began() {{ began+="$1 {began}"$'\n'; }}
  watch_endpoints
"""


@pytest.mark.parametrize(
    ("began", "rounds"),
    [(9900, 1), (10000, 2), (10050, 2)],
    ids=["before", "as the watch began", "while it was asked"],
)
def test_an_answer_counts_if_its_process_was_there_before_the_question(
    tmp_path: Path, began: int, rounds: int
) -> None:
    """Systemd is asked after the first answer alone: one whose process may be a newer one is asked for again."""
    told = run(STORY.format(folder=tmp_path, began=began), "numbers", "clock", "contract", "units", "rounds", "watch")
    assert told.splitlines() == ["asked"] * rounds + [
        "live healthy",
        "at 100.00",
        "live.service active running 7 i 0",
        "",
    ]


WATCHED = """
declare -a NAMES=(live) UNITS=(a.service)
declare -A ENDPOINT=(["live units"]=a.service) value=(["a.service MainPID"]=$sleeper) LEADER=()
declare -A good=([live]=yes) row=([live]=1) since=() settled=() unit_state=(["a.service"]="active running")
ANSWERS=5 SOAK_S=0 now=100.00 mains='' mains_then=''
goes_on
"""


@pytest.mark.parametrize(
    ("since_then", "asked"),
    [
        ("", "no"),
        ("row[live]=0", "yes"),
        ("row[live]=4", "yes"),
        ("row[live]=4 SOAK_S=15 since[live]=99.00", "no"),
        ("row[live]=4 SOAK_S=15 since[live]=84.00", "yes"),
        ("row[live]=4 settled[live]=healthy", "no"),
        ("good[live]=''", "yes"),
        ('unit_state[a.service]="activating auto-restart"', "yes"),
        ("kill $sleeper; wait $sleeper 2>/dev/null || true", "yes"),
        ('value["a.service MainPID"]=$$', "yes"),
        ('value["a.service MainPID"]=0', "yes"),
        ("LEADER[box]=1", "yes"),
        ("unit_state=() value=()", "yes"),
    ],
    ids=[
        "same",
        "first",
        "may-settle",
        "soaking",
        "soaked",
        "settled",
        "bad",
        "restarting",
        "dead",
        "another",
        "none",
        "container",
        "silent",
    ],
)
def test_systemd_is_asked_in_every_round_that_may_say_something_else(since_then: str, asked: str) -> None:
    """It is left alone only while all answers stay good and all main processes the same, and none can be settled."""
    text = f"""
      sleep 60 & sleeper=$!
      uptime_to() {{ printf -v "$1" %s 100.00; }}
      {WATCHED}
      {since_then}
      if goes_on; then echo no; else echo yes; fi
      kill $sleeper 2>/dev/null || true
    """
    assert run(text, "numbers", "clock", "contract", "processes", "rounds").strip() == asked
