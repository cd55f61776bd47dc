"""Our own deploy paths, and two that others might write, sit the same exam and are canonical."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchproof.deploy.contract import RunVerdict, Verdict
from switchproof.deploy.providers.lab import state
from switchproof.deploy.providers.lab.kinds import Shape
from switchproof.trials.record import FindingId, Trial, read_trial
from switchproof.trials.scenario import of_shape
from tests.deploys.sessions import HEALTH, ROOT
from tests.sampling import sampled

pytestmark = [pytest.mark.lab, pytest.mark.long]

LONGEST_S = 1500.0


@dataclass(frozen=True)
class DeployPath:
    """A deploy path that keeps the contract.

    Attributes:
        command: How it is started.
        shape: The shape of host that it deploys to.
        sample: The scenarios that every test run tries; none if only `just trials` tries the path.
        findings: What is known of it beyond the contract.
    """

    command: str
    shape: Shape
    sample: tuple[str, ...]
    findings: frozenset[FindingId] = frozenset()


PATHS = {
    "just deploy-ovh-ssh": DeployPath(
        'just deploy-ovh-ssh "$RELEASE_SHA" --host=a --targets={targets} --report-dir="$SWITCHPROOF_ARTIFACTS"',
        "ovh",
        ("good", "activation-failure"),
    ),
    "just deploy-aws-ssm": DeployPath(
        'just deploy-aws-ssm "$RELEASE_SHA" --targets={targets} --report-dir="$SWITCHPROOF_ARTIFACTS"',
        "aws",
        ("good",),
    ),
    "host-switch.sh deploy": DeployPath(
        "tests/trials/subjects/by-hand.sh",
        "ovh",
        ("good",),
        # By hand nobody goes back: the script says how.
        frozenset({FindingId.ROLLBACK}),
    ),
    "aws ssm send-command": DeployPath(
        "tests/trials/subjects/canonical-ssm.sh",
        "aws",
        (),
        frozenset({FindingId.ROLLBACK}),
    ),
    "ssh bash": DeployPath(
        "tests/trials/subjects/canonical.sh",
        "ovh",
        (),
        frozenset({FindingId.ROLLBACK}),
    ),
}


SAMPLED = sampled(
    "scenarios of our own deploy paths",
    "trials",
    {f"{name}, {each.name}": (name, each.name) for name, tried in PATHS.items() for each in of_shape(tried.shape)},
    {f"{name}, {scenario}" for name, tried in PATHS.items() for scenario in tried.sample},
)
WHOLE = SAMPLED.asked == "all"


def targets(folder: Path, shape: str) -> Path:
    """Write the target file that production uses, with quicker health."""
    text = (ROOT / "deploy/targets" / f"{shape}.toml").read_text(encoding="utf-8")
    path = folder / f"{shape}.toml"
    path.write_text(text + HEALTH, encoding="utf-8")
    return path


def arguments(tried: DeployPath, folder: Path, scenarios: tuple[str, ...]) -> list[str]:
    """The command line of a trial."""
    command = tried.command.format(targets=targets(folder, tried.shape))
    chosen = [f"--scenario={name}" for name in scenarios]
    options = [
        f"--shape={tried.shape}",
        f"--subject={command}",
        "--subject-timeout=180",
        f"--report-dir={folder}/trials",
    ]
    return [sys.executable, "-m", "pytest", "--provider=lab", *options, *chosen]


def the_trial(folder: Path) -> Trial:
    """The only trial in a folder."""
    (path,) = folder.glob("trials/2*/trial.json")
    for name in ("report.html", "junit.xml"):
        assert (path.parent / name).stat().st_size
    return read_trial(path)


@pytest.mark.parametrize(
    ("name", "scenarios"),
    [
        pytest.param(path, scenarios, id=path, marks=SAMPLED.mark(*(f"{path}, {each}" for each in scenarios)))
        for path in PATHS
        if (scenarios := tuple(scenario for name, scenario in SAMPLED.tried.values() if name == path))
    ],
)
def test_a_path_that_keeps_the_contract_is_canonical(name: str, scenarios: tuple[str, ...], tmp_path: Path) -> None:
    """Every scenario that it is tried with passed; the whole exam is canonical, with exit code 0."""
    tried = PATHS[name]
    done = subprocess.run(
        arguments(tried, tmp_path, () if WHOLE else scenarios),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    trial = the_trial(tmp_path)
    verdicts = {result.name: result.verdict for result in trial.scenarios}
    assert verdicts == dict.fromkeys(scenarios, Verdict.PASSED), done.stdout
    assert {finding.id for finding in trial.findings} <= tried.findings
    if WHOLE:
        assert (trial.verdict, done.returncode) == (RunVerdict.CANONICAL, 0), done.stdout
    else:
        assert (trial.verdict, done.returncode) == (RunVerdict.INCONCLUSIVE, 11), done.stdout
    output = trial.scenarios[0].evidence[0]
    assert (next(tmp_path.glob("trials/2*")) / output).stat().st_size


def test_a_command_that_cannot_be_run_is_tried_once_and_ends_with_4(tmp_path: Path) -> None:
    """The first scenario finds it out; nothing is said of the path, and the others are left out."""
    tried = DeployPath("./no-such-deploy.sh", "ovh", ())
    done = subprocess.run(
        arguments(tried, tmp_path, ()), cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    trial = the_trial(tmp_path)
    assert (trial.verdict, trial.exit_code, done.returncode) == (RunVerdict.INCONCLUSIVE, 4, 4), done.stdout
    assert [result.name for result in trial.scenarios] == ["good"]
    assert len(trial.not_tried) == len(of_shape("ovh")) - 1
    assert "The command cannot be run here. It ended with exit code 127" in " ".join(done.stdout.split())
    assert done.stdout.endswith("Exit 4: the command cannot be run, so no other scenario was tried\n")


def test_an_interrupted_trial_leaves_a_record_and_no_host(tmp_path: Path) -> None:
    """What it was trying is ended and taken away, and the record says that nothing is proven."""
    tried = DeployPath("echo begun; sleep 400", "ovh", ())
    process = subprocess.Popen(arguments(tried, tmp_path, ("good",)), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not _children(process.pid, "sleep 400"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    trial = the_trial(tmp_path)
    assert process.returncode == 2
    assert (trial.verdict, trial.exit_code) == (RunVerdict.INCONCLUSIVE, 2)
    assert "good" in trial.not_tried or trial.scenarios[0].problem
    assert trial.interrupted == "ended by SIGTERM"
    assert [lab.name for lab in state.every() if lab.name.startswith(f"trial-{process.pid}-")] == []
    assert not _children(process.pid, "sleep 400")


def _children(session: int, command: str) -> list[str]:
    """Return the processes of a command that know the trial of a session."""
    found = subprocess.run(["pgrep", "-fx", command], capture_output=True, text=True, check=False).stdout.split()
    mark = f"SWITCHPROOF_TRIAL=trial-{session}-".encode()
    return [pid for pid in found if mark in Path(f"/proc/{pid}/environ").read_bytes()]
