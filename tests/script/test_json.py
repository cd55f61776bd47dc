"""A body is good to the host, which waits for that, where it is good to the checks."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.observe.answers import json_problem
from switchproof.deploy.target.types import JsonValue
from tests.host_functions import run
from tests.observe.test_answers import CASES


def host_judges(cases: list[tuple[dict[str, JsonValue], bytes]], folder: Path) -> list[bool]:
    """Have the script's function judge bodies, as it does while it watches; one with a NUL byte is not even read."""
    task = ""
    for number, (want, body) in enumerate(cases):
        if b"\0" in body:
            continue
        (folder / str(number)).write_bytes(body)
        wants = "".join(f"want\t{json.dumps(key)}\t{json.dumps(value)}\n" for key, value in want.items())
        task += f"file\t{number}\t{folder / str(number)}\n{wants}judge\n"
    good = {line.split()[1] for line in run("judge_json", "json", stdin=task.encode()).splitlines()}
    return [str(number) in good for number in range(len(cases))]


def test_host_judges_bodies_alike(tmp_path: Path) -> None:
    """What the host waits for is what the checks ask for, body by body."""
    judged_there = host_judges([(want, body) for want, body, _ in CASES], tmp_path)
    assert [CASES[n] for n, good in enumerate(judged_there) if good is not CASES[n][2]] == []


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20), st.booleans()), max_size=20))
def test_host_waits_for_no_answer_that_is_good(rows: list[tuple[str, str, bool]]) -> None:
    """However a good body is spelled, it is good to the host: else a good deploy would be called broken."""
    with tempfile.TemporaryDirectory() as folder:
        cases = [
            ({key: text}, json.dumps({key: text}, ensure_ascii=plain).encode("utf-8", "replace"))
            for key, text, plain in rows
        ]
        there = host_judges([(dict(want), body) for want, body in cases], Path(folder))
    assert there == [json_problem(body, dict(want)) is None for want, body in cases]
