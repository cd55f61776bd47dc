"""Makes small repositories, one with the shape of those whose deploys failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from switchproof.deploy.paths.sources import Surveyor
from switchproof.deploy.paths.survey import EntryPoint, Survey

HOST_SCRIPT = """\
#!/usr/bin/env bash
set -euo pipefail
git -C "$WORKDIR" fetch origin "$RELEASE_SHA"
git -C "$WORKDIR" checkout --detach "$RELEASE_SHA"
nixos-rebuild switch --flake "$WORKDIR#$FLAKE_ATTR"
systemctl restart hypervisor.service
for url in 127.0.0.1:9090/login 127.0.0.1:8080/health 127.0.0.1:8081/health; do
  curl -fsS "$url" || { systemctl status hypervisor; journalctl -n 50 -u hypervisor; ss -tlnp; exit 1; }
done
"""

AWS_SCRIPT = """\
#!/usr/bin/env bash
set -euo pipefail
SCRIPT_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
RELEASE_SHA="${1:?which commit}"
payload=$(base64 -w0 "$SCRIPT_DIR/host-switch.sh")
params=$(jq -n --arg p "$payload" '{commands: [$p]}')
aws ssm send-command --instance-ids "$DEPLOY_INSTANCE_ID" --document-name AWS-RunShellScript --parameters "$params"
"""

OVH_SCRIPT = """\
#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")/../.."
ssh -o StrictHostKeyChecking=yes "root@$OVH_NODE_B_HOST" \\
  "RELEASE_SHA=$RELEASE_SHA bash -s -- deploy" < scripts/deploy/host-switch.sh
"""

JUSTFILE = """\
deploy-aws-ssm sha:
    scripts/deploy/aws-ssm-deploy.sh {{sha}}

deploy-ec2:
    @echo 'deploy-ec2 is gone: just deploy-aws-ssm SHA' >&2; exit 1

test:
    cargo test
"""

PROMOTE = """\
name: Promote
on: workflow_dispatch
jobs:
  promote:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v4
      - name: Keys
        run: |
          mkdir -p ~/.ssh
          ssh-keyscan -H "$NODE" >> ~/.ssh/known_hosts
      - name: Promote to production
        env:
          NODE: ${{ secrets.OVH_NODE_A_HOST }}
        run: |
          ssh -o StrictHostKeyChecking=no "root@$NODE" << 'REMOTE'
          set -e
          cd /opt/choiros/workspace
          git pull --ff-only origin main
          nixos-rebuild switch --flake .#choiros-a
          systemctl restart hypervisor
          REMOTE
"""

INCIDENT = {
    "justfile": JUSTFILE,
    "scripts/deploy/host-switch.sh": HOST_SCRIPT,
    "scripts/deploy/aws-ssm-deploy.sh": AWS_SCRIPT,
    "scripts/deploy/ovh-ssh-deploy.sh": OVH_SCRIPT,
    ".github/workflows/promote.yml": PROMOTE,
}
"""As it was: CI that promotes whatever main holds, past the shared script and to any host that answers."""


def make(folder: Path, files: Mapping[str, str]) -> Path:
    """Write a repository's files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def survey(folder: Path, files: Mapping[str, str], vouched: Iterable[str] = ()) -> Survey:
    """Make a repository and survey it."""
    return Surveyor(make(folder, files), vouched).survey()


def recipe(folder: Path, body: str, **files: str) -> EntryPoint:
    """Survey a repository whose justfile has one recipe, `ship`, and return that.

    Args:
        folder: Where the repository is made.
        body: The recipe, line by line.
        files: Its other files; `__` stands for a slash in a name, and all of them are shell.
    """
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    scripts = {f"{name.replace('__', '/')}.sh": text for name, text in files.items()}
    (entry,) = survey(folder, {"justfile": f"ship:\n{lines}\n", **scripts}).named("ship")
    return entry


def job(folder: Path, script: str, **files: str) -> EntryPoint:
    """Survey a repository whose only workflow has one job, `ship`, that runs a script, and return that."""
    lines = "\n".join(f"          {line}" for line in script.splitlines())
    workflow = f"on: push\njobs:\n  ship:\n    runs-on: x\n    steps:\n      - run: |\n{lines}\n"
    scripts = {f"{name.replace('__', '/')}.sh": text for name, text in files.items()}
    (entry,) = survey(folder, {".github/workflows/w.yml": workflow, **scripts}).named("ship")
    return entry
