"""Faults of what is deployed: the revision, the repository that it comes from, and the system that it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from switchproof.deploy.contract import HostState
from switchproof.deploy.providers.lab.revisions import REVISIONS, Revision
from tests.faults.scene import Expected, Fault, Mode, Scene, broken, canonical, each, inconclusive, refused

UNCHANGED: Final = frozenset(
    f"broken/{name}" for name in ("evaluation-error", "build-failure", "inhibitor", "incompatible-init")
)
"""Revisions whose switch never begins, or is refused before it changes anything."""
DEPLOYS: Final[tuple[Mode, ...]] = ("deploy", "drill")


def _revision(name: str) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        scene.revision = name

    return arrange


def _url(url: str) -> Callable[[Scene], None]:
    return lambda scene: scene.edit("file:///srv/sample.git", url)


def _attr(scene: Scene) -> None:
    scene.edit('flake_attr = "choiros-a"', 'flake_attr = "choiros-z"')


def _at(clause: str, *states: HostState) -> Callable[[Mode], Expected]:
    return lambda _: Expected(1, frozenset(states), clause)


def _is_refused(name: str, revision: str, *, needs_host: bool = True) -> Fault:
    return Fault("repository", name, _revision(revision), each(refused), needs_host)


def _broken(revision: Revision) -> Fault:
    """A revision that must not be called canonical, and that an audit must not find where it does not run."""
    state = HostState.UNCHANGED if revision.name in UNCHANGED else HostState.ROLLED_BACK
    assert revision.clause is not None
    return Fault(
        "repository",
        f"`{revision.name}`",
        _revision(f"heads/{revision.name}"),
        each(_at(revision.clause, state), DEPLOYS) | {"audit": broken("audit", "converge")},
        # Only a soak longer than its healthy stretches tells a crash loop from health.
        health={"soak_s": 15.0} if "crash-loop" in revision.name else {},
    )


FAULTS: Final = (
    _is_refused("there is no such revision", "no-such-branch"),
    Fault(
        "repository",
        "there is no such commit",
        _revision("0123456789abcdef0123456789abcdef01234567"),
        # An audit asks the host whether it runs that commit, which needs no repository.
        each(refused) | {"audit": broken("audit", "converge")},
    ),
    _is_refused("the revision is a branch and a tag", "both"),
    _is_refused("the revision looks like an option", "--upload-pack=sh", needs_host=False),
    _is_refused("the revision is a tree", "v1^{tree}", needs_host=False),
    Fault("repository", "the URL's scheme runs a program", _url("ext::sh -c true"), each(refused), needs_host=False),
    Fault("repository", "the URL is empty", _url(""), each(refused), needs_host=False),
    Fault("repository", "the repository is not there", _url("file:///srv/none.git"), each(inconclusive, DEPLOYS)),
    Fault(
        "repository", "nothing answers for the repository", _url("git://127.0.0.1:2/x"), each(inconclusive, DEPLOYS)
    ),
    Fault("repository", "the flake has no such system", _attr, each(_at("converge", HostState.UNCHANGED), DEPLOYS)),
    *(
        Fault("repository", f"`{name}`, which is good", _revision(name), each(canonical, DEPLOYS))
        for name in ("systemd-upgrade", "dbus-restart", "journald-restart")
    ),
    *(_broken(one) for one in REVISIONS if one.ref.startswith("refs/heads/broken/")),
)
"""Revisions are named as in docs/lab.md."""
