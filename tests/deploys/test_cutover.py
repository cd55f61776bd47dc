"""The whole cutover on the lab's hosts: AWS canonical, OVH ready, OVH in production, AWS gone, and AWS back again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.providers.lab.lab import Lab
from deploy.record import Record
from tests.deploys.sessions import HEALTH, ROOT, Ended, session
from tests.labs import own
from tests.paths.repositories import make
from tests.promotion.runs import make_keys

pytestmark = pytest.mark.lab

QUICK = HEALTH.replace("soak_s = 2.0", "soak_s = 0.5").replace("answers = 3", "answers = 2")
MOVED = {
    "justfile": (
        "deploy-ovh-ssh sha *options:\n    pytest --provider=ovh --sha={{ sha }} {{ options }}\n\n"
        "deploy-aws-ssm *_:\n    @echo 'gone: just deploy-ovh-ssh SHA' >&2; exit 1\n"
    )
}
"""A repository from which AWS is gone."""

BACK = {"justfile": MOVED["justfile"].replace("pytest", "aws s3 cp s3://old/key . && pytest")}
"""The same, and somebody has put something of AWS back."""


@pytest.fixture
def labs() -> Iterator[tuple[Lab, Lab]]:
    """The hosts that everything moves to, and the one that is left behind."""
    with (
        Lab.up(("a", "b"), name=own("cutover"), runtime="netns") as lab,
        Lab.up(("a",), name=own("cutover-aws"), shape="aws") as aws,
    ):
        yield lab, aws


def targets(folder: Path) -> Path:
    """Write the lab's target files with short limits, and production behind its gate."""
    aws = (ROOT / "deploy/targets/lab-aws.toml").read_text(encoding="utf-8")
    (folder / "lab-aws.toml").write_text(aws + QUICK, encoding="utf-8")
    text = (ROOT / "deploy/targets/lab.toml").read_text(encoding="utf-8")
    demands = 'requires = { group = "staging" }\nrollback = { confirm_s = 12.0 }\n'
    (folder / "lab.toml").write_text(demands + text + QUICK, encoding="utf-8")
    return folder / "lab.toml"


def lacking(record: Record, step: int) -> str:
    assert record.cutover is not None
    return "; ".join(one.words for one in record.cutover.steps[step - 1].missing)


def test_the_cutover_from_the_first_step_to_the_last(labs: tuple[Lab, Lab], tmp_path: Path) -> None:
    """Each step is proven by what was deployed for it and by nothing less, and a step backwards fails."""
    lab, aws = labs
    (tmp_path / "keys").mkdir()
    keys = make_keys(tmp_path / "keys")
    ours, runs = targets(tmp_path), tmp_path / "runs"
    moved, back = make(tmp_path / "moved", MOVED), make(tmp_path / "back", BACK)
    allowed, sign = f"--allowed-signers={keys.allowed()}", f"--sign-key={keys.staging}"

    def go(name: str, *arguments: str, where: Lab = lab) -> Ended:
        # Each in a folder of its own, so that sessions side by side do not take each other's for theirs.
        ended = session("--provider=lab", *arguments, sign, runs=tmp_path / name, lab=where)
        if (ended.folder / "record.json").exists():
            shutil.copytree(ended.folder, runs / ended.folder.name)
        return ended

    def audit(name: str, repository: Path, *arguments: str) -> Ended:
        asked = (f"--targets={ours}", "--audit", f"--repo={repository}", f"--records={runs}", allowed)
        return go(name, *asked, *arguments)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(
            go, "aws", "--shape=aws", f"--targets={tmp_path / 'lab-aws.toml'}", "--host=a", "--sha=main", where=aws
        )
        drilled = pool.submit(go, "staging", f"--targets={ours}", "--host=@staging", "--sha=main", "--drill")
        assert first.result().status == 0, first.result().output
        assert drilled.result().status == 0, drilled.result().output
        commit = drilled.result().record.revision.sha
        assert commit == first.result().record.revision.sha
        production = pool.submit(
            go,
            "production",
            f"--targets={ours}",
            "--host=@production",
            f"--sha={commit}",
            "--drill=dead-man",
            f"--require-record={runs}",
            allowed,
        )
        early = audit("early", moved, "--host=@staging", "--cutover=3")
        assert early.status == 1, early.output
        assert early.record.cutover is not None
        assert early.record.cutover.reached == 2
        assert "production" in lacking(early.record, 3)
        assert production.result().status == 0, production.result().output

    last = audit("last", moved, "--cutover=4")
    assert last.status == 0, last.output
    cutover = last.record.cutover
    assert cutover is not None
    assert [step.proven for step in cutover.steps] == [True] * 4
    assert all(proof.emulated for step in cutover.steps for proof in step.proofs if proof.run)
    assert {proof.signer for step in cutover.steps for proof in step.proofs if proof.run} == {"ci@staging"}
    survey = json.loads((last.folder / "evidence" / "run" / "paths.json").read_bytes())
    assert survey["verdict"] == "clean"

    unit = "/etc/systemd/system/amazon-ssm-agent.service"
    script = f"printf '[Service]\\nExecStart=/bin/sleep 1000\\n' >{unit}; systemctl daemon-reload"
    lab.hosts["b"].run(["sh", "-c", script], timeout_s=30)
    again = audit("again", back, "--cutover")
    assert again.status == 1, again.output
    assert again.record.cutover is not None
    assert (again.record.cutover.before, again.record.cutover.backwards) == (4, True)
    assert "aws s3 cp" in lacking(again.record, 4)
    assert "b: There is no amazon-ssm-agent" in lacking(again.record, 4)
    assert "The cutover has gone backwards" in " ".join(again.output.split())
