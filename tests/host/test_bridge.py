"""The store path bridge on a host whose units run what a link leads to: installed, run, proved, and taken back."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.host.program import bridge_values
from switchproof.deploy.providers import load
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import ROOT, session, target_file
from tests.host.hands import ask, by_hand, commit, finish, inside, wait_for
from tests.labs import own

pytestmark = [pytest.mark.lab, pytest.mark.long]

OPT = "/opt/choiros/bin"
NOWHERE = "/nix/store/00000000000000000000000000000000-sandbox"
SYSTEMS = "readlink -e /run/current-system /nix/var/nix/profiles/system"
BRIDGED = {"FLAKE_ATTR": "choiros-aws-bridged"}
CACHE = "substitute = true\nsubstituters = file:///srv/cache\nrequire-sigs = false\n"
PROGRAMS = ("sandbox", "hypervisor", "desktop")
LISTING = f"find {OPT} /nix/var/nix/gcroots/switchproof-installed -mindepth 1 -printf '%p %l\\n' 2>/dev/null | sort"


@pytest.fixture(scope="module")
def aws() -> Iterator[Lab]:
    """A host of the shape `aws`, with a cache of binaries of its own and no other."""
    with Lab.up(("a",), name=own("bridge"), shape="aws") as lab:
        inside(lab.hosts["a"], f"printf '{CACHE}' >>/etc/nix/nix.conf")
        yield lab


@pytest.fixture(scope="module")
def host(aws: Lab) -> LabHost:
    """The host."""
    return aws.hosts["a"]


@pytest.fixture(scope="module")
def prebuilt(host: LabHost) -> dict[str, dict[str, str]]:
    """The programs of two releases, built elsewhere as far as the host can tell: they are in the cache alone."""
    return {revision: {name: prebuild(host, revision, name) for name in PROGRAMS} for revision in ("main", "v3")}


def prebuild(host: LabHost, revision: str, name: str) -> str:
    """Build a program, put it into the cache, and remove it from the host."""
    flake = f"git+file:///srv/sample.git?rev={commit(host, revision)}#{name}"
    path = inside(host, f"nix build --no-link --print-out-paths '{flake}' 2>/dev/null")
    inside(host, f"nix copy --to file:///srv/cache {path} && nix store delete {path} && [ ! -e {path} ]")
    return path


def variables(paths: dict[str, str]) -> dict[str, str]:
    """The variables that name store paths."""
    return {f"{name.upper()}_STORE_PATH": path for name, path in paths.items()}


def deploy(host: LabHost, revision: str, paths: dict[str, str], **values: str) -> tuple[int, str]:
    """Deploy by hand, with programs to install."""
    return by_hand(host, "deploy", RELEASE_SHA=revision, **BRIDGED, **variables(paths), **values)


def converge(host: LabHost, run: str, revision: str, paths: dict[str, str], **values: str) -> dict[str, str]:
    """Claim a host, switch it, and return the variables that the run goes on with."""
    given = {**BRIDGED, **variables(paths), "SWITCHPROOF_RUN": run, **values}
    sha = ask(host, "resolve", RELEASE_SHA=revision, SWITCHPROOF_CLAIM="1", **given).text("sha")
    assert ask(host, "converge", RELEASE_SHA=sha, **given).text("outcome") == "started"
    ended = finish(host, run)
    assert ended.text("rc").strip() == "0", base64.b64decode(ended.text("log")).decode()
    return given


def runs(host: LabHost, path: str) -> int:
    """How many arguments of processes, in containers and outside, lie in a store path."""
    said = inside(host, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'")
    return sum(path in word for word in said.splitlines())


@pytest.fixture(scope="module")
def deployed(host: LabHost, prebuilt: dict[str, dict[str, str]]) -> tuple[int, str]:
    """What a deploy with all three programs said; the host runs them from then on."""
    return deploy(host, "main", prebuilt["main"])


def test_given_paths_are_installed_and_run(
    host: LabHost, prebuilt: dict[str, dict[str, str]], deployed: tuple[int, str]
) -> None:
    """Paths that only the cache holds are fetched and installed before the switch, and are what units then run."""
    status, output = deployed
    assert status == 0, output
    assert output.index("sandbox: /opt/choiros/bin/sandbox leads to") < output.index("--- switch")
    for name, file in (("sandbox", "sandbox"), ("hypervisor", "hypervisor"), ("desktop", "dioxus-desktop")):
        assert inside(host, f"readlink {OPT}/{file}") == f"{prebuilt['main'][name]}/bin/{file}"
    assert runs(host, prebuilt["main"]["sandbox"]) >= 2
    assert runs(host, prebuilt["main"]["hypervisor"]) >= 1


@pytest.mark.usefixtures("deployed")
def test_what_is_installed_outlives_the_garbage_collector(host: LabHost, prebuilt: dict[str, dict[str, str]]) -> None:
    """The garbage collector leaves alone what is installed, run or not."""
    inside(host, "nix-collect-garbage 2>/dev/null >/dev/null", timeout_s=60)
    for path in prebuilt["main"].values():
        inside(host, f"nix-store --check-validity {path} && ls {path}")


@pytest.mark.usefixtures("deployed")
def test_a_path_that_cannot_be_realised_fails_by_its_name(host: LabHost) -> None:
    """Clause `converge` fails with the path that neither store nor cache has, and nothing on the host has changed."""
    before = inside(host, f"{SYSTEMS}; {LISTING}")
    status, output = deploy(host, "v3", {"sandbox": NOWHERE})
    assert status == 1, output
    assert f"error: sandbox: {NOWHERE} cannot be realised on this host" in output
    assert "converge     FAILED" in output
    assert inside(host, f"{SYSTEMS}; {LISTING}") == before


@pytest.mark.parametrize("path", ["/root/sandbox", "/nix/store/../etc", "$(id)", "/nix/store/x y"])
def test_what_is_no_store_path_is_refused(host: LabHost, path: str) -> None:
    """A value that is no store path is refused by name before anything is touched, with exit status 4."""
    status, output = deploy(host, "v3", {"sandbox": path})
    assert (status, output) == (4, f"'{path}', given for sandbox, is not a store path; nothing was touched\n")


def test_the_way_back_restores_what_was_installed(host: LabHost, prebuilt: dict[str, dict[str, str]]) -> None:
    """Going back brings back the very links and files that there were, and restarts what ran the new programs."""
    inside(host, f"rm -f {OPT}/dioxus-desktop; echo mine >{OPT}/dioxus-desktop; chmod 750 {OPT}/dioxus-desktop")
    found = f"{SYSTEMS}; ls -l --time-style=full-iso {OPT}/*; cat {OPT}/dioxus-desktop"
    before = inside(host, found)
    given = converge(host, "there", "v3", prebuilt["v3"])
    assert runs(host, prebuilt["v3"]["sandbox"]) >= 2
    assert inside(host, f"readlink {OPT}/dioxus-desktop") == f"{prebuilt['v3']['desktop']}/bin/dioxus-desktop"
    to = before.splitlines()[0]
    given |= {"SWITCHPROOF_TO": to, "SWITCHPROOF_JOB": "rollback"}
    assert ask(host, "rollback", **given).text("outcome") == "started"
    assert finish(host, "there", "rollback").text("rc").strip() == "0"
    assert ask(host, "confirm", **given).text("outcome") == "ok"
    assert inside(host, found) == before
    assert (runs(host, prebuilt["v3"]["sandbox"]), runs(host, prebuilt["v3"]["hypervisor"])) == (0, 0)
    assert runs(host, prebuilt["main"]["sandbox"]) >= 2


def test_an_unconfirmed_host_takes_its_programs_back(host: LabHost, prebuilt: dict[str, dict[str, str]]) -> None:
    """The dead man's switch brings back links as well, also where the system stays the same one."""
    links = inside(host, f"readlink {OPT}/sandbox {OPT}/hypervisor")
    given = converge(host, "unconfirmed", "main", prebuilt["v3"], SWITCHPROOF_DEADMAN_S="1")
    wait_for(lambda: ask(host, "status", **given).text("guard") == "returned", "it went back by itself")
    assert ask(host, "confirm", **given).text("outcome") == "late"
    assert inside(host, f"readlink {OPT}/sandbox {OPT}/hypervisor") == links
    assert (runs(host, prebuilt["v3"]["sandbox"]), runs(host, prebuilt["v3"]["hypervisor"])) == (0, 0)
    assert runs(host, prebuilt["main"]["hypervisor"]) >= 1


@pytest.mark.usefixtures("deployed")
def test_a_release_without_its_programs_is_not_proved(host: LabHost) -> None:
    """Where units run a program that was installed with another release, nobody knows that it belongs to this one."""
    status, output = deploy(host, "v3", {})
    assert status == 1, output
    assert "it is unknown whether it belongs to this system; give SANDBOX_STORE_PATH" in output


def test_building_on_the_host_must_be_allowed(host: LabHost, prebuilt: dict[str, dict[str, str]]) -> None:
    """With ALLOW_HOST_BUILD_FALLBACK the host builds the program of the commit instead, and says so."""
    programs = load(ROOT / "deploy/targets/lab-aws.toml", {}).bridge
    given = bridge_values(programs) | {"ALLOW_HOST_BUILD_FALLBACK": "true"} | variables({"sandbox": NOWHERE})
    given |= {"HYPERVISOR_STORE_PATH": prebuilt["v3"]["hypervisor"], "RELEASE_SHA": "v3"}
    status, output = by_hand(host, "deploy", **BRIDGED, **given)
    assert status == 0, output
    assert f"sandbox: {NOWHERE} cannot be realised on this host; building #sandbox of the commit instead" in output
    assert inside(host, f"readlink {OPT}/sandbox") == f"{prebuilt['v3']['sandbox']}/bin/sandbox"


def test_an_old_process_behind_a_new_link_is_found(
    aws: Lab, host: LabHost, prebuilt: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """An audit fails `converge` when a link leads to another program than the one that still runs."""
    path = prebuilt["main"]["hypervisor"]
    inside(host, f"nix-store --realise {path} && ln -sfn {path}/bin/hypervisor {OPT}/hypervisor")
    targets = target_file(tmp_path, ["a"], shape="aws")
    variable = {"HYPERVISOR_STORE_PATH": path}
    ended = session(
        "--provider=lab", "--shape=aws", "--audit", f"--targets={targets}", runs=tmp_path, lab=aws, environ=variable
    )
    assert ended.status == 1, ended.output
    failed = {check.id: check.message for check in ended.failed("a")}
    assert (
        f"{prebuilt['v3']['hypervisor']}: not part of the running"
        in failed["converge/processes-run-from-the-running-system"]
    )
    assert f"hypervisor.service does not run {path}" in failed["converge/installed-programs-are-what-runs"]
