"""Options become what a run will do, or a message that says which one is wrong."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from switchproof.command import SESSIONS
from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Gate, Mode, Options, Plan
from switchproof.deploy.planning import make_plan
from switchproof.deploy.providers import kind_of
from switchproof.deploy.settings import TARGETS, Settings
from switchproof.deploy.source import Input, Source
from switchproof.options import declare, dest
from tests.answers import HOST_KEY

REPORTS = Path("runs")
OVH = {
    "DEPLOY_REPO_URL": "https://example.org/r.git",
    "OVH_NODE_A_HOST": "192.0.2.1",
    "OVH_NODE_A_HOST_KEY": HOST_KEY,
    "OVH_NODE_B_HOST": "192.0.2.2",
    "OVH_NODE_B_HOST_KEY": HOST_KEY,
}


def plan(environ: dict[str, str] | None = None, **options: Any) -> Plan:
    return make_plan(
        Options(**({"provider": "lab"} | options)), environ or {}, Settings(TARGETS.parents[1], TARGETS, REPORTS)
    )


@pytest.mark.parametrize(
    ("options", "mode", "revision"),
    [
        ({"sha": "main"}, Mode.DEPLOY, "main"),
        ({"audit": True}, Mode.AUDIT, None),
        ({"audit": True, "sha": "v1"}, Mode.AUDIT, "v1"),
        ({"plan": True, "sha": "v1"}, Mode.PLAN, "v1"),
        ({"preflight": True}, Mode.PREFLIGHT, None),
        ({"rollback": ""}, Mode.ROLLBACK, None),
        ({"rollback": "12"}, Mode.ROLLBACK, None),
        ({"drill": "orderly", "sha": "v1"}, Mode.DRILL, "v1"),
        ({"drill": "dead-man", "sha": "v1"}, Mode.DRILL, "v1"),
    ],
)
def test_options_say_the_mode(options: dict[str, Any], mode: Mode, revision: str | None) -> None:
    """A revision is deployed unless the run only looks or only plans."""
    made = plan(**options)
    assert (made.mode, made.revision) == (mode, revision)
    assert (made.on_failure, made.report_dir, made.lab.keep) == ("rollback", REPORTS, False)
    assert [host.name for host in made.target.hosts] == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "--sha=REV is missing: a deploy needs"),
        ({"plan": True}, "--sha=REV is missing: a plan needs"),
        ({"audit": True, "plan": True, "sha": "main"}, "--audit and --plan"),
        ({"audit": True, "rollback": ""}, "--audit and --rollback"),
        ({"plan": True, "preflight": True, "sha": "main"}, "--plan and --preflight: use only one of them"),
        ({"preflight": True, "sha": "main"}, "--sha=main: a preflight asks about the hosts only; use --plan"),
        ({"preflight": True, "take_lock": True}, "--take-lock: only for a run that changes hosts"),
        ({"preflight": True, "build": "runner"}, "--build=runner: only for a deploy, a drill, a plan or an audit"),
        ({"audit": True, "build": "runner"}, "set --sha=REV, and --build=runner or a builder's name"),
        ({"audit": True, "sha": "main", "build": "host"}, "set --sha=REV, and --build=runner or a builder's name"),
        ({"rollback": "", "drill": "orderly", "sha": "main"}, "--rollback and --drill"),
        ({"drill": "orderly"}, "--sha=REV is missing: a drill needs"),
        ({"rollback": "", "sha": "main"}, "--sha=main: a rollback takes its revision from --rollback=REV"),
        ({"rollback": "a b"}, "--rollback=a b: neither a commit"),
        ({"rollback": "README.md"}, "--rollback README.md: README.md is an existing path"),
        ({"sha": ""}, "--sha= is empty: give a commit, a branch or a tag"),
        ({"audit": True, "sha": ""}, "--sha= is empty"),
        ({"sha": "--force"}, "--sha=--force"),
        ({"sha": "main", "provider": "azure"}, "azure.toml: no such target file, but --provider=azure needs it"),
        (
            {"sha": "main", "provider": "azure"},
            "there are aws, lab, local, ovh. To write one: `switchproof init azure`",
        ),
        ({"sha": "main", "provider": "lba"}, "did you mean --provider=lab?"),
        ({"sha": "main", "provider": ""}, "--provider=: must be the name of a target file"),
        ({"sha": "main", "provider": "../../pyproject"}, "--provider=../../pyproject: must be the name of a target"),
        ({"sha": "main", "provider": ".ovh"}, "--provider=.ovh: must be the name of a target file"),
        ({"sha": "main", "provider": "-ovh"}, "--provider=-ovh: must be the name of a target file"),
        ({"sha": "main", "provider": "a/b"}, "--provider=a/b: must be the name of a target file"),
        ({"sha": "main", "provider": "ovh\n"}, "must be the name of a target file"),
        ({"sha": "main", "provider": "x" * 41}, "must be the name of a target file"),
        ({"sha": "main", "targets": str(TARGETS / "ovh.toml")}, "DEPLOY_REPO_URL"),
        (
            {"sha": "main", "provider": "local", "targets": str(TARGETS / "lab.toml")},
            "provider: found 'lab', but --provider=local",
        ),
        ({"sha": "main", "targets": "no/such.toml"}, "no/such.toml: no such target file"),
        ({"sha": "main", "hosts": ("z",)}, "--host=z selects no host; hosts: a, b; groups: @production, @staging"),
        ({"sha": "main", "soak": -1.0}, "--soak=-1.0"),
        ({"sha": "main", "soak": 86401.0}, "--soak=86401"),
        ({"sha": "main", "soak": float("nan")}, "--soak=nan"),
        ({"sha": "main", "soak": float("inf")}, "--soak=inf"),
    ],
)
def test_wrong_option_is_named(options: dict[str, Any], said: str) -> None:
    """Every wrong option is a usage error that names it and what was found."""
    with pytest.raises(UsageError, match=re.escape(said)):
        plan(**options)


@pytest.mark.parametrize(("given", "means"), [("", None), ("7", "7"), ("1234567", "1234567"), ("v1.2", "v1.2")])
def test_a_rollback_may_name_what_it_goes_back_to(given: str, means: str | None) -> None:
    """A rollback goes back to a generation, to a revision, or to what the records and the host say."""
    made = plan(rollback=given)
    assert (made.mode, made.back_to, made.revision) == (Mode.ROLLBACK, means, None)


MODES: dict[str, dict[str, Any]] = {"deploy": {}, "rollback": {"rollback": ""}, "drill": {"drill": "orderly"}}
CUTOVER = ("--repo", "--records", "--allowed-signers", "--revoked-signers")
NEEDS: dict[str, dict[str, Any]] = {f"audit {option}": {"cutover": 1} for option in CUTOVER} | {
    f"{verb} --lab-ssm-agent": {"shape": "aws"} for verb in SESSIONS
}
"""What some options need beside them."""


@pytest.mark.parametrize(
    ("verb", "option"),
    [
        (verb, option)
        for verb, session in SESSIONS.items()
        for option in session.takes
        if session.folder == "checks" and option not in {"--provider", "--targets", "--host", "--checks"}
    ],
)
def test_a_verb_offers_no_option_that_its_runs_refuse(verb: str, option: str) -> None:
    """What an option of a verb may be refused for is its value, and not the verb."""
    details = dict[str, dict[str, Any]]()
    declare(lambda name, **given: details.update({name: given}))
    given = details[option]
    value = given.get("choices", [True if "action" in given else given.get("type", str)("1")])[-1]
    revision = {"sha": "main"} if "--sha" in SESSIONS[verb].takes else {}
    error = ""
    try:
        plan(**MODES.get(verb, {verb: True}) | revision | NEEDS.get(f"{verb} {option}", {}) | {dest(option): value})
    except UsageError as refused:
        error = str(refused)
    assert not re.search(r"only for a|only an audit|a run with --|proves nothing|asks about the hosts", error)


def test_only_runs_that_change_hosts_take_them() -> None:
    """A deploy, a rollback and a drill take the hosts for themselves; whoever only looks does not."""
    assert {mode for mode in Mode if mode.changes_hosts} == {Mode.DEPLOY, Mode.ROLLBACK, Mode.DRILL}


def _target_with(tmp_path: Path, confirm_s: str) -> str:
    path = tmp_path / "lab.toml"
    path.write_text((TARGETS / "lab.toml").read_text() + f"\n[rollback]\nconfirm_s = {confirm_s}\n")
    return str(path)


def test_time_to_confirm_outlasts_what_must_be_seen_first(tmp_path: Path) -> None:
    """A soak that makes the time to confirm too short is refused by name; so is a drill of a switch that is off."""
    with pytest.raises(UsageError, match=r"--soak=100: rollback\.confirm_s of .* becomes shorter than"):
        plan(sha="main", soak=100.0, targets=_target_with(tmp_path, "140.0"))
    with pytest.raises(UsageError, match=r"--drill=dead-man: rollback\.confirm_s is 0"):
        plan(sha="main", drill="dead-man", targets=_target_with(tmp_path, "0"))


def test_kept_runs_are_counted_from_one() -> None:
    """All runs are kept unless a number says how many, and the run itself is always one of them."""
    assert plan(sha="main").keep_runs is None
    assert plan(sha="main", keep_runs=1).keep_runs == 1
    for wrong in (0, -3):
        with pytest.raises(UsageError, match=f"--keep-runs={wrong}: at least 1"):
            plan(sha="main", keep_runs=wrong)


def test_lab_keep_is_for_the_lab() -> None:
    """Only the lab's hosts can be left running."""
    assert plan(sha="main", lab_keep=True).lab.keep
    with pytest.raises(UsageError, match="--lab-keep: only for --provider=lab"):
        plan(OVH, sha="main", provider="ovh", lab_keep=True)


def test_lock_is_taken_over_by_runs_that_change_hosts() -> None:
    """Only a run that takes locks can take one over."""
    assert plan(sha="main", take_lock=True).take_lock
    assert not plan(sha="main").take_lock
    with pytest.raises(UsageError, match="--take-lock: only for a run that changes hosts"):
        plan(audit=True, take_lock=True)


def test_lab_runtime_is_for_the_lab() -> None:
    """Only the lab's sandboxes can be chosen; without the option they are taken as they are."""
    assert plan(sha="main").lab.runtime is None
    assert plan(sha="main", lab_runtime="netns").lab.runtime == "netns"
    with pytest.raises(UsageError, match="--lab-runtime: only for --provider=lab"):
        plan(OVH, sha="main", provider="ovh", lab_runtime="microvm")


@pytest.mark.parametrize("soak", [0.0, 0.5, 86400.0])
def test_soak_replaces_the_target_s_own(soak: float) -> None:
    """A soak that is given, even none at all, replaces that of the target file and nothing else."""
    changed, own = plan(sha="main", soak=soak).target, plan(sha="main").target
    assert changed.health.soak_s == soak
    assert msgspec.structs.replace(changed, health=own.health) == own


def test_chosen_hosts_are_the_run_s_hosts() -> None:
    """Names, globs and groups choose hosts; they stay in the order of the file, each once."""
    for hosts, names in {
        ("b",): "b",
        ("b", "a"): "ab",
        ("*",): "ab",
        ("@staging", "b"): "b",
        ("[ab]", "a"): "ab",
    }.items():
        assert "".join(host.name for host in plan(sha="main", hosts=hosts).target.hosts) == names


def test_report_folder_may_be_chosen() -> None:
    """The runs' folder is the given one, else the project's."""
    assert plan(sha="main", report_dir="x/y").report_dir == Path("x/y")


SHA = "a" * 40
GATE: dict[str, Any] = {"require_record": "runs", "allowed_signers": "signers"}


@pytest.fixture
def gated(tmp_path: Path) -> str:
    """The lab's target file, which demands a record of group staging; host a is in production, b in staging."""
    path = tmp_path / "gated.toml"
    lab = (TARGETS / "lab.toml").read_text(encoding="utf-8")
    path.write_text(f'requires = {{ group = "staging" }}\n{lab}', encoding="utf-8")
    return str(path)


def test_a_record_is_asked_for_where_the_target_file_demands_one(gated: str) -> None:
    """With the options a deploy to a demanding target is planned, and the record is looked for where they say."""
    gate = plan(sha=SHA, targets=gated, revoked_signers="gone", **GATE).gate
    assert gate == Gate(record=Path("runs"), allowed_signers=Path("signers"), revoked_signers=Path("gone"))


@pytest.mark.parametrize(
    "options", [{"sha": "main"}, {"sha": SHA, "drill": "orderly"}, {"sha": SHA, "hosts": ("a",)}]
)
def test_a_demanded_record_cannot_be_left_out(gated: str, options: dict[str, Any]) -> None:
    """A deploy or drill to any host outside the proving group is refused without the options."""
    with pytest.raises(UsageError, match=r"gated\.toml: requires: a deploy to a needs the signed record of a run"):
        plan(targets=gated, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"audit": True},
        {"plan": True, "sha": "main"},
        {"preflight": True},
        {"rollback": ""},
        {"sha": "main", "hosts": ("@staging",)},
        {"collect_only": True},
    ],
)
def test_what_is_not_gated_needs_no_record(gated: str, options: dict[str, Any]) -> None:
    """Who looks, goes back, or deploys to where the proof comes from, needs no record."""
    assert plan(targets=gated, **options).gate is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sha": "main", **GATE}, "--sha=main: --require-record needs the full commit"),
        ({"sha": SHA[:12], **GATE}, "--sha=aaaaaaaaaaaa: --require-record needs the full commit"),
        ({"sha": SHA, "require_record": "runs"}, "--allowed-signers is missing: --require-record needs"),
        ({"sha": SHA, "allowed_signers": "signers"}, "--require-record is missing: --allowed-signers needs"),
        ({"sha": SHA, "revoked_signers": "gone"}, "--require-record is missing: --revoked-signers needs"),
        ({"sha": SHA, **GATE, "require_record": ""}, "--require-record= is empty"),
        ({"sha": SHA, **GATE, "allowed_signers": ""}, "--allowed-signers= is empty"),
        ({"audit": True, **GATE}, "--require-record: only for a deploy or a drill"),
        ({"rollback": "", **GATE}, "--require-record: only for a deploy or a drill"),
        ({"plan": True, "sha": SHA, "sign_key": "key"}, "--sign-key=key: a plan proves nothing"),
        ({"preflight": True, "sign_key": "key"}, "--sign-key=key: a preflight proves nothing"),
        ({"preflight": True, **GATE}, "--require-record: only for a deploy or a drill"),
    ],
)
def test_options_of_promotion_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    """What would leave a gate open, or sign nothing, is one sentence."""
    with pytest.raises(UsageError, match=re.escape(said)):
        plan(**options)


@pytest.mark.parametrize("provider", ['provider = "fleet"\n', ""])
def test_any_name_of_a_target_file_is_a_provider_over_ssh(provider: str, tmp_path: Path) -> None:
    """A file of one's own that says its transport is found by its name, and is the provider that the run has."""
    shipped = (TARGETS / "ovh.toml").read_text(encoding="utf-8")
    text = shipped.replace('provider = "ovh"\n', f'{provider}transport = "ssh"\n')
    (tmp_path / "fleet.toml").write_text(text, encoding="utf-8")
    settings = Settings(tmp_path, tmp_path, REPORTS)
    made = make_plan(Options(provider="fleet", sha="main"), OVH, settings)
    assert made.targets_file == tmp_path / "fleet.toml"
    assert (made.target.provider, kind_of(made.target).name) == ("fleet", "ssh")
    (tmp_path / "other.toml").write_text(text, encoding="utf-8")
    if provider:
        with pytest.raises(UsageError, match=r"other\.toml: provider: found 'fleet', but --provider=other"):
            make_plan(Options(provider="other", sha="main"), OVH, settings)
    else:
        assert make_plan(Options(provider="other", sha="main"), OVH, settings).target.provider == "other"


def test_shards_of_an_audit_hold_every_host_once() -> None:
    """Parts are disjoint, together they are all hosts, and each names all of them."""
    parts = [plan(audit=True, shard=f"{index}/2") for index in (1, 2)]
    assert [[host.name for host in part.target.hosts] for part in parts] == [["a"], ["b"]]
    for index, part in enumerate(parts, 1):
        assert part.shard is not None
        assert (part.shard.index, part.shard.count, part.shard.hosts) == (index, 2, ("a", "b"))
        assert part.shard.targets_sha256 == part.targets_sha256


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"audit": True, "shard": "0/2"}, "--shard=0/2: must be K/N"),
        ({"audit": True, "shard": "3/2"}, "--shard=3/2: must be K/N"),
        ({"audit": True, "shard": "1"}, "--shard=1: must be K/N"),
        ({"audit": True, "shard": "1/3"}, "--shard=1/3: only 2 hosts are selected"),
        ({"sha": "main", "shard": "1/2"}, "only an audit can be split into parts (found a deploy)"),
        ({"audit": True, "parallel": 0}, "--parallel=0: at least 1 host"),
        ({"sha": "main", "parallel": 2}, "--parallel=2: only for an audit (found a deploy)"),
    ],
)
def test_shard_or_limit_that_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    """The message names the option and what is allowed."""
    with pytest.raises(UsageError, match=re.escape(said)):
        plan(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dirty": True}, "--dirty: name the clone whose working tree is meant, with --source=PATH"),
        ({"sha": "main", "dirty": True}, "--sha=main: --dirty deploys the working tree, which is no revision"),
        ({"audit": True, "sha": "main", "source": "."}, "--source=.: only for a deploy, a drill or a plan"),
        ({"rollback": "", "source": "."}, "--source=.: only for a deploy, a drill or a plan"),
        (
            {"dirty": True, "source": "."},
            "--dirty: a, b must not get what is not committed; set hosts.allow_dirty in",
        ),
        ({"sha": "main", "source": "/nonexistent"}, "--source=/nonexistent: cannot change to '/nonexistent'"),
    ],
)
def test_source_that_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    """The message names the option and what is allowed, before any host is asked."""
    with pytest.raises(UsageError, match=re.escape(said)):
        plan(**options)


def test_source_of_a_clone_is_one_full_commit(tmp_path: Path) -> None:
    """A branch of the clone is resolved at once."""
    script = (
        "git init -qb main . && git -c user.name=x -c user.email=x commit -qm 1 --allow-empty && git rev-parse main"
    )
    sha = subprocess.run(
        ["sh", "-ec", script], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.strip()
    made = plan(sha="main", source=str(tmp_path))
    assert (made.revision, made.source) == (sha, Source(tmp_path, sha))
    assert plan(sha="main").source is None


def locked(folder: Path, url: str) -> Input:
    """Make a clone whose flake.lock has one input with this URL, and return the input."""
    lock = json.dumps({"nodes": {"priv": {"locked": {"type": "git", "url": url}}}})
    (folder / "flake.lock").write_text(lock, encoding="utf-8")
    script = "git init -qb main . && git add . && git -c user.name=x -c user.email=x commit -qm 1"
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True)
    return Input("priv", f"git+{url}", is_private=not url.startswith("https"))


@pytest.mark.parametrize("url", ["ssh://forge.example.org/priv.git", "https://forge.example.org/priv.git"])
def test_inputs_of_a_flake_are_sent_where_nix_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """All of them go to hosts that build, as a host cannot be asked what it may fetch; a builder fetches its own."""
    monkeypatch.setattr("shutil.which", lambda program: f"/bin/{program}")
    own = locked(tmp_path, url)
    made = plan(sha="main", source=str(tmp_path)).source
    assert made is not None
    assert made.inputs == (own,)
    made = plan(sha="main", source=str(tmp_path), build="runner").source
    assert made is not None
    assert made.inputs == ()


def test_an_input_that_hosts_cannot_fetch_needs_nix_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names it; one that everybody can fetch is left to the hosts."""
    monkeypatch.setattr("shutil.which", lambda program: program if program == "git" else None)
    for name in ("open", "private"):
        (tmp_path / name).mkdir()
    locked(tmp_path / "open", "https://forge.example.org/priv.git")
    made = plan(sha="main", source=f"{tmp_path}/open").source
    assert made is not None
    assert made.inputs == ()
    locked(tmp_path / "private", "ssh://forge.example.org/priv.git")
    said = "cannot fetch the input priv of flake.lock, which is git+ssh://forge.example.org/priv.git, and nix is not"
    with pytest.raises(UsageError, match=re.escape(said)):
        plan(sha="main", source=f"{tmp_path}/private")


def test_source_goes_through_ssm_without_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit is sent; an input that hosts cannot fetch is named, and so is a document that takes no shell text."""
    monkeypatch.setattr("shutil.which", lambda program: f"/bin/{program}")
    for name, url in (("open", "https://forge.example.org/x"), ("private", "ssh://forge.example.org/x")):
        (tmp_path / name).mkdir()
        locked(tmp_path / name, url)
    made = plan(sha="main", shape="aws", source=f"{tmp_path}/open").source
    assert made is not None
    assert made.inputs == ()
    with pytest.raises(UsageError, match=r"the input priv of flake\.lock, .* inputs are not sent through SSM"):
        plan(sha="main", shape="aws", source=f"{tmp_path}/private")
    targets = tmp_path / "aws.toml"
    text = (TARGETS / "aws.toml").read_text(encoding="utf-8")
    targets.write_text(f'{text}\n[ssm]\ndocument = "Own-Verbs"\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"--source=\.: a source can be sent only over SSH or through SSM"):
        plan({"DEPLOY_REPO_URL": "/x", "FLAKE_ATTR": "x"}, sha="main", provider="local", source=".")
    asked = {"sha": "main", "provider": "aws", "targets": str(targets), "source": f"{tmp_path}/open"}
    with pytest.raises(UsageError, match=r"the document Own-Verbs \(ssm\.document\) runs only the verbs"):
        plan({"DEPLOY_INSTANCE_ID": "i-0123456789abcdef0"}, **asked)
