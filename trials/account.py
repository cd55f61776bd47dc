"""Sums up a scenario in three lines: what was prepared, what the host saw and what the path reported (pure)."""

from __future__ import annotations

from switchproof.deploy.providers.lab.trial.seen import Activation, Ended
from switchproof.trials.case import Seen, commit, how, short, state
from switchproof.trials.output import last_line


def prepared(seen: Seen) -> str:
    """Return what was prepared, and which commit was requested."""
    by = "deployed by the path itself" if seen.first_by_path else "set by the lab"
    asked = ", then for ".join(short(ended.asked) for ended in seen.ended)
    revision = seen.scenario.revision.removeprefix("refs/").removeprefix("heads/")
    which = f" ({revision})" if revision else ""
    before = commit(seen.witness.before.revision, seen.witness.before.running)
    return f"A fresh host on {before}, {by}. {seen.scenario.title}. Requested: {asked}{which}."


def host_saw(seen: Seen) -> str:
    """Return the activations, the requests and the final state of the host."""
    witness = seen.witness
    by = ", not by nixos-rebuild"
    if witness.nixos_rebuild:
        by = " by nixos-rebuild" if len(witness.activations) == 1 else ", at least one of them by nixos-rebuild"
    activated = ", then ".join(_activation(each, seen.first) for each in witness.activations)
    asked = {name: [each for each in witness.requests if each.endpoint == name] for name in seen.units}
    probes = ", ".join(f"{name} {_times(len(of_it))}" for name, of_it in asked.items() if of_it)
    touched = () if witness.activations else witness.restarted
    parts = [
        f"activated {activated}{by}" if activated else "no activation",
        f"asked {probes}" if probes else "no request",
        *(["the connection was cut meanwhile"] if witness.cut else []),
        *(f"{unit} was stopped or restarted" for unit in touched),
        *([f"logged in {_times(witness.logins)}"] if witness.logins else []),
        *(f"the lab could not: {limit}" for limit in witness.limits[:1]),
        f"in the end it {state(witness.after)}",
    ]
    return f"{'; '.join(parts)}."


def path_said(seen: Seen) -> str:
    """Return how the path ended, and its last line."""
    return "; and then ".join(_ending(ended, seen.limit_s) for ended in seen.ended)


def _activation(each: Activation, ended: Ended) -> str:
    began = (each.began - ended.began).total_seconds()
    if each.finished is None:
        when = f"at {began:.1f} s, not finished"
    else:
        when = f"at {began:.1f} to {(each.finished - ended.began).total_seconds():.1f} s"
    failed = "" if each.failed is None else f", failed with status {each.failed}"
    return f"{commit(each.revision, each.toplevel)} ({when}{failed})"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _ending(ended: Ended, limit_s: float) -> str:
    seconds = (ended.ended - ended.began).total_seconds()
    word = "success" if ended.succeeded else "failure" if not ended.late else "nothing"
    last = last_line(ended.output)
    quoted = f"its last line: {last}" if last else "it printed nothing"
    return f"{word} for {short(ended.asked)}: it {how(ended, limit_s)}, after {seconds:.1f} s; {quoted}"
