"""What is looked at in a container gets no right over the host."""

from __future__ import annotations

from pathlib import Path

import pytest

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


BOX = """
declare -A value=() LEADER=([container@box.service]=$leader) CONTAINER_OF=([box]=container@box.service)
declare -A INSIDE=([box]='app.service other.service ') PATIENCE=()
PROPERTIES=(-p Id) JAIL=$jail
value["container@box.service ControlGroup"]=/machine/box value["box/app.service ActiveState"]=$state
"""


@pytest.mark.parametrize(
    ("leader", "jail", "answers", "told"),
    [
        ("7", "9", ":", ["Id=box/app.service", "ControlGroup=/machine/box/payload/system.slice/app.service"]),
        ("7", "9", "return 1", ["unknown", "the systemd inside does not answer"]),
        ("", "9", "return 1", ["inactive", "container down"]),
        ("7", "", "return 1", ["unknown", "not asked, as this host makes no user namespace"]),
    ],
)
def test_units_inside_are_told_as_the_host_names_them(leader: str, jail: str, answers: str, told: list[str]) -> None:
    """A unit's name and control group are those that the host sees; of one that is not told nothing is concluded."""
    text = f"""
      leader={leader} jail={jail} state=active
      {BOX}
      inside() {{ {answers} && printf 'Id=app.service\\nControlGroup=/system.slice/app.service\\n'; }}
      show_inside box
    """
    output = run(text, "inside")
    assert [word for word in told if word not in output] == []
    assert output.count("Id=box/") == (1 if answers == ":" else 2)


@pytest.mark.parametrize(
    ("unit", "leader", "state", "told"),
    [
        ("a.service", "7", "active", "systemctl status a.service"),
        ("box/app.service", "7", "active", "inside box systemctl status app.service"),
        (
            "box/app.service",
            "",
            "",
            "[box is not up; of container@box.service:]\nsystemctl status container@box.service",
        ),
        (
            "box/app.service",
            "7",
            "unknown",
            "[the systemd in box does not answer; of container@box.service:]\nsystemctl status container@box.service",
        ),
    ],
)
def test_a_unit_is_asked_about_where_it_is(unit: str, leader: str, state: str, told: str) -> None:
    """Where nobody inside can tell, the container's own unit tells, and it is said that it is another."""
    text = f"""
      leader={leader} jail=9 state={state}
      {BOX}
      inside() {{ echo "inside $*"; }}
      systemctl() {{ echo "systemctl $*"; }}
      about {unit} systemctl status
    """
    assert run(text, "inside").rstrip("\n") == told


def test_what_a_container_runs_says_and_lasts_only_so_much(tmp_path: Path) -> None:
    """A program that never ends, or never ends to speak, is cut off at its limit."""
    (tmp_path / "setpriv").write_text("#!/bin/sh\nyes\n")
    (tmp_path / "setpriv").chmod(0o755)
    text = f"PATH={tmp_path}:$PATH INSIDE_S=1 JAIL=9; exec 9</dev/null; enter 77 x | wc -c"
    assert int(run(f"set +o pipefail; {text}", "numbers", "inside")) <= 1048576
