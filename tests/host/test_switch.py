"""A switch ends as it really ended, whatever systemd, dbus and nixos-rebuild say or do not say meanwhile."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from switchproof.deploy.host.frame import Frame
from switchproof.deploy.providers.lab.host import LabHost
from tests.host.hands import EDITED, add_branch, ask, by_hand, commit, finish, inside, wait_for, write
from tests.host.unconfirmed import GONE, Switched, is_wholly, switch
from tests.host_functions import functions

pytestmark = [pytest.mark.lab, pytest.mark.long]

STC = "system/switch-to-configuration.sh"
STRAYS = ("numbers", "clock", "files", "systemd", "contract", "units", "jobs", "bridge")
"""The fragments that look for services which a switch missed; the whole script would be too long for an argument."""


def version(name: str) -> str:
    return f'sed -i \'s/version = "v2"/version = "{name}"/\' settings.nix'


@contextmanager
def program(machine: LabHost, name: str, text: str) -> Iterator[None]:
    """Put a program before the real one of that name."""
    write(machine, f"/run/wrappers/bin/{name}", f"#!/bin/bash\n{text}\n")
    try:
        yield
    finally:
        inside(machine, f"rm /run/wrappers/bin/{name}")


@contextmanager
def silent(machine: LabHost, name: str, times: int) -> Iterator[None]:
    """Have a program of systemd's fail as while systemd executes itself anew, for its next uses."""
    # Renaming is what only one of several processes can do.
    inside(machine, f"mkdir -p /run/silent-{name}; touch /run/silent-{name}/{{1..{times}}}")
    text = f"""
      for each in /run/silent-{name}/*; do
        if mv "$each" "/run/silent-used" 2>/dev/null; then echo 'Connection refused' >&2; exit 1; fi
      done
      exec /usr/bin/{name} "$@"
    """
    with program(machine, name, text):
        yield
    inside(machine, f"rm -r /run/silent-{name}")


def deploy(machine: LabHost, run: str, sha: str, deadman_s: int = 300) -> Frame:
    """Switch a host to a commit of `EDITED`; return the last status."""
    inside(machine, f"[ -e {EDITED} ] || cp -r /srv/sample.git {EDITED}")
    values = {
        "SWITCHPROOF_RUN": run,
        "RELEASE_SHA": sha,
        "REPO_URL": f"file://{EDITED}",
        "SWITCHPROOF_DEADMAN_S": str(deadman_s),
    }
    claimed = ask(machine, "resolve", SWITCHPROOF_CLAIM="1", **values)
    assert claimed.text("outcome") == "ok", claimed.sections
    begun = ask(machine, "converge", **values)
    assert begun.text("outcome") == "started", begun.sections
    return finish(machine, run)


def log_of(frame: Frame) -> str:
    return base64.b64decode(frame.text("log")).decode()


def keep(machine: LabHost, run: str) -> None:
    assert ask(machine, "confirm", SWITCHPROOF_RUN=run, SWITCHPROOF_KEEP="1").text("outcome") == "ok"


def go_back(machine: LabHost, run: str, to: str) -> Frame:
    """Go back to a system; return the last status."""
    assert ask(machine, "rollback", SWITCHPROOF_RUN=run, SWITCHPROOF_TO=to).text("outcome") == "started"
    ended = finish(machine, run, "rollback")
    assert ask(machine, "confirm", SWITCHPROOF_RUN=run).text("outcome") == "ok"
    return ended


def state(machine: LabHost) -> list[str]:
    """What runs, the profile's generation, what boots, and whatever is armed."""
    loader = "/usr/local/lib/switchproof-lab/boot-loader"
    script = f"readlink -e /run/current-system; readlink /nix/var/nix/profiles/system; {loader}; {GONE}"
    return inside(machine, script).splitlines()


def test_silence_of_systemd_is_no_answer(machine: LabHost) -> None:
    """A running job stays running, a job is begun, and another run's guard stays armed, though systemctl fails."""
    unit = "switchproof-silent-converge"
    inside(machine, f"mkdir -p /var/lib/switchproof/runs/silent/converge; systemd-run -q --no-block --unit={unit} "
           "--service-type=oneshot sleep 60")  # fmt: skip
    with silent(machine, "systemctl", 3):
        frame = ask(machine, "status", SWITCHPROOF_RUN="silent")
    assert frame.text("state") == "running"
    assert "answered after 3 attempts without an answer" in frame.text("silences")
    inside(machine, f"systemctl stop {unit}; systemctl reset-failed {unit} || true")
    assert ask(machine, "status", SWITCHPROOF_RUN="silent").text("state") == "lost"

    with silent(machine, "systemd-run", 2):
        armed = switch(machine, "armed")
    pending = inside(machine, "cat /var/lib/switchproof/pending")
    inside(machine, "rm -r /run/switchproof/lock")
    with silent(machine, "systemctl", 3):
        refused = ask(machine, "resolve", RELEASE_SHA="main", SWITCHPROOF_CLAIM="1", SWITCHPROOF_RUN="second")
    assert refused.text("outcome") == "locked"
    assert inside(machine, "cat /var/lib/switchproof/pending") == pending
    assert inside(machine, "systemctl is-active switchproof-guard") == "active"
    with silent(machine, "systemctl", 3):
        assert armed.confirm() == "ok"
    is_wholly(machine, armed.new)


def test_the_switch_s_own_end_counts(machine: LabHost) -> None:
    """The end of nixos-rebuild, which may lose the bus, is not the switch's; a re-executed systemd is waited for."""
    dbus = f"sed -i 's/^  systemctl daemon-reload$/  systemctl restart dbus; sleep 1\\n&/' {STC}; {version('dbus')}"
    # Restarting dbus by a unit, as `dbus-restart` does, leaves nixos-rebuild no time to return too early.
    revisions = {"dbus": add_branch(machine, "dbus", dbus), "reexec": commit(machine, "systemd-upgrade")}
    for name, sha in revisions.items():
        ended = deploy(machine, name, sha)
        log = log_of(ended)
        assert "--- the switch ended with status 0 (told by systemd's record of its unit" in log
        # What the switch said after nixos-rebuild had returned is there as well.
        assert log.index("starting the following units") < log.index("--- the switch ended with")
        assert (ended.text("rc").strip(), ended.text("boot.problem")) == ("0", "")
        keep(machine, name)
        is_wholly(machine, ended.text("expected").strip())


def test_nixos_rebuild_is_called_again_where_systemd_does_not_answer_it(machine: LabHost) -> None:
    """A switch that systemd could not begin has changed nothing; one that it began is not begun twice."""
    inside(machine, "mkdir -p /run/refused; touch /run/refused/{1..2}")
    text = """
      if [[ "$*" == *nixos-rebuild-switch-to-configuration* ]]; then
        for each in /run/refused/*; do
          if mv "$each" /run/refused-used 2>/dev/null; then
            echo 'Failed to start transient service unit: Connection reset by peer' >&2; exit 1
          fi
        done
      fi
      exec /usr/bin/systemd-run "$@"
    """
    with program(machine, "systemd-run", text):
        ended = deploy(machine, "refused", commit(machine, "v3"))
    log = log_of(ended)
    assert ended.text("rc").strip() == "0", log
    assert log.count("systemd did not answer nixos-rebuild, and nothing was activated: calling it again") == 2
    assert log.count("activating the configuration") == 1
    assert "nixos-rebuild could not start the switch through systemd" in ended.text("silences")
    keep(machine, "refused")
    is_wholly(machine, ended.text("expected").strip())


def test_a_refused_live_switch_leaves_the_host_as_it_was(machine: LabHost) -> None:
    """A system that needs a reboot is not forced: profile, boot default and guard are as before, whatever said so."""
    before = state(machine)
    # As the nixos-rebuild that is written in bash ends.
    with program(machine, "nixos-rebuild", '/usr/local/bin/nixos-rebuild "$@" || exit 1'):
        for name, status in (("inhibitor", "1"), ("incompatible-init", "100")):
            ended = deploy(machine, name, commit(machine, f"broken/{name}"))
            assert (ended.text("rc").strip(), "restored" in ended.sections) == (status, True), log_of(ended)
            assert state(machine) == before
            assert ask(machine, "confirm", SWITCHPROOF_RUN=name).text("outcome") == "ok"
        result, output = by_hand(machine, "deploy", RELEASE_SHA="broken/inhibitor")
    assert result == 1
    assert "converge     FAILED  it needs a reboot; nothing was switched" in output
    assert state(machine) == before


def test_a_boot_entry_that_cannot_be_written_is_no_success(machine: LabHost) -> None:
    """Where /boot takes no entry the deploy fails and says why, and the host runs and boots what it did before."""
    before = state(machine)
    inside(machine, "mount --bind /boot /boot && mount -o remount,bind,ro /boot")
    try:
        ended = deploy(machine, "unbootable", add_branch(machine, "unbootable", version("unbootable")))
        problem = ended.text("boot.problem") + log_of(ended)
        earlier = go_back(machine, "unbootable", before[0]) if "restored" not in ended.sections else ended
    finally:
        inside(machine, "umount /boot")
    assert ended.text("rc").strip() != "0" or ended.text("boot.problem"), log_of(ended)
    assert "Read-only file system" in problem
    assert state(machine) == before, log_of(earlier)


def test_the_way_back_asks_no_check_of_the_earlier_system(machine: LabHost) -> None:
    """The earlier system ran here before: its own pre-switch check, which fails by now, does not keep it away."""
    earlier = inside(machine, "readlink -e /run/current-system")
    newer = commit(machine, "broken/check-on-the-way-back")
    assert deploy(machine, "newer", newer).text("rc").strip() == "0"
    ended = go_back(machine, "newer", earlier)
    assert ended.text("rc").strip() == "0", log_of(ended)
    is_wholly(machine, earlier)


def test_a_profile_that_was_another_system_comes_back(machine: LabHost) -> None:
    """Where another system ran than the profile said, both are as they were after a rollback, and what boots, too."""
    profile = inside(machine, "readlink -e /nix/var/nix/profiles/system")
    other = next(
        path for path in inside(machine, "readlink -e /nix/var/nix/profiles/system-*-link").split() if path != profile
    )
    inside(machine, f"{other}/bin/switch-to-configuration test")
    before = state(machine)
    assert before[0] != before[2]
    switched = switch(machine, "apart")
    assert go_back(machine, "apart", switched.earlier).text("rc").strip() == "0"
    assert state(machine) == before
    # The guard does the same.
    unconfirmed = Switched(machine, "apart-unconfirmed", other, "")
    switch(machine, unconfirmed.run, 1)
    wait_for(lambda: unconfirmed.ask("status", SWITCHPROOF_JOB="return").text("state") == "finished", "it went back")
    assert state(machine) == before
    inside(machine, f"{profile}/bin/switch-to-configuration switch")


def test_what_is_kept_is_for_root_alone_and_has_room(machine: LabHost) -> None:
    """State, logs and locks are private, what is for everybody is not; on a full disk a host still goes back."""
    inside(machine, "mount -t tmpfs -o size=12M none /var/lib/switchproof")
    try:
        switched = switch(machine, "full")
        script = "find /var/lib/switchproof /run/switchproof ! -type l -perm /077 -printf '%p %m\\n'"
        assert inside(machine, script) == ""
        modes = "stat -c %a /opt/choiros/workspace /etc/systemd/system.control /opt/choiros/workspace/.git/objects"
        assert inside(machine, modes).split() == ["755"] * 3
        inside(machine, "cat /dev/zero >/var/lib/switchproof/full 2>/dev/null || true")
        ended = go_back(machine, "full", switched.earlier)
        assert ended.text("rc").strip() == "0", log_of(ended)
    finally:
        inside(machine, "umount /var/lib/switchproof")
    is_wholly(machine, switched.earlier)


def test_exit_status_4_needs_a_unit_that_had_failed_before(machine: LabHost) -> None:
    """By hand, too: a switch that ends with 4 and names nobody, or a unit that is well, has not gone well."""
    ways = {"nobody": "", "reload": 'say "Failed to reload hypervisor.service"; '}
    for name, words in ways.items():
        edits = f"sed -i 's/^settle() {{/settle() {{\\n  {words}exit_code=4/' {STC}"
        add_branch(machine, name, f"{edits}; {version(name)}")
        result, output = by_hand(machine, "deploy", RELEASE_SHA=name, REPO_URL=f"file://{EDITED}")
        assert result == 1, output
        blamed = "failed in the switch: hypervisor.service" if words else "names no failed unit"
        assert blamed in output


def test_service_that_the_switch_missed_is_restarted_from_the_new_definition(machine: LabHost) -> None:
    """systemd may restart a service that crashed from its old definition after the switch has listed what runs.

    Services that ran all along, or were started after the reload, are left alone.
    """
    folder, units = Path("/run/strays"), "stray kept renewed"
    text = f"""
      cd {folder}
      define() {{
        mkdir -p $1/etc/systemd/system
        for unit in {units}; do
          printf '[Service]\\nExecStart=/bin/sleep infinity\\nEnvironment=OF=%s\\n' $1 |
            tee $1/etc/systemd/system/$unit.service >/run/systemd/system/$unit.service
        done
      }}
      started() {{ for unit in {units}; do systemctl show -P InvocationID $unit; done; }}
      toplevel() {{ echo {folder}/new; }}
      mkdir -p "$RUN_DIR"
      define old
      systemctl daemon-reload
      systemctl start {units}
      note_restarts
      define new
      systemctl restart stray 2>/dev/null
      systemctl daemon-reload
      systemctl restart renewed
      started >before
      note_strays {folder}/old
      renew_units
      diff before <(started) | grep -c '^>' || true
      systemctl show -p Environment {units} | grep .
    """
    try:
        inside(machine, f"mkdir {folder}")
        answer = inside(
            machine, f"SWITCHPROOF_RUN=r bash -s <<'EOS'\n{functions(*STRAYS, folder=folder)}\n{text}\nEOS"
        )
    finally:
        gone = f"for unit in {units}; do systemctl stop $unit; rm /run/systemd/system/$unit.service; done"
        inside(machine, f"{gone}; rm -r {folder}; systemctl daemon-reload")
    assert answer.splitlines() == [
        "restarting stray.service, which still runs what was installed before",
        "1",
        *["Environment=OF=new"] * 3,
    ]
