"""The vocabulary of the protocol with a host: every verb, variable and outcome, with its meaning (pure).

`tests/script/test_vocabulary.py` holds the script, the modules that ask it and the SSM document to these lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

NUMBER = r"^[0-9]{0,12}$"
SECONDS = r"^[0-9]{0,6}(\.[0-9]{1,6})?$"
WORD = r"^[A-Za-z0-9._-]{0,120}$"
TEXT = r"^[ -~]{0,200}$"
TRUTH = r"^1?$"
STORE_PATH = r"^(/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]{1,200})?$"


class Verb(msgspec.Struct, frozen=True):
    """A verb of the script.

    Attributes:
        meaning: Its action.
        asked_by: `run` with a question, `person` on the host, or `host` itself in a unit.
    """

    meaning: str
    asked_by: Literal["run", "person", "host"] = "run"


class Variable(msgspec.Struct, frozen=True):
    """A variable that the script takes from its caller.

    Attributes:
        meaning: Its meaning.
        allowed: The pattern of values that an SSM document accepts. The script itself refuses a value that is not a
            NUMBER or
            SECONDS before it calculates with it.
        given_by: `run` with its question; `target` file, so that an SSM document contains it; `person` only; or a
            `connection` that transfers output at once.
        reaches_jobs: Whether the unit of a job gets it as well.
    """

    meaning: str
    allowed: str = ""
    given_by: Literal["run", "target", "person", "connection"] = "run"
    reaches_jobs: bool = False


VERBS: Mapping[str, Verb] = {
    "resolve": Verb("resolve the revision to one full commit, and lock the host for this run"),
    "converge": Verb("start the job that builds and switches"),
    "status": Verb("report on a job, with its log from an offset on"),
    "observe": Verb("wait until the host is healthy, and report what was seen"),
    "diagnose": Verb("collect diagnostics that show why it is not healthy"),
    "rollback": Verb("start the job that restores an earlier system"),
    "generations": Verb("list the systems that the host can go back to"),
    "confirm": Verb("end the run, and keep its system or not"),
    "plan": Verb("build and compare, without switching"),
    "preflight": Verb("report what would keep a deploy from beginning, and change nothing"),
    "deploy": Verb("all clauses in order", asked_by="person"),
    "job": Verb("do a job, in its unit", asked_by="host"),
    "guard": Verb("go back unless the system is confirmed, in the guard's unit", asked_by="host"),
}

VARIABLES: Mapping[str, Variable] = {
    "SWITCHPROOF_NONCE": Variable("tells this question's answer from all others", r"^[0-9a-f]{0,32}$"),
    "RELEASE_SHA": Variable(
        "the revision, from `converge` on a full commit",
        r"^[A-Za-z0-9][A-Za-z0-9._/+-]{0,200}$|^$",
        reaches_jobs=True,
    ),
    "FLAKE_ATTR": Variable("the host's name in the flake, or its attribute in the file", WORD, reaches_jobs=True),
    "SPECIALISATION": Variable(
        "the specialisation of the system that is to run; empty: the system itself", WORD, reaches_jobs=True
    ),
    "SWITCHPROOF_RUN": Variable("the run's id", WORD, reaches_jobs=True),
    "SWITCHPROOF_OWNER": Variable("who runs it, shown to a run that finds the host locked", TEXT, reaches_jobs=True),
    "SWITCHPROOF_LEASE_S": Variable("seconds for which the lock outlasts the run's last word", NUMBER),
    "SWITCHPROOF_DEADMAN_S": Variable(
        "seconds after which an unconfirmed host goes back; 0: never", NUMBER, reaches_jobs=True
    ),
    "SWITCHPROOF_RECONNECT_S": Variable(
        "seconds after the switch within which a new connection must come, or the host goes back; 0: none is awaited",
        NUMBER,
        reaches_jobs=True,
    ),
    "SWITCHPROOF_AFTER": Variable("the job after whose end the connection of this question began", WORD),
    "SWITCHPROOF_TIMEOUT_S": Variable("seconds that a job may take", NUMBER, reaches_jobs=True),
    "SWITCHPROOF_CLAIM": Variable("lock the host with this question", TRUTH),
    "SWITCHPROOF_TAKE_LOCK": Variable("take the lock of a run that has not begun to switch", TRUTH),
    "SWITCHPROOF_READONLY": Variable("name the commit without fetching", TRUTH),
    "SWITCHPROOF_JOB": Variable("which of the run's jobs", WORD, reaches_jobs=True),
    "SWITCHPROOF_TO": Variable("the system to go back to", STORE_PATH, reaches_jobs=True),
    "SWITCHPROOF_BUILT": Variable(
        "the system that the runner built and copied; empty: the host builds its own", STORE_PATH, reaches_jobs=True
    ),
    "SWITCHPROOF_AGE_RECIPIENT": Variable(
        "the age recipient of the host's SSH key; empty: unknown", r"^(age1[0-9a-z]{58})?$", reaches_jobs=True
    ),
    "SWITCHPROOF_LOCKED_SECRETS": Variable(
        "switch to a system even if the host cannot decrypt its secrets", TRUTH, reaches_jobs=True
    ),
    "SWITCHPROOF_OFFSET": Variable("bytes of the job's log that the run has", NUMBER),
    "SWITCHPROOF_WAIT_S": Variable("seconds to wait for news of a job", SECONDS),
    "SWITCHPROOF_RENEW": Variable("begin the countdown of the guard again", TRUTH),
    "SWITCHPROOF_KEEP": Variable("keep the system: it passed every check, or is to be looked at", r"^(1|broken)?$"),
    "SWITCHPROOF_OUTCOME": Variable("how the run ended, for the list of runs", WORD),
    "ALLOW_HOST_BUILD_FALLBACK": Variable(
        "build on the host what it cannot realise", r"^(true|false)?$", reaches_jobs=True
    ),
    "READY_S": Variable("seconds within which everything must answer well", SECONDS),
    "ANSWERS": Variable("good answers in a row", NUMBER),
    "INTERVAL_S": Variable("seconds between two rounds of answers, at least", SECONDS),
    "SOAK_S": Variable("seconds over which answers stay good", SECONDS),
    "ANSWER_TIMEOUT_S": Variable("seconds that one answer may take", SECONDS),
    "MAX_BYTES": Variable("bytes of a body that are read", NUMBER),
    "SAME_FAILURES": Variable("failures of a unit after which waiting is useless; 0: never", NUMBER),
    "SAME_ANSWERS": Variable("equal answers after which waiting is useless; 0: never", NUMBER),
    "TRANSIENT_STATUS": Variable("statuses that are waited for", r"^[0-9 ]{0,400}$"),
    "SWITCHPROOF_PROGRESS": Variable("report every 2 s what the host is waiting for", given_by="connection"),
    "REPO_URL": Variable("the repository", given_by="target"),
    "WORKDIR": Variable("the host's clone of it", given_by="target", reaches_jobs=True),
    "NIX_FILE": Variable(
        "the file in it that has the system; empty: it is a flake", given_by="target", reaches_jobs=True
    ),
    "SWITCHPROOF_ENDPOINTS": Variable("what is probed, one endpoint a line", given_by="target"),
    "SWITCHPROOF_BRIDGE": Variable("the programs of the store path bridge, one a line", given_by="target"),
    "SWITCHPROOF_PATIENCE_S": Variable(
        "seconds for which a switch that hangs keeps a way back waiting", NUMBER, "person", reaches_jobs=True
    ),
    "EXPOSURE": Variable("`any` where ports may be open to others", given_by="person"),
    "UNIT_FILES": Variable("files and folders beside the system that may define units", given_by="person"),
    "NO_HYPERVISOR": Variable("why the host has no hypervisor", given_by="person"),
    "GIT_SSH_COMMAND": Variable("how git reaches a repository over SSH", given_by="person"),
}
"""In addition, a run gives the store path of each program of the bridge: `NAME_STORE_PATH`."""

OUTCOMES: Mapping[str, str] = {
    "ok": "it is as asked",
    "started": "the job has begun",
    "finished": "the plan is made",
    "locked": "another deploy has the host",
    "unready": "the host cannot take a deploy, for example because its disk is full",
    "malformed": "a value is not allowed",
    "checkout": "the host's clone cannot be used",
    "unreachable": "the repository cannot be reached",
    "missing": "there is no such revision",
    "ambiguous": "the revision may mean several commits",
    "unstarted": "systemd did not start the job",
    "gone": "the system to go back to is not there any more",
    "returning": "the host goes back by itself, or has",
    "foreign": "this run does not hold the host any more, or the host runs something else",
    "busy": "a job or a switch is still at work",
    "late": "another decision was made before",
    "booted": "the host was rebooted before it was confirmed",
    "pending": "nobody confirmed; the host goes back by itself",
    "unbootable": "the system could not be made what boots, or the decision not be written",
}
"""The outcome of a verb: the part `outcome` of its answer."""
