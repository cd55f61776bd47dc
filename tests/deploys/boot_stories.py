"""Deploys during which what the host boots is changed or cannot be, each told once on a lab host of its own."""

from __future__ import annotations

from collections.abc import Callable

from tests.deploys.cut_points import POINTS, let_go, prepare
from tests.deploys.ways_back import Stage, Told


def hold(stage: Stage, name: str, moment: str) -> None:
    """Begin a deploy and hold the host at a moment of it."""
    prepare(stage, next(point for point in POINTS if str(point) == moment))
    stage.begin(name, "--sha=main")
    stage.wait_until_held(moment, name)


def boot_by_hand(stage: Stage) -> Told:
    """Somebody makes the new system boot after the switch, although nobody has confirmed it."""
    hold(stage, "by hand", "before verification")
    stage.look("unconfirmed")
    stage.told.said["by hand"] = stage.inside("/run/current-system/bin/switch-to-configuration boot 2>&1; echo rc $?")
    let_go(stage)
    stage.end("by hand", stage.begun["by hand"])
    return stage.told


def boot_read_only(stage: Stage) -> Told:
    """/boot becomes read-only after every check passed, so that the new system cannot be made what boots."""
    hold(stage, "read-only", "before confirmation")
    stage.inside("mount --bind /boot /boot && mount -o remount,bind,ro /boot")
    let_go(stage)
    stage.end("read-only", stage.begun["read-only"])
    stage.inside("umount /boot")
    stage.run("audit", "--audit")
    return stage.told


BOOT_STORIES: dict[str, tuple[Callable[[Stage], Told], float]] = {
    "boot-by-hand": (boot_by_hand, 120.0),
    "boot-ro": (boot_read_only, 120.0),
}
"""Every story with the seconds for which its host waits to be confirmed."""
