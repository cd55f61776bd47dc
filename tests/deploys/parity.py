"""One behaviour of a host, met over SSH by a host of the one shape and through SSM by one of the other."""

from __future__ import annotations

import hashlib
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from switchproof.deploy.connection import Connection
from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.providers import load
from switchproof.deploy.providers.aws.provider import AwsProvider
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.provider import _environment, _over_ssh
from switchproof.deploy.providers.lab.revisions import REVISIONS
from switchproof.deploy.providers.lab.ssm import NOT_MODELLED
from switchproof.deploy.providers.lab.ssm.commands import Pace
from switchproof.deploy.providers.lab.ssm.endpoint import SsmEndpoint
from switchproof.deploy.providers.lab.ssm.faults import Fault
from tests.deploys import cut_points
from tests.deploys.cut_points import AWAY_S, POINTS, let_go, prepare
from tests.deploys.sessions import HEALTH, LONGEST_S, Ended, target_file
from tests.deploys.ways_back import Stage

CONFIRM_S = 600.0
"""Seconds after which a host would go back by itself; long, as no behaviour here is about that."""
_ALONE = threading.Lock()
"""Held by whoever changes this process's environment, from which boto3's clients are made."""
PACE = Pace(invisible_s=0.2, pickup_s=0.3, report_s=0.05, back_s=0.5, worker_lost_s=0.3, backoff_s=0.1)
WAYS = ("ssh", "ssm")

SWITCH = r"""#!/bin/bash
# Stands before nixos-rebuild: at its first switch it does what /run/behaviour says, then the real thing if it can.
self=(-e /usr/local/sbin/nixos-rebuild -e /run/wrappers/bin/nixos-rebuild)
real=$(type -aP nixos-rebuild | grep -vxF "${self[@]}" | head -n1)
if [[ " $* " == *" switch "* ]] && mkdir /run/behaved 2>/dev/null; then . /run/behaviour; fi
exec "$real" "$@"
"""
PLACES = ("/usr/local/sbin", "/run/wrappers/bin")


@dataclass(frozen=True)
class Behaviour:
    """What a host or the way to it does.

    Attributes:
        name: What it is called in the table.
        program: A program text that the host runs by itself; without one, it is deployed to.
        limit_s: Seconds for that program.
        revision: What is deployed; empty for a good one that the host does not run yet.
        switch: Shell text that the host runs in the switch, before or instead of it.
        point: The moment at which the way to the host is lost; see `cut_points.POINTS`.
        away: The way is gone for a while, instead of being broken and there again.
        twice: The way makes the host hear questions twice.
        offline: The host cannot be reached at all.
        limits: Tables of the target file.
        differs: Why the two ways must differ; empty if they must not.
    """

    name: str
    program: str = ""
    limit_s: float = 30.0
    revision: str = ""
    switch: str = ""
    point: str = ""
    away: bool = False
    twice: bool = False
    offline: bool = False
    limits: str = ""
    differs: str = ""


_SWITCHES = {
    "ends with 0": "true",
    "ends with 0 and switched nothing": "exit 0",
    "ends with 3": "exit 3",
    "ends with 137": "exit 137",
    "ends with 194": "exit 194",
    "dies by a signal": "kill -9 $$",
    "says 30,000 characters": "yes 'building, building' | head -c 30000",
    "says 5 MiB": "seq 765000",
    "says what is not UTF-8": "printf 'caf\\351 \\377\\376 \\303\\050\\n'",
}
_PROGRAMS = {
    "ends with 0": "echo done",
    "ends with 3": "exit 3",
    "ends with 137": "exit 137",
    "ends with 194": "exit 194",
    "dies by a signal": "echo begun; kill -9 $$",
    "says 30,000 characters": "yes 0123456789 | head -c 30000",
    "says 30,000 characters that cannot be packed": "head -c 22500 /usr/bin/bash | base64 -w 0",
    "says 5 MiB": "yes 0123456789 | head -c 5242880",
    "says what is not UTF-8": "printf 'caf\\351 \\377\\376 \\303\\050\\n'",
    "lacks its shell": "/bin/no-such-bash -c true",
    "leaves a child behind": "sleep 5 >/dev/null 2>&1 & echo left",
}
_MOMENTS = {
    "fetch": "during fetch",
    "build": "during build",
    "profile set": "after profile set",
    "activation": "during activation",
    "verification": "during verification",
    "confirmation": "during confirmation",
}
_SLOW_SOAK = {"broken/live-crash-loop": ("soak_s = 1.0", "soak_s = 15.0")}
"""Only a soak longer than its healthy stretches tells a crash loop from health."""

_DIFFERS = {
    "broken/live-old-image": (
        "a microVM is started anew with the image that it had: its process is the new system's, its answer the old "
        "release's. A container has no image. It keeps its release only by not being started anew, which clause "
        "`converge` finds before anybody asks it."
    )
}

BEHAVIOURS: tuple[Behaviour, ...] = (
    *(Behaviour(f"a program {name}", program=text) for name, text in _PROGRAMS.items()),
    Behaviour("a program takes longer than it may", program="sleep 4131", limit_s=1.0),
    *(Behaviour(f"the switch {name}", switch=text) for name, text in _SWITCHES.items()),
    Behaviour("the switch takes longer than it may", switch="sleep 4141", limits="\n[converge]\ntimeout_s = 10.0\n"),
    *(Behaviour(f"the way is broken in the {name}, and there again", point=at) for name, at in _MOMENTS.items()),
    *(
        Behaviour(f"the way is gone in the {name}, and comes back", point=at, away=True)
        for name, at in _MOMENTS.items()
    ),
    Behaviour("the host hears every question twice", twice=True),
    Behaviour("the host is offline", offline=True),
    *(
        Behaviour(f"the revision {one.name}", revision=f"heads/{one.name}", differs=_DIFFERS.get(one.name, ""))
        for one in REVISIONS
        if one.ref.startswith("refs/heads/")
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What came of a behaviour on one way.

    Attributes:
        told: In words, all of which must be the same on both ways.
        output: What was said on the way, for whoever looks into a difference.
    """

    told: str
    output: str = ""

    def __str__(self) -> str:
        return self.told


class Ssh(Stage):
    """A host that is reached over SSH."""

    def __init__(self, lab: Lab, host: str, folder: Path, behaviour: Behaviour) -> None:
        super().__init__(lab, host, folder, CONFIRM_S)
        self.behaviour = behaviour
        self.targets = target_file(folder, [host], _health(behaviour))

    def open(self) -> Connection:
        """Connect to the host."""
        return _over_ssh(self.lab, load(self.targets, {})).connect(self.host.name)

    def before(self) -> None:
        """Break what is broken from the start."""
        if self.behaviour.offline:
            self._link("down")
        if self.behaviour.twice:  # whoever loses the answer to a question asks it again
            prepare(self, _point("before build"))

    def meanwhile(self) -> None:
        """Break what is broken at a point of the deploy."""
        if self.behaviour.away:
            cut_points.dropped(self, _NOBODY)
        else:
            cut_points.reset(self, _NOBODY)

    @property
    def point(self) -> str:
        """The moment at which something is broken, empty for none."""
        return "before build" if self.behaviour.twice else self.behaviour.point

    def after(self) -> None:
        """Mend what is broken."""
        self._link("up")

    def _link(self, state: str) -> None:
        subprocess.run(["ip", "link", "set", self.host._state.cable.interface, state], check=True, timeout=10)


class Ssm(Stage):
    """A host that is reached through SSM."""

    def __init__(self, lab: Lab, host: str, folder: Path, behaviour: Behaviour) -> None:
        super().__init__(lab, host, folder, CONFIRM_S)
        self.behaviour = behaviour
        self._stack = ExitStack()
        self._endpoint = self._stack.enter_context(SsmEndpoint.serve(lab, pace=PACE))
        self.environ = dict(self._endpoint.environment)
        self.targets = target_file(folder, [host], _health(behaviour), provider="aws", shape="aws")
        text, line = self.targets.read_text("utf-8"), 'flake_attr = "choiros-aws-a"\n'
        named = text.replace(line, f'{line}instance = "{self._endpoint.instance_ids[host]}"\n')
        self.targets.write_text(named, "utf-8")

    @property
    def arguments(self) -> list[str]:
        """What the session is given."""
        return ["--provider=aws", f"--targets={self.targets}"]

    def open(self) -> Connection:
        """Connect to the host."""
        with _ALONE, _environment(self.environ, self._endpoint.misleading):
            provider = AwsProvider(load(self.targets, {}), prove=False, emulated=lambda *_: None, say=print)
        return provider.connect(self.host.name)

    def before(self) -> None:
        """Break what is broken from the start."""
        self._endpoint.set_online(self.host.name, online=not self.behaviour.offline)
        if self.behaviour.twice:
            self._endpoint.faults.plan(Fault.RUN_TWICE, times=10_000)

    def meanwhile(self) -> None:
        """Break what is broken at a point of the deploy."""
        if self.behaviour.away:
            self._endpoint.set_online(self.host.name, online=False)
            let_go(self)
            time.sleep(AWAY_S)
            self._endpoint.set_online(self.host.name, online=True)
        else:
            self._endpoint.kill_agent(self.host.name)
            let_go(self)

    @property
    def point(self) -> str:
        """The moment at which something is broken, empty for none."""
        return self.behaviour.point

    def after(self) -> None:
        """Mend what is broken."""
        self._stack.close()


_NOBODY: subprocess.Popen[str] = None  # type: ignore[assignment] # losses of the way do not look at the runner


def meet(way: str, lab: Lab, host: str, folder: Path, behaviour: Behaviour) -> Outcome:
    """Let a behaviour be met on one way.

    Args:
        way: One of `WAYS`.
        lab: A lab of the shape that is reached so.
        host: Its host, which may have met other behaviours before.
        folder: Where the files of this go.
        behaviour: What is met.
    """
    stage: Ssh | Ssm = (Ssh if way == "ssh" else Ssm)(lab, host, folder, behaviour)
    try:
        return _program(stage) if behaviour.program else _deploy(stage)
    finally:
        stage.after()


def _program(stage: Ssh | Ssm) -> Outcome:
    """Have the host run a program, and tell how it ended."""
    connection = stage.open()
    try:
        done = connection.run(stage.behaviour.program.encode(), timeout_s=stage.behaviour.limit_s)
    except Inconclusive as error:
        return Outcome(f"inconclusive ({type(error).__name__})", str(error))
    finally:
        connection.close()
    ended = "by a signal" if done.exit_status is None else f"status {done.exit_status}"
    digest = hashlib.sha256(done.stdout).hexdigest()[:8] if done.stdout else "-"
    return Outcome(f"{ended}, {len(done.stdout)} bytes, {digest}", done.stderr.decode("utf-8", "replace"))


def _deploy(stage: Ssh | Ssm) -> Outcome:
    """Deploy to the host, and tell how that ended."""
    behaviour = stage.behaviour
    sha = behaviour.revision or _other_release(stage)
    _install(stage, behaviour.switch)
    stage.before()
    if stage.point:
        prepare(stage, _point(stage.point))
    process = stage.begin("run", f"--sha={sha}")
    try:
        if stage.point:
            stage.wait_for(lambda: stage.inside("ls -d /run/cut/held 2>/dev/null || true") != "", stage.point)
            stage.meanwhile()
        output, _ = process.communicate(timeout=LONGEST_S)
    finally:
        process.kill()
        let_go(stage)
        _uninstall(stage)
    folders = list((stage.folder / "run").glob("2*"))
    if not folders or not (folders[0] / "record.json").exists():
        return Outcome(f"exit {process.returncode}, nothing touched", output)
    ended = Ended(process.returncode, output, folders[0])
    lacking = {lack for emulation in ended.record.emulations for lack in emulation.not_modelled}
    assert ended.record.emulated
    assert isinstance(stage, Ssh) or lacking >= set(NOT_MODELLED), "the record does not name what is not modelled"
    return outcome(ended, stage.host.name)


def outcome(ended: Ended, name: str) -> Outcome:
    """Tell the exit code, the first clause that did not pass, the host's state, and how the way back went."""
    host = ended.record.host(name)
    verdicts = {result.id: result.verdict for result in host.clauses}
    first = next((clause for clause in Clause if verdicts[clause] is not Verdict.PASSED), None)
    words = [f"exit {ended.status}", f"{first} {verdicts[first]}" if first else "all five passed", str(host.state)]
    if host.rollback and host.rollback.verdict is not Verdict.PASSED:
        words.append(f"way back {host.rollback.verdict}")
    return Outcome(", ".join(words), ended.output)


def _health(behaviour: Behaviour) -> str:
    text = HEALTH.replace("soak_s = 2.0", "soak_s = 1.0")
    text = text.replace(*_SLOW_SOAK.get(behaviour.revision.removeprefix("heads/"), ("", "")))
    return text + f"\n[rollback]\nconfirm_s = {CONFIRM_S}\n" + behaviour.limits


def _point(name: str) -> cut_points.Point:
    return next(point for point in POINTS if str(point) == name)


def _other_release(stage: Stage) -> str:
    """A good revision that the host does not run."""
    running = stage.inside("nixos-version --configuration-revision")
    return "v3" if running != cut_points.commit(stage, "v3") else "main"


def _install(stage: Stage, text: str) -> None:
    """Have the host's next switch do something of its own."""
    _uninstall(stage)
    if not text:
        return
    script = f"mkdir -p {' '.join(PLACES)} && cat >/run/behaviour"
    assert stage.host.run(["bash", "-c", script], timeout_s=30, input=text).returncode == 0
    for place in PLACES:
        put = f"cat >{place}/nixos-rebuild && chmod 755 {place}/nixos-rebuild"
        assert stage.host.run(["bash", "-c", put], timeout_s=30, input=SWITCH).returncode == 0


def _uninstall(stage: Stage) -> None:
    """Leave nothing of it, nor of a hold, nor of a run that had no end."""
    links = " ".join(f"{place}/{program}" for place in PLACES for program in ("nixos-rebuild", "systemctl"))
    stage.inside(f"rm -rf /run/behaviour /run/behaved /run/switchproof/lock {links}; rm -f /run/cut/point")


def told(page: str) -> dict[str, tuple[str, str]]:
    """Read what the rows of a table came to."""
    rows = [[word.strip() for word in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    return {row[0]: (row[1], row[2]) for row in rows[1:]}


def table(found: Mapping[str, tuple[str, str]], behaviours: Iterable[Behaviour] = BEHAVIOURS) -> str:
    """Write what came of behaviours on each way as a table in Markdown."""
    lines = [f"| behaviour | {' | '.join(WAYS)} | |", "|---|---|---|---|"]
    for behaviour in behaviours:
        left, right = found.get(behaviour.name, ("not tried", "not tried"))
        word = "same" if left == right else "differs"
        lines.append(f"| {behaviour.name} | {left} | {right} | {word} |")
    return "\n".join(lines) + "\n"


def unlike(behaviours: Iterable[Behaviour] = BEHAVIOURS) -> str:
    """Write why some behaviours must differ."""
    lines = [f"- **{behaviour.name}**: {behaviour.differs}" for behaviour in behaviours if behaviour.differs]
    return "\n".join(lines or ["- none"]) + "\n"
