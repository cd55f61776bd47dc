"""Made-up runs, for the tests of everything that is made from a record."""

from __future__ import annotations

import msgspec

from switchproof.deploy.connection import ConnectionFacts
from switchproof.deploy.contract import Clause, ExitCode, HostState, Verdict
from switchproof.deploy.record import events as ev
from switchproof.deploy.record import facts
from tests.reports.story import CHECKS, CI, HOSTILE, NEW, OLD, OVER_SSH, UNITS, Story


def canonical(*hosts: str, **known: object) -> Story:
    """Every check of every host passed."""
    story = Story(*hosts, **known)  # type: ignore[arg-type]
    story.earlier("answers").resolved()
    for host in story.names:
        story.connected(host).seen(host, "before", OLD, 41).units(host, "before", 400, "0", "a")
        story.switched(host, 12.3).watched(host).seen(host, "after", NEW, 42).units(host, "after", 500, "1", "b")
        story.kept(host, "observation.json", "What was observed").clauses(host, *Clause)
        story.happened(host, "confirmed").left(
            host, HostState.CONVERGED, "It runs the commit, verified by every check."
        )
    return story.ended(ExitCode.CANONICAL)


def rolled_back() -> Story:
    """The hypervisor of host a answered wrongly; a was rolled back and verified, b converged."""
    story = Story(ci=CI).earlier("answers", "dev").resolved()
    story.connected("a").seen("a", "before", OLD, 41).units("a", "before", 400, "0", "a").switched("a", 95.2)
    story.happened("a", "lost", "the connection was lost: timed out").tell(
        ev.Connected(at=story.at, host="a", connection=OVER_SSH)
    )
    refused = ((0.1, 0), (2.1, 502), (4.3, 200), (6.3, 502), (8.4, 502))
    story.watched("a", *refused, endpoints=("hypervisor",), settled="unhealthy", left_out=112)
    story.clauses("a", Clause.REVISION, Clause.CONVERGE).check("a", Clause.HYPERVISOR, "active")
    story.kept("a", "hypervisor.json", "What the hypervisor answered", 812).kept(
        "a", "journal.txt", "Logs", 1_234_567
    )
    story.check(
        "a",
        Clause.HYPERVISOR,
        "answers",
        Verdict.FAILED,
        "The hypervisor answered 502, not 200, in 5 of 5 attempts.\nSee the log of hypervisor.service.",
        expected="status 200\nbody contains “Sign in”",
        seen="status 502\nbody: Bad Gateway",
        evidence=("evidence/a/hypervisor.json", "evidence/a/gone.txt"),
        remedy="See the log of hypervisor.service: what it serves /login from is not there.",
        command="curl -sS --max-time 5 http://127.0.0.1:9090/login",
        endpoint="hypervisor",
        took_s=0.002,
        limit_s=5.0,
    )
    story.clauses("a", Clause.RUNTIME, verdict=Verdict.BLOCKED, message="Blocked by hypervisor on a.")
    story.clauses("a", Clause.DIAGNOSTICS).phase("a", "diagnose", 1.4)
    story.tell(ev.RollbackBegun(at=story.at, host="a", reason="The clause hypervisor failed.", to=OLD))
    story.phase("a", "rollback", 8.0, leg="back").watched("a", leg="back").clauses("a", *Clause, leg="back")
    story.seen("a", "after", OLD, 41).units("a", "after", 600, "0", "c")
    story.left("a", HostState.ROLLED_BACK, "It runs the toplevel it had before, verified by every check.")
    story.clauses("b", *Clause).phase("b", "converge", 80.0)
    story.left("b", HostState.CONVERGED, "It runs the commit, verified by every check.")
    story.tell(ev.Noted(at=story.at, host="a", text="The clock is 3 s behind."))
    story.tell(ev.Noted(at=story.at, host=None, text="The flake has uncommitted changes."))
    return story.ended(ExitCode.SAFE_FAILURE)


def drill(*hosts: str, again: Verdict = Verdict.PASSED) -> Story:
    """Deployed, went back on purpose, and deployed again; the second time as told."""
    story = Story(*hosts, mode="drill", options={"drill": "orderly"}).resolved()
    for host in story.names:
        story.seen(host, "before", OLD, 41).phase(host, "converge", 12.3).phase(host, "observe", 4.0)
        story.clauses(host, *Clause)
        story.tell(ev.RollbackBegun(at=story.at, host=host, reason="the drill goes back on purpose", to=OLD))
        story.phase(host, "rollback", 6.0, leg="back").clauses(host, *Clause, leg="back")
        story.phase(host, "converge", 3.0, leg="again").clauses(host, *list(Clause)[:4], leg="again")
        story.check(host, Clause.DIAGNOSTICS, "emitted", again, "" if again is Verdict.PASSED else "ss", leg="again")
        story.seen(host, "after", NEW, 43).left(host, HostState.CONVERGED, "Every clause passed.")
    return story.ended(ExitCode.CANONICAL if again is Verdict.PASSED else ExitCode.SAFE_FAILURE)


def returned() -> Story:
    """An audit of a host that went back by itself after an earlier run."""
    story = Story("a", mode="audit", requested=None)
    story.tell(
        ev.Warned(at=story.at, host="a", text="It went back by itself at 2026-11-23T14:00:00Z: not confirmed.")
    )
    story.clauses("a", *Clause).left("a", HostState.FOUND_HEALTHY, "Every clause passed; nothing was changed.")
    return story.ended(ExitCode.CANONICAL)


def unsafe() -> Story:
    """The way back of host a failed as well."""
    story = Story("a", provider="lab", emulated=True).resolved().seen("a", "before", OLD, 41)
    story.clauses("a", Clause.REVISION).phase("a", "converge", 3.0, problem="the unit ended with status 4")
    story.check("a", Clause.CONVERGE, "switched", Verdict.FAILED, "switch-to-configuration ended with status 4.")
    story.clauses(
        "a", Clause.HYPERVISOR, Clause.RUNTIME, verdict=Verdict.BLOCKED, message="Blocked by converge on a."
    )
    story.clauses("a", Clause.DIAGNOSTICS)
    story.tell(ev.RollbackBegun(at=story.at, host="a", reason="The clause converge failed.", to=OLD))
    story.clauses("a", Clause.REVISION, leg="back")
    story.check("a", Clause.CONVERGE, "switched", Verdict.FAILED, "The old toplevel is gone.", leg="back")
    story.left("a", HostState.UNSAFE, "The rollback failed: the old toplevel is gone.")
    return story.ended(ExitCode.UNSAFE)


def inconclusive() -> Story:
    """The connection to host b was lost and never came back."""
    story = Story().connected("a").connected("b").resolved().clauses("a", *Clause)
    story.left("a", HostState.CONVERGED, "Verified by every check.").clauses("b", Clause.REVISION)
    story.tell(ev.PhaseStarted(at=story.at, host="b", phase="converge")).tick(41.0).happened("b", "lost")
    story.check("b", Clause.CONVERGE, "switched", Verdict.INCONCLUSIVE, "The connection was lost after 41 s.")
    story.clauses("b", Clause.HYPERVISOR, verdict=Verdict.BLOCKED, message="Blocked by converge on b.")
    story.left("b", HostState.UNKNOWN, "The switch was under way when the connection was lost.")
    return story.ended(ExitCode.INCONCLUSIVE)


DIAGNOSTICS = (
    *(f"{kind}/{unit}.txt" for kind in ("status", "show", "journal") for unit in UNITS),
    *(f"machine/{name}.{part}.txt" for name in ("live", "dev") for part in ("facts", "answer", "console", "network")),
    *(f"inside/{name}.{number}.txt" for name in ("live", "dev") for number in range(3)),
    *(f"{name}.txt" for name in ("sockets", "disk", "memory", "kernel", "clock", "failed-units", "switch-journal")),
)
"""What a host is asked for when anything failed there."""


def diagnosed(*hosts: str) -> Story:
    """Every host fails as widely as it can, with all its diagnostics, and is brought back."""
    story = Story(*hosts, ci=CI).earlier().resolved()
    refused = tuple((float(second), 502 if second % 2 else 0) for second in range(200))
    for host in story.names:
        story.connected(host).seen(host, "before", OLD, 41).units(host, "before", 400, "0", "a").switched(host, 95.2)
        story.watched(host, *refused, settled="unhealthy", left_out=400)
        for name in DIAGNOSTICS:
            story.kept(host, f"diagnostics/{name}", f"What {name} says")
        story.clauses(host, Clause.REVISION, Clause.CONVERGE)
        for clause in (Clause.HYPERVISOR, Clause.RUNTIME):
            for check, _ in CHECKS[clause]:
                endpoint = "hypervisor" if clause is Clause.HYPERVISOR else check
                story.check(
                    host,
                    clause,
                    check,
                    Verdict.FAILED,
                    "It answered 502, not 200, in 200 of 200 attempts.\n" + "the last words of a unit: lost\n" * 40,
                    expected="status 200\n" * 20,
                    seen="<html><body>502 Bad Gateway</body></html>\n" * 40,
                    evidence=tuple(
                        f"evidence/{host}/diagnostics/{name}"
                        for name in DIAGNOSTICS
                        if endpoint in name or name == "sockets.txt"
                    ),
                    endpoint=endpoint,
                )
        story.clauses(host, Clause.DIAGNOSTICS)
        story.tell(ev.RollbackBegun(at=story.at, host=host, reason="The clause hypervisor failed.", to=OLD))
        story.phase(host, "rollback", 8.0, leg="back").watched(host, leg="back").clauses(host, *Clause, leg="back")
        story.seen(host, "after", OLD, 41).units(host, "after", 600, "0", "c")
        story.left(host, HostState.ROLLED_BACK, "It runs the toplevel it had before, verified by every check.")
    return story.ended(ExitCode.SAFE_FAILURE)


def killed() -> Story:
    """The journal ends in the middle of a switch."""
    story = Story("a").connected("a").resolved().clauses("a", Clause.REVISION)
    return story.tell(ev.PhaseStarted(at=story.at, host="a", phase="converge"))


def hostile() -> Story:
    """Everything that a host or a target file may say is an attack."""
    name = "a<b>\"'&"
    story = Story(name, options={"<i>o</i>": HOSTILE, "big": "x"}).resolved(HOSTILE)
    story.connected(name, ConnectionFacts(kind="ssh", address=HOSTILE, user=HOSTILE, jumps=(HOSTILE,)))
    story.happened(name, "lost", HOSTILE)
    bad = facts.Sample(at_s=0.1, good=False, code=0, seconds=0.0, words=HOSTILE)
    watch = facts.Watch(
        leg="forward",
        endpoint=HOSTILE,
        settled=HOSTILE,
        began=story.at,
        seconds=1.0,
        limit_s=1.0,
        samples=(bad,),
        restarts=(HOSTILE,),
    )
    story.tell(ev.Watched(at=story.at, host=name, watch=watch))
    unit = facts.UnitState(name=HOSTILE, state=HOSTILE, definition="", invocation=HOSTILE, pid=0, restarts=0)
    story.tell(ev.UnitsSeen(at=story.at, host=name, when="after", units=(unit,)))
    closure = facts.Closure(leg="forward", before=HOSTILE, after=HOSTILE, lines=(HOSTILE,))
    story.tell(ev.ClosureCompared(at=story.at, host=name, closure=closure))
    story.clauses(name, Clause.REVISION)
    story.kept(name, '"><script>alert(2)</script>', HOSTILE)
    story.tell(
        ev.EvidenceKept(
            at=story.at, host=name, title="out", path="../../etc/shadow", sha256="javascript:alert(3)", bytes=1
        )
    )
    story.check(
        name,
        Clause.CONVERGE,
        "switched",
        Verdict.FAILED,
        HOSTILE,
        expected=HOSTILE,
        seen="M" * 1_000_000,
        evidence=(
            f'evidence/{name}/"><script>alert(2)</script>',
            "javascript:alert(4)",
            "../../etc/shadow",
            "//evil.example/x",
        ),
        title=HOSTILE,
        remedy=HOSTILE,
        command=HOSTILE,
        endpoint=HOSTILE,
    )
    story.tell(ev.Noted(at=story.at, host=name, text=HOSTILE)).tell(ev.Noted(at=story.at, host=None, text=HOSTILE))
    story.tell(ev.RollbackBegun(at=story.at, host=name, reason=HOSTILE, to=HOSTILE))
    story.left(name, HostState.UNSAFE, HOSTILE).phase(name, "converge", 1.0, problem=HOSTILE)
    return story.ended(ExitCode.UNSAFE, interrupted=HOSTILE)


def preflight(code: ExitCode, *found: tuple[str, str, Verdict, str]) -> Story:
    """A preflight, of which each finding has a host, a check, a verdict and a message."""
    story = Story(*dict.fromkeys(host for host, *_ in found), mode="preflight", requested=None)
    started = story.events[0]
    assert isinstance(started, ev.RunStarted)
    story.events[0] = msgspec.structs.replace(
        started,
        expected=tuple(
            ev.ExpectedCheck(host=host, leg="forward", clause=Clause.CONVERGE, id=check, title=check)
            for host, check, *_ in found
        ),
    )
    for host, check, verdict, message in found:
        story.check(host, Clause.CONVERGE, check, verdict, message, title=check)
    for host in story.names:
        story.left(host, HostState.UNCHANGED, "Nothing was started on this host.")
    return story.ended(code)
