"""A revision is resolved to one commit, in any checkout that a user may have."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from switchproof.deploy.observe.revision import RepositoryUnreachable, read_resolution
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.host.hands import (
    CHECKOUT,
    REPOSITORY,
    ask,
    commit,
    finish,
    inside,
    runs,
    write,
)
from tests.sampling import sampled

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
SAMPLED = sampled(
    "states of a checkout", "checkouts", CHECKOUTS, {"absent", "dirty", "shallow", "merging", "same-names"}
)
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


@pytest.mark.parametrize("name", [pytest.param(name, marks=SAMPLED.mark(name)) for name in SAMPLED.tried])
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
