"""What is looked at in a container gets no right over the host."""

from __future__ import annotations

from pathlib import Path

from tests.host_functions import run


def test_a_program_in_a_container_has_no_right_of_the_host(tmp_path: Path) -> None:
    """It is entered without new privileges and in a user namespace of its own."""
    (tmp_path / "setsid").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "setsid").chmod(0o755)
    text = f"""
      PATH={tmp_path}:$PATH INSIDE_S=10 JAIL=9
      exec 9</dev/null
      enter 77 systemctl show
    """
    words = run(text, "inside", "numbers").split()
    assert words[words.index("setpriv") :][:3] == ["setpriv", "--no-new-privs", "nsenter"]
    assert "--user=/proc/self/fd/9" in words
    assert run("JAIL=; enter 77 true || echo refused", "inside", "numbers") == "refused\n"
