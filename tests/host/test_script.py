"""The host's script does what it says and nothing else, in whatever state it finds the host."""

from __future__ import annotations

import base64
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from switchproof.deploy.contract import HostState
from switchproof.deploy.observe.revision import RepositoryUnreachable, read_resolution
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import ROOT, session, target_file
from tests.host.hands import (
    CHECKOUT,
    QUICK,
    REPOSITORY,
    ask,
    by_hand,
    commit,
    finish,
    inside,
    runs,
    wait_for,
    write,
)

pytestmark = pytest.mark.lab

COPY = "/root/copy.git"


@pytest.fixture(scope="module")
def copy(lab: Lab) -> str:
    """A copy of the sample repository on the host that tests may change; its path."""
    machine = lab.hosts["a"]
    inside(machine, "git config --global user.name Ada; git config --global user.email ada@example.com")
    inside(machine, f"cp -r /srv/sample.git {COPY}")
    # Two commits of the same files: a switch from one to the other restarts nothing.
    for name in ("one", "two"):
        inside(machine, f"git --git-dir={COPY} branch {name} {add_commit(machine, COPY, 'main', name)}")
    return COPY


def add_commit(machine: LabHost, repository: str, parent: str, message: str) -> str:
    """Add a commit that no branch or tag holds."""
    git = f"git --git-dir={repository}"
    return inside(machine, f"{git} commit-tree -p {parent} -m {shlex.quote(message)} {parent}^{{tree}}")


# The revision.


@pytest.mark.parametrize("readonly", ["", "1"], ids=["fetched", "read-only"])
@pytest.mark.parametrize(
    "revision",
    [
        "main",
        "heads/main",
        "refs/heads/main",
        "v1",
        "tags/v1",
        "refs/tags/v1",
        "v3",
        "broken/live-degraded",
        "tags/both",
    ],
)
@pytest.mark.long
def test_names_resolve_to_one_commit(machine: LabHost, revision: str, readonly: str) -> None:
    """A branch, a lightweight and an annotated tag resolve to the commit that git means by them."""
    answer = ask(machine, "resolve", RELEASE_SHA=revision, SWITCHPROOF_READONLY=readonly)
    assert answer.text("sha") == commit(machine, revision)


@pytest.mark.parametrize("digits", [7, 12, 40])
@pytest.mark.parametrize("spelled", [str.lower, str.upper], ids=["lower", "upper"])
def test_commits_resolve(machine: LabHost, digits: int, spelled: Callable[[str], str]) -> None:
    """A full or an abbreviated commit resolves to the full one in either case, with its subject."""
    sha = commit(machine, "v3")
    answer = ask(machine, "resolve", RELEASE_SHA=spelled(sha[:digits]))
    assert (answer.text("sha"), answer.text("subject")) == (sha, "Release v3")


@pytest.mark.parametrize(
    "revision",
    [
        "",
        "-x",
        "--upload-pack=touch /run/pwned",
        "a b",
        "$(touch /run/pwned)",
        "`touch /run/pwned`",
        "..",
        "a..b",
        "main~1",
        "main^",
        "main:flake.nix",
        "@{-1}",
        "main@{1}",
        "a\nb",
        "*",
        "ma?n",
        "[m]ain",
        "/main",
        "main/",
        "x.lock",
        ";id",
    ],
)
def test_what_is_no_revision_is_refused(machine: LabHost, revision: str) -> None:
    """What cannot name a commit, branch or tag is refused by name, and never reaches a shell or git as an option."""
    answer = ask(machine, "resolve", RELEASE_SHA=revision)
    assert answer.text("outcome") in {"malformed", "missing"}
    assert f"'{revision}'" in answer.text("detail")
    assert "sha" not in answer.sections
    assert (
        inside(machine, "ls /run/pwned 2>&1 || true") == "ls: cannot access '/run/pwned': No such file or directory"
    )


@pytest.mark.parametrize("revision", ["nothing", "heads/v1", "tags/main", "0" * 40, "0000000", "HEAD", "FETCH_HEAD"])
def test_a_missing_revision_is_refused(machine: LabHost, revision: str) -> None:
    """A name or commit that the repository does not hold is missing, whatever the clone calls by that name."""
    answer = ask(machine, "resolve", RELEASE_SHA=revision)
    assert answer.text("outcome") == "missing"


def test_an_ambiguous_revision_is_refused(machine: LabHost, copy: str) -> None:
    """A name that is two commits is refused with both: branch and tag, or branch and abbreviated commit."""
    answer = ask(machine, "resolve", RELEASE_SHA="both")
    assert answer.text("outcome") == "ambiguous"
    for ref in ("heads/both", "tags/both"):
        assert f"{commit(machine, f'refs/{ref}')} {ref}" in answer.text("detail")
    short = commit(machine, "v3")[:8]
    inside(machine, f"git --git-dir={copy} update-ref refs/heads/{short} {commit(machine, 'main')}")
    answer = ask(machine, "resolve", RELEASE_SHA=short, REPO_URL=f"file://{copy}")
    assert answer.text("outcome") == "ambiguous"
    assert f"{commit(machine, 'v3')} commit" in answer.text("detail")


def test_a_commit_must_be_in_the_repository(machine: LabHost, copy: str) -> None:
    """A commit that no branch or tag of the repository contains is missing, though the clone or the server has it."""
    dangling = add_commit(machine, copy, "main", "held by nothing")
    url = f"file://{copy}"
    assert ask(machine, "resolve", RELEASE_SHA=dangling, REPO_URL=url).text("outcome") == "missing"
    ask(machine, "resolve", RELEASE_SHA="main", REPO_URL=url)
    mine = add_commit(machine, f"{CHECKOUT}/.git", commit(machine, "main"), "only here")
    inside(machine, f"git -C {CHECKOUT} branch --force mine {mine}")
    for revision in (mine, mine[:9], "mine"):
        assert ask(machine, "resolve", RELEASE_SHA=revision, REPO_URL=url).text("outcome") == "missing"
    inside(machine, f"git -C {CHECKOUT} branch -D mine")


def test_a_branch_that_moved_or_went_is_not_remembered(machine: LabHost, copy: str) -> None:
    """Branches and tags mean what the repository says now: moved, even backwards, or deleted."""
    url, git = f"file://{copy}", f"git --git-dir={copy}"
    newer = add_commit(machine, copy, "main", "newer")
    inside(machine, f"{git} branch moving {newer}; {git} tag -f moving-tag {newer}")
    assert ask(machine, "resolve", RELEASE_SHA="moving", REPO_URL=url).text("sha") == newer
    inside(machine, f"{git} branch -f moving v1; {git} tag -f moving-tag v3")
    assert ask(machine, "resolve", RELEASE_SHA="moving", REPO_URL=url).text("sha") == commit(machine, "v1")
    assert ask(machine, "resolve", RELEASE_SHA="moving-tag", REPO_URL=url).text("sha") == commit(machine, "v3")
    assert ask(machine, "resolve", RELEASE_SHA=newer, REPO_URL=url).text("outcome") == "missing"
    inside(machine, f"{git} branch -D moving")
    assert ask(machine, "resolve", RELEASE_SHA="moving", REPO_URL=url).text("outcome") == "missing"


@pytest.mark.parametrize("readonly", ["", "1"], ids=["fetched", "read-only"])
@pytest.mark.parametrize("url", ["file:///srv/nothing.git", "git://127.0.0.1:1/x", "ssh://git@127.0.0.1:1/x"])
def test_an_unreachable_repository_is_told(machine: LabHost, url: str, readonly: str) -> None:
    """A repository that cannot be read is unreachable, in git's own words; that is not a missing revision."""
    answer = ask(machine, "resolve", RELEASE_SHA="main", REPO_URL=url, SWITCHPROOF_READONLY=readonly)
    assert answer.text("outcome") == "unreachable"
    assert "fatal: " in answer.text("detail")


def test_a_warning_is_no_commit(machine: LabHost) -> None:
    """What git or ssh warns of beside its answer is not taken for a commit."""
    wrapper = (
        '#!/bin/sh\necho "Warning: Permanently added example.com to the known hosts." >&2\nexec /usr/bin/git "$@"\n'
    )
    write(machine, "/usr/local/sbin/git", wrapper)
    try:
        for readonly in ("", "1"):
            answer = ask(machine, "resolve", RELEASE_SHA="v1", SWITCHPROOF_READONLY=readonly)
            assert answer.get("sha") == commit(machine, "v1"), answer.sections
    finally:
        inside(machine, "rm /usr/local/sbin/git")


# The checkout is the user's.

CLONE = f"git clone --quiet {REPOSITORY} ."
CHECKOUTS = {
    "absent": "cd ..; rmdir $OLDPWD",
    "empty": "true",
    "clean": CLONE,
    "dirty": f"{CLONE}; echo '# mine' >>settings.nix; touch new staged; git add staged; git rm -q flake.nix",
    "detached": f"{CLONE}; git checkout --quiet v1",
    "diverged": f"{CLONE}; git reset -q --hard v1; echo '# mine' >>settings.nix; git commit -qam mine; git branch o",
    "shallow": f"git clone --quiet --depth 1 {REPOSITORY} .",
    "merging": f"{CLONE}; git branch o; sed -i 's/v2/v8/' settings.nix; git commit -qam 8; git checkout -q o;"
    "sed -i 's/v2/v9/' settings.nix; git commit -qam 9; ! git merge -q main",
    "locked": f"{CLONE}; touch .git/index.lock",
    "worktree": f"git clone --quiet {REPOSITORY} ../origin-of-worktree; cd ../origin-of-worktree;"
    "git worktree add -q -f --detach $OLDPWD",
    "single-branch": f"git clone --quiet --single-branch --branch broken/live-degraded {REPOSITORY} .",
    "same-names": f"{CLONE}; git checkout -q --detach; git branch -f main v1; git tag -f v3 v1; git branch v3 v1",
}
TELLING = ("absent", "dirty", "shallow", "merging", "same-names")
"""States that every test run tries; `just checkouts` tries all."""
HOOK = ".git/hooks/reference-transaction"
REFUSED = {
    "not-git": ("echo precious >file", "not a git repository", "move it aside"),
    "file": ("cd ..; rmdir $OLDPWD; echo precious >$OLDPWD", "not a git repository", "move it aside"),
    "not-ours": (f"{CLONE}; chown -R nobody .", "dubious ownership", "safe.directory"),
    "folder-inside": (
        "cd ..; git init -q; cd $OLDPWD; echo precious >file",
        "a folder inside the git repository",
        "move it aside",
    ),
    "broken": (f"{CLONE}; echo garbage >.git/HEAD", "not a git repository", "move it aside"),
    "extension": (
        f"{CLONE}; git config core.repositoryFormatVersion 1; git config extensions.later true",
        "extension",
        "made by another git",
    ),
    "other-hashes": ("git init -q --object-format=sha256", "algorithm", "with other hashes"),
    "hook": (f"{CLONE}; printf '#!/bin/sh\\nexit 1\\n' >{HOOK}; chmod +x {HOOK}", "hook", "A hook of the checkout"),
}


@contextmanager
def checkout(machine: LabHost, name: str, prepare: str) -> Iterator[str]:
    """A checkout in some state; what its user has there must be the same afterwards."""
    base = f"/root/checkouts/{name}"
    inside(machine, f"mkdir -p {base}/it && cd {base}/it && {prepare}")
    before = inside(machine, SNAPSHOT.format(base=base))
    yield f"{base}/it"
    assert inside(machine, SNAPSHOT.format(base=base)) == before
    inside(machine, f"rm -r /root/checkouts/{name}")


SNAPSHOT = r"""
cd {base}; export GIT_OPTIONAL_LOCKS=0
find it -path '*/.git' -prune -o -printf '%p %y %m %u %s %T@ %l\n' | sort
find it -path '*/.git' -prune -o -type f -print0 | sort -z | xargs -0 -r sha256sum
[ ! -e it/.git ] || (cd it; git status --porcelain=v2 --branch; git log -1 --format=%H; git stash list
  git for-each-ref --format='%(refname) %(objectname)' refs/heads refs/tags refs/remotes
  git ls-files --stage; cat .git/config .git/FETCH_HEAD .git/ORIG_HEAD) 2>/dev/null || true
"""


@pytest.mark.parametrize("name", CHECKOUTS if os.environ.get("SWITCHPROOF_CHECKOUTS") else TELLING)
@pytest.mark.usefixtures("copy")
@pytest.mark.long
def test_any_checkout_deploys_the_very_commit(machine: LabHost, name: str) -> None:
    """Whatever state the checkout is in, the system is built from the asked commit, and the checkout stays."""
    run = f"checkout-{name}"
    before = CHECKOUTS[name]
    if name in {"absent", "empty"}:
        inside(machine, f"mkdir -p /root/checkouts/{name}/it && cd /root/checkouts/{name}/it && {before}")
        place = f"/root/checkouts/{name}/it"
        deploy(machine, run, place)
        assert inside(machine, f"ls -A {place}") == ".git"
        return
    with checkout(machine, name, before) as place:
        deploy(machine, run, place)


def deploy(machine: LabHost, run: str, place: str) -> None:
    """Deploy one of two commits, that which does not run."""
    sha = next(sha for sha in (commit(machine, "one", COPY), commit(machine, "two", COPY)) if sha != runs(machine))
    revision = "one" if sha == commit(machine, "one", COPY) else "two"
    values = {"SWITCHPROOF_RUN": run, "WORKDIR": place, "REPO_URL": f"file://{COPY}"}
    resolved = ask(machine, "resolve", RELEASE_SHA=revision, SWITCHPROOF_CLAIM="1", **values)
    assert resolved.get("sha") == sha, resolved.sections
    assert ask(machine, "converge", RELEASE_SHA=sha, **values).text("outcome") == "started"
    ended = finish(machine, run)
    assert ended.text("rc").strip() == "0", base64.b64decode(ended.text("log")).decode()
    assert runs(machine) == sha
    assert ask(machine, "confirm", **values).text("outcome") == "ok"


@pytest.mark.parametrize("name", REFUSED)
def test_a_checkout_that_cannot_be_used_is_left_alone(machine: LabHost, name: str) -> None:
    """What is no git repository of ours is refused with a remedy that fits, and nothing of it is lost or altered."""
    prepare, words, remedy = REFUSED[name]
    with checkout(machine, name, prepare) as place:
        answer = ask(machine, "resolve", RELEASE_SHA="main", WORKDIR=place)
        assert answer.text("outcome") in {"checkout", "unreachable"}, answer.sections
        assert place in answer.text("detail") or answer.text("outcome") == "unreachable"
        with pytest.raises(RepositoryUnreachable, match=words) as refused:
            read_resolution(answer, "main")
        assert remedy in refused.value.remedy


@pytest.mark.usefixtures("copy")
def test_a_checkout_of_another_user_that_root_trusts_is_used(machine: LabHost) -> None:
    """Once root's git configuration trusts it, a checkout of another user deploys, and stays that user's."""
    prepare = f"{CLONE}; echo '# mine' >>settings.nix; chown -R nobody ."
    inside(machine, "git config --global --add safe.directory /root/checkouts/trusted/it")
    with checkout(machine, "trusted", prepare) as place:
        deploy(machine, "trusted", place)


def test_without_any_url_the_checkout_s_origin_is_asked(machine: LabHost) -> None:
    """A person who names no repository means the checkout's origin; without one that is said."""
    with checkout(machine, "origin", CLONE) as place:
        assert ask(machine, "resolve", RELEASE_SHA="v1", REPO_URL="", WORKDIR=place).text("outcome") == "ok"
    with checkout(machine, "no-origin", "git init -q") as place:
        answer = ask(machine, "resolve", RELEASE_SHA="v1", REPO_URL="", WORKDIR=place)
        assert (answer.text("outcome"), "no repository is given (REPO_URL)" in answer.text("detail")) == (
            "checkout",
            True,
        )


# One at a time.


def hold(machine: LabHost, run: str, lease_s: int = 900) -> None:
    """Claim the host for a run."""
    values = {"SWITCHPROOF_RUN": run, "SWITCHPROOF_OWNER": "Ada on build-7", "SWITCHPROOF_LEASE_S": str(lease_s)}
    assert ask(machine, "resolve", RELEASE_SHA="main", SWITCHPROOF_CLAIM="1", **values).text("outcome") == "ok"


def claim(machine: LabHost, run: str, **values: str) -> dict[str, bytes]:
    """Try to claim the host for a run; return all that it said."""
    return ask(machine, "resolve", RELEASE_SHA="main", SWITCHPROOF_CLAIM="1", SWITCHPROOF_RUN=run, **values).sections


def test_a_second_run_is_told_who_has_the_host(machine: LabHost, lab: Lab, tmp_path: Path) -> None:
    """A second run learns who holds the host, in which run and since when, touches nothing, and exits 75."""
    hold(machine, "first")
    holder = inside(machine, "cat /run/switchproof/lock/holder")
    said = claim(machine, "second")
    assert said["outcome"] == b"locked"
    assert (
        found := re.fullmatch(
            rb"run first of Ada on build-7 has held the host's lock since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ. "
            rb"The lock expires at \d\d:\d\d:\d\dZ, in (\d+) s, unless that run renews it. Wait until then. "
            rb"If that run was abandoned, take the lock over with --take-lock \(by hand: SWITCHPROOF_TAKE_LOCK=1\)",
            said["detail"],
        )
    )
    # Nothing was switched yet, so that whoever is killed keeps nobody out for long, whatever a run may last.
    assert int(found[1]) <= 120
    assert set(said) == {"outcome", "detail", "clock"}
    status, output = by_hand(machine, "deploy", RELEASE_SHA="v3")
    assert status == 75, output
    assert "the host is locked: run first of Ada on build-7" in output
    targets = target_file(tmp_path, ["a"])
    ended = session("--provider=lab", "--sha=v3", f"--targets={targets}", runs=tmp_path / "runs", lab=lab)
    assert ended.status == 75, ended.output
    assert "run first of Ada on build-7 has held the host's lock since 20" in " ".join(ended.output.split())
    assert ended.record.host("a").state is HostState.UNCHANGED
    assert inside(machine, "cat /run/switchproof/lock/holder") == holder
    assert inside(machine, "ls /var/lib/switchproof/runs | grep -E 'second|hand-' || true") == ""
    assert claim(machine, "first")["outcome"] == b"ok"


def test_the_lock_of_a_dead_run_is_taken_over(machine: LabHost) -> None:
    """A lock whose lease is over is taken over, and whose it was is said; a job that still runs keeps it."""
    hold(machine, "dead", lease_s=0)
    unit = "switchproof-dead-converge.service"
    inside(machine, f"systemd-run -q --no-block --unit={unit} --service-type=oneshot sleep 60")
    assert claim(machine, "next")["outcome"] == b"locked"
    inside(machine, f"systemctl stop {unit}; systemctl reset-failed {unit} || true")
    said = claim(machine, "next")
    assert (said["outcome"], said["lock.stale"]) == (b"ok", b"dead")
    assert "run next" in inside(machine, "cat /run/switchproof/lock/holder")


def test_a_lock_is_taken_over_where_a_person_says_so(machine: LabHost) -> None:
    """A valid lease gives way to --take-lock, which is told; a job at work does not. A fetch keeps the lock alive."""
    hold(machine, "first")
    unit = "switchproof-first-converge.service"
    inside(machine, f"systemd-run -q --no-block --unit={unit} --service-type=oneshot sleep 60")
    refused = claim(machine, "taker", SWITCHPROOF_TAKE_LOCK="1")
    assert refused["outcome"] == b"locked"
    assert refused["detail"].endswith(b", and its job is still running. Wait until that job has ended")
    inside(machine, f"systemctl stop {unit}; systemctl reset-failed {unit} || true")
    said = claim(machine, "taker", SWITCHPROOF_TAKE_LOCK="1")
    assert (said["outcome"], said["lock.stale"]) == (b"ok", b"first")
    assert 0 < int(said["lock.taken"]) <= 120
    assert b"run taker" in claim(machine, "first")["detail"]
    # The lease is over, but a process of that run is still at work on the host.
    inside(machine, "sed -i 's/^lease .*/lease 1/' /run/switchproof/lock/holder")
    inside(machine, "systemd-run -q --unit=fetching flock /run/switchproof/lock/at-work sleep 60")
    try:
        wait_for(lambda: b", and is still at work" in claim(machine, "next").get("detail", b""), "the lock is kept")
    finally:
        inside(machine, "systemctl stop fetching")
    assert claim(machine, "next")["outcome"] == b"ok"


def test_what_a_killed_run_leaves_is_cleared_by_the_next(machine: LabHost) -> None:
    """Units of jobs of earlier runs that have ended are gone after a claim; one that runs stays."""
    run = "systemd-run -q --no-block --service-type=oneshot --remain-after-exit"
    inside(machine, f"{run} --unit=switchproof-gone-converge true; {run} --unit=switchproof-gone-rollback false")
    listing = "systemctl list-units --all --plain --no-legend 'switchproof-gone*'"
    wait_for(lambda: {"exited", "failed"} <= set(inside(machine, listing).split()), "both have ended")
    assert claim(machine, "next")["outcome"] == b"ok"
    assert inside(machine, listing) == ""


def test_a_host_that_cannot_note_anything_is_not_held(machine: LabHost) -> None:
    """Where the state cannot be written nothing is begun, the words say so, and no lock stays behind."""
    inside(machine, "mount -t tmpfs -o ro none /var/lib/switchproof")
    try:
        said = claim(machine, "unlucky")
    finally:
        inside(machine, "umount /var/lib/switchproof")
    assert said["outcome"] == b"unready"
    assert b"cannot write below /var/lib/switchproof: is it full or read-only?" in said["detail"]
    assert inside(machine, "ls /run/switchproof") == ""


def test_of_many_that_want_a_host_one_gets_it(machine: LabHost) -> None:
    """When many runs find the lock of a dead one at the same moment, exactly one of them has the host."""
    for turn in range(3):
        hold(machine, "dead", lease_s=0)
        with ThreadPoolExecutor(6) as pool:
            said = list(pool.map(lambda number: claim(machine, f"many-{turn}-{number}"), range(6)))  # noqa: B023
        assert sorted(one["outcome"] for one in said) == [b"locked"] * 5 + [b"ok"]
        winner = next(number for number, one in enumerate(said) if one["outcome"] == b"ok")
        assert inside(machine, "sed -n 's/^run //p' /run/switchproof/lock/holder") == f"many-{turn}-{winner}"
        inside(machine, "rm -r /run/switchproof/lock")


@pytest.mark.parametrize(
    ("command", "user", "refused"),
    [
        ("nixos-rebuild switch --flake /etc/nixos", "root", True),
        (".nixos-rebuild-wrapped --flake . boot", "root", True),
        ("nixos-rebuild-ng test", "root", True),
        ("nixos-rebuild build --flake .#switch-board", "root", False),
        ("nixos-rebuild-watcher switch", "root", False),
        ("nixos-rebuild switch", "nobody", False),
    ],
)
def test_a_rebuild_by_hand_has_the_host(machine: LabHost, command: str, user: str, *, refused: bool) -> None:
    """While root switches by hand a run is refused, told so, and keeps no lock; builds and other users do no harm."""
    program, _, arguments = command.partition(" ")
    write(machine, f"/run/hand/{program}", "#!/bin/bash\nsleep 60\n:\n")
    inside(machine, f"chmod 755 /run/hand /run/hand/{program}")
    inside(machine, f"systemd-run -q --unit=hand --uid={user} /bin/bash /run/hand/{program} {arguments}")
    try:
        said = claim(machine, "polite")
        assert (said["outcome"] == b"locked") == refused, said
        if refused:
            assert said["detail"].startswith(b"nixos-rebuild by hand (process ")
            assert inside(machine, "ls /run/switchproof") == ""
    finally:
        inside(machine, "systemctl stop hand")


@pytest.mark.parametrize("suffix", ["", "-1a2b3c4d"])
def test_an_activation_under_way_has_the_host(machine: LabHost, suffix: str) -> None:
    """While switch-to-configuration runs in its unit, whatever its suffix, a run is refused with the unit's name."""
    unit = f"nixos-rebuild-switch-to-configuration{suffix}.service"
    inside(machine, f"systemd-run -q --unit={unit} sleep 60")
    try:
        said = claim(machine, "polite")
        assert said["outcome"] == b"locked"
        assert said["detail"].startswith(f"{unit}, since ".encode())
    finally:
        inside(machine, f"systemctl stop {unit}")


def test_the_lock_of_switch_to_configuration_counts(machine: LabHost) -> None:
    """Whoever holds the lock of switch-to-configuration has the host."""
    lock = "/run/nixos/switch-to-configuration.lock"
    inside(machine, f"mkdir -p /run/nixos; touch {lock}; systemd-run -q --unit=stc flock {lock} sleep 60")
    wait_for(lambda: machine.run(["flock", "-n", lock, "true"], timeout_s=5).returncode != 0, "the lock is held")
    try:
        detail = claim(machine, "polite")["detail"].decode()
        pid = inside(machine, "systemctl show -P MainPID stc")
        assert re.search(rf"{lock} is held by process {pid} \(\S*flock {lock} sleep 60\) since ", detail)
        assert "it belongs to no deploy that this host knows" in detail
    finally:
        inside(machine, "systemctl stop stc")


# Jobs.


def test_a_switch_that_is_asked_for_often_begins_once(machine: LabHost) -> None:
    """However often and however closely a run asks for its switch, there is one unit and one new generation."""
    revision = "v3" if runs(machine) != commit(machine, "v3") else "main"
    values = {"SWITCHPROOF_RUN": "insistent", "RELEASE_SHA": commit(machine, revision)}
    ask(machine, "resolve", SWITCHPROOF_CLAIM="1", **values)
    count = "readlink /nix/var/nix/profiles/system | tr -dc 0-9"
    before = int(inside(machine, count))
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: ask(machine, "converge", **values).text("outcome"), range(4)))
    assert said == ["started"] * 4
    assert finish(machine, "insistent").text("rc").strip() == "0"
    assert ask(machine, "converge", **values).text("outcome") == "started"
    assert int(inside(machine, count)) == before + 1
    log = base64.b64decode(finish(machine, "insistent").text("log")).decode()
    assert log.count("--- switch") == 1
    units = inside(machine, "systemctl list-units --all --plain --no-legend 'switchproof-insistent-*'").splitlines()
    assert len(units) == 1
    ask(machine, "confirm", **values)
    assert inside(machine, "systemctl list-units --all --plain --no-legend 'switchproof-*'") == ""


def test_a_switch_needs_a_full_commit(machine: LabHost) -> None:
    """A switch to anything but a full commit is not begun."""
    assert ask(machine, "converge", RELEASE_SHA="main").text("outcome") == "malformed"


def test_a_log_is_followed_byte_for_byte(machine: LabHost, tmp_path: Path) -> None:
    """A log that is read by offset arrives exactly, with NUL bytes and what is not UTF-8, in pieces of any size."""
    folder = "/var/lib/switchproof/runs/follow/converge"
    content = bytes(range(256)) * 2100 + b"no newline at the end"
    local = tmp_path / "log"
    local.write_bytes(content)
    inside(machine, f"mkdir -p {folder}")
    packed = base64.b64encode(content).decode()
    done = machine.run(["sh", "-c", f"base64 -d >{folder}/log; echo 0 >{folder}/rc"], timeout_s=10, input=packed)
    assert done.returncode == 0
    seen, pieces = b"", 0
    while True:
        frame = ask(machine, "status", SWITCHPROOF_RUN="follow", SWITCHPROOF_OFFSET=str(len(seen)))
        assert int(frame.text("log.size")) == len(content)
        assert frame.text("state") == "finished"
        piece = base64.b64decode(frame.text("log"))
        if not piece:
            break
        seen += piece
        pieces += 1
    assert (seen == content, pieces) == (True, 3)
    for offset in (1, 255, 256, len(content) - 1):
        frame = ask(machine, "status", SWITCHPROOF_RUN="follow", SWITCHPROOF_OFFSET=str(offset))
        assert base64.b64decode(frame.text("log")) == content[offset : offset + 262_144]


def test_a_job_that_nobody_began_is_lost(machine: LabHost) -> None:
    """Of a job that was never begun, or vanished, the status is lost: neither running nor finished."""
    frame = ask(machine, "status", SWITCHPROOF_RUN="nobody", SWITCHPROOF_WAIT_S="30")
    assert (frame.text("state"), frame.text("rc"), frame.text("log")) == ("lost", "", "")


@pytest.mark.parametrize("stage", ["build", "switch"])
@pytest.mark.long
def test_the_switch_outlives_whoever_began_it(machine: LabHost, lab: Lab, tmp_path: Path, stage: str) -> None:
    """When the runner is killed in the middle, the switch on the host goes on and ends by itself."""
    revision = "v3" if runs(machine) != commit(machine, "v3") else "main"
    targets = target_file(tmp_path, ["a"])
    arguments = ["--provider=lab", f"--sha={revision}", f"--targets={targets}", f"--report-dir={tmp_path / 'runs'}"]
    runner = subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env=os.environ | {"SWITCHPROOF_LAB": lab.name},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    holder = "sed -n 's/^run //p' /run/switchproof/lock/holder 2>/dev/null || true"
    wait_for(lambda: inside(machine, holder) != "", "the host is claimed")
    run = inside(machine, holder)
    folder = f"/var/lib/switchproof/runs/{run}/converge"
    wait_for(lambda: inside(machine, f"cat {folder}/stage 2>/dev/null || true") == stage, f"the {stage} began")
    runner.kill()
    runner.wait(10)
    assert inside(machine, f"ls {folder}/rc 2>/dev/null || true") == ""
    assert finish(machine, run).text("rc").strip() == "0"
    assert runs(machine) == commit(machine, revision)
    assert ask(machine, "confirm", SWITCHPROOF_RUN=run, SWITCHPROOF_KEEP="1").text("outcome") == "ok"
    (kept,) = (tmp_path / "runs").glob("2*")
    assert (kept / "events.jsonl").read_text(encoding="utf-8").endswith("}\n")


# The end of a run.


def test_confirming_gives_the_host_back(machine: LabHost) -> None:
    """A run that ends gives its own lock back, never another's, and keeps the newest twenty runs."""
    hold(machine, "ending")
    inside(machine, "cd /var/lib/switchproof/runs; for n in $(seq 25); do mkdir -p old-$n; touch -d @$n old-$n; done")
    assert ask(machine, "confirm", SWITCHPROOF_RUN="ending", SWITCHPROOF_OUTCOME="passed").text("outcome") == "ok"
    assert inside(machine, "ls /run/switchproof") == ""
    kept = inside(machine, "ls /var/lib/switchproof/runs").split()
    assert len(kept) == 20
    assert "ending" in kept
    assert not [name for name in kept if name in {"old-1", "old-2", "old-3", "old-4", "old-5"}]
    assert inside(machine, "cat /var/lib/switchproof/runs/ending/outcome") == "passed"
    hold(machine, "other")
    assert ask(machine, "confirm", SWITCHPROOF_RUN="ending").text("outcome") == "ok"
    assert "run other" in inside(machine, "cat /run/switchproof/lock/holder")


def test_a_running_job_keeps_the_host(machine: LabHost) -> None:
    """A run whose switch is still going on cannot give the host back."""
    hold(machine, "busy")
    inside(machine, "mkdir -p /var/lib/switchproof/runs/busy/converge")
    inside(machine, "systemd-run -q --no-block --unit=switchproof-busy-converge --service-type=oneshot sleep 60")
    try:
        assert ask(machine, "confirm", SWITCHPROOF_RUN="busy").text("outcome") == "busy"
        assert "run busy" in inside(machine, "cat /run/switchproof/lock/holder")
    finally:
        inside(machine, "systemctl stop switchproof-busy-converge; systemctl reset-failed switchproof-busy-converge")


# Looking.


def test_looking_writes_nothing(machine: LabHost) -> None:
    """`observe`, `diagnose` and `status` write no file on the host and change no unit and no lock."""
    # What SQLite keeps for those who read Nix's database at the same time is its own affair.
    listing = r"""
      find /etc /var/lib /var/cache /nix/var /root /opt /srv /boot /home /usr /nix/store -xdev -maxdepth 9 \
        -path /var/lib/systemd -prune -o -path '/nix/store/*/*' -prune -o -name 'db.sqlite-*' -o \
        -printf '%p %y %m %s %T@ %C@ %l\n' | sort
      find /run -xdev -path /run/systemd -prune -o -path /run/log -prune -o -path /run/udev -prune -o \
        -path '/run/hand*' -prune -o -type f -printf '%p %s %T@\n' | sort
      systemctl show -p Id,MainPID,InvocationID,NRestarts,ActiveState '*.service'
      ls -A /tmp /var/tmp
    """
    hold(machine, "somebody")
    ask(machine, "observe", **QUICK)
    before = inside(machine, listing)
    for verb in ("observe", "diagnose", "status"):
        ask(machine, verb, **QUICK)
    assert inside(machine, listing) == before


def test_diagnostics_have_all_their_parts(machine: LabHost) -> None:
    """Diagnostics hold state, properties and journal of each unit, also of failed ones, sockets and the rest."""
    inside(machine, "systemd-run -q --unit=stranger bash -c 'yes trouble | head -c 400000; exit 3' || true")
    wait_for(lambda: "failed" in machine.run(["systemctl", "is-active", "stranger"], timeout_s=5).stdout, "it failed")
    inspect = "echo one; exit 3\x1eprintf '%s' \"two words\"; sleep 0; echo err >&2"
    url = "http://127.0.0.1:9090/login"
    fields = ("web", "hypervisor.service", "127.0.0.1:9090", "hypervisor.service", url, "200", "", "", inspect)
    endpoint = "\x1f".join(fields)
    try:
        parts = ask(machine, "diagnose", SWITCHPROOF_ENDPOINTS=endpoint).sections
    finally:
        inside(machine, "systemctl reset-failed stranger")
    for unit in ("hypervisor.service", "stranger.service"):
        assert unit.encode() in parts[f"status/{unit}"]
        assert b"ActiveState=" in parts[f"show/{unit}"]
        assert parts[f"journal/{unit}"].strip()
    assert b"ActiveState=failed" in parts["show/stranger.service"]
    journal = parts["journal/stranger.service"]
    assert re.match(rb"\[what came before these \d+ bytes is left out\]\n", journal)
    assert len(journal) < 263_000
    assert b"127.0.0.1:9090" in parts["sockets"]
    assert b"stranger.service" in parts["failed-units"]
    assert b"system-1-link" in parts["generations"]
    for name in ("disk", "memory", "kernel", "switch-journal"):
        assert name in parts
    assert parts["inside/web.1"] == b"$ echo one; exit 3\none"
    assert parts["inside/web.2"].endswith(b"two wordserr")


# A person on the host.


def clauses(output: str) -> list[str]:
    """The clauses and their verdicts, in the order in which they were printed."""
    found = re.findall(r"^(revision|converge|hypervisor|runtime|diagnostics) +(\w+)", output, re.MULTILINE)
    return [f"{clause} {verdict}" for clause, verdict in found]


def test_a_person_deploys(machine: LabHost) -> None:
    """By hand a good revision passes the five clauses in order and exits 0, and what was not judged is named."""
    status, output = by_hand(machine, "deploy", RELEASE_SHA="main")
    assert status == 0, output
    assert clauses(output) == [
        "revision passed",
        "converge passed",
        "hypervisor passed",
        "runtime passed",
        "runtime passed",
        "diagnostics passed",
    ]
    assert f"revision     passed  {commit(machine, 'main')} Release v2" in output
    assert output.splitlines()[-2].startswith("not judged   by hand: what boots next, ")
    assert output.splitlines()[-1].startswith("held         the clauses that are judged by hand; ")
    assert runs(machine) == commit(machine, "main")
    assert inside(machine, "ls /run/switchproof") == ""


@pytest.mark.long
def test_a_person_s_broken_deploy_and_the_way_back(machine: LabHost) -> None:
    """A dead workload exits 1 with diagnostics, and the command for the way back brings the earlier system back."""
    was = inside(machine, "readlink -e /run/current-system")
    status, output = by_hand(machine, "deploy", RELEASE_SHA="broken/dev-workload-dead", READY_S="1")
    assert status == 1, output
    assert clauses(output) == [
        "revision passed",
        "converge passed",
        "hypervisor passed",
        "runtime passed",
        "runtime FAILED",
        "diagnostics passed",
    ]
    assert "runtime      FAILED  dev: " in output
    assert "sandbox dev waits for its volume" in output
    assert inside(machine, "ls /run/switchproof") == ""
    command = output[output.index("to go back: ") :].splitlines()[0].removeprefix("to go back: ")
    hold(machine, "somebody-else")
    assert "somebody-else" in inside(machine, f"{command} 2>&1 || true")
    assert inside(machine, "readlink -e /run/current-system") != was
    inside(machine, "rm -r /run/switchproof/lock")
    inside(machine, command)
    assert inside(machine, "readlink -e /run/current-system /nix/var/nix/profiles/system").split() == [was, was]
    assert inside(machine, "ls /run/switchproof") == ""


def test_a_person_s_deploy_that_does_not_evaluate(machine: LabHost) -> None:
    """What cannot be evaluated fails `converge` in Nix's words, blocks the rest, exits 1 and changes nothing."""
    was = inside(machine, "readlink -e /run/current-system /nix/var/nix/profiles/system")
    status, output = by_hand(machine, "deploy", RELEASE_SHA="broken/evaluation-error")
    assert status == 1, output
    assert "attribute 'verison' missing" in output
    assert [*clauses(output)[:5]] == [
        "revision passed",
        "converge FAILED",
        "hypervisor blocked",
        "runtime blocked",
        "runtime blocked",
    ]
    assert clauses(output)[-1] == "diagnostics passed"
    assert inside(machine, "readlink -e /run/current-system /nix/var/nix/profiles/system") == was


@pytest.mark.parametrize("revision", ["no-such-branch", "both", "a b", ""])
def test_a_person_s_revision_that_cannot_be_had(machine: LabHost, revision: str) -> None:
    """A revision that is missing, ambiguous or malformed exits 4 and leaves no lock."""
    status, output = by_hand(machine, "deploy", RELEASE_SHA=revision)
    assert status == 4, output
    assert clauses(output) == ["revision FAILED"]
    assert inside(machine, "ls /run/switchproof 2>/dev/null || true") == ""


def test_an_unknown_verb_says_how_it_is_used(machine: LabHost) -> None:
    """Without a verb, or with one that there is not, the script says how it is used and exits 64."""
    status, output = by_hand(machine, "destroy")
    assert status == 64
    assert "host-switch.sh deploy" in output


def test_a_person_reads_text(machine: LabHost) -> None:
    """By hand, each verb that looks prints lines for people: what runs, who holds the host, what is healthy."""
    hold(machine, "reader")
    top = inside(machine, "readlink -e /run/current-system")
    told = {verb: by_hand(machine, verb) for verb in ("status", "generations", "observe", "diagnose")}
    for status, output in told.values():
        assert status == 0, output
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]", output), output
    assert f"runs         {top} (" in told["status"][1]
    assert re.search(
        r"^lock +Ada on build-7, run reader, since \S+; it expires in \d+ s", told["status"][1], re.MULTILINE
    )
    assert re.search(rf"^ +\d+  20\S+Z  [0-9a-f]{{40}}  {top}  \(current\)$", told["generations"][1], re.MULTILINE)
    for name in ("hypervisor", "live", "dev"):
        assert re.search(rf"^{name} +healthy$", told["observe"][1], re.MULTILINE), told["observe"][1]
    assert "==== journal/hypervisor.service ====" in told["diagnose"][1]


def test_a_person_who_names_no_revision_is_told(machine: LabHost) -> None:
    """Without RELEASE_SHA nothing is touched, and what to set is said."""
    status, output = by_hand(machine, "deploy")
    assert (status, "set RELEASE_SHA to a commit, a branch or a tag" in output) == (4, True)
    assert by_hand(machine, "converge")[0] == 1
    assert inside(machine, "ls /run/switchproof") == ""
