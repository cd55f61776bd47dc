"""Makes a login user root on a host: the command, the password prompt, and the reason of a failure."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from switchproof.deploy.connection import NotRoot

How: TypeAlias = Literal["sudo", "run0", "doas"]

IS_ROOT = b"switchproof-is-root"
"""The first word of the elevated shell; no input is sent before it arrives."""
ELEVATED = ("/bin/sh", "-c", f"echo {IS_ROOT.decode()}; exec /bin/sh -s")
"""The only command that runs as root: the same for every program, so that a sudo rule can name it."""

HELD_S = 60.0
"""Seconds for which a refused password is not tried again, because accounts may be locked."""

_RULE = "docs/least-privilege.md shows the smallest rule that works."
_SUDO: tuple[tuple[str, str, str], ...] = (
    (
        r"must have a tty",
        "sudo there runs only from a terminal (requiretty), but a run has none",
        "Add `Defaults:{user} !requiretty` to its sudoers.",
    ),
    (
        r"not in the sudoers|may not run sudo|not allowed to|I'm afraid I can't do that",
        "sudo there does not allow {user} to run the command of a run as root",
        f"Add the rule that `switchproof sudoers` prints. {_RULE}",
    ),
    (
        r"account validation|password (is |has )?expired|account (is |has )?(expired|locked)|change your password",
        "sudo there refuses the account of {user}, which is locked or expired, or whose password is",
        "Set a new password on the host, or look at `chage -l {user}` there.",
    ),
    (
        r"syntax error|parse error|no valid sudoers|unable to (open|stat|read) .*sudoers|sudoers.* is (owned|world)",
        "sudo there cannot use its sudoers",
        "Run `visudo -c` there as root.",
    ),
    (
        r"setuid|effective uid|no new privileges",
        "sudo there cannot become root: it is not the setuid program, or the login forbids new privileges",
        "On NixOS, sudo is /run/wrappers/bin/sudo; make that folder the first in the PATH of {user}.",
    ),
    (
        r"(unknown|unrecognized|invalid) option",
        "sudo there does not support the options that send it a password (-k -S -p)",
        "Install a newer sudo there, or add a rule with NOPASSWD.",
    ),
)
_PASSWORDLESS: dict[How, tuple[tuple[str, str, str], ...]] = {
    "sudo": (
        (
            r"password is required|authentication (is )?required",
            "sudo there asks {user} for a password; it also does so for a command that no rule names",
            f"Set ssh.become_password, or add the rule that `switchproof sudoers` prints. {_RULE}",
        ),
        *_SUDO,
    ),
    "doas": (
        (
            r"Authentication required|a tty is required",
            "doas there asks {user} for a password, which a run cannot give it",
            f"Add a rule with nopass to its doas.conf. {_RULE}",
        ),
        (
            r"not permitted|not enabled",
            "doas there does not allow {user} to run the command of a run as root",
            f"Add a rule with nopass to its doas.conf. {_RULE}",
        ),
    ),
    "run0": (
        (
            r"authentication required|access denied|not permitted",
            "run0 there asks {user} to authenticate, which a run cannot do",
            f"Add a polkit rule. {_RULE}",
        ),
    ),
}
_ANYWHERE: tuple[tuple[str, str, str], ...] = (
    (
        r"not found|No such file|Unknown command",
        "{how} is not installed there",
        "Install it, or set ssh.become to another program.",
    ),
    (r"user {user} does not exist", "there is no user {user} there", "Create that user, or name another one."),
    (r"not available", "{user} has no login shell there", "Set one: usermod --shell."),
)


@dataclass
class Elevation:
    """How the login user of one host becomes root there.

    Attributes:
        host: The host's name.
        how: The program, such as sudo.
        user: The login user.
        password: The login user's password; empty if the program must not ask for one.
    """

    host: str
    how: How
    user: str
    password: str = field(default="", repr=False)
    _refusal: tuple[float, NotRoot] | None = None

    def begin(self) -> Ascent:
        """Begin one attempt.

        Raises:
            NotRoot: The password was refused less than `HELD_S` ago.
        """
        if self._refusal and time.monotonic() < self._refusal[0]:
            raise self._refusal[1]
        return Ascent(self)

    def refused(self, ascent: Ascent, stderr: bytes, ended: str) -> NotRoot:
        """Return why an attempt failed.

        Args:
            ascent: The attempt.
            stderr: Its standard error.
            ended: How it ended, as text.
        """
        text = ascent.after_prompts(stderr).decode("utf-8", "replace")
        if ascent.is_denied or (ascent.is_answered and re.search("incorrect|no password was provided", text)):
            error = NotRoot(
                self.host,
                f"{self.how} there refused the password of {self.user}",
                "Correct the password in ssh.become_password. It was tried once, so that no account is locked.",
            )
            self._refusal = (time.monotonic() + HELD_S, error)
            return error
        return NotRoot(self.host, *self._cause(ascent, text, ended))

    def _cause(self, ascent: Ascent, stderr: str, ended: str) -> tuple[str, str]:
        if ascent.stranger:
            return (
                f"{self.how} there asks for the password of {ascent.stranger!r} (rootpw, targetpw or runaspw)",
                f"Turn that off for {self.user}, or use a rule with NOPASSWD. {_RULE}",
            )
        known = (*(_SUDO if self.password else _PASSWORDLESS[self.how]), *_ANYWHERE)
        for pattern, what, remedy in known:
            if re.search(pattern.replace("{user}", re.escape(self.user)), stderr, re.IGNORECASE):
                return what.format(user=self.user, how=self.how), remedy.format(user=self.user, how=self.how)
        last_lines = " / ".join(line.strip()[:200] for line in stderr.splitlines()[-3:])
        return (
            f"{self.user} did not become root there with {self.how} ({ended}): {last_lines or 'it printed nothing'}",
            f"Try `{self.how} id -u` there as {self.user}, and read what it waits for.",
        )


class Ascent:
    """One attempt to become root, at the beginning of one program.

    The password is sent at most once, only to a prompt that contains a secret of this attempt, and never after root's
    shell has begun.

    Args:
        elevation: The login user and the program.
    """

    def __init__(self, elevation: Elevation) -> None:
        self._elevation = elevation
        nonce = secrets.token_hex(4)
        self._prompt = re.compile(rb"\[switchproof %b ([^\]\n]*)\]" % nonce.encode())
        self.command = _command(elevation.how, f"[switchproof {nonce} %p]" if elevation.password else "")
        self.is_root = self.is_answered = self.is_denied = False
        self.stranger = ""
        """The user whose password was requested, if it is not the login user."""

    def answer(self, stderr: bytes) -> bytes | None:
        """Return the answer to a prompt; empty if there is none, None without a new prompt."""
        if self.is_root:
            return None
        asked = [whose.decode("utf-8", "replace") for whose in self._prompt.findall(stderr)]
        if not asked:
            return None
        if self.is_answered:
            self.is_denied = len(asked) > 1
            return b"" if self.is_denied else None
        if asked[0] not in {self._elevation.user, "%p"}:
            self.stranger = asked[0]
            return b""
        self.is_answered = True
        return f"{self._elevation.password}\n".encode()

    def after_prompts(self, stderr: bytes) -> bytes:
        """Return the part of standard error after the last prompt."""
        return self._prompt.split(stderr)[-1]


def _command(how: How, prompt: str) -> str:
    """Return the command that every login shell reads the same way."""
    run = {
        "sudo": f"sudo -k -S -p '{prompt}' -H -u root --" if prompt else "sudo -n -H -u root --",
        "doas": "doas -n -u root",
        "run0": "run0 --no-ask-password --pipe --user=root --",
    }[how]
    # Messages in another language could not be recognised.
    return f"env LC_ALL=C {run} {ELEVATED[0]} {ELEVATED[1]} '{ELEVATED[2]}'"
