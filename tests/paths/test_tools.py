"""A tool's subcommand says whether it changes a host, and its options say which host."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.paths.survey import Kind, State
from tests.paths.repositories import job, recipe, survey


@pytest.mark.parametrize(
    ("command", "state"),
    [
        ("nh os boot .", State.ACTIVE),
        ("nh os build .", State.NO_DEPLOY),
        ("nh os switch --dry .", State.NO_DEPLOY),
        ("nh home switch .", State.NO_DEPLOY),
        ("nh clean all", State.NO_DEPLOY),
        ("nh os $ACTION .", State.NOT_UNDERSTOOD),
        ("clan machines install a", State.ACTIVE),
        ("clan machines list", State.NO_DEPLOY),
        ("colmena build", State.NO_DEPLOY),
        ("colmena apply dry-activate --on a", State.NO_DEPLOY),
        ("colmena apply --on a push", State.NO_DEPLOY),
        ("colmena apply --on a switch", State.ACTIVE),
        ("colmena exec --on a -- systemctl reload nginx", State.ACTIVE),
        ("colmena exec --on a -- uptime", State.NO_DEPLOY),
        ("colmena exec --on a uptime", State.NOT_UNDERSTOOD),
        ("morph deploy x.nix switch", State.ACTIVE),
        ("morph deploy x.nix dry-activate", State.NO_DEPLOY),
        ("morph build x.nix", State.NO_DEPLOY),
        ("nixops reboot -d prod", State.ACTIVE),
        ("nixops info -d prod", State.NO_DEPLOY),
        ("deploy .#a --dry-activate", State.NO_DEPLOY),
        ("nixos-anywhere --flake .#a --vm-test", State.NO_DEPLOY),
        ("cachix deploy activate spec.json", State.ACTIVE),
        ("cachix push acme result", State.NO_DEPLOY),
        ("kamal deploy", State.ACTIVE),
        ("bundle exec kamal app boot", State.ACTIVE),
        ("kamal app logs -f", State.NO_DEPLOY),
        ("kamal config", State.NO_DEPLOY),
        ("nix run nixpkgs#colmena apply", State.ACTIVE),
        ("nix run nixpkgs#nixos-rebuild-ng -- build --flake .#a", State.NO_DEPLOY),
        ("nix run .#apps.nixinate.a", State.ACTIVE),
        ("nix run .#clan-site", State.NOT_UNDERSTOOD),
        ("nix build --profile /nix/var/nix/profiles/system .#a", State.ACTIVE),
        ("nix build --profile /tmp/p .#a", State.NO_DEPLOY),
        ("nixos-rebuild list-generations --flake $FLAKE", State.NO_DEPLOY),
        ("nixos-rebuild dry-run --flake .#$HOST", State.NO_DEPLOY),
        ("nixos-rebuild ${VERB:-build} --flake .#a", State.NOT_UNDERSTOOD),
        ("bash -n ./x.sh", State.NO_DEPLOY),
    ],
)
def test_a_subcommand_says_whether_a_tool_changes_a_host(tmp_path: Path, command: str, state: State) -> None:
    """What only builds, compares or asks is no deploy path; what only the run knows is not understood."""
    assert recipe(tmp_path, command, x="nixos-rebuild switch").state is state


@pytest.mark.parametrize(
    ("command", "understood"),
    [
        ("ansible-playbook site.yml", False),
        ("ansible-playbook --check site.yml", True),
        ("ansible all -m ping", True),
        ("ansible all -m shell -a reboot", False),
        ("terraform apply", False),
        ("terraform plan -out x", True),
        ("kubectl apply -f x", False),
        ("kubectl get pods", True),
        ("helm upgrade --install x .", False),
        ("helm lint x", True),
        ("pssh -h hosts uptime", False),
    ],
)
def test_a_tool_with_files_of_its_own_may_be_asked(tmp_path: Path, command: str, understood: bool) -> None:
    """Its files are not read, so that what it changes is not understood; what only asks changes nothing."""
    assert (recipe(tmp_path, command).not_understood == ()) is understood


@pytest.mark.parametrize(
    ("command", "providers"),
    [
        ("docker -H ssh://root@web stack deploy -c x.yml shop", ("ssh",)),
        ("docker --host=ssh://root@node-ovh compose up -d", ("ovh",)),
        ("DOCKER_HOST=ssh://root@web docker compose up -d", ("ssh",)),
        ("export DOCKER_HOST=tcp://web:2376; docker compose pull", ("ssh",)),
        ("docker --context web compose -f x.yml up -d", ("ssh",)),
        ("DOCKER_CONTEXT=web docker-compose down", ("ssh",)),
        ("docker context use web; docker compose up -d", ("ssh",)),
        ("docker --host ssh://web compose logs -f", ()),
        ("docker --context web compose build", ()),
        ("docker --context web push x", ()),
        ("docker context create web --docker host=ssh://root@web", ()),
        ("docker context use web; docker ps; docker context use default; docker compose up -d", ()),
        ("DOCKER_HOST=tcp://docker:2375 docker compose up -d", ()),
        ("DOCKER_HOST=unix:///run/docker.sock docker compose up -d", ()),
        ("docker compose up -d", ()),
        ("ssh web docker login -u a registry", ()),
        ("ssh web docker run -d -p 80:80 build", ("ssh",)),
    ],
)
def test_containers_of_another_host_are_a_deploy_path(
    tmp_path: Path, command: str, providers: tuple[str, ...]
) -> None:
    """An address or context of docker names the host; containers here, and questions, deploy nothing."""
    entry = recipe(tmp_path, command)
    assert (entry.providers, entry.not_understood) == (providers, ())


def test_containers_on_a_host_that_the_run_names_are_not_understood(tmp_path: Path) -> None:
    """A variable may name this machine or a host."""
    assert recipe(tmp_path, "docker -H $WHERE compose up -d").state is State.NOT_UNDERSTOOD


@pytest.mark.parametrize(
    ("there", "state"),
    [
        ("git fetch && git reset --hard origin/main", State.ACTIVE),
        ("git checkout --detach $SHA", State.ACTIVE),
        ("git clone https://example.org/x", State.ACTIVE),
        ("git fetch origin", State.NO_DEPLOY),
        ("git log -1", State.NO_DEPLOY),
        ('tmux new-session -d -s x "nixos-rebuild switch"', State.ACTIVE),
        ('tmux send-keys -t x "nixos-rebuild switch" Enter', State.ACTIVE),
        ("screen -dmS x nixos-rebuild switch", State.ACTIVE),
        ("tmux ls", State.NO_DEPLOY),
        ("systemctl enable --now x", State.ACTIVE),
        ("systemctl enable x", State.NO_DEPLOY),
    ],
)
def test_what_git_terminals_and_units_do_on_a_host_counts(tmp_path: Path, there: str, state: State) -> None:
    """A working copy may be what a host runs; a terminal of its own and a unit that starts later are no way past."""
    assert recipe(tmp_path, f"ssh web 'cd /srv/x && {there}'").state is state


def test_an_option_of_ssh_in_a_tool_s_nix_file_is_found(tmp_path: Path) -> None:
    """The nodes of deploy-rs have options of SSH of their own; those of a host's client do not count."""
    files = {
        "justfile": "ship:\n    deploy .#a\n",
        "flake.nix": '{\n  # "StrictHostKeyChecking=no"\n  sshOpts = [ "-o" "StrictHostKeyChecking=no" ];\n}\n',
        "host.nix": '{ programs.ssh.extraConfig = "StrictHostKeyChecking no"; }\n',
    }
    (entry,) = survey(tmp_path, files).named("ship")
    found = [str(finding.place) for finding in entry.findings if finding.kind is Kind.HOST_KEY]
    assert found == ["flake.nix:3"]


@pytest.mark.parametrize(("option", "found"), [("-F c", ["c:2"]), ("-F gone", []), ("-i c", [])])
def test_a_configuration_of_ssh_in_the_repository_is_read(tmp_path: Path, option: str, found: list[str]) -> None:
    """A file for `ssh -F` may switch the check of host keys off."""
    files = {
        "justfile": f"ship:\n    ssh {option} web reboot\n",
        "c": "Host web\n  StrictHostKeyChecking no\n  # StrictHostKeyChecking no\n",
    }
    (entry,) = survey(tmp_path, files).named("ship")
    assert [str(finding.place) for finding in entry.findings if finding.kind is Kind.HOST_KEY] == found


@pytest.mark.parametrize(
    "body",
    [
        "npm publish",
        "npx wrangler deploy",
        "mkdocs gh-deploy --force",
        "flyctl deploy --remote-only",
        "aws s3 sync public s3://site",
        "docker push registry/app",
    ],
)
def test_a_deploy_to_something_else_keeps_the_promise_of_a_name(tmp_path: Path, body: str) -> None:
    """A registry, a bucket or a service is no host; a recipe called deploy that deploys there is understood."""
    (entry,) = survey(tmp_path, {"justfile": f"deploy:\n    {body}\n"}).entry_points
    assert (entry.state, entry.not_understood) == (State.NO_DEPLOY, ())


def test_an_action_that_deploys_pages_is_known(tmp_path: Path) -> None:
    """The job of GitHub's own template is called deploy."""
    workflow = "on: push\njobs:\n  deploy:\n    runs-on: x\n    steps:\n      - uses: actions/deploy-pages@v4\n"
    (entry,) = survey(tmp_path, {".github/workflows/w.yml": workflow}).entry_points
    assert (entry.state, entry.not_understood) == (State.NO_DEPLOY, ())


def test_a_deploy_to_something_else_hides_no_host(tmp_path: Path) -> None:
    """Beside it, what changes a host is found as ever."""
    entry = job(tmp_path, "npm publish\nssh web reboot")
    assert {Kind.NOT_SHARED, Kind.INLINE} == {finding.kind for finding in entry.findings}


@pytest.mark.parametrize(
    ("command", "providers"),
    [
        ("aws deploy create-deployment --application-name a", ("aws",)),
        ("aws ecs update-service --cluster c --force-new-deployment", ("aws",)),
        ("aws ecs describe-services --cluster c", ()),
        ("aws lambda update-function-code --function-name f", ()),
        ("gcloud compute ssh vm --zone z --command 'sudo docker restart a'", ("ssh",)),
        ("gcloud compute ssh vm --command 'docker ps'", ()),
        ("gcloud compute ssh vm", ()),
        ("gcloud run deploy a", ()),
    ],
)
def test_a_cloud_s_own_command_may_deploy(tmp_path: Path, command: str, providers: tuple[str, ...]) -> None:
    """A deployment to instances or containers is a path, and a command over a cloud's SSH is followed."""
    entry = recipe(tmp_path, command)
    assert (entry.providers, entry.not_understood) == (providers, ())


@pytest.mark.parametrize(
    ("command", "understood"),
    [
        ("ssh web npm ci", False),
        ("ssh web 'cd x && pip install -r r.txt'", False),
        ("ssh web pip list", True),
        ("npm ci", True),
        ("pip install x", True),
    ],
)
def test_packages_of_a_language_on_a_host_are_not_passed_over(tmp_path: Path, command: str, understood: bool) -> None:
    """They change what a program there loads; on the machine that runs the entry point they change nothing."""
    assert (recipe(tmp_path, command).not_understood == ()) is understood


@pytest.mark.parametrize(
    ("command", "understood"),
    [
        ("scp a web:~/bin", False),
        ("scp a web:", False),
        ("rsync -a a/ web:www/", False),
        ("rsync -a a/ $USER@$HOST:$FOLDER", False),
        ("scp a $USER@$HOST:/tmp/a", True),
        ("scp web:a .", True),
        ("rsync -a a/ $FOLDER", True),
    ],
)
def test_files_in_a_home_folder_of_a_host_stay_there(tmp_path: Path, command: str, understood: bool) -> None:
    """A path without a slash, or one that only the run knows, lasts on the host as well."""
    assert (recipe(tmp_path, command).not_understood == ()) is understood


@pytest.mark.parametrize(("target", "understood"), [("/srv/app", False), ("/run/app", True)])
def test_an_action_that_copies_files_to_a_host_is_not_passed_over(
    tmp_path: Path, target: str, understood: bool
) -> None:
    """They may be what the host serves."""
    inputs = f"{{host: h, fingerprint: f, source: a, target: {target}}}"
    step = f"      - uses: appleboy/scp-action@v1\n        with: {inputs}\n"
    workflow = f"on: push\njobs:\n  ship:\n    runs-on: x\n    steps:\n{step}"
    (entry,) = survey(tmp_path, {".github/workflows/w.yml": workflow}).entry_points
    assert (entry.not_understood == ()) is understood


@pytest.mark.parametrize(
    ("body", "moves"),
    [
        ("git merge --ff-only origin/main", True),
        ("git rebase upstream/main", True),
        ("nix-channel --update", True),
        ("nix-channel --list", False),
        ("nh os switch --update .", True),
        ("nh os switch .", False),
        ("git checkout ${{ github.event.pull_request.head.ref }}", True),
        ("git checkout ${{ github.event.pull_request.head.sha }}", False),
    ],
)
def test_merges_channels_and_the_branch_of_a_pull_request_move(tmp_path: Path, body: str, moves: bool) -> None:
    """They are another commit tomorrow; the commit of a pull request is not."""
    entry = job(tmp_path, f"{body}\nsudo nixos-rebuild switch")
    assert (Kind.FLOATING in {finding.kind for finding in entry.findings}) is moves


@pytest.mark.parametrize(
    ("runner", "name", "state"),
    [
        ("self-hosted", "deploy", State.ACTIVE),
        ("[self-hosted, linux]", "deploy-prod", State.ACTIVE),
        ("self-hosted", "test", State.NO_DEPLOY),
        ("ubuntu-24.04", "deploy", State.NOT_UNDERSTOOD),
    ],
)
def test_a_deploy_of_containers_to_the_runner_itself_counts(
    tmp_path: Path, runner: str, name: str, state: State
) -> None:
    """A machine of one's own is the host of a job called deploy; tests start containers there as well."""
    step = "      - run: docker compose up -d\n"
    workflow = f"on: push\njobs:\n  {name}:\n    runs-on: {runner}\n    steps:\n{step}"
    (entry,) = survey(tmp_path, {".github/workflows/w.yml": workflow}).entry_points
    assert entry.state is state


@pytest.mark.parametrize(
    ("options", "state"), [("[build, switch]", State.ACTIVE), ("[build, dry-build]", State.NO_DEPLOY)]
)
def test_a_choice_of_an_input_may_be_any_of_its_options(tmp_path: Path, options: str, state: State) -> None:
    """The person who starts the workflow chooses one of them, and no other."""
    inputs = f"{{a: {{type: choice, default: build, options: {options}}}}}"
    workflow = (
        f"on:\n  workflow_dispatch:\n    inputs: {inputs}\njobs:\n  a:\n    runs-on: x\n"
        "    steps:\n      - run: nixos-rebuild ${{ inputs.a }} --flake .#a\n"
    )
    (entry,) = survey(tmp_path, {".github/workflows/w.yml": workflow}).entry_points
    assert (entry.state, entry.not_understood) == (state, ())


@pytest.mark.parametrize(
    ("there", "understood"),
    [
        ("cat > /srv/x.yml", False),
        ("date >> ~/log", False),
        ("df -h > /tmp/df", True),
        ("cat /etc/x 2>/dev/null", True),
        ("wc -l < /etc/hosts", True),
    ],
)
def test_a_file_that_the_shell_of_a_host_writes_is_not_passed_over(
    tmp_path: Path, there: str, understood: bool
) -> None:
    """It lasts like one that is copied there; output to /tmp and errors do not."""
    assert (recipe(tmp_path, f"ssh web '{there}'").not_understood == ()) is understood
