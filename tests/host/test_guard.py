"""A host that was switched and is not confirmed goes back by itself, whatever happens to it meanwhile."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.host.hands import REBOOT, REPOSITORY, ask, by_hand, commit, finish, inside, wait_for, write
from tests.host.unconfirmed import RUNS, Switched, is_wholly, on_all, switch

pytestmark = [pytest.mark.lab, pytest.mark.long]


def counting(machine: LabHost) -> bool:
    """Whether the switch has ended and the countdown goes on."""
    return Path(f"/proc/{machine.leader()}/root/run/switchproof/since").exists()


# Nobody confirms.


def left_alone(machine: LabHost, run: str) -> None:
    """What happened, when and why is told to the journal and to whoever asks next, until a deploy is confirmed."""
    switched = switch(machine, run, 2)
    told = switched.returned()
    assert re.fullmatch(
        rf"run {run}\nat \S+Z\nwhy not confirmed within 2 s after the switch ended\n"
        rf"from {switched.new}\nto {switched.earlier}\nrc 0\nowner root by hand\nended \S+Z",
        told,
    )
    assert "not confirmed within 2 s" in inside(machine, "journalctl -t switchproof -p crit -o cat -n1")
    assert ask(machine, "observe", READY_S="0", SOAK_S="0").text("returned") == told
    assert ask(machine, "resolve", RELEASE_SHA="main").text("returned") == told
    assert switched.confirm() == "late"
    assert switched.roll_back() == "returning"
    assert "run left-alone" in inside(machine, "cat /run/switchproof/lock/holder")
    assert switched.confirm(keep="") == "late"
    assert inside(machine, "ls /run/switchproof") == ""


def disturbed(machine: LabHost, run: str) -> None:
    """Reloads of systemd do not move the deadline, and the garbage collector leaves the earlier system alone."""
    switched = switch(machine, run, 4)
    wait_for(lambda: counting(machine) or switched.guard() != "armed", "the countdown began")
    began = time.monotonic()
    inside(machine, "nix-collect-garbage --quiet -d; systemctl daemon-reexec; systemctl daemon-reload")
    wait_for((machine.root / f"{RUNS[1:]}/{run}/return").exists, "it goes back")
    # Seen to the second, on a busy machine.
    assert 3 < time.monotonic() - began < 8
    inside(machine, "nix-collect-garbage --quiet -d")
    switched.returned()


def guard_killed(machine: LabHost, run: str) -> None:
    """A guard that is killed while it waits or goes back takes up again where it was."""
    switched = switch(machine, run, 2)
    inside(machine, "systemctl kill -s KILL switchproof-guard")
    wait_for((machine.root / f"{RUNS[1:]}/{run}/return/stage").exists, "it goes back")
    inside(machine, "systemctl kill -s KILL switchproof-guard")
    switched.returned()


def switch_hangs(machine: LabHost, run: str) -> None:
    """A switch that hangs, and whose job was killed, is ended."""
    switched = switch(machine, run, 1, wait=False)
    activation = "nixos-rebuild-switch-to-configuration"
    wait_for(
        lambda: machine.run(["systemctl", "kill", "-s", "STOP", activation], timeout_s=5).returncode == 0, "it began"
    )
    assert switched.guard() == "armed"
    inside(machine, f"systemctl kill -s KILL switchproof-{run}-converge")
    switched.returned()


def lock_held(machine: LabHost, run: str) -> None:
    """A stray process of root that holds the lock of the host's script keeps nothing from going back."""
    switched = switch(machine, run, 1)
    inside(machine, "systemd-run -q --unit=stray flock /run/switchproof sleep 300")
    try:
        wait_for((machine.root / f"{RUNS[1:]}/{run}/return/rc").exists, "it goes back", within_s=120)
    finally:
        inside(machine, "systemctl stop stray")
    switched.returned()


def unreached(machine: LabHost, run: str) -> None:
    """Without a new connection it goes back long before its deadline, also where a runner says that it is at work."""
    switched = switch(machine, run, reconnect_s=4)
    assert switched.ask("status", SWITCHPROOF_RENEW="1", SWITCHPROOF_AFTER="again").text("guard") == "armed"
    assert "why no new connection came within 4 s after the switch ended" in switched.returned()
    assert switched.confirm() == "late"


def reached(machine: LabHost, run: str) -> None:
    """Once one has come, only the deadline counts; also where the guard is killed, or the one is asked for again."""
    switched = switch(machine, run, 8, reconnect_s=4)
    assert switched.ask("status", SWITCHPROOF_AFTER="converge").text("guard") == "armed"
    inside(machine, "systemctl kill -s KILL switchproof-guard")
    assert "why not confirmed within 8 s" in switched.returned()


def test_a_host_that_nobody_confirms_goes_back_by_itself(several: Lab) -> None:
    """Profile, running system, boot default and processes are the earlier system's, in time, whatever disturbs it."""
    every = (lock_held, switch_hangs, disturbed, guard_killed, left_alone, unreached, reached)
    cases = {f.__name__.replace("_", "-"): f for f in every}
    on_all(several, cases)


# The power is cut.


def cut_power(machine: LabHost) -> None:
    """Cut the power and come back."""
    machine.kill()
    machine.power_on()


def cut_when(sign: Callable[[LabHost, Path], bool]) -> Callable[[LabHost, str], None]:
    """Cut the power in the middle of a switch, as soon as a sign is seen from outside."""

    def case(machine: LabHost, run: str) -> None:
        profile = (machine.root / "nix/var/nix/profiles/system").readlink()
        boots = machine.boots()
        switched = switch(machine, run, wait=False)
        since = time.monotonic()
        while not sign(machine, machine.root / f"{RUNS[1:]}/{run}/converge"):
            assert time.monotonic() - since < 30
        cut_power(machine)
        assert "why rebooted before it was confirmed" in switched.returned()
        assert (machine.root / "nix/var/nix/profiles/system").readlink() == profile
        assert machine.boots() == boots
        assert switched.confirm(keep="") == "late"

    return case


def expected(job: Path) -> str:
    """The system that a job switches to, once it knows."""
    path = job / "expected"
    return path.read_text().strip() if path.exists() else ""


def running(machine: LabHost) -> str:
    """The system that runs."""
    return str(Path(f"/proc/{machine.leader()}/root/run/current-system").readlink())


def cut_while_going_back(machine: LabHost, run: str) -> None:
    """Once more on the way back."""
    switched = switch(machine, run, 1)
    wait_for(lambda: machine.boots() == switched.earlier, "the earlier system would boot")
    wait_for((machine.root / f"{RUNS[1:]}/{run}/return/stage").exists, "it goes back")
    cut_power(machine)
    assert "why not confirmed within 1 s" in switched.returned()


def cut_in_a_rollback(machine: LabHost, run: str) -> None:
    """When the run itself was going back, the guard goes on with it."""
    switched = switch(machine, run)
    assert switched.roll_back() == "started"
    wait_for(lambda: switched.guard() == "rolled-back", "it goes back")
    cut_power(machine)
    if switched.guard() != "rolled-back":  # else it had just ended
        switched.returned()
    is_wholly(machine, switched.earlier)


def reboot(machine: LabHost, run: str) -> None:
    """An orderly reboot does as much."""
    switched = switch(machine, run)
    leader = machine.leader()
    inside(machine, REBOOT)
    machine.wait_ready(not_leader=leader)
    assert "why rebooted before it was confirmed" in switched.returned()
    assert switched.confirm() == "late"


def reboot_of_a_specialisation(machine: LabHost, run: str) -> None:
    """What ran before was a specialisation, which no boot loader starts: the guard switches to it after the boot."""
    sha, earlier = commit(machine, "specialised"), inside(machine, "readlink -e /run/current-system")
    values = {"SWITCHPROOF_RUN": f"{run}-1", "RELEASE_SHA": sha, "SPECIALISATION": "maintenance"}
    assert ask(machine, "resolve", SWITCHPROOF_CLAIM="1", **values).text("outcome") == "ok"
    assert ask(machine, "converge", **values).text("outcome") == "started"
    ended = finish(machine, f"{run}-1")
    special, base = (ended.text(name).strip() for name in ("expected", "profile"))
    assert ask(machine, "confirm", SWITCHPROOF_KEEP="1", **values).text("outcome") == "ok"
    switched = switch(machine, run)
    assert (switched.earlier, machine.boots()) == (special, base)
    leader = machine.leader()
    inside(machine, REBOOT)
    machine.wait_ready(not_leader=leader)
    wait_for(lambda: switched.guard() == "returned", "the host went back")
    is_at = inside(machine, "readlink -e /run/current-system /nix/var/nix/profiles/system").split()
    assert (is_at, machine.boots()) == ([special, base], base)
    assert "why rebooted before it was confirmed" in ask(machine, "status").text("returned")
    rolled = {"SWITCHPROOF_RUN": f"{run}-2", "SWITCHPROOF_TO": earlier}
    assert ask(machine, "rollback", **rolled).text("outcome") == "started"
    assert finish(machine, f"{run}-2", "rollback").text("rc").strip() == "0"
    assert ask(machine, "confirm", SWITCHPROOF_KEEP="1", **rolled).text("outcome") == "ok"


def test_an_unconfirmed_host_comes_up_on_the_earlier_system(several: Lab) -> None:
    """Wherever in a switch or on a way back the power goes or the host reboots, it ends as it was before."""
    on_all(
        several,
        {
            "cut-armed": cut_when(lambda machine, _: (machine.root / "var/lib/switchproof/pending").exists()),
            "cut-bootable": cut_when(lambda machine, job: machine.boots() == expected(job)),
            "cut-running": cut_when(lambda machine, job: running(machine) == expected(job)),
            "cut-going-back": cut_while_going_back,
            "cut-in-a-rollback": cut_in_a_rollback,
            "reboot": reboot,
            "reboot-of-a-specialisation": reboot_of_a_specialisation,
        },
    )


# Somebody confirms.


def confirmed(machine: LabHost, run: str) -> None:
    """It is said again when asked again, what an earlier run left to be told is gone, and it outlives a power cut."""
    write(machine, "/var/lib/switchproof/returned", "run before\n")
    switched = switch(machine, run)
    assert machine.boots() == switched.earlier
    assert [switched.confirm(), switched.confirm()] == ["ok", "ok"]
    assert "returned" not in ask(machine, "status").sections
    assert (switched.guard(), inside(machine, "ls /run/switchproof; ls /nix/var/nix/gcroots/switchproof")) == (
        "confirmed",
        "",
    )
    is_wholly(machine, switched.new)
    cut_power(machine)
    is_wholly(machine, switched.new)


def refused(machine: LabHost, run: str) -> None:
    """While the switch goes on, for another run, or of another system than the run switched to, it does not count."""
    switched = switch(machine, run, wait=False)
    assert switched.confirm() == "busy"
    finish(machine, run)
    switched = Switched(machine, run, switched.earlier, inside(machine, "readlink -e /run/current-system"))
    assert ask(machine, "confirm", SWITCHPROOF_KEEP="1").text("outcome") == "foreign"
    other = ask(machine, "resolve", RELEASE_SHA="main", SWITCHPROOF_CLAIM="1", SWITCHPROOF_RUN="other")
    assert other.text("outcome") == "locked"
    assert f"run {run} of root by hand switched the host after 20" in other.text("detail")
    inside(machine, f"{switched.earlier}/bin/switch-to-configuration test")
    assert switched.confirm() == "foreign"
    assert switched.confirm(keep="") == "pending"
    assert inside(machine, "ls /run/switchproof") == "since"
    assert ask(machine, "resolve", RELEASE_SHA="main", SWITCHPROOF_CLAIM="1").text("outcome") == "locked"
    assert switched.confirm(keep="broken") == "ok"
    assert machine.boots() == switched.earlier
    inside(machine, f"nix-env -p /nix/var/nix/profiles/system --set {switched.earlier}")
    is_wholly(machine, switched.earlier)


def race(after_s: float) -> Callable[[LabHost, str], None]:
    """Confirm some seconds after the countdown of one second began."""

    def case(machine: LabHost, run: str) -> None:
        switched = switch(machine, run, 1)
        wait_for(lambda: counting(machine) or switched.guard() != "armed", "the countdown began")
        time.sleep(after_s)
        outcome = switched.confirm()
        if outcome == "ok":
            is_wholly(machine, switched.new)
            assert switched.ask("status", SWITCHPROOF_JOB="return").text("state") == "lost"
            assert switched.guard() == "confirmed"
        else:
            assert outcome == "late"
            switched.returned()

    return case


def test_a_confirmation_counts_for_its_own_run_and_once_the_switch_has_ended(several: Lab) -> None:
    """It makes the new system what boots; at the deadline either it or the guard decides, never both or neither."""
    races = {f"race-{after:g}".replace(".", "-"): race(after) for after in (0.8, 1.2)}
    on_all(several, {"refused": refused, "confirmed": confirmed, **races})


# Somebody goes back.


def drill(machine: LabHost, run: str) -> None:
    """A run may switch, go back, switch again and go back by itself; each has a job of its own."""
    switched = switch(machine, run)
    assert switched.roll_back() == "started"
    assert finish(machine, run, "rollback").text("rc").strip() == "0"
    assert switched.guard() == "rolled-back"
    is_wholly(machine, switched.earlier)
    again = switch(machine, run, 2, job="again")
    assert (again.earlier, again.new) == (switched.earlier, switched.new)
    again.returned("return-again")
    assert finish(machine, run).text("rc").strip() == "0"
    assert again.ask("rollback", SWITCHPROOF_TO=again.earlier, SWITCHPROOF_JOB="back").text("job") == "return-again"


def asked(machine: LabHost, run: str) -> None:
    """A rollback that a person asks for waits to be confirmed as a deploy does; a system that is gone is refused."""
    here = inside(machine, "readlink -e /run/current-system")
    switched = switch(machine, f"{run}-first")
    assert switched.confirm() == "ok"
    values = {"SWITCHPROOF_RUN": run, "SWITCHPROOF_CLAIM": "1"}
    told = ask(machine, "generations", **values)
    rows = [line.split("\x1f") for line in told.text("generations").split("\n")]
    assert [int(row[0]) for row in rows] == sorted((int(row[0]) for row in rows), reverse=True)
    (current,) = (row for row in rows if row[3] == "yes")
    assert current[1:3] == [switched.new, "yes"]
    assert re.fullmatch(r"[0-9a-f]{40}", current[4])
    assert (told.text("earlier"), told.text("running")) == (here, switched.new)
    assert f"run {run}" in inside(machine, "cat /run/switchproof/lock/holder")
    for target, outcome in (("/nix/store/gone", "gone"), ("..", "malformed")):
        assert ask(machine, "rollback", SWITCHPROOF_TO=target, SWITCHPROOF_RUN=run).text("outcome") == outcome
    begun = ask(machine, "rollback", SWITCHPROOF_TO=here, SWITCHPROOF_RUN=run, SWITCHPROOF_DEADMAN_S="2")
    assert begun.text("outcome") == "started"
    assert finish(machine, run, "rollback").text("guard") == "armed"
    assert inside(machine, "readlink -e /run/current-system") == here
    assert machine.boots() == switched.new
    Switched(machine, run, switched.new, here).returned()


def never_ours(machine: LabHost, run: str) -> None:
    """A host that was switched by hand, and on which there was never a run of ours, goes back all the same."""
    inside(machine, "rm -rf /var/lib/switchproof")
    was = inside(machine, "readlink -e /run/current-system")
    sha = commit(machine, "v3" if was.endswith("v2") else "main")
    inside(machine, f"nixos-rebuild switch --flake 'git+{REPOSITORY}?rev={sha}#choiros-a'", timeout_s=60)
    told = ask(machine, "generations")
    assert told.text("earlier") == ""
    assert was in [row.split("\x1f")[1] for row in told.text("generations").split("\n")]
    status, output = by_hand(machine, "rollback", SWITCHPROOF_TO=was, SWITCHPROOF_RUN=run)
    assert status == 0, output
    is_wholly(machine, was)
    assert inside(machine, "ls /run/switchproof") == ""


def not_armed(machine: LabHost, run: str) -> None:
    """Where no dead man's switch can be armed nothing is switched, and the reason is said."""
    was = inside(machine, "readlink -e /run/current-system /nix/var/nix/profiles/system")
    inside(machine, "rm -rf /etc/systemd/system.control && touch /etc/systemd/system.control")
    switch(machine, run, 9, wait=False)
    ended = finish(machine, run)
    assert (ended.text("stage").strip(), ended.text("rc").strip(), ended.text("guard")) == ("arm", "1", "")
    log = inside(machine, f"tail -n1 {RUNS}/{run}/converge/log")
    assert log.startswith("the dead man's switch cannot be armed: ")
    assert log.endswith("Not a directory")
    assert ask(machine, "confirm", SWITCHPROOF_RUN=run).text("outcome") == "ok"
    inside(machine, "rm -f /etc/systemd/system.control")
    assert inside(machine, "readlink -e /run/current-system /nix/var/nix/profiles/system") == was


def person(machine: LabHost, run: str) -> None:
    """A person's broken deploy says how to keep it or go back at once, else the host goes back; a good one stays."""
    was = inside(machine, "readlink -e /run/current-system")
    values = {"RELEASE_SHA": "broken/dev-workload-dead", "READY_S": "1", "SWITCHPROOF_DEADMAN_S": "12"}
    status, output = by_hand(machine, "deploy", SWITCHPROOF_RUN=run, **values)
    assert status == 1, output
    assert f"to keep it as it is: SWITCHPROOF_RUN={run} SWITCHPROOF_KEEP=broken " in output
    Switched(machine, run, was, "").returned()
    revision = "v3" if was.endswith("v2") else "main"
    status, output = by_hand(machine, "deploy", RELEASE_SHA=revision, SWITCHPROOF_DEADMAN_S="60")
    assert status == 0, output
    assert f"run {run}\n" in output
    assert inside(machine, "readlink -e /run/current-system") != was
    is_wholly(machine, inside(machine, "readlink -e /run/current-system"))


def test_what_a_run_or_a_person_asks_for_is_what_the_host_becomes(several: Lab) -> None:
    """A rollback ends with the very system that was asked for, each job of a run stands for itself, also by hand."""
    on_all(
        several, {"person": person, "drill": drill, "asked": asked, "never-ours": never_ours, "not-armed": not_armed}
    )
