"""Whose a process is."""

from __future__ import annotations

from pathlib import Path

from tests.host_functions import run


def test_only_the_whole_control_group_names_a_unit(tmp_path: Path) -> None:
    """A group that ends like the unit's, or begins like it, is another; one inside it is its own."""
    text = """
    declare -A value=(["a.service ControlGroup"]=/system.slice/a.service ["box.service ControlGroup"]=/m/box.service
      ["box/b.service ControlGroup"]=/m/box.service/payload/b.service)
    UNITS=(a.service box.service box/b.service)
    read_group() { find_unit "$1"; echo "$unit"; }
    for group in /system.slice/a.service /system.slice/a.service/sub /system.slice/a.service2 \\
      /user.slice/user@0.service/app.slice/a.service "/odd name/a.service" \\
      /m/box.service/payload/b.service /m/box.service/x; do
      mkdir -p "$DIR/7"; echo "0::$group" >"$DIR/7/cgroup"
      read_group 7
    done
    """
    told = run(
        text,
        "owner",
        values={"DIR": str(tmp_path)},
        replace={"/proc/": f"{tmp_path}/"},
    )
    assert told.splitlines() == [
        "a.service",
        "a.service",
        "/system.slice/a.service2",
        "/user.slice/user@0.service/app.slice/a.service",
        "/odd_name/a.service",
        "box/b.service",
        "box.service",
    ]
