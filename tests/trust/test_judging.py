"""The contract digest covers exactly the files that can change a verdict."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.host.vocabulary import VERBS
from switchproof.deploy.providers import load
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.types import BootLoader, Health, Target
from switchproof.deploy.trust.contract_digest import JUDGING, ROOT, contract_digest, contract_sha256_of

CARRYING = [
    "collection/description.py",
    "collection/items.py",
    "collection/own.py",
    "collection/plugin.py",
    "collection/selection.py",
    "deploy/cache.py",
    "deploy/command_line.py",
    "deploy/connection.py",
    "deploy/cutover/audit.py",
    "deploy/cutover/judgement.py",
    "deploy/cutover/proofs.py",
    "deploy/cutover/terms.py",
    "deploy/errors.py",
    "deploy/extras.py",
    "deploy/host/budget.py",
    "deploy/host/by_hand.py",
    "deploy/host/clocks.py",
    "deploy/host/dialogue.py",
    "deploy/host/first.py",
    "deploy/host/joblog.py",
    "deploy/host/limits.py",
    "deploy/host/patience.py",
    "deploy/host/script/answer.sh",
    "deploy/host/script/by_hand.sh",
    "deploy/host/ssm-carrier.sh",
    "deploy/host/vocabulary.py",
    "deploy/host/waiting.py",
    "deploy/observe/asking.py",
    "deploy/observe/causes/case.py",
    "deploy/observe/causes/in_container.py",
    "deploy/observe/causes/in_machine.py",
    "deploy/observe/watching.py",
    "deploy/plan.py",
    "deploy/planning.py",
    "deploy/source.py",
    "deploy/record/events.py",
    "deploy/record/evidence.py",
    "deploy/record/facts.py",
    "deploy/record/hold.py",
    "deploy/record/journal.py",
    "deploy/record/past_runs.py",
    "deploy/record/room.py",
    "deploy/record/schema.py",
    "deploy/record/steps.py",
    "deploy/redact/forms.py",
    "deploy/redact/private_keys.py",
    "deploy/redact/redactor.py",
    "deploy/redact/sources.py",
    "deploy/redact/values.py",
    "deploy/run/account.py",
    "deploy/run/building.py",
    "deploy/run/ci.py",
    "deploy/run/delivery.py",
    "deploy/run/fleet.py",
    "deploy/run/gate.py",
    "deploy/run/journey.py",
    "deploy/run/knock.py",
    "deploy/run/nixlog.py",
    "deploy/run/own_builds.py",
    "deploy/run/parallel.py",
    "deploy/run/sites.py",
    "deploy/run/streams.py",
    "deploy/run/supply.py",
    "deploy/run/testinfra.py",
    "deploy/run/variables.py",
    "deploy/run/visit.py",
    "deploy/settings.py",
    "deploy/target/loading.py",
    "deploy/target/messages.py",
    "deploy/target/mistakes.py",
    "deploy/target/probe_rules.py",
    "deploy/target/repository_url.py",
    "deploy/target/rules.py",
    "deploy/target/schema.py",
    "deploy/target/table.py",
    "deploy/target/way.py",
    "deploy/trust/attestation.py",
    "deploy/trust/contract_digest.py",
    "deploy/trust/promotion.py",
    "deploy/trust/signing.py",
    "deploy/trust/statement.py",
    "process/early.py",
    "process/garbage.py",
    "process/redaction.py",
    "process/signals.py",
    "process/terminal.py",
    "session/assembly.py",
    "session/beginning.py",
    "session/deploy.py",
    "session/diagnostics.py",
    "session/ending.py",
    "session/interference.py",
    "session/judging.py",
    "session/legs.py",
    "session/setup.py",
]
"""Files that carry questions and answers, keep and show what was judged, name causes or decide about promotion."""

AROUND = {
    "deploy/host/program.py",
    "deploy/observe/secrets.py",
    "deploy/record/fold.py",
    "deploy/record/learning.py",
    "deploy/record/merging.py",
    "deploy/record/record.py",
    "deploy/record/waivers.py",
    "deploy/run/leaving.py",
    "session/results.py",
}
"""Files that judge and that no check imports: what the host is asked, what blocks a check, and the run's verdict."""

ANSWERING = {"say", "say_file", "refuse", "answer"}
"""What fragments that judge call of the one that answers: it puts words into the frame that they give it."""

FOR_PEOPLE = {"tell", "follow", "put_together", "verb_deploy"}
"""What a person gets of the script, who gives no nonce; no run asks for it."""

ROOMS = ("checks", "collection", "deploy", "process", "session")
"""The folders of the package whose files take part in a verdict, or could."""

CARRYING_FOLDERS = ("deploy/paths/", "deploy/providers/")


def sources(root: Path = ROOT) -> Iterator[str]:
    """Name every module and script of the engine, the checks and the session that makes them."""
    for room in ROOMS:
        for path in sorted((root / room).rglob("*")):
            if path.suffix in {".py", ".sh"} and path.name != "__init__.py":
                yield str(path.relative_to(root))


def reached(first: Iterator[str]) -> set[str]:
    """Follow imports from modules; what only carries is not followed further."""
    seen: set[str] = set()
    left = list(first)
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        if is_carrying(name) or not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                inner = [module.removeprefix("switchproof.") for module in modules]
                paths = [f"{module.replace('.', '/')}.py" for module in inner]
                left += [path for path in paths if path.partition("/")[0] in ROOMS and (ROOT / path).exists()]
    return seen


def is_carrying(name: str) -> bool:
    return name in CARRYING or name.startswith(CARRYING_FOLDERS)


def test_every_file_either_judges_or_carries() -> None:
    """A new module is put on one of the two lists, and a list names nothing that is gone."""
    there = set(sources())
    unlisted = {name for name in there if (name in JUDGING) == is_carrying(name)}
    assert unlisted == set(), (
        "put it on JUDGING in deploy/trust/contract_digest.py if a verdict depends on it, else on CARRYING here"
    )
    assert {name for name in (*JUDGING, *CARRYING) if name not in there} == set()


def test_what_a_verdict_depends_on_judges() -> None:
    """Whatever the checks import, and what that imports, is covered or known to carry only."""
    checks = (name for name in sources() if name.startswith("checks/test_"))
    found = reached(checks) | reached(iter(["session/fixtures.py", "session/verdicts.py"]))
    assert {
        "deploy/observe/boot/grub.py",
        "deploy/observe/health.py",
        "deploy/observe/pending.py",
        "deploy/observe/observation.py",
        "deploy/observe/parts/units.py",
    } <= found
    assert {name for name in found if name not in JUDGING and not is_carrying(name)} == set()
    assert {name for name in JUDGING if name.endswith(".py")} - found == AROUND


def test_a_fragment_that_judges_calls_none_that_carries() -> None:
    """But to answer, and where a person asks: what stands in other fragments cannot change what a run is told."""
    texts = {name: re.sub(r"(?m)^\s*#.*$", "", (ROOT / name).read_text(encoding="utf-8")) for name in sources()}
    script = {name: text for name, text in texts.items() if "/script/" in name or name.endswith("host-switch.sh")}
    judging = "\n".join(text for name, text in script.items() if not is_carrying(name))
    for name, allowed in {"answer": ANSWERING, "by_hand": FOR_PEOPLE}.items():
        functions = set(re.findall(r"(?m)^(\w+)\(\)", script.pop(f"deploy/host/script/{name}.sh")))
        called = {
            each
            for each in functions
            if re.search(rf"(?m)(?:^|[;{{(|&!]|then|do|else)\s*{each}(?![\w=+[-])", judging)
        }
        assert called | {"verb_deploy"} & functions == allowed
    assert not [name for name in script if is_carrying(name)]
    # Of those for people nothing is reached by a question: it has a nonce, and no run asks for `deploy`.
    assert re.search(r'if \[ -n "\$\{SWITCHPROOF_NONCE:-\}" \]; then answer "\$verb"; else tell ', judging)
    assert re.search(r'\[ -z "\$\{SWITCHPROOF_NONCE:-\}" \] \|\| return 0\n  follow ', judging)
    assert len(re.findall(r"\b(?:follow|tell) ", judging)) == 2
    assert VERBS["deploy"].asked_by == "person"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine and the checks in a folder of their own."""
    root = tmp_path_factory.mktemp("copy")
    for name in sources():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    return root


def test_only_a_file_that_judges_is_part_of_the_contract(copy: Path) -> None:
    """One more byte in a file that judges is another contract; in one that carries, it is the same."""
    target = load(TARGETS / "lab.toml", {})
    digest = contract_sha256_of(target, (), copy)
    counted = set()
    for name in sources():
        file = copy / name
        text = file.read_bytes()
        file.write_bytes(text + b"\n")
        if contract_sha256_of(target, (), copy) != digest:
            counted.add(name)
        file.write_bytes(text)
    assert counted == set(JUDGING)


def test_digest_names_what_is_checked(tmp_path: Path) -> None:
    """The order of the files is no part of the contract; their names and every byte of them are."""
    target = load(TARGETS / "lab.toml", {})
    files = [(name, tmp_path / name) for name in ("check.py", "other.py")]
    for _, path in files:
        path.write_text("assert x >= 1", encoding="utf-8")
    digest = contract_digest(target, files)
    assert digest == contract_digest(target, reversed(files))
    assert digest != contract_digest(target, files[1:])
    assert digest != contract_digest(target, [("not_collected.py", files[0][1]), *files[1:]])
    files[0][1].write_text("assert x >= 0", encoding="utf-8")
    assert digest != contract_digest(target, files)


def test_hosts_are_no_part_of_the_contract() -> None:
    """Staging and production of one target file are held to one contract."""
    assert contract_sha256_of(load(TARGETS / "lab.toml", {}), ()) == contract_sha256_of(
        load(TARGETS / "lab.toml", {}, ["b"]), ()
    )


WAIVER = """
[[waivers]]
check = "runtime/live/it-answers-as-it-should"
reason = "a known defect"
owner = "team"
expires = 2030-01-01T00:00:00Z
"""


def with_waiver(tmp_path: Path) -> Target:
    text = (TARGETS / "lab.toml").read_text(encoding="utf-8")
    (tmp_path / "lab.toml").write_text(text + WAIVER, encoding="utf-8")
    return load(tmp_path / "lab.toml", {})


def test_what_the_target_file_says_of_health_is_part_of_the_contract(tmp_path: Path) -> None:
    """Endpoints, health, what boots, unit files and waivers each change what a verdict means."""
    target = load(TARGETS / "lab.toml", {})
    replace = msgspec.structs.replace
    others = [
        replace(target, runtime={}),
        replace(target, health=Health(answers=1)),
        replace(target, boot=BootLoader(loader="none", reason="it boots over the network")),
        replace(target, unit_files=("/etc/systemd/system",)),
        with_waiver(tmp_path),
    ]
    digests = {contract_sha256_of(other, ()) for other in (target, *others)}
    assert len(digests) == 1 + len(others)
