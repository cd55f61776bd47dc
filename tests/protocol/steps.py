"""The protocol's steps: who may do what next on a host, and which function of the host's script does it.

Each step is one lasting effect, so that a power cut or another process may come between any two. Functions are those
of `host-switch.sh`; a step without one is of nixos-rebuild, of the runner, of time or of the world.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from tests.protocol.state import BY_HAND, RUNS, Run, State


class Step(NamedTuple):
    """A step: who takes it, the function of the script that does it, and what comes of it."""

    actor: str
    function: str
    after: State


Steps: TypeAlias = Iterator[tuple[str, State]]
"""Functions and the states after them, of one actor."""


class Mistakes(NamedTuple):
    """Mistakes that the protocol once had, to be put back.

    Attributes:
        disarms_unanswered: `take_lock` takes a silent systemd for a guard that does not run (D-2).
        guard_waits: The guard waits for the guarded section without end (X-3).
        begins_unlocked: A job does not look whether its run still holds the lock.
        trusts_old_note: A run that lost its lock takes it again whatever the host runs meanwhile.
        audits_the_moment: An audit looks at what runs and is set, not at what waits and what boots (H-7).
    """

    disarms_unanswered: bool = False
    guard_waits: bool = False
    begins_unlocked: bool = False
    trusts_old_note: bool = False
    audits_the_moment: bool = False


NONE = Mistakes()


def steps(state: State, mistakes: Mistakes) -> Iterator[Step]:
    """Yield every step that somebody may take in a state."""
    for name in RUNS:
        # What a runner does between two verbs disturbs nobody, so that it need not be tried before or after others.
        if not state.run(name).verb and (asked := [*_as(f"{name}.runner", _runner(state, name))]):
            yield from asked
            return
    for name in RUNS:
        run = state.run(name)
        if run.verb:
            yield from _as(f"{name}.verb", _verb(state, name, "verb", mistakes))
        if run.echo:
            yield from _as(f"{name}.echo", _verb(state, name, "echo", mistakes))
        if run.at_work:
            yield from _as(f"{name}.job", _job(state, name, mistakes))
    if state.guard:
        yield from _as("guard", _guard(state, mistakes))
    yield from _as("hand", _hand(state))
    yield from _as("world", _world(state))


def _as(actor: str, taken: Steps) -> Iterator[Step]:
    for function, after in taken:
        yield Step(actor, function, after)


# Runners.


def _runner(state: State, name: str) -> Steps:
    """Ask the next verb, once the last one was answered."""
    run = state.run(name)

    def ask(step: str, runner: str) -> tuple[str, State]:
        return "", state.with_run(name, run._replace(runner=runner, verb=step, told=""))

    def become(runner: str) -> tuple[str, State]:
        return "", state.with_run(name, run._replace(runner=runner))

    match run.runner, run.told:
        case "", _:
            yield ask("resolve.claim", "resolve")
        case "resolve", "ok":
            yield ask("converge.claim", "converge")
        case "resolve", _:
            yield become("left")
        case "converge", "started":
            yield become("follow")
        case "converge", _:
            yield ask("leave.lock", "leave")
        case "follow", _ if run.job == "ended" and run.good:
            yield ask("keep.lock", "keep")
            if "F" in state.faults:  # some check of health fails
                _, after = ask("rollback.look", "back")
                yield "", after._replace(faults=state.faults.replace("F", "", 1))
        case "follow", _ if run.job in {"ended", "lost"}:
            yield ask("rollback.look", "back")
        case "keep", "ok":
            yield become("kept")
        case "keep", _:
            yield ask("rollback.look", "back")
        case "back", "returning" if state.pending != name:
            yield ask("leave.lock", "leave")
        case "back", "started" if run.job in {"ended", "lost"}:
            yield ask("leave.lock", "leave")
        case "back", told if told not in {"started", "returning"}:
            yield ask("leave.lock", "leave")
        case "leave", _:
            yield become("left")


# Verbs.


class _Verb(NamedTuple):
    """A verb that a run's process is at: which one, and at which of its steps."""

    state: State
    run: str
    slot: str

    @property
    def process(self) -> str:
        """The process's name, as it holds the guarded section."""
        return f"{self.run}.{self.slot}"

    @property
    def at(self) -> tuple[str, str]:
        """The verb, and its step."""
        step: str = getattr(self.state.run(self.run), self.slot)
        verb, _, at = step.partition(".")
        return verb, at

    def go(self, to: str, after: State | None = None, /, **changes: object) -> State:
        """Go on to a step."""
        after = after or self.state
        return after.with_run(self.run, after.run(self.run)._replace(**{self.slot: to, **changes}))  # type: ignore[arg-type]

    def end(self, told: str, after: State | None = None) -> State:
        """Answer, and leave the guarded section."""
        after = after or self.state
        after = after._replace(mutex="" if after.mutex == self.process else after.mutex)
        return self.go("", after, **({"told": told} if self.slot == "verb" else {}))


def _verb(state: State, name: str, slot: str, mistakes: Mistakes) -> Steps:
    process = _Verb(state, name, slot)
    if state.mutex == "intruder" and process.at[1] in {"claim", "lock"}:
        yield "guarded", process.end("busy")
    else:
        yield from _confirm(process) if process.at[0] in {"keep", "leave"} else _begin(process, mistakes)


def _begin(process: _Verb, mistakes: Mistakes) -> Steps:
    """Take a step of a verb that claims the host, and may begin a job."""
    state, name, go, end, me = process.state, process.run, process.go, process.end, process.process
    run, (verb, at) = state.run(name), process.at
    match at:
        case "look":  # verb_rollback, before it claims
            if run.decided == "guard":
                yield "verb_rollback", end("returning")
            elif state.pending == name and state.rebooted:
                if state.systemd:
                    started = state if state.guard else state._replace(guard="loop", guards=name)
                    yield "verb_rollback", end("returning", started)
            else:
                yield "verb_rollback", go("rollback.claim")
        case "claim" if not state.mutex or state.mutex == me:
            match taken(state, name, mistakes):
                case "disarm":
                    yield "take_lock", go(f"{verb}.disarm", state._replace(mutex=me))
                case "":
                    yield "take_lock", go(f"{verb}.note", state._replace(lock=name, lease=True, mutex=""))
                case told:
                    yield "take_lock", end(told)
        case "disarm":
            yield "disarm", go(f"{verb}.disarmed", state._replace(pending="", since=False))
        case "disarmed":
            yield "disarm", go(f"{verb}.claim", _without_guard(state))
        case "note":
            before = run.before or state.running
            after = end("ok") if verb == "resolve" else go(f"{verb}.launch")
            yield "hold_system", after.with_run(name, after.run(name)._replace(before=before))
        case "launch":
            if run.job if verb == "converge" else (run.back or run.at_work):
                yield "launch", end("started")
            elif state.systemd:
                begun = {"job": "build"} if verb == "converge" else {"job": "back", "back": True, "good": False}
                after = end("started")
                yield "launch", after.with_run(name, after.run(name)._replace(**begun))


def _confirm(process: _Verb) -> Steps:
    """Take a step of a confirmation: of the new system, or of nothing as the run leaves."""
    state, name, go, end, me = process.state, process.run, process.go, process.end, process.process
    run, (verb, at) = state.run(name), process.at
    keep = verb == "keep"
    match at:
        case "lock" if not state.mutex:
            if run.at_work:
                yield "conclude", end("busy")
                return
            state = state._replace(mutex=me)
            outcome = _judge(state, name, keep=keep)
            if outcome == "ok" and keep and run.decided != "confirm":
                yield "judge", go(f"{verb}.boots", state)
            elif outcome == "ok":
                yield "judge", go(f"{verb}.disarm_own", state)
            elif outcome == "late" or (outcome == "pending" and not keep):
                yield "judge", go(f"{verb}.release-{outcome}", state)
            else:
                yield "judge", end(outcome, state)
        case "boots":
            if state.switching:
                yield "keep_system", end("busy")
            else:
                yield "keep_system", go(f"{verb}.decide", state._replace(boots=name))
        case "decide":
            yield "decide", go(f"{verb}.disarm_own", decided="confirm")
        case "disarm_own" if state.pending == name and run.decided != "guard":
            yield "disarm_own", go(f"{verb}.disarmed_own", state._replace(pending="", since=False))
        case "disarm_own":
            yield "disarm_own", go(f"{verb}.release-ok")
        case "disarmed_own":
            yield "disarm", go(f"{verb}.release-ok", _without_guard(state))
        case _ if at.startswith("release-"):
            told = at.removeprefix("release-")
            yield "release", end(told, state._replace(lock="" if state.lock == name else state.lock))


def taken(state: State, name: str, mistakes: Mistakes = NONE) -> str:
    """Say why a run cannot take the lock, `disarm` where a leftover is to be removed first; empty if it can."""
    theirs = state.lock not in {"", name}
    if theirs and not mistakes.disarms_unanswered and (state.lease or _may_be_at_work(state, state.lock)):
        return "locked"
    if state.pending and state.pending != name:
        if not state.systemd:
            return "disarm" if mistakes.disarms_unanswered else "unanswered"
        return "locked" if state.guard else "disarm"
    if theirs and (state.lease or _may_be_at_work(state, state.lock)):
        return "locked"
    if state.pending != name and state.switching:
        return "locked"
    run = state.run(name)
    # The lock was lost on the way, and another run has changed the host since.
    own = not run.before or state.running in {run.before, name}
    return "" if own or state.lock == name or mistakes.trusts_old_note else "foreign"


def _may_be_at_work(state: State, name: str) -> bool:
    return not state.systemd or state.run(name).at_work


def _judge(state: State, name: str, *, keep: bool) -> str:
    """What a confirmation means in the state that the host is in."""
    run = state.run(name)
    match run.decided:
        case "confirm":
            return "ok"
        case "guard":
            return "late"
        case "rollback":
            return "late" if keep else "ok"
    if state.pending != name:
        return "foreign" if keep else "ok"
    if keep and state.rebooted:
        return "booted"
    if keep:
        return "ok" if state.running == name else "foreign"
    return "ok" if (state.running, state.profile) == (run.before, run.before) else "pending"


def _without_guard(state: State) -> State:
    """Take the guard's unit away, and stop it if systemd answers; else it ends by itself."""
    gone = state._replace(unit="")
    return gone._replace(guard="", guards="") if state.systemd and state.mutex != "guard" else gone


# Jobs.


def _job(state: State, name: str, mistakes: Mistakes) -> Steps:
    """Take the next step of a run's job: forward, back, or what both end with."""
    job = state.run(name).job
    if state.mutex == "intruder" and job in {"arm", "back", "back.end"}:
        yield "guarded", state.with_run(name, state.run(name)._replace(job="rc"))
    elif job == "rc":
        yield "end_job", state.with_run(name, state.run(name)._replace(job="ended"))
    else:
        yield from (_way_back if job.startswith("back") else _way_forward)(state, name, mistakes)


def _way_forward(state: State, name: str, mistakes: Mistakes) -> Steps:
    run, me = state.run(name), f"{name}.job"

    def go(to: str, after: State = state, /, **changes: object) -> State:
        return after.with_run(name, after.run(name)._replace(job=to, **changes))  # type: ignore[arg-type]

    free = state._replace(switching="")
    fails = "F" in state.faults
    failed = free._replace(faults=state.faults.replace("F", "", 1))
    match run.job:
        case "build":
            yield "job_converge", go("arm")
            if fails:
                yield "job_converge", go("rc", failed._replace(switching=state.switching))
        case "arm" if state.lock != name and not mistakes.begins_unlocked:
            yield "set_up_guard", go("rc")
        case "arm":
            if not state.mutex:
                yield "set_up_guard", go("arm.pending", state._replace(mutex=me, since=False, unit=name))
        case "arm.pending":
            yield "set_up_guard", go("arm.start", state._replace(pending=name, rebooted=False))
        case "arm.start":
            if state.systemd:
                started = state._replace(guard="loop", guards=name)
                yield "set_up_guard", go("profile", started._replace(mutex=""))
                yield "set_up_guard", go("arm.undo", started)  # systemd did not say that it runs
            else:
                yield "set_up_guard", go("arm.undo")
        case "arm.undo":
            yield "disarm", go("arm.undone", state._replace(pending=""))
        case "arm.undone":
            yield "disarm", go("rc", _without_guard(state)._replace(mutex=""))
        case "profile":
            yield "", go("activate", state._replace(profile=name))
        case "activate":
            yield "", go("earlier") if state.switching else go("boots", state._replace(switching=me))
            if fails:  # the system needs a reboot, and refuses to be switched to
                yield "", go("undo.profile", failed._replace(switching=state.switching))
        case "undo.profile":
            yield "restore_profile", go("undo.boots", state._replace(profile=run.before))
        case "undo.boots" if not state.switching:
            yield "set_what_boots", go("back.end", state._replace(boots=run.before))
        case "boots":
            yield "", go("running", state._replace(boots=name))
            if fails:  # the boot loader cannot be installed
                yield "", go("earlier", failed)
        case "running":
            yield "", go("earlier", free._replace(running=name), good=True)
            if fails:  # the activation does
                yield "", go("earlier", failed)
        case "earlier":
            if not state.switching:
                earlier = state._replace(boots=run.before) if state.pending == name else state
                yield "boot_earlier", go("rc", earlier)


def _way_back(state: State, name: str, mistakes: Mistakes) -> Steps:
    run, me = state.run(name), f"{name}.job"

    def go(to: str, after: State = state, /, **changes: object) -> State:
        return after.with_run(name, after.run(name)._replace(job=to, **changes))  # type: ignore[arg-type]

    free = state._replace(switching="")
    match run.job:
        case "back" if not state.mutex:
            if state.lock != name and not mistakes.begins_unlocked:
                yield "begin_way_back", go("rc")
            elif state.pending != name:
                yield "begin_way_back", go("back.profile")
            else:
                yield "begin_way_back", go("back.decide", state._replace(mutex=me))
        case "back.decide":
            if run.decided in {"", "rollback"}:
                yield "decide", go("back.profile", state._replace(mutex=""), decided="rollback")
            else:
                yield "decide", go("back.wait", state._replace(mutex=""))
        case "back.wait":
            if state.pending != name:
                yield "restore_profile", go("back.activate", state._replace(profile=run.before))
        case "back.profile":
            yield "restore_profile", go("back.activate", state._replace(profile=run.before))
        case "back.activate":
            if not state.switching:
                yield "run_switch", go("back.boots", state._replace(switching=me))
        case "back.boots":
            yield "run_switch", go("back.running", state._replace(boots=run.before))
        case "back.running":
            yield "run_switch", go("back.end", free._replace(running=run.before), good=True)
        case "back.end":
            if state.pending != name or run.decided == "guard":
                yield "disarm_own", go("rc")
            elif not state.mutex:
                yield "disarm_own", go("back.disarm", state._replace(mutex=me))
        case "back.disarm":
            yield "disarm", go("back.disarmed", state._replace(pending="", since=False))
        case "back.disarmed":
            yield "disarm", go("rc", _without_guard(state)._replace(mutex=""))


# The dead man's switch.


def _guard(state: State, mistakes: Mistakes) -> Steps:
    name = state.guards
    run = state.run(name)

    def go(to: str, after: State = state, /) -> State:
        return after._replace(guard=to, guards=name if to else "")

    match state.guard:
        case "loop":
            if state.pending != name or run.decided == "confirm":
                yield "verb_guard", go("retire")
            elif run.decided == "guard" or state.rebooted or (run.decided == "rollback" and not run.at_work):
                yield "due", go("lock")
            elif run.decided == "" and state.since:
                yield "due", go("lock")  # the time is over
            elif run.decided == "" and not run.at_work:
                yield "due", go("loop", state._replace(since=True))
        case "lock" if not state.mutex or (state.mutex == "intruder" and not mistakes.guard_waits):
            if state.pending != name or run.decided == "confirm" or (run.decided == "rollback" and run.at_work):
                yield "due", go("loop")  # no longer, as is seen under the lock
            else:
                yield "decide", go("profile", state.with_run(name, run._replace(decided="guard")))
        case "profile":
            yield "restore_profile", go("activate", state._replace(profile=run.before))
        case "activate":
            if not state.switching:
                yield "run_switch", go("boots", state._replace(switching="guard"))
        case "boots":
            yield "run_switch", go("running", state._replace(boots=run.before))
        case "running":
            yield "run_switch", go("end", state._replace(running=run.before, switching=""))
        case "end":
            if not state.mutex:
                yield "end_return", go("disarm", _short(state, name)._replace(mutex="guard"))
            elif state.mutex == "intruder" and not mistakes.guard_waits:
                yield "end_return", go("disarm", _short(state, name))
        case "disarm":
            yield "disarm", go("disarmed", state._replace(pending="", since=False))
        case "disarmed":
            yield "disarm", go("retire", state._replace(unit="", mutex="" if state.mutex == "guard" else state.mutex))
        case "retire" if not state.mutex or (state.mutex == "intruder" and not mistakes.guard_waits):
            yield "retire", go("") if state.pending else go("retired")
        case "retired":
            yield "disarm", go("", state if state.pending else state._replace(unit=""))


def _short(state: State, name: str) -> State:
    """The lock is left only to a runner that is still there."""
    return state._replace(lease=False) if state.lock == name else state


# A person on the host, time, and the world.


def _hand(state: State) -> Steps:
    """A switch by hand, which knows nothing of this protocol."""
    match state.hand:
        case "" if "H" in state.faults:
            yield "", state._replace(hand="profile", faults=state.faults.replace("H", ""))
        case "profile":
            yield "", state._replace(hand="activate", profile=BY_HAND)
        case "activate":
            yield (
                "",
                state._replace(hand="ended") if state.switching else state._replace(hand="boots", switching="hand"),
            )
        case "boots":
            yield "", state._replace(hand="running", boots=BY_HAND)
        case "running":
            yield "", state._replace(hand="ended", running=BY_HAND, switching="")


def _world(state: State) -> Steps:
    """Time that passes, and what may go wrong: each fault as often as its letter stands in `faults`."""
    if state.lock and state.lease and state.run(state.lock).runner in {"dead", "left", "kept"}:
        yield "", state._replace(lease=False)
    if not state.systemd:
        yield "", state._replace(systemd=True)
    for fault in set(state.faults):
        left = state._replace(faults=state.faults.replace(fault, "", 1))
        match fault:
            case "K" | "k" if (
                (run := state.run("a" if fault == "K" else "b")) and run.runner in {"follow", "back"} and not run.verb
            ):
                yield "", left.with_run("a" if fault == "K" else "b", run._replace(runner="dead"))
            case "P":
                yield "", _power_cut(left)
            case "S" if state.systemd:
                yield "", left._replace(systemd=False)
            case "X" if not state.mutex:
                yield "", left._replace(mutex="intruder")
            case "K" | "k":
                name = "a" if fault == "K" else "b"
                run = state.run(name)
                if run.verb and not run.echo:
                    if run.verb == _FIRST[run.verb.partition(".")[0]]:  # the question has not come to the host
                        yield "", left.with_run(name, run._replace(runner="dead", verb=""))
                    yield (
                        "",
                        left.with_run(name, run._replace(runner="dead", echo=run.verb, verb=""))._replace(
                            mutex=state.mutex.replace(f"{name}.verb", f"{name}.echo")
                        ),
                    )
            case "L":
                run = state.a
                if run.verb and not run.echo and run.runner != "dead":
                    again = _FIRST[run.verb.partition(".")[0]]
                    yield (
                        "",
                        left.with_run("a", run._replace(echo=run.verb, verb=again))._replace(
                            mutex=state.mutex.replace("a.verb", "a.echo")
                        ),
                    )


_FIRST = {
    "resolve": "resolve.claim",
    "converge": "converge.claim",
    "rollback": "rollback.look",
    "keep": "keep.lock",
    "leave": "leave.lock",
}


def _power_cut(state: State) -> State:
    """Everything that runs is gone, and so is what lies in /run; the host boots what its boot loader says."""

    def cut(run: Run) -> Run:
        again = _FIRST[run.verb.partition(".")[0]] if run.verb else ""
        return run._replace(verb=again, echo="", job="lost" if run.at_work else run.job)

    return state._replace(
        running=state.boots,
        lock="",
        lease=False,
        rebooted=bool(state.pending),
        since=False,
        mutex="",
        switching="",
        systemd=True,
        guard="loop" if state.unit else "",
        guards=state.unit,
        hand="ended" if state.hand else "",
        a=cut(state.a),
        b=cut(state.b),
    )
