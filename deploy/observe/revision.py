"""Resolves a revision to one full commit, and names each way in which that fails (pure)."""

from __future__ import annotations

import datetime as dt
import re

import msgspec

from switchproof.deploy.errors import Inconclusive, UsageError
from switchproof.deploy.host.frame import Frame, FrameError

_FULL = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,40}")
_NAME = 200
_FORM = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)|/\.|\.$|/$))[A-Za-z0-9_][A-Za-z0-9_./+@=,#-]*")


_MOVE = "move it aside, and the next run makes a new one"
_REMEDIES = (
    ("no space left|quota exceeded", "Make room on the host's disk: df -h there."),
    ("read-only file system", "Find out why that file system is read-only: findmnt and dmesg on the host."),
    (
        "dubious ownership|safe.directory",
        "Let the user that deploys own the checkout on the host, or name it as safe.directory in its git config.",
    ),
    (
        "repository extension|repository version|object format|mismatched algorithm|unknown hash",
        f"The host's git cannot use the checkout, made by another git or with other hashes: {_MOVE}.",
    ),
    ("hook", "A hook of the checkout on the host refuses: see .git/hooks and core.hooksPath there."),
    (
        r"broken ref|bad ref|dangling|resolve ref|cannot lock|corrupt|bad object|loose object|\.lock'|bad config",
        f"The checkout on the host is damaged: see git fsck there, or {_MOVE}.",
    ),
    (
        "could not resolve host|timed out|connection refused|connection reset|no route|unreachable:|is unreachable",
        "Check whether the host reaches the repository's server: its DNS, routes and firewall.",
    ),
    (
        r"permission denied \(|authentication failed|could not read username|host key verification|\b40[13]\b",
        "Check whether the host may read the repository: its deploy key or token, and its known_hosts.",
    ),
    (
        "not found|does not exist|does not appear to be a git repository",
        "Check whether repository.url in the target file, or the checkout's remote origin, leads to the repository.",
    ),
)
"""Remedies by git's error message, the most specific first."""

_REMEDY_OF = {
    "checkout": f"Find out why git cannot use the checkout on the host: git status there; or {_MOVE}.",
    "unreachable": "Run git fetch in the checkout on the host; see its network, its credentials and the URL.",
}


class RevisionRefused(UsageError):
    """The revision does not name one commit."""

    refused = "the revision cannot be used"


class RevisionMalformed(RevisionRefused):
    """The revision is neither a commit nor the name of a branch or tag."""


class RevisionMissing(RevisionRefused):
    """The repository has nothing of that name."""


class RevisionAmbiguous(RevisionRefused):
    """The repository has several different commits that the revision may mean."""


class RepositoryUnreachable(Inconclusive):
    """The host could not fetch from the repository, or could not use its checkout."""


class Resolution(msgspec.Struct, frozen=True):
    """A resolved revision.

    Attributes:
        sha: 40 hexadecimal digits.
        subject: The first line of the commit's message.
        author: The author's name, never an e-mail address; empty if unknown.
        authored: When it was written; None if unknown.
    """

    sha: str
    subject: str
    author: str = ""
    authored: dt.datetime | None = None


LEFT_OUT = {
    "submodules": "The commit has submodules (.gitmodules). Nix builds without them, unless flake.nix sets "
    "inputs.self.submodules.",
    "lfs": "The commit has files of Git LFS (.gitattributes). Nix builds with their pointers, unless flake.nix sets "
    "inputs.self.lfs.",
}
"""What nix leaves out of a commit's source, as the host names it, with the warning about it."""


def check_form(revision: str, option: str = "--sha") -> str:
    """Check the form of a revision.

    Args:
        revision: The value of the option.
        option: The option, for messages.

    Returns:
        The revision, with a full commit in lower case as git writes it.

    Raises:
        RevisionMalformed: It cannot be a commit, a branch or a tag.
    """
    if not revision:
        raise RevisionMalformed(f"{option}= is empty: give a commit, a branch or a tag")
    if not _FORM.fullmatch(revision):
        raise RevisionMalformed(
            f"{option}={revision}: neither a commit (7 to 40 hexadecimal digits) nor the name of a branch or tag"
        )
    return revision.lower() if re.fullmatch("[0-9A-Fa-f]{40}", revision) else revision


def is_generation(asked: str) -> bool:
    """Whether the value of --rollback is a generation's number; commits have more digits."""
    return re.fullmatch(r"[0-9]{1,6}", asked) is not None


def is_full(revision: str) -> bool:
    """Whether a revision is a full commit."""
    return _FULL.fullmatch(revision) is not None


def is_commit(revision: str) -> bool:
    """Whether a revision is a full or abbreviated commit."""
    return _ABBREVIATED.fullmatch(revision.lower()) is not None


def read_resolution(frame: Frame, revision: str) -> Resolution:
    """Read a host's answer to `resolve`.

    Raises:
        RevisionRefused: The revision does not name one commit; the subclass says why.
        RepositoryUnreachable: The host could not fetch from the repository, or could not use its checkout.
        FrameError: The answer is malformed.
    """
    outcome, detail = frame.text("outcome"), frame.get("detail")
    match outcome:
        case "ok" if is_full(sha := frame.text("sha")) and (sha == revision or not is_full(revision)):
            author, authored = _author(frame.get("author")), _time(frame.get("authored"))
            return Resolution(sha, frame.get("subject"), author, authored)
        case "malformed":
            raise RevisionMalformed(f"--sha={revision}: {detail}")
        case "missing":
            raise RevisionMissing(
                f"--sha={revision}: {detail}. The host fetches from the repository URL: push the commit first."
            )
        case "ambiguous":
            raise RevisionAmbiguous(f"--sha={revision}: {detail}")
        case "unreachable" | "checkout":
            raise RepositoryUnreachable(detail, _remedy(detail, outcome))
    raise FrameError(f"the host's answer about the revision cannot be understood: {outcome!r}")


def _remedy(detail: str, outcome: str) -> str:
    """Return a remedy for git's error message: for the checkout, the repository or the network."""
    known = (remedy for pattern, remedy in _REMEDIES if re.search(pattern, detail, re.IGNORECASE))
    return next(known, _REMEDY_OF[outcome])


def _author(name: str) -> str:
    """Return a commit's author without e-mail addresses, which some authors use as a name."""
    return re.sub(r"<[^>]*>?|(\S+)@\S*", r"\1", name).strip()[:_NAME]


def _time(text: str) -> dt.datetime | None:
    """Return the time of a commit in UTC; None if the text is not a time."""
    try:
        time = dt.datetime.fromisoformat(text.strip())
        return time.astimezone(dt.UTC) if time.tzinfo else None
    except (ValueError, OverflowError):
        return None
