"""Builds the record of a made-up run, event by event."""

from __future__ import annotations

import datetime as dt
import hashlib

import msgspec

from switchproof.deploy.connection import ConnectionFacts
from switchproof.deploy.contract import Clause, ExitCode, HostState, Verdict
from switchproof.deploy.record import events as ev
from switchproof.deploy.record import facts
from switchproof.deploy.record.fold import fold
from switchproof.deploy.record.record import Record
from tests.schema import validate

BEGIN = dt.datetime(2026, 11, 23, 15, 12, 3, tzinfo=dt.UTC)
SHA = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
OLD = "/nix/store/0q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h-nixos-system-choiros-a-25.05"
NEW = "/nix/store/9z8x7c6v5b4n3m2l1k0j9h8g7f6d5s4a-nixos-system-choiros-a-25.05"
HOSTILE = "</script><img src=x onerror=alert(1)>\"' {{ 7*7 }} \x1b[31mred\x1b[0m [red] \u202egnp.exe ##[error]"

CHECKS = {
    Clause.REVISION: [("commit", "The revision is one full commit")],
    Clause.CONVERGE: [
        ("switched", "The switch ended well"),
        ("runs", "The running system is the one built from the commit"),
        ("no-new-failures", "No unit failed that had not failed before"),
    ],
    Clause.HYPERVISOR: [
        ("active", "hypervisor.service is active"),
        ("answers", "The hypervisor answers /login on 127.0.0.1:9090"),
    ],
    Clause.RUNTIME: [
        ("live", "live listens on 8080 and answers"),
        ("dev", "dev listens on 8081 and answers"),
    ],
    Clause.DIAGNOSTICS: [("emitted", "Unit state, logs and sockets can be emitted")],
}


LEGS: tuple[facts.Leg, ...] = ("forward", "back", "again")

WHY = {
    "commit": "Without one commit nobody can say afterwards what was deployed.",
    "switched": "A switch that did not end leaves a host that is half one system and half another.",
    "answers": "This is what users reach first: where it is down, nothing else counts.",
    "live": "Users work in this sandbox.",
    "dev": "Developers work in this sandbox.",
}

CI = facts.CiRun(
    system="github",
    url="https://github.com/choiros/choiros/actions/runs/4711/attempts/1",
    run="4711",
    job="deploy",
    actor="octocat",
    ref="refs/heads/main",
)

OVER_SSH = ConnectionFacts(
    kind="ssh",
    address="203.0.113.7",
    port=22,
    user="root",
    host_key="ssh-ed25519 SHA256:Zx1c8mQ2b0mPq3cB0mJcC8d8XH1o3xq2t0yq8pYw3mA",
    kex="curve25519-sha256@libssh.org",
    cipher="aes128-ctr",
    mac="hmac-sha2-256-etm@openssh.com",
    strict_kex=True,
    jumps=("deploy@bastion.example.org:22 ssh-ed25519 SHA256:3mJcC8d8XH1o3xq2t0yq8pYw3mAZx1c8mQ2b0mPq3cB",),
)

UNITS = ("hypervisor.service", "socat-sandbox@live.service", "socat-sandbox@dev.service")

LAB = (
    "the lab: hosts are containers on this machine",
    ("a kernel, boot loader and disk of the host's own", "nixos-rebuild and switch-to-configuration themselves"),
)


def samples(*rounds: tuple[float, int]) -> tuple[facts.Sample, ...]:
    """Answers of an endpoint: when it was asked, and the status, 0 for none."""
    reasons = {0: "connection refused or no route"}
    return tuple(
        facts.Sample(
            at_s=at, good=code == 200, code=code, seconds=0.002, words=reasons.get(code, f"HTTP {code} in 2 ms")
        )
        for at, code in rounds
    )


class Story:
    """Events of one run, on a clock that only the story moves."""

    def __init__(
        self,
        *hosts: str,
        mode: str = "deploy",
        provider: str = "ovh",
        emulated: bool = False,
        requested: str | None = "main",
        options: dict[str, str] | None = None,
        ci: facts.CiRun | None = None,
    ) -> None:
        self.at = BEGIN
        self.names = hosts or ("a", "b")
        self.titles = {check: title for checks in CHECKS.values() for check, title in checks}
        self.events: list[ev.AnyEvent] = [
            ev.RunStarted(
                at=BEGIN,
                id="20261123T151203Z-deploy-ovh-1a2b3c4",
                mode=mode,
                provider=provider,
                emulated=emulated,
                requested=requested,
                repository="https://example.org/choiros.git",
                hosts=self.names,
                expected=tuple(
                    ev.ExpectedCheck(host=host, leg=leg, clause=clause, id=check, title=title, why=WHY.get(check, ""))
                    for leg in LEGS
                    for host in self.names
                    for clause, checks in CHECKS.items()
                    for check, title in checks
                ),
                contract_sha256=hashlib.sha256(b"contract").hexdigest(),
                options=options or {"on-failure": "rollback", "soak": "5"},
                harness="switchproof 0.1.0",
                owner="deployer@build-7",
                ci=ci,
                versions={"python": "3.11.2", "pytest": "9.2.0", "paramiko": "5.0.1"},
            )
        ]
        if emulated:
            self.tell(ev.Emulated(at=BEGIN, by=LAB[0], not_modelled=LAB[1]))

    def tick(self, seconds: float) -> Story:
        self.at += dt.timedelta(seconds=seconds)
        return self

    def tell(self, event: ev.AnyEvent) -> Story:
        self.events.append(event)
        return self

    def resolved(self, subject: str = "Serve the new login page") -> Story:
        return self.tell(
            ev.RevisionResolved(
                at=self.at,
                requested="main",
                sha=SHA,
                subject=subject,
                author="Ada Example",
                authored=BEGIN - dt.timedelta(hours=3),
            )
        )

    def phase(
        self, host: str, phase: facts.Phase, seconds: float, leg: facts.Leg = "forward", problem: str | None = None
    ) -> Story:
        self.tell(ev.PhaseStarted(at=self.at, host=host, phase=phase, leg=leg)).tick(seconds)
        return self.tell(
            ev.PhaseFinished(
                at=self.at, host=host, phase=phase, leg=leg, seconds=seconds, problem=problem, questions=2
            )
        )

    def connected(self, host: str, connection: ConnectionFacts = OVER_SSH) -> Story:
        """The host is reached, and its clock is known."""
        self.phase(host, "connect", 0.3).tell(ev.Connected(at=self.at, host=host, connection=connection))
        return self.tell(ev.ClockSeen(at=self.at, host=host, clock=facts.Clock(offset_s=-0.012, uncertainty_s=0.021)))

    def happened(self, host: str, kind: facts.MomentKind, text: str = "") -> Story:
        return self.tell(ev.Happened(at=self.at, host=host, kind=kind, text=text))

    def switched(self, host: str, seconds: float, leg: facts.Leg = "forward") -> Story:
        """A switch that ended, and what it changed in the closure."""
        self.tell(ev.PhaseStarted(at=self.at, host=host, phase="converge", leg=leg)).tick(seconds * 0.7)
        self.happened(host, "switch-begun").tick(seconds * 0.3).happened(host, "switch-ended", "exit status 0")
        self.tell(ev.PhaseFinished(at=self.at, host=host, phase="converge", leg=leg, seconds=seconds, questions=4))
        self.kept(host, "closure.txt", "what the switch changes in the closure", 131)
        changed = ("hypervisor: 1.4.0 → 1.5.0, +12.3 KiB", "openssl: 3.4.0 → 3.4.1")
        closure = facts.Closure(
            leg=leg, before=OLD, after=NEW, lines=changed, left_out=3, evidence=f"evidence/{host}/closure.txt"
        )
        return self.tell(ev.ClosureCompared(at=self.at, host=host, closure=closure))

    def units(self, host: str, when: str, pid: int, definition: str, invocation: str) -> Story:
        units = tuple(
            facts.UnitState(
                name=name,
                state="active (running)",
                definition=definition * 64,
                invocation=invocation * 32,
                pid=pid + number,
                restarts=0,
            )
            for number, name in enumerate(UNITS)
        )
        return self.tell(
            ev.UnitsSeen(at=self.at, host=host, when="before" if when == "before" else "after", units=units)
        )

    def watched(
        self,
        host: str,
        *rounds: tuple[float, int],
        endpoints: tuple[str, ...] = ("hypervisor", "live", "dev"),
        settled: str = "healthy",
        leg: facts.Leg = "forward",
        left_out: int = 0,
        restarts: tuple[str, ...] = (),
    ) -> Story:
        """Endpoints are watched at the same time, in a phase of its own, and all answer alike."""
        rounds = rounds or ((0.1, 503), (2.1, 503), (4.3, 200), (6.3, 200), (8.4, 200), (10.4, 200), (12.5, 200))
        began, seconds = self.at, rounds[-1][0] + 0.1
        self.phase(host, "observe", seconds + 0.4, leg=leg)
        for endpoint in endpoints:
            watch = facts.Watch(
                leg=leg,
                endpoint=endpoint,
                settled=settled,
                began=began,
                seconds=seconds,
                limit_s=145.0,
                samples=samples(*rounds),
                left_out=left_out,
                restarts=restarts,
            )
            self.tell(ev.Watched(at=self.at, host=host, watch=watch))
        return self

    def earlier(self, *not_passed: str) -> Story:
        """A canonical run yesterday, and after it one that did not pass; phases took as long as they do."""

        def run(days: int, verdict: str, lacking: tuple[str, ...]) -> facts.EarlierRun:
            hosts = tuple(
                facts.EarlierHost(name=name, toplevel=OLD, generation=41, not_passed=dict.fromkeys(lacking, "failed"))
                for name in self.names
            )
            started = BEGIN - dt.timedelta(days=days)
            return facts.EarlierRun(
                run=f"{started:%Y%m%dT%H%M%SZ}-deploy-ovh-4f2a",
                folder=f"{started:%Y%m%dT%H%M%SZ}-deploy-ovh-0f1e2d3",
                mode="deploy",
                started=started,
                verdict=verdict,
                sha="0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c",
                contract_sha256=hashlib.sha256(b"contract").hexdigest(),
                hosts=hosts,
            )

        medians: dict[facts.Phase, float] = {"connect": 0.4, "converge": 41.0, "observe": 17.2}
        typical = tuple(
            facts.Typical(host=name, leg="forward", phase=phase, median_s=median, runs=12)
            for name in self.names
            for phase, median in medians.items()
        )
        previous = run(1, "non-canonical" if not_passed else "canonical", not_passed)
        return self.tell(
            ev.EarlierRead(at=self.at, canonical=run(2, "canonical", ()), previous=previous, typical=typical)
        )

    def seen(self, host: str, when: str, toplevel: str, generation: int) -> Story:
        system = ev.SystemIdentity(toplevel=toplevel, generation=generation, revision=SHA, boot_id="b00t")
        return self.tell(
            ev.SystemSeen(at=self.at, host=host, when="before" if when == "before" else "after", system=system)
        )

    def kept(self, host: str, name: str, title: str, size: int = 4096) -> Story:
        path = f"evidence/{host}/{name}"
        digest = hashlib.sha256(path.encode()).hexdigest()
        return self.tell(ev.EvidenceKept(at=self.at, host=host, title=title, path=path, sha256=digest, bytes=size))

    def check(
        self,
        host: str,
        clause: Clause,
        check: str,
        verdict: Verdict = Verdict.PASSED,
        message: str = "",
        *,
        leg: facts.Leg = "forward",
        expected: str = "200",
        seen: str = "200",
        evidence: tuple[str, ...] = (),
        title: str | None = None,
        remedy: str = "",
        command: str = "",
        endpoint: str | None = None,
        took_s: float | None = None,
        limit_s: float | None = None,
    ) -> Story:
        self.tell(
            ev.CheckFinished(
                at=self.at,
                host=host,
                leg=leg,
                clause=clause,
                id=check,
                title=title or self.titles[check],
                verdict=verdict,
                started=self.at,
                seconds=0.25,
                message=message,
                expected=expected,
                seen=seen,
                evidence=evidence,
                remedy=remedy,
                command=command,
                endpoint=endpoint,
                took_s=took_s,
                limit_s=limit_s,
            )
        )
        return self.tick(0.25)

    def clauses(
        self,
        host: str,
        *clauses: Clause,
        verdict: Verdict = Verdict.PASSED,
        message: str = "",
        leg: facts.Leg = "forward",
    ) -> Story:
        for clause in clauses:
            for check, _ in CHECKS[clause]:
                self.check(host, clause, check, verdict, message, leg=leg)
        return self

    def left(self, host: str, state: HostState, reason: str) -> Story:
        return self.tell(ev.HostLeft(at=self.at, host=host, state=state, reason=reason))

    def ended(self, code: ExitCode, interrupted: str | None = None) -> Story:
        return self.tell(
            ev.RunFinished(
                at=self.at, exit_code=code, interrupted=interrupted, redactions={"url-password": 2, "AWS_TOKEN": 1}
            )
        )

    def record(self) -> Record:
        record = fold(self.events)
        validate(msgspec.json.encode(record))
        return record
