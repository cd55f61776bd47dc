"""Every revision of the sample repository, deployed for real: the good are canonical, the broken are found out."""

import pytest

from switchproof.deploy.contract import Clause, HostState, RunVerdict, Verdict
from switchproof.deploy.providers.lab.revisions import REVISIONS
from tests.deploys.conftest import Deployed

pytestmark = [pytest.mark.lab, pytest.mark.long]

GOOD = [revision for revision in REVISIONS if revision.clause is None and revision.name != "both"]
BROKEN = [revision for revision in REVISIONS if revision.ref.startswith("refs/heads/broken/")]

every_good = pytest.mark.parametrize("deployed", GOOD, indirect=True, ids=lambda revision: revision.name)
every_broken = pytest.mark.parametrize("deployed", BROKEN, indirect=True, ids=lambda revision: revision.name)


@every_good
def test_a_good_revision_is_canonical(deployed: Deployed) -> None:
    """A good revision passes all five clauses, leaves the host converged, and exits 0."""
    ended, record = deployed.ended, deployed.ended.record
    assert ended.status == 0, ended.output
    assert record.verdict is RunVerdict.CANONICAL
    assert ended.verdicts(deployed.host) == "passed passed passed passed passed"
    assert record.host(deployed.host).state is HostState.CONVERGED
    after = record.host(deployed.host).after
    assert after is not None
    assert after.revision == record.revision.sha


@every_good
def test_a_record_tells_how_it_came_about(deployed: Deployed) -> None:
    """Who, how the host was reached, its clock, every endpoint's health and what was switched are in the record."""
    record = deployed.ended.record
    host = record.host(deployed.host)
    assert (record.revision.author, record.run.owner != "", "pytest" in record.run.versions) == (
        "ChoirOS",
        True,
        True,
    )
    assert record.emulated
    assert record.emulations
    assert host.connection is not None
    assert (host.connection.kind, host.connection.strict_kex, host.connections) == ("ssh", True, 2)
    assert host.clock is not None
    assert abs(host.clock.offset_s) <= host.clock.uncertainty_s  # containers have this machine's clock
    assert {(watch.endpoint, watch.settled) for watch in host.watches} == {
        (name, "healthy") for name in ("hypervisor", "live", "dev")
    }
    kinds = [moment.kind for moment in host.timeline if moment.kind not in {"watch-begun", "healthy", "watch-ended"}]
    assert kinds == ["connected", "switch-begun", "switch-ended", "connected-again", "confirmed"]
    assert [(one.before, one.after) for one in host.closures] == [
        (host.before and host.before.toplevel, host.after and host.after.toplevel)
    ]
    assert all(unit.before and unit.after for unit in host.units)
    checks = [check for clause in host.clauses for check in clause.checks]
    assert all(check.why and check.command for check in checks)


@every_broken
def test_a_broken_revision_fails_at_its_clause(deployed: Deployed) -> None:
    """A broken revision passes every clause before its own, fails that, and blocks those after it."""
    expected = []
    for clause in Clause:
        if clause is Clause.DIAGNOSTICS:
            expected.append("passed")
        elif "failed" in expected:
            expected.append("blocked")
        else:
            expected.append("failed" if clause.value == deployed.revision.clause else "passed")
    assert deployed.ended.verdicts(deployed.host).split() == expected, deployed.ended.output
    assert deployed.ended.record.verdict is RunVerdict.NON_CANONICAL


@every_broken
def test_a_broken_revision_is_told_in_the_host_s_words(deployed: Deployed) -> None:
    """What the host itself said of the failure stands in the message of a failed check, or in its evidence."""
    failed = deployed.ended.failed(deployed.host)
    evidence = deployed.ended.folder
    told = " ".join(check.message for check in failed)
    kept = "".join((evidence / path).read_text() for check in failed for path in check.evidence)
    assert deployed.revision.says in told + kept


@pytest.mark.parametrize(
    "deployed",
    [revision for revision in BROKEN if revision.name == "broken/hypervisor-not-starting"],
    indirect=True,
)
def test_what_a_unit_logs_of_its_secrets_is_nowhere(deployed: Deployed) -> None:
    """Secrets that a unit wrote to its journal are in no output of the deploy, and the record counts them."""
    files = {path: path.read_text(encoding="utf-8") for path in deployed.ended.folder.rglob("*") if path.is_file()}
    outputs = [deployed.ended.output, *files.values()]
    assert not [said for said in outputs if "s3ssion-st0re" in said or "c2Vzc2lvbi1zdG9yZS" in said]
    journal = deployed.ended.evidence(deployed.host)["diagnostics/journal/hypervisor.service.txt"]
    assert "postgres://choiros:[redacted]@10.0.0.2/sessions, PASSWORD=[redacted]" in journal
    assert "Authorization: Bearer [redacted: credentials]" in journal
    assert {"url-password", "password", "authorization"} <= deployed.ended.record.redactions.keys()


@every_broken
def test_a_broken_revision_leaves_the_host_safe(deployed: Deployed) -> None:
    """The host is rolled back and passes every clause again, or was never changed; the session exits 1."""
    host = deployed.ended.record.host(deployed.host)
    assert deployed.ended.status == 1, deployed.ended.output
    assert host.before is not None
    if host.rollback is None:
        assert host.state is HostState.UNCHANGED
    else:
        assert host.state is HostState.ROLLED_BACK
        assert host.rollback.verdict is Verdict.PASSED
        assert host.rollback.to == host.before.toplevel
        assert host.after is not None
        assert host.after.toplevel == host.before.toplevel


@every_broken
def test_a_broken_revision_has_its_diagnostics(deployed: Deployed) -> None:
    """State and journal of every unit of the contract, the sockets and the switch's log are kept as evidence."""
    evidence = deployed.ended.evidence(deployed.host)
    units = [f"{unit}@{name}.service" for unit in ("cloud-hypervisor", "socat-sandbox") for name in ("live", "dev")]
    for unit in ["hypervisor.service", *units]:
        assert "Loaded:" in evidence[f"diagnostics/status/{unit}.txt"]
        assert f"Id={unit}" in evidence[f"diagnostics/show/{unit}.txt"]
        assert evidence[f"diagnostics/journal/{unit}.txt"].strip()
    assert ":22" in evidence["diagnostics/sockets.txt"]
    assert "system-1-link" in evidence["diagnostics/generations.txt"]
    assert "--- build" in evidence["converge.log"]


@pytest.mark.parametrize(
    ("deployed", "checks"),
    [
        pytest.param(revision, checks, id=revision.name)
        for revision in REVISIONS
        for name, checks in {
            "broken/evaluation-error": {"converge/the-switch-ended-well"},
            "broken/build-failure": {"converge/the-switch-ended-well"},
            "broken/activation-failure": {"converge/the-switch-ended-well"},
            "broken/new-unit-failing": {"converge/no-unit-failed-that-had-not-failed-before"},
            "broken/inhibitor": {"converge/the-switch-ended-well"},
            "broken/stale-process": {
                "converge/processes-run-from-the-running-system",
                "converge/changed-units-were-restarted",
            },
            "broken/hypervisor-not-starting": {"hypervisor/its-units-are-active"},
            "broken/hypervisor-500": {"hypervisor/it-answers-as-it-should"},
            "broken/check-on-the-way-back": {"hypervisor/it-answers-as-it-should"},
            "broken/hypervisor-redirect": {"hypervisor/it-answers-as-it-should"},
            "broken/live-degraded": {"runtime/live/it-answers-as-it-should"},
            "broken/live-crash-loop": {"runtime/live/it-stays-healthy"},
            "broken/dev-not-listening": {"runtime/dev/its-port-is-its-own"},
            "broken/dev-workload-dead": {"runtime/dev/it-answers-as-it-should"},
            "broken/forwards-crossed": {
                "runtime/live/it-answers-as-it-should",
                "runtime/dev/it-answers-as-it-should",
            },
        }.items()
        if revision.name == name
    ],
    indirect=["deployed"],
)
def test_the_right_checks_fail(deployed: Deployed, checks: set[str]) -> None:
    """The check that is about the fault fails, and none that is about another unit does."""
    failed = {check.id for check in deployed.ended.failed(deployed.host)}
    assert checks <= failed
    place = {check.rpartition("/")[0] for check in checks}
    assert {check.rpartition("/")[0] for check in failed} == place


@pytest.mark.parametrize(
    "deployed", [revision for revision in REVISIONS if revision.name == "broken/live-crash-loop"], indirect=True
)
def test_a_crash_loop_is_named_by_its_restart(deployed: Deployed) -> None:
    """A unit that crashes after a healthy stretch fails for having become another process, not for a bad answer."""
    (check,) = deployed.ended.failed(deployed.host)
    assert "cloud-hypervisor@live.service" in check.message
    assert "did not stay the same" in check.message
