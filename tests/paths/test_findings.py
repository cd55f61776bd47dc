"""Every bad pattern is found, at the line that shows it, and its good neighbour is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.paths.survey import Kind, State, SurveyVerdict
from tests.paths.repositories import HOST_SCRIPT, INCIDENT, job, recipe, survey

GOOD = "RELEASE_SHA=$SHA scripts/host-switch.sh deploy"
HOST = {"scripts__host-switch": HOST_SCRIPT}


def kinds(entry: object) -> set[Kind]:
    return {finding.kind for finding in entry.findings}  # type: ignore[attr-defined]


def test_the_path_of_the_incidents_is_found_out(tmp_path: Path) -> None:
    """A promotion that pulls main over SSH without host keys, inline: each fault is told at its own line."""
    found = survey(tmp_path, INCIDENT)
    assert found.verdict is SurveyVerdict.BREAKS
    (promote,) = found.named("promote")
    assert (promote.state, promote.providers, promote.shared_script) == (State.ACTIVE, ("ovh",), False)
    shown = {(finding.kind, finding.place.line): finding.place.text for finding in promote.findings}
    assert shown[Kind.FLOATING, 19] == "git pull --ff-only origin main"
    assert shown[Kind.HOST_KEY, 16].startswith("ssh -o StrictHostKeyChecking=no")
    assert shown[Kind.HOST_KEY, 11].startswith("ssh-keyscan")
    assert shown[Kind.INLINE, 20] == "nixos-rebuild switch --flake .#choiros-a"
    assert shown[Kind.NOT_SHARED, 21] == "systemctl restart hypervisor"


def test_the_paths_beside_it_are_clean(tmp_path: Path) -> None:
    """SSM with the shared script keeps to the contract, for AWS alone; the recipe that is gone refuses."""
    found = survey(tmp_path, INCIDENT)
    (aws,) = found.named("deploy-aws-ssm")
    assert aws.shared_script
    assert aws.providers == ("aws",)
    assert kinds(aws) == {Kind.AWS}
    assert not aws.not_understood
    assert "scripts/deploy/aws-ssm-deploy.sh" in {finding.place.file for finding in aws.findings}
    assert [entry.state for entry in found.named("deploy-ec2")] == [State.REFUSES]
    assert [entry.state for entry in found.named("test")] == [State.NO_DEPLOY]


@pytest.mark.parametrize(
    "body",
    [
        "ssh host nixos-rebuild switch",
        "ssh -p 22 -i key root@host -- sudo nixos-rebuild boot",
        "nixos-rebuild switch --target-host root@host --flake .#a",
        "colmena apply",
        "deploy .#a",
        "nix run github:serokell/deploy-rs/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa -- .#a --deploy-rs",
        "ssh host 'nix-env -p /nix/var/nix/profiles/system --set /nix/store/x'",
        "ssh host /nix/store/x/bin/switch-to-configuration switch",
        "echo 'systemctl restart hypervisor' | ssh host bash",
        "ssh host bash -c '\"systemctl restart hypervisor\"'",
        "aws ssm send-command --parameters commands='[\"systemctl restart hypervisor\"]'",
        "timeout 60 env A=b sudo -u root nixos-rebuild test",
        "f() { nixos-rebuild switch; }; f",
        "for host in a b; do ssh $host nixos-rebuild switch; done",
        "if true; then :; else nixos-rebuild switch; fi",
        "x=$(nixos-rebuild switch)",
        "trap 'systemctl restart hypervisor' EXIT",
        "echo a | xargs -I{} ssh {} nixos-rebuild switch",
        "CMD='nixos-rebuild switch'; ssh host \"$CMD\"",
        "nix develop -c nixos-rebuild switch",
        "cat <<EOF | ssh host bash -s\nnixos-rebuild switch\nEOF",
        "docker run --rm image nixos-rebuild switch",
        "nixos-rebuild ${ACTION:-switch}",
        "timeout -k 5 60 ssh host nixos-rebuild switch",
        "su - root -c 'nixos-rebuild switch'",
        "systemctl --host root@host restart hypervisor",
        'on() { ssh -i key "root@$1" "$2"; }; on host \'nixos-rebuild switch\'',
        "SSH='ssh -p 22 host'; $SSH nixos-rebuild switch",
        "if ! ssh host 'bash -lc \"nixos-rebuild switch\"'; then exit 1; fi",
        "[[ $(ssh host nixos-rebuild switch) ]]",
        "while read -r h; do ssh -n $h nixos-rebuild switch; done < hosts",
        "bash -euo pipefail -c 'nixos-rebuild switch'",
        "bash -O extglob -ceu 'nixos-rebuild switch'",
    ],
)
def test_a_host_that_is_changed_past_the_shared_script_is_found(tmp_path: Path, body: str) -> None:
    """However it is wrapped, what changes a host by itself is found in a job as inline shell."""
    entry = job(tmp_path, body)
    assert entry.state is State.ACTIVE
    assert {Kind.NOT_SHARED, Kind.INLINE} <= kinds(entry)


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        "ssh root@host 'RELEASE_SHA=$SHA bash -s deploy' < scripts/host-switch.sh",
        "cat scripts/host-switch.sh | ssh root@host RELEASE_SHA=$SHA bash -s -- deploy",
        'ssh root@host "RELEASE_SHA=$SHA /opt/deploy/scripts/host-switch.sh deploy"',
        "scp scripts/host-switch.sh host:/tmp/ && ssh host /tmp/host-switch.sh deploy",
        "pytest --provider=ovh --sha=$SHA",
        'python -m pytest --provider ovh --sha "$(git rev-parse HEAD)"',
        "uv run pytest --provider=ovh --sha=$SHA",
        "switchproof deploy --provider=ovh --sha=$SHA",
        "uvx --from switchproof==1.0 switchproof deploy --provider ovh --sha $SHA",
        "pipx run --spec switchproof switchproof deploy --provider=ovh --sha=$SHA",
        "uv run --with switchproof pytest --provider=ovh --sha=$SHA",
        "python -m switchproof drill --provider=ovh --sha=$SHA",
    ],
)
def test_what_goes_through_the_shared_script_is_clean(tmp_path: Path, body: str) -> None:
    """However it is reached, the shared script or a session of Switchproof is no fault, in a job neither."""
    entry = job(tmp_path, body, **HOST)
    assert (entry.state, entry.shared_script) == (State.ACTIVE, True)
    assert (kinds(entry), entry.not_understood) == (set(), ())


@pytest.mark.parametrize(
    "body",
    [
        "git pull",
        "git -C /opt/x pull --ff-only origin main",
        "git fetch && git reset --hard origin/main",
        "git checkout main",
        "git fetch origin main && git checkout FETCH_HEAD",
        "git switch production",
        "nix flake update",
        "export RELEASE_SHA=main",
        "RELEASE_SHA=${RELEASE_SHA:-main}",
        "if $x; then RELEASE_SHA=$SHA; else RELEASE_SHA=main; fi",
        "git checkout $GITHUB_REF_NAME",
        "git checkout $BRANCH",
        "git checkout ${1:-main}",
        "git checkout ${{ github.ref_name }}",
        "pytest --provider=ovh --sha=main",
        "switchproof deploy --provider=ovh --sha=main",
        "REV=develop; pytest --provider=ovh --sha=$REV",
    ],
)
def test_a_revision_that_moves_is_found(tmp_path: Path, body: str) -> None:
    """A branch instead of a commit is found, also behind a variable, a default or one arm of an if."""
    entry = job(tmp_path, f"{body}\n{GOOD}", **HOST)
    assert Kind.FLOATING in kinds(entry)


@pytest.mark.parametrize(
    ("body", "moves"),
    [
        ("git clone https://example.org/x", True),
        ("git clone -b release https://example.org/x", True),
        ("git clone -b v1.2 https://example.org/x", False),
        ("git clone https://example.org/x; git -C x checkout $SHA", False),
    ],
)
def test_a_clone_moves_until_a_commit_is_chosen(tmp_path: Path, body: str, moves: bool) -> None:
    """What is cloned is whatever its branch holds, unless a commit is checked out of it."""
    entry = job(tmp_path, f"{body}\nnixos-rebuild switch --flake x#a")
    assert (Kind.FLOATING in kinds(entry)) == moves


@pytest.mark.parametrize(
    "body",
    [
        "git checkout --detach $GITHUB_SHA",
        "git fetch origin $SHA && git checkout FETCH_HEAD",
        "git clone https://example.org/x && git checkout ${{ github.sha }}",
        "git checkout v1.2.3",
        "RELEASE_SHA=${1:-$(git rev-parse HEAD)}",
        "pytest --provider=lab --sha=main",
        "pytest --provider=ovh --sha=0123456789abcdef0123456789abcdef01234567",
    ],
)
def test_a_revision_that_is_fixed_is_no_fault(tmp_path: Path, body: str) -> None:
    """A commit, or what the pipeline says it is, does not move; and what the lab deploys is nobody's production."""
    entry = job(tmp_path, body if "lab" in body else f"{body}\n{GOOD}", **HOST)
    assert Kind.FLOATING not in kinds(entry)


@pytest.mark.parametrize(
    "body",
    [
        "ssh -oStrictHostKeyChecking=no host true",
        "ssh -o 'StrictHostKeyChecking accept-new' host true",
        "ssh -o UserKnownHostsFile=/dev/null host true",
        'OPTS=(-o StrictHostKeyChecking=no); ssh "${OPTS[@]}" host true',
        "export NIX_SSHOPTS='-o StrictHostKeyChecking=off'",
        "echo 'StrictHostKeyChecking no' >> ~/.ssh/config",
        "cat > ~/.ssh/config <<EOF\nHost *\n  StrictHostKeyChecking no\nEOF",
        "ssh-keyscan host >> ~/.ssh/known_hosts",
        "ANSIBLE_HOST_KEY_CHECKING=False ansible all",
    ],
)
def test_host_keys_that_nobody_checks_are_found(tmp_path: Path, body: str) -> None:
    """The check of host keys cannot be switched off unseen: not in options, variables, arrays or files."""
    assert Kind.HOST_KEY in kinds(job(tmp_path, f"{body}\n{GOOD}", **HOST))


@pytest.mark.parametrize(
    "body",
    [
        "aws s3 cp x s3://y",
        "export AWS_REGION=eu-west-1",
        "curl http://169.254.169.254/latest/meta-data/",
        "systemctl status amazon-ssm-agent",
        'echo "$AWS_ACCESS_KEY_ID"',
    ],
)
def test_what_only_makes_sense_with_aws_is_noted(tmp_path: Path, body: str) -> None:
    """Logic for AWS is noted with its line; before the cutover that alone is no fault."""
    entry = job(tmp_path, f"{body}\n{GOOD}", **HOST)
    assert kinds(entry) == {Kind.AWS}
    assert not any(finding.breaks for finding in entry.findings)


@pytest.mark.parametrize(
    "body",
    [
        "$CMD --now",
        'eval "$X"',
        'bash -c "$X"',
        'ssh host "$X"',
        "curl https://example.org/x | bash",
        'source "$X"',
        "./gone.sh",
        "nix run .#ship",
        "ansible-playbook site.yml",
        'ssh host bash -s <<< "$X"',
        "sed s/a/b/ x.sh | ssh host bash",
        "if then fi )",
        "python3 - <<'EOF'\nimport paramiko\nEOF",
        "node -e 'x'",
        "just gone",
        "bash $X",
    ],
)
def test_what_cannot_be_followed_is_listed(tmp_path: Path, body: str) -> None:
    """What only the run will tell, or no parser reads, is listed with its line and never passed over."""
    entry = job(tmp_path, body)
    assert entry.not_understood
    assert all(each.place.line >= 7 for each in entry.not_understood)
    assert entry.state is State.NOT_UNDERSTOOD


def test_what_comes_after_the_end_is_not_active(tmp_path: Path) -> None:
    """Shell behind an unconditional exit never runs; behind a conditional one it does."""
    dead = recipe(tmp_path / "a", "echo gone >&2; exit 1; nixos-rebuild switch")
    live = recipe(tmp_path / "b", "test -n $X || exit 1; nixos-rebuild switch")
    assert (dead.state, live.state) == (State.REFUSES, State.ACTIVE)


def test_a_recipe_that_acts_before_it_fails_does_not_refuse(tmp_path: Path) -> None:
    """Only what fails before it has done anything refuses."""
    assert recipe(tmp_path, "./x.sh; exit 1", x="nixos-rebuild switch").state is State.ACTIVE


def test_a_name_that_promises_a_deploy_must_keep_it(tmp_path: Path) -> None:
    """A recipe called deploy in which no deploy is found was not understood."""
    found = survey(tmp_path, {"justfile": "deploy:\n    cargo xtask ship\n"})
    assert found.verdict is SurveyVerdict.NOT_UNDERSTOOD
