"""One fake host that answers as host-switch.sh does, and a table of where it does something else."""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from switchproof.deploy.connection import (
    SHELL,
    Completed,
    ConnectionFacts,
    ConnectionLost,
    Program,
    Question,
    Unreachable,
)
from tests.answers import HYPERVISOR, LIVE, SECTIONS, SHA, TOPLEVEL, boots, packed, payload

BEFORE = TOPLEVEL.replace("9z8x", "0q1w")
ROOM = (
    "/nix/store / 90000000000 90000 100000\n/var/lib / 90000000000 90000 100000\n"
    "MemAvailable: 9000000 kB\nnix (Nix) 2.26.3\n"
)
"""What a host with enough of everything says of its room."""
TOOLS = "ss sockets 900\njournald line 1\n"


class Clock(threading.Event):
    """Waits for nothing; time passes as it is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.is_set()


def nothing(_: Host) -> None:
    pass


@dataclass(frozen=True)
class Turn:
    """Where one answer of a host differs from the ordinary one.

    Attributes:
        says: Parts of the answer. With `outcome` among them, the host does nothing of what it is asked.
        before: Happens before the host does what it is asked.
        after: Happens after that, before the answer.
    """

    says: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[Host], object] = nothing
    after: Callable[[Host], object] = nothing


class Host:
    """A host that does all it is told, with a dead man's switch.

    Args:
        host: Its name.
        turns: Answers that differ, in order, by verb (`observe`) or verb and job (`status converge`).
        ends: How jobs end that do not end well, as parts of the answer to `status`, by the job's name.
        sick: Systems whose endpoints never become healthy.
    """

    def __init__(
        self,
        host: str,
        *,
        turns: Mapping[str, Sequence[Turn]] | None = None,
        ends: Mapping[str, Mapping[str, str]] | None = None,
        sick: Collection[str] = (),
    ) -> None:
        self.host = host
        self.facts = ConnectionFacts(kind="ssh", address="192.0.2.1")
        self.toplevel = self.boots = BEFORE
        self.boot_id = "b00t"
        self.guard = self.holder = self.returned = self.outcome = ""
        self.closed = threading.Event()
        self.end_run: Callable[[], None] = lambda: None
        self.ending: threading.Thread | None = None
        self.connections = 0
        self.away_until = 0.0
        self.jobs: dict[str, str] = {}
        """The system that each job was to bring the host to."""
        self.trace: list[str] = []
        """What it was asked, as its name, the verb and the job; a drive has one for all of its hosts."""
        self.asked: list[Question] = []
        self._turns = {asked: list(turns) for asked, turns in (turns or {}).items()}
        self._ends, self._sick, self.clock = ends or {}, sick, Clock()
        self._armed, self._due, self._deadman_s, self._run = "", 0.0, 0.0, ""
        self._noted = ""

    # What happens to it.

    def lose(self) -> None:
        """The connection ends; the host goes on."""
        raise ConnectionLost(self.host, "gone", "Look.")

    def vanish(self, seconds: float = 1e9) -> None:
        """Nobody reaches the host for a time."""
        self.away_until = self.clock.now + seconds
        self.lose()

    def interrupt(self) -> None:
        """The run is told to end while the host is asked, as by a signal; the answer is lost."""
        self.ending = threading.Thread(target=self.end_run, daemon=True)
        self.ending.start()
        assert self.closed.wait(10)
        self.lose()

    def go_back(self, why: str = "not confirmed in time") -> None:
        """Go back by itself from a switch that nobody has confirmed."""
        assert self.guard == "armed"
        left, self.toplevel, self.guard = self.toplevel, BEFORE, "returned"
        self.returned = f"run {self._run}\nat 2026-11-24T01:02:03Z\nwhy {why}\nfrom {left}\nto {BEFORE}\nrc 0\n"

    def reboot(self) -> None:
        """Boot, and go back if nobody has confirmed the switch."""
        self.boot_id += "+"
        if self.guard == "armed":
            self.go_back("booted before it was confirmed")

    # How it is reached.

    def connect(self) -> Host:
        self._live()
        if self.clock.now < self.away_until:
            raise Unreachable(self.host, "no answer at its address", "Look.")
        self.connections += 1
        self.closed.clear()
        return self

    def close(self) -> None:
        self.closed.set()

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        if not isinstance(program, Question):
            done = subprocess.run(SHELL.split(), input=program, capture_output=True, timeout=timeout_s, check=False)
            status = done.returncode if done.returncode >= 0 else None
            return Completed(done.stdout, done.stderr, status, 0.01)
        self._live()
        if self.clock.now < self.away_until:
            self.lose()
        verb, values = program.verb, program.values
        asked = f"{verb} {values.get('SWITCHPROOF_JOB', '')}".strip()
        self.trace.append(f"{self.host} {asked}")
        self.asked.append(program)
        self._run = values.get("SWITCHPROOF_RUN", "")
        waiting = self._turns.get(asked) or self._turns.get(verb)
        turn = waiting.pop(0) if waiting else Turn()
        turn.before(self)
        said = dict(turn.says) if "outcome" in turn.says else getattr(self, verb)(values) | turn.says
        turn.after(self)
        if self.returned:
            said["returned"] = self.returned
        body = payload({name: text.encode() for name, text in said.items()})
        return Completed(packed(body, nonce=values["SWITCHPROOF_NONCE"], verb=verb), b"", 0, 0.01)

    # Its verbs.

    def resolve(self, values: Mapping[str, str]) -> dict[str, str]:
        return {"outcome": "ok", "sha": SHA, "subject": "Serve the new login page", **self._claim(values)}

    def generations(self, values: Mapping[str, str]) -> dict[str, str]:
        rows = f"41\x1f{TOPLEVEL}\x1fyes\x1fno\x1f{SHA}\n42\x1f{BEFORE}\x1fyes\x1fyes\x1f\n"
        past = {"generations": rows, "running": self.toplevel, "earlier": TOPLEVEL}
        return {"outcome": "ok", **past, **self._claim(values)}

    def converge(self, values: Mapping[str, str]) -> dict[str, str]:
        return self._launch(values, TOPLEVEL)

    def rollback(self, values: Mapping[str, str]) -> dict[str, str]:
        if self.guard in {"returning", "returned"}:
            return {"outcome": "returning", "detail": "it goes back by itself", "job": self._return_job}
        return self._launch(values, values["SWITCHPROOF_TO"])

    def status(self, values: Mapping[str, str]) -> dict[str, str]:
        if values.get("SWITCHPROOF_RENEW") and self.guard == "armed":
            self._due = self.clock.now + self._deadman_s
        job = values.get("SWITCHPROOF_JOB", "")
        stage = "rollback" if job in {"rollback", "back", "back-again"} else "switch"
        said = {"state": "finished", "rc": "0", "stage": stage, "expected": self.jobs.get(job, "")}
        if job.startswith("return") and self.guard in {"armed", "returned"}:
            is_over = self.guard == "returned"
            said = {"state": "finished", "stage": "rollback", "expected": BEFORE} if is_over else {"state": "running"}
        elif job not in self.jobs and job != "plan":
            said = {"state": "lost"}
        rc = "0" if said["state"] == "finished" else ""
        said = {"rc": rc, "stage": "", "expected": "", **said, **self._ends.get(job, {})}
        log = said.pop("log", "--- build\n--- switch\n").encode()
        piece = log[int(values.get("SWITCHPROOF_OFFSET", "0")) :]
        return {
            "log": base64.b64encode(piece).decode(),
            "log.size": str(len(log)),
            "unit": "",
            "journal": "",
            "guard": self.guard,
            "boot_id": self.boot_id,
            **said,
        }

    def observe(self, _: Mapping[str, str]) -> dict[str, str]:
        units = {HYPERVISOR: 410, LIVE[0]: 420, LIVE[1]: 430}
        processes = "".join(f"{unit} {pid} {self.toplevel}/bin/x \n" for unit, pid in units.items())
        diagnosable = "".join(f"systemctl {unit} 512\njournalctl {unit} 4096\n" for unit in units)
        seen = {"processes": processes, "diagnosable": f"{diagnosable}{TOOLS}"}
        if self.toplevel in self._sick:
            seen["watch.settled"] = "hypervisor healthy\nlive unhealthy\n"
        return SECTIONS | self._system() | boots(self.boots) | seen

    def diagnose(self, _: Mapping[str, str]) -> dict[str, str]:
        names = [f"{kind}/{unit}" for kind in ("status", "journal") for unit in (HYPERVISOR, *LIVE)]
        return dict.fromkeys([*names, "sockets", "journald"], "as it should be")

    def confirm(self, values: Mapping[str, str]) -> dict[str, str]:
        keep = values.get("SWITCHPROOF_KEEP", "")
        outcome = "ok"
        if self.guard in {"returning", "returned"}:
            outcome = "late"
        elif keep == "1" and self.toplevel != self.jobs.get(self._armed):
            outcome = "foreign"
        elif not keep and self.guard == "armed" and self.toplevel != BEFORE:
            outcome = "pending"
        elif keep:
            self.guard, self.boots, self.returned = "confirmed", self.toplevel, ""
        if not (keep and outcome == "foreign"):
            self.holder, self.outcome = "", values["SWITCHPROOF_OUTCOME"]
        said = {"outcome": outcome, "detail": "", "job": self._return_job}
        return said | (boots(self.boots) if keep == "1" else {})

    def plan(self, _: Mapping[str, str]) -> dict[str, str]:
        parts = {"running": self.toplevel, "expected": TOPLEVEL, "closure": "hello: 1 → 2", "units": "would restart"}
        return {"outcome": "finished", **parts, "sizes": "", "system.reboot": "", "system.kernels": ""}

    def preflight(self, _: Mapping[str, str]) -> dict[str, str]:
        return {"room": ROOM, "holder": "", "commands": "", "secrets": "", **self._system()}

    def _claim(self, values: Mapping[str, str]) -> dict[str, str]:
        """Take the lock and say what the host is, as it does for a run that changes it."""
        if not values.get("SWITCHPROOF_CLAIM"):
            return {}
        self.holder = values["SWITCHPROOF_RUN"]
        self._noted = self._noted or payload({name: text.encode() for name, text in self._system().items()}).decode()
        return {"before": self._noted}

    def _launch(self, values: Mapping[str, str], to: str) -> dict[str, str]:
        """Begin a job, which has brought the host to its system at once, unless it is to end before that."""
        job = values["SWITCHPROOF_JOB"]
        if job in self.jobs:
            return {"outcome": "started"}
        self.jobs[job] = to
        ended = self._ends.get(job, {})
        if ended.get("stage", "switch") not in {"build", "secrets", "realise", "arm"} and "restored" not in ended:
            self.toplevel = to
            if self.guard == "armed":
                self.guard = "rolled-back"
            else:
                self._arm(job, float(values["SWITCHPROOF_DEADMAN_S"]))
        return {"outcome": "started"}

    def _arm(self, job: str, seconds: float) -> None:
        self._armed, self._deadman_s = job, seconds
        self.guard, self._due = "armed" if seconds else "", self.clock.now + seconds

    def _live(self) -> None:
        """Do what has become due."""
        if self.guard == "armed" and self.clock.now >= self._due:
            self.go_back()

    @property
    def _return_job(self) -> str:
        return "return" if self._armed in {"", "converge", "rollback"} else f"return-{self._armed}"

    def _system(self) -> dict[str, str]:
        said = {name: text for name, text in SECTIONS.items() if name.startswith(("system.", "units."))}
        system = {"system.running": self.toplevel, "system.profile": self.toplevel, "system.boot_id": self.boot_id}
        return said | system
