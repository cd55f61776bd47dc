"""Runs a deploy session against a host that prints its secrets: `python -m tests.leaks.session WAY ARGUMENTS…`."""

from __future__ import annotations

import base64
import json
import logging
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest

import switchproof.deploy.providers
from switchproof.deploy.connection import Completed, ConnectionFacts, Program, Question
from switchproof.reports.kept.runs import read_kept
from tests.answers import BODIES, HYPERVISOR, LIVE, SECTIONS, SHA, TOPLEVEL, bodies, boots, packed, payload
from tests.leaks.planted import ALL, KEY, NAMED, NAMED_FORMS

OPTION = "--report-dir="
BEFORE = TOPLEVEL.replace("9z8x", "0q1w")
FAILED = "warning: the following units failed: ghp_0A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r.service"
LOG = (
    f"--- build\n{ALL}\n--- switch\n{FAILED}\n{NAMED[:9]}\\\n{NAMED[9:]}\n{KEY}\nthe switch failed: {ALL}\n".encode()
)
CHUNKS = [LOG[: LOG.index(part) + 40] for part in (NAMED_FORMS[8].encode(), b"--- switch", KEY.encode())]


class Host:
    """A host whose every answer holds every secret."""

    def __init__(self) -> None:
        self.host = "a"
        self.facts = ConnectionFacts(kind="ssh", address=ALL)
        self.back = False

    def connect(self, _: str) -> Host:
        logging.getLogger("paramiko").warning("connecting with %s", ALL, extra={"secret": ALL})
        return self

    def close(self) -> None:
        pass

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        assert isinstance(program, Question)
        answer = {name: text.encode() for name, text in getattr(self, program.verb)(program.values).items()}
        frame = packed(payload(answer), nonce=program.values["SWITCHPROOF_NONCE"], verb=program.verb)
        return Completed(frame, ALL.encode(), 0, timeout_s)

    def resolve(self, _: Mapping[str, str]) -> dict[str, str]:
        before = payload({name: text.encode() for name, text in self.system(BEFORE).items()}).decode()
        lock = {"lock.stale": "old-run", "lock.stale.owner": ALL, "lock.stale.since": ALL}
        return {"outcome": "ok", "sha": SHA, "subject": ALL, "before": before, **lock}

    def converge(self, _: Mapping[str, str]) -> dict[str, str]:
        return {"outcome": "started"}

    def rollback(self, _: Mapping[str, str]) -> dict[str, str]:
        self.back = True
        return {"outcome": "started"}

    def status(self, values: Mapping[str, str]) -> dict[str, str]:
        offset = int(values["SWITCHPROOF_OFFSET"])
        upto = next((len(chunk) for chunk in CHUNKS if len(chunk) > offset), len(LOG))
        return {
            "log": base64.b64encode(LOG[offset:upto]).decode(),
            "log.size": str(len(LOG)),
            "state": "running" if upto < len(LOG) else "finished",
            "rc": "0" if self.back else "4",
            "stage": "switch",
            "expected": TOPLEVEL,
            "unit": ALL,
            "journal": ALL,
            "guard": "armed",
            "boot_id": "b00t",
        }

    def observe(self, _: Mapping[str, str]) -> dict[str, str]:
        toplevel = BEFORE if self.back else TOPLEVEL
        units = {HYPERVISOR: 410, LIVE[0]: 420, LIVE[1]: 430}
        processes = "".join(f"{unit} {pid} {toplevel}/bin/x \n" for unit, pid in units.items())
        page = BODIES["hypervisor"] + f"\n{NAMED}\n{ALL}"
        answers = {**bodies({"hypervisor": page, "live": json.dumps({"status": ALL})}), "header.live": ALL}
        return SECTIONS | self.system(toplevel) | boots(BEFORE) | {"processes": processes} | answers

    def diagnose(self, _: Mapping[str, str]) -> dict[str, str]:
        units = (HYPERVISOR, *LIVE)
        names = (
            *(f"{kind}/{unit}" for kind in ("status", "journal") for unit in units),
            "sockets",
            "journald",
            "inside/live.page",
        )
        return dict.fromkeys((*names, "inside/live.ghp_0A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r"), ALL)

    def confirm(self, _: Mapping[str, str]) -> dict[str, str]:
        return {"outcome": "late" if not self.back else ALL, "detail": ALL, "job": "return"}

    def system(self, toplevel: str) -> dict[str, str]:
        sections = {name: text for name, text in SECTIONS.items() if name.startswith(("system.", "units."))}
        return sections | {"system.running": toplevel, "system.profile": toplevel, "units.failed": "leaky.service"}


def main(way: str, arguments: list[str]) -> int:
    """Run a session in which the host leaks, or in which the harness itself breaks with a secret in its hands."""

    def provide(*_: object, **__: object) -> Host:
        warnings.warn(ALL, stacklevel=1)
        logger = logging.getLogger("leaky")
        try:
            _break()
        except RuntimeError:
            logger.exception("with a traceback: %s", NAMED, stack_info=True)
        logger.error("not enough arguments: %s %s", ALL)  # noqa: PLE1206 - it is about what logging does then
        thread = threading.Thread(target=_break, name="leaky")
        thread.start()
        thread.join()
        sys.stderr.write(f"{ALL}\n")
        print(ALL)
        (runs,) = [Path(each.removeprefix(OPTION)) for each in arguments if each.startswith(OPTION)]
        print(f"while it goes on: {[run.end for run in read_kept(runs)]}")
        if way == "crash":
            _break()
        return Host()

    switchproof.deploy.providers.open_provider = provide
    return int(pytest.main(arguments))


def _break(text: str = ALL) -> None:
    held = [text, {"within": text}]
    raise RuntimeError(f"with {held} in its hands:\n{text}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
