"""What is made of the answers of endpoints while the script waits for them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.host_functions import run


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
      exec {{fd}}< <(printf '%s\\n' "200${{US}}0.1${{US}}0.2${{US}}0${{US}}2${{US}}127.0.0.1${{US}}80${{US}}")
      take_answer live "$fd"
      echo "${{status_of[live]}}"
    """
    assert run(text, "watch").strip() == ("200 0" if good else "200 8")
