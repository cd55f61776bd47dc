"""What an audit of the cutover needs is asked for before any host is."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from msgspec.structs import replace

from switchproof.deploy.cutover.audit import ON_HOSTS, prepare
from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Options, Plan
from switchproof.deploy.planning import make_plan
from switchproof.deploy.providers import load
from switchproof.deploy.settings import read_settings
from switchproof.deploy.target.declared import CutoverTerms
from switchproof.deploy.target.loading import load_contract, roster
from switchproof.deploy.trust.contract_digest import contract_sha256_of
from tests.reports import stories

ROOT = Path(__file__).parents[2]
TARGETS = ROOT / "deploy" / "targets"


def asked(tmp_path: Path, **changed: object) -> Plan:
    options = {
        "provider": "lab",
        "audit": True,
        "cutover": 0,
        "repo": str(tmp_path),
        "records": str(tmp_path),
        **changed,
    }
    return make_plan(Options(**options), {}, read_settings(ROOT))  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "step"), [(0, None), (1, 1), (4, 4)])
def test_a_step_may_be_demanded(tmp_path: Path, given: int, step: int | None) -> None:
    """`--cutover` alone asks which step is proven, with a number it demands that one."""
    plan = asked(tmp_path, cutover=given)
    assert plan.cutover is not None
    assert plan.cutover.step == step


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"cutover": 5}, "a step from 1 to 4"),
        ({"cutover": -1}, "a step from 1 to 4"),
        ({"audit": False, "sha": "main"}, "only for an audit"),
        ({"repo": None}, "--repo=DIR is missing"),
        ({"records": None}, "--records=DIR is missing"),
        ({"repo": "/no/such"}, "--repo=/no/such: no such folder"),
        ({"records": "/no/such"}, "--records=/no/such: no such folder"),
        ({"cutover": None, "records": None}, "--repo: only for an audit with --cutover"),
        ({"shape": "aws"}, "--cutover: use a provider over SSH"),
        ({"require_record": "x"}, "--require-record"),
        ({"revoked_signers": "x"}, "--allowed-signers is missing"),
        ({"allowed_signers": "/no/such"}, "/no/such: no such file of signers"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, changed: dict[str, object], says: str) -> None:
    """Each wrong or missing option is one sentence."""
    with pytest.raises(UsageError) as error:
        asked(tmp_path, **changed)
    assert says in str(error.value)


def test_nothing_is_held_against_what_nobody_declared(tmp_path: Path) -> None:
    """A target file without a declaration cannot be asked about the cutover."""
    text = (TARGETS / "lab.toml").read_text(encoding="utf-8").partition("[declared]")[0]
    (tmp_path / "lab.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="declared: missing"):
        asked(tmp_path, targets=str(tmp_path / "lab.toml"))


def test_the_contract_left_behind_is_known_without_its_hosts() -> None:
    """What AWS is held to is read without anybody naming its instance, and is what its own runs are held to."""
    contract = load_contract(TARGETS / "aws.toml", {})
    whole = load(TARGETS / "aws.toml", {"DEPLOY_INSTANCE_ID": "i-0123456789abcdef0"})
    assert contract_sha256_of(contract, ()) == contract_sha256_of(whole, ())


def test_all_hosts_count_also_those_that_were_not_selected(tmp_path: Path) -> None:
    """An audit of one host knows of the others, so that a step is never proven by leaving one out."""
    prepared = prepare(asked(tmp_path, hosts=("b",)), contract_sha256_of, {})
    assert prepared is not None
    assert prepared.terms.hosts == {"a", "b"}
    assert prepared.terms.production == ("production", frozenset({"a"}))
    assert roster(TARGETS / "lab.toml") == {"a": ("production",), "b": ("staging",)}


def test_other_groups_may_be_named(tmp_path: Path) -> None:
    """Which groups are staging and production is the target file's to say."""
    plan = asked(tmp_path)
    target = msgspec.structs.replace(plan.target, cutover=CutoverTerms(staging="production", production="gone"))
    prepared = prepare(replace(plan, target=target), contract_sha256_of, {})
    assert prepared is not None
    assert prepared.terms.staging == ("production", frozenset({"a"}))
    assert prepared.terms.production == ("gone", frozenset())


def test_a_session_that_is_no_audit_of_it_prepares_nothing(tmp_path: Path) -> None:
    """Without --cutover neither records nor repositories are read."""
    assert prepare(asked(tmp_path, cutover=None, repo=None, records=None), contract_sha256_of, {}) is None


def test_every_check_of_the_cutover_is_one_that_counts() -> None:
    """The checks that an audit of the cutover must make are all that there are, so none can be left out unseen."""
    modules = [
        importlib.import_module(f"switchproof.checks.{path.stem}") for path in (ROOT / "checks").glob("test_*.py")
    ]
    names = [
        name
        for module in modules
        for mark in marks_of(module)
        if mark.name == "when" and "cutover" in mark.args
        for name in vars(module)
        if name.startswith("test_")
    ]
    assert {f"converge/{name.removeprefix('test_').replace('_', '-')}" for name in names} == set(ON_HOSTS)


def marks_of(module: ModuleType) -> list[pytest.Mark]:
    marks = getattr(module, "pytestmark", [])
    return [mark.mark for mark in (marks if isinstance(marks, list) else [marks])]


def test_a_check_that_was_left_out_is_missed(tmp_path: Path) -> None:
    """A session that leaves a check of the cutover out has not looked, and the last step is not proven."""
    prepared = prepare(asked(tmp_path), contract_sha256_of, {})
    assert prepared is not None
    cutover = prepared.judge(stories.canonical("a", "b", mode="audit").record(), {})
    told = "; ".join(one.words for one in cutover.steps[3].missing)
    assert "a: converge/the-agent-of-aws-is-gone: the check was left out" in told
