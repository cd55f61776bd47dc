"""The whole cutover on the lab's hosts: AWS canonical, OVH ready, OVH in production, AWS gone, and AWS back again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.record.steps import Cutover
from tests.deploys.sessions import HEALTH, ROOT, Ended, session
from tests.labs import own
from tests.paths.repositories import make
from tests.promotion.runs import Keys, make_keys

pytestmark = [pytest.mark.lab, pytest.mark.long]

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


def targets(folder: Path) -> None:
    """Write the lab's target files with short limits, and production behind its gate."""
    aws = (ROOT / "deploy/targets/lab-aws.toml").read_text(encoding="utf-8")
    (folder / "lab-aws.toml").write_text(aws + QUICK, encoding="utf-8")
    text = (ROOT / "deploy/targets/lab.toml").read_text(encoding="utf-8")
    demands = 'requires = { group = "staging" }\nrollback = { confirm_s = 45.0 }\n'
    (folder / "lab.toml").write_text(demands + text + QUICK, encoding="utf-8")


def lacking(cutover: Cutover, step: int) -> str:
    return "; ".join(one.words for one in cutover.steps[step - 1].missing)


@dataclass(frozen=True)
class Way:
    """Sessions whose records all come to stand in one folder of runs, signed with staging's key."""

    folder: Path
    lab: Lab
    keys: Keys

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def allowed(self) -> str:
        return f"--allowed-signers={self.keys.allowed()}"

    def go(self, name: str, *arguments: str, where: Lab | None = None) -> Ended:
        """Run a session in a folder of its own, so that those side by side are not taken for each other."""
        sign = f"--sign-key={self.keys.staging}"
        ended = session("--provider=lab", *arguments, sign, runs=self.folder / name, lab=where or self.lab)
        if (ended.folder / "record.json").exists():
            shutil.copytree(ended.folder, self.runs / ended.folder.name)
        return ended

    def deploy(self, name: str, *arguments: str) -> Ended:
        return self.go(name, f"--targets={self.folder / 'lab.toml'}", *arguments)

    def audit(self, name: str, repository: Path, *arguments: str) -> tuple[Ended, Cutover]:
        asked = ("--audit", f"--repo={repository}", f"--records={self.runs}", self.allowed)
        ended = self.deploy(name, *asked, *arguments)
        cutover = ended.record.cutover
        assert cutover is not None, ended.output
        return ended, cutover


def test_the_cutover_from_the_first_step_to_the_last(labs: tuple[Lab, Lab], tmp_path: Path) -> None:
    """Each step is proven by what was deployed for it and by nothing less, and a step backwards fails."""
    lab, aws = labs
    (tmp_path / "keys").mkdir()
    targets(tmp_path)
    way = Way(tmp_path, lab, make_keys(tmp_path / "keys"))
    moved, back = make(tmp_path / "moved", MOVED), make(tmp_path / "back", BACK)
    old = ("--shape=aws", f"--targets={tmp_path / 'lab-aws.toml'}", "--host=a", "--sha=main")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(way.go, "aws", *old, where=aws)
        drilled = pool.submit(way.deploy, "staging", "--host=@staging", "--sha=main", "--drill")
        assert first.result().status == 0, first.result().output
        assert drilled.result().status == 0, drilled.result().output
        commit = drilled.result().record.revision.sha
        assert commit == first.result().record.revision.sha
        gate = (f"--require-record={way.runs}", way.allowed)
        asked = ("--host=@production", f"--sha={commit}", "--drill=dead-man", *gate)
        production = pool.submit(way.deploy, "production", *asked)
        ended, cutover = way.audit("early", moved, "--host=@staging", "--cutover=3")
        assert (ended.status, cutover.reached) == (1, 2), ended.output
        assert "production" in lacking(cutover, 3)
        assert production.result().status == 0, production.result().output

    ended, cutover = way.audit("last", moved, "--cutover=4")
    assert ended.status == 0, ended.output
    assert [step.proven for step in cutover.steps] == [True] * 4
    assert all(proof.emulated for step in cutover.steps for proof in step.proofs if proof.run)
    assert {proof.signer for step in cutover.steps for proof in step.proofs if proof.run} == {"ci@staging"}
    assert json.loads((ended.folder / "evidence" / "run" / "paths.json").read_bytes())["verdict"] == "clean"

    unit = "/etc/systemd/system/amazon-ssm-agent.service"
    lab.hosts["b"].run(["sh", "-c", f"printf '[Service]\\nExecStart=/bin/sleep 9\\n' >{unit}"], timeout_s=30)
    ended, cutover = way.audit("again", back, "--cutover")
    assert (ended.status, cutover.before, cutover.backwards) == (1, 4, True), ended.output
    assert "aws s3 cp" in lacking(cutover, 4)
    assert "b: amazon-ssm-agent is gone" in lacking(cutover, 4)
