"""A deploy by hand judges what it says that it judges, case by case as the checks of a session do."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from switchproof.checks import endpoints, test_converge
from switchproof.checks.fixtures import Shown
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.host.program import SCRIPT, whole_script
from switchproof.deploy.host.program import endpoints as endpoints_of
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import Observation, read_observation
from switchproof.deploy.target.types import Endpoint, Health
from tests.answers import HYPERVISOR, LIVE, SHA, TOPLEVEL, frame, unit_show
from tests.host_functions import run
from tests.probing import target_of

ROOT = Path(__file__).parents[2]
OTHER = "f" * 40
STALE = "/nix/store/0000000000000000000000000000000a-old"
DROP_IN = f"/etc/systemd/system.control/{LIVE[1]}.d/50-x.conf"
PROCESSES = [f"{one} {pid} {TOPLEVEL}/bin/x " for one, pid in ((HYPERVISOR, 410), (LIVE[0], 420), (LIVE[1], 430))]
WELL = "hypervisor healthy\nlive healthy\n"


@dataclass(frozen=True)
class Case:
    """What a host answers, and whether it is good.

    Attributes:
        name: What is the matter.
        good: Whether both judgements must pass it.
        answer: The parts of the host's answer that differ from a healthy one's.
        exposure: As in the target file.
        unit_files: As in the target file.
        want: What is probed; the workload's health over HTTP if not given.
    """

    name: str
    good: bool
    answer: dict[str, str] = field(default_factory=dict)
    exposure: str = "loopback"
    unit_files: str = ""
    want: Endpoint | None = None

    @property
    def endpoint(self) -> Endpoint:
        """What is probed, with the exposure."""
        url = "http://127.0.0.1:8080/health"
        plain = Endpoint(
            units=LIVE, listen="127.0.0.1:8080", url=url, exposure="any" if self.exposure == "any" else None
        )
        return self.want or plain

    @property
    def is_about_the_endpoint(self) -> bool:
        """Whether it is the check of who answers that judges it."""
        return "listeners" in self.answer or self.want is not None

    def __str__(self) -> str:
        return self.name


def listening(name: str, good: bool, *rows: str, exposure: str = "loopback") -> Case:
    return Case(name, good, {"listeners": "".join(f"{row}\n" for row in rows)}, exposure)


def unit(name: str, good: bool, **values: str) -> Case:
    shown = "\n".join(unit_show(one, **(values if one == LIVE[1] else {})) for one in (HYPERVISOR, *LIVE))
    return Case(name, good, {"units.show": shown})


def defined(name: str, good: bool, origin: str, unit_files: str = "") -> Case:
    return Case(name, good, {"units.origins": f"{LIVE[1]} {origin}\n"}, unit_files=unit_files)


def running(name: str, good: bool, row: str, **answer: str) -> Case:
    return Case(name, good, {"processes": "\n".join([*PROCESSES[:2], row]), **answer})


FWD = LIVE[1]
LISTENING = [
    listening("its own", True, f"127.0.0.1:8080 430 {FWD}"),
    listening("two processes of it", True, f"127.0.0.1:8080 430 {FWD}", f"127.0.0.1:8080 431 {FWD}"),
    listening("bound to lo", True, f"*%lo:8080 430 {FWD}"),
    listening("an IPv4 address of an IPv6 socket", True, f"[::ffff:127.0.0.1]:8080 430 {FWD}"),
    listening("another port", False, f"127.0.0.1:8088 430 {FWD}"),
    listening("nobody", False),
    listening("only IPv6", False, f"[::]:8080 430 {FWD}"),
    listening("only IPv6 on loopback", False, f"[::1]:8080 430 {FWD}"),
    listening("open on IPv6 as well", False, f"127.0.0.1:8080 430 {FWD}", f"[::]:8080 430 {FWD}"),
    listening("on IPv6's loopback as well", True, f"127.0.0.1:8080 430 {FWD}", f"[::1]:8080 430 {FWD}"),
    listening("open to everybody", False, f"*:8080 430 {FWD}"),
    listening("open on IPv4", False, f"0.0.0.0:8080 430 {FWD}"),
    listening("open on one address", False, f"127.0.0.1:8080 430 {FWD}", f"10.0.0.1:8080 430 {FWD}"),
    listening("open by another unit of it", False, f"127.0.0.1:8080 430 {FWD}", f"10.0.0.1:8080 420 {LIVE[0]}"),
    listening("open, as it should be", True, f"*:8080 430 {FWD}", exposure="any"),
    listening("a stranger on another address", True, f"127.0.0.1:8080 430 {FWD}", "10.0.0.1:8080 9 /x.service"),
    listening("a stranger beside it", False, f"127.0.0.1:8080 430 {FWD}", f"127.0.0.1:8080 9 /user.slice/{FWD}"),
    listening("a stranger on every address", False, f"127.0.0.1:8080 430 {FWD}", "*:8080 9 /x.service"),
    listening("a stranger on another device", True, f"127.0.0.1:8080 430 {FWD}", "*%eth1:8080 9 /x.service"),
    listening("a user's unit of that name", False, f"127.0.0.1:8080 430 /user.slice/user@0.service/{FWD}"),
    Case("ss is silent", False, {"listeners": "", "sockets.problem": "ss failed 5 times"}),
]
SOCKET = Endpoint(units=LIVE, probe="unix", listen="/run/web.sock", url="http://localhost/health")
COMMAND = Endpoint(units=LIVE, probe="exec", command=("/run/current-system/sw/bin/x",), user="nobody")


def at_socket(name: str, good: bool, *rows: str) -> Case:
    return Case(name, good, {"listeners": "".join(f"{row}\n" for row in rows)}, want=SOCKET)


def asking(name: str, good: bool, row: str, **answer: str) -> Case:
    return Case(name, good, {"programs": row, **answer}, want=COMMAND)


PROBED = [
    at_socket("its own socket", True, f"/run/web.sock 430 {FWD}"),
    at_socket("no socket", False),
    at_socket("another socket", False, f"/run/web.sock2 430 {FWD}"),
    at_socket("a port instead of the socket", False, f"127.0.0.1:8080 430 {FWD}", f"*:8080 430 {FWD}"),
    at_socket("a stranger on the socket", False, "/run/web.sock 9 /x.service"),
    at_socket("a stranger beside it on the socket", False, f"/run/web.sock 430 {FWD}", "/run/web.sock 0 ?"),
    asking("a program of the system", True, f"live system {TOPLEVEL}/bin/x"),
    asking("an installed program that asks", True, f"live installed {STALE}/bin/x"),
    asking("a program of another system", False, f"live other {STALE}/bin/x"),
    asking("a program of somebody", False, "live other /usr/local/bin/x y"),
    asking("a program that is gone", False, "live other "),
    asking("no program of the system", False, "live system "),
    asking("another endpoint's program", False, f"dev system {TOPLEVEL}/bin/x"),
    asking("a program of which nothing is known", False, ""),
    asking("nobody listens, and nobody should", True, f"live system {TOPLEVEL}/bin/x", listeners=""),
    Case("ss is silent about a socket", False, {"listeners": "", "sockets.problem": "ss failed"}, want=SOCKET),
]
CONVERGED = [
    Case("healthy", True),
    unit("masked", False, LoadState="masked"),
    unit("no load state", False, LoadState=""),
    unit("files that systemd has not read", False, NeedDaemonReload="yes"),
    defined("a drop-in of somebody", False, f"{DROP_IN} {DROP_IN} {TOPLEVEL}/etc/x"),
    defined("another system's file", False, "/etc/systemd/system/x /nix/store/old/x /nix/store/new/x"),
    defined("the system's file", True, "/etc/systemd/system/x /nix/store/new/x /nix/store/new/x"),
    defined("a drop-in that is named", True, f"{DROP_IN} {DROP_IN} /x", unit_files=DROP_IN),
    defined("a folder that is named", True, f"{DROP_IN} {DROP_IN} /x", unit_files="/etc/systemd/system.control/"),
    defined("a folder that begins alike", False, f"{DROP_IN} {DROP_IN} /x", unit_files="/etc/systemd/system.c"),
    running("an old program", False, f"{FWD} 430 {STALE}/bin/x {STALE}"),
    running("an installed program", True, f"{FWD} 430 {TOPLEVEL}/bin/x ={STALE}"),
    running("a program of no system", False, f"{FWD} 430 /tmp/x "),
    running("a deleted program", False, f"{FWD} 430 {TOPLEVEL}/bin/x_(deleted) "),
    running("a process that cannot be read", True, f"{FWD} 430 ? "),
    running("no process", False, f"{LIVE[0]} 421 {TOPLEVEL}/bin/x "),
    Case("a commit that is not said", True, {"system.revision": ""}),
    Case("another commit", False, {"system.revision": OTHER}),
    Case("the commit, shortened", True, {"system.revision": SHA[:8]}),
    Case("the commit, with changes", True, {"system.revision": f"{SHA}-dirty"}),
    Case("another commit than was built", False, {"system.built_from": OTHER}),
    Case("nix is silent", False, {"processes.problem": "cannot connect"}),
]
for began, good in (
    ("40000", False),
    ("49500", False),
    ("49800", True),
    ("50000", True),
    ("70000", True),
    ("", True),
):
    clocks = {"system.activated": "1763909900.12 600.00 1.00", "system.clock": "1763910000.12"}
    started = "\n".join(unit_show(one, InactiveExitTimestampMonotonic="500300000") for one in (HYPERVISOR, *LIVE))
    CONVERGED.append(
        running(
            f"began at {began or 'no time'}",
            good,
            f"{FWD} 430 {TOPLEVEL}/bin/x ",
            **{"units.show": started, "processes.began": f"430 {began}" if began else ""},
            **clocks,
        )
    )


def parts_of(case: Case) -> dict[str, str | None]:
    built = {"system.revision": SHA, "system.built_from": SHA, "processes": "\n".join(PROCESSES)}
    parts: dict[str, str | None] = {"watch.settled": WELL, **built, **case.answer}
    return parts | ({"processes": None} if "processes.problem" in case.answer else {})


def observed(case: Case) -> Observation:
    return read_observation(frame(parts_of(case)))


def passes_checks(case: Case) -> bool:
    """Judge as a session does."""
    try:
        seen = observed(case)
        test_converge.test_the_system_is_of_the_commit(seen, SHA if seen.system.named_commit else None, "", Shown())
        named = tuple(case.unit_files.split())
        test_converge.test_unit_definitions_are_those_of_the_running_system(seen, set(), named, Shown())
        test_converge.test_processes_run_from_the_running_system(seen, set(), Shown())
        if case.is_about_the_endpoint:
            live = EndpointSeen("live", case.endpoint, Health(answers=1, soak_s=0.0), seen)
            endpoints.EndpointChecks().test_its_port_is_its_own(live, Shown())
    except (AssertionError, Inconclusive):
        return False
    return True


def script(case: Case) -> str:
    """Judge as the host does after a switch by hand: one line a problem."""
    sections = {name: part.decode() for name, part in frame(parts_of(case)).sections.items()}
    said = " ".join(f"[{shlex.quote(name)}]={shlex.quote(text)}" for name, text in sections.items())
    looks = "commit_problem; unit_file_problem; process_problem"
    return f"""
    ( declare -A said=({said}) value=() problem=([live]='')
      UNITS=({shlex.join((HYPERVISOR, *LIVE))}) RELEASE_SHA={SHA}
      EXPOSURE={case.exposure} UNIT_FILES={shlex.quote(case.unit_files)}
      ENDPOINTS={shlex.quote(endpoints_of(target_of({"live": case.endpoint})))}
      ENDPOINTS="hypervisor${{US}}{HYPERVISOR}
$ENDPOINTS"
      take_shown "${{said[units.show]}}"
      {"endpoint_problem live" if case.is_about_the_endpoint else looks}
      echo END )
    """


def test_both_judge_alike() -> None:
    """Whatever is judged in Python and in shell is judged the same, and rightly."""
    cases = [*LISTENING, *PROBED, *CONVERGED]
    output = run(
        "source /dev/stdin", "numbers", "contract", "units", "by_hand", stdin="\n".join(map(script, cases)).encode()
    )
    by_hand = [not text.strip() for text in output.split("END\n")[:-1]]
    assert len(by_hand) == len(cases)
    assert [case.name for case in cases if passes_checks(case) is not case.good] == [], "judged wrongly by the checks"
    wrong = [case.name for case, passed in zip(cases, by_hand, strict=True) if passed is not case.good]
    assert wrong == [], f"judged wrongly by hand: {output}"


def test_what_is_not_judged_by_hand_is_named() -> None:
    """The script's list of what it does not judge stands in the documentation, and nothing claims the whole."""
    found = re.search(r"^readonly NOT_BY_HAND='(.*)'$", whole_script(), re.MULTILINE)
    assert found
    table = (ROOT / "docs" / "hosts.md").read_text(encoding="utf-8")
    for item in found[1].split(", "):
        assert re.search(rf"\| {item}[^|\n]* \|[^|\n]*\| no", table, re.IGNORECASE), item


@pytest.mark.parametrize("word", ["canonical", "verified", "healthy host"])
def test_nothing_by_hand_claims_the_whole_contract(word: str) -> None:
    """`deploy` by hand never prints a word that only a session may say."""
    text = (SCRIPT.parent / "script" / "by_hand.sh").read_text(encoding="utf-8")
    assert word not in text[text.index("verb_deploy() {") :].lower()


WHY = "sandboxes are plain processes, see page 7"


@pytest.mark.parametrize(
    ("endpoints", "reason", "bad", "said"),
    [
        ("web", WHY, "", f"hypervisor   passed  for want of one: {WHY}|"),
        (
            "web",
            "",
            "",
            "hypervisor   FAILED  no endpoint is called hypervisor, and NO_HYPERVISOR does not say why|hyp",
        ),
        (
            "web",
            "  ",
            "",
            "hypervisor   FAILED  no endpoint is called hypervisor, and NO_HYPERVISOR does not say why|hyp",
        ),
        ("web", WHY, "converge", "hypervisor   blocked by converge|converge"),
        ("web\nhypervisor", WHY, "", "|"),
        ("hypervisor\nweb", "", "", "|"),
        ("hypervisor2", WHY, "", f"hypervisor   passed  for want of one: {WHY}|"),
    ],
)
def test_by_hand_it_needs_a_reason_as_well(endpoints: str, reason: str, bad: str, said: str) -> None:
    """A deploy by hand passes the clause only where somebody says why, and never twice."""
    rows = "\n".join(f"{name}\x1fx.service" for name in endpoints.split("\n"))
    text = 'judge_absence; printf "|%s" "${bad:0:8}"'
    values = {"ENDPOINTS": rows, "NO_HYPERVISOR": reason, "bad": bad}
    assert run(text, "by_hand", values=values).replace("\n|", "|").startswith(said)
