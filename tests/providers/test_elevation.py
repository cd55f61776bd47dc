"""How a login user becomes root: what is sent, to whom, and what each refusal means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchproof.deploy.connection import NotRoot
from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers import elevation as module
from switchproof.deploy.providers import load
from switchproof.deploy.providers.elevation import Ascent, Elevation, How
from switchproof.deploy.providers.ssh.auth.password import read_password

PASSWORD = "corr3ct horse"  # noqa: S105 - of no account


def sudo(password: str = PASSWORD) -> Elevation:
    return Elevation("a", "sudo", "deploy", password)


def prompt(ascent: Ascent, whose: str = "deploy") -> bytes:
    """What sudo prints where it asks."""
    shown = re.search(r"'(\[switchproof [0-9a-f]{8} %p\])'", ascent.command)
    assert shown is not None
    return shown[1].replace("%p", whose).encode()


def test_the_password_is_in_no_argument_list() -> None:
    """Neither the command that a host runs nor what is shown of the object has the password."""
    whole = sudo()
    assert PASSWORD not in whole.begin().command
    assert PASSWORD not in repr(whole)


def test_the_password_answers_its_own_prompt_once() -> None:
    """A lecture is no prompt; the prompt is answered; a second prompt means that the password was wrong."""
    ascent = sudo().begin()
    lecture = b"We trust you have received the usual lecture. Password: [switchproof 00000000 deploy]\n"
    assert ascent.answer(lecture) is None
    assert ascent.answer(lecture + prompt(ascent)) == f"{PASSWORD}\n".encode()
    assert ascent.answer(lecture + prompt(ascent) + b"\n") is None
    assert ascent.answer(lecture + prompt(ascent) + b"\nSorry, try again.\n" + prompt(ascent)) == b""


def test_what_root_s_shell_prints_is_never_answered() -> None:
    """A program that prints the very prompt gets no password as its input."""
    ascent = sudo().begin()
    ascent.is_root = True
    assert ascent.answer(prompt(ascent)) is None


def test_a_prompt_for_another_password_gets_none() -> None:
    """Where sudo asks for the password of root, the user's is not sent, and the message says whose was asked for."""
    whole = sudo()
    ascent = whole.begin()
    assert ascent.answer(prompt(ascent, "root")) == b""
    assert "asks for the password of 'root'" in str(whole.refused(ascent, prompt(ascent, "root"), "exit status 1"))


def test_a_program_s_own_errors_come_without_the_prompt() -> None:
    """What a check reads on standard error is what its command printed, and nothing of sudo."""
    ascent = sudo().begin()
    assert ascent.after_prompts(b"lecture\n" + prompt(ascent) + b"own words\n") == b"own words\n"


def test_a_refused_password_is_not_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts get locked, so a host is asked once with a password; later, as after a way back, it may be right."""
    whole = sudo()
    ascent = whole.begin()
    ascent.answer(prompt(ascent))
    refusal = whole.refused(ascent, prompt(ascent) + b"sudo: 1 incorrect password attempt\n", "exit status 1")
    assert "refused the password of deploy" in str(refusal)
    with pytest.raises(NotRoot, match="refused the password"):
        whole.begin()
    monkeypatch.setattr(module, "HELD_S", 0.0)
    whole.refused(ascent, prompt(ascent) + b"no password was provided", "exit status 1")
    assert whole.begin()


@pytest.mark.parametrize(
    ("how", "password", "stderr", "cause"),
    [
        ("sudo", "", "sudo: a password is required", "asks deploy for a password"),
        ("sudo", "", "sudo: interactive authentication is required", "asks deploy for a password"),
        ("sudo", PASSWORD, "deploy is not in the sudoers file.", "does not allow deploy"),
        ("sudo", PASSWORD, "Sorry, user deploy may not run sudo on a.", "does not allow deploy"),
        ("sudo", "", "Sorry, user deploy is not allowed to execute '/bin/sh' as root on a.", "does not allow deploy"),
        ("sudo", PASSWORD, "sudo: I'm sorry deploy. I'm afraid I can't do that", "does not allow deploy"),
        ("sudo", "", "sudo: sorry, you must have a tty to run sudo", "requiretty"),
        ("sudo", "", "sudo: Account or password is expired, reset your password and try again", "locked or expired"),
        ("sudo", "", "sudo: account validation failure, is your account locked?", "locked or expired"),
        ("sudo", "", "/etc/sudoers.d/x:1:9: syntax error", "cannot use its sudoers"),
        ("sudo", "", "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set", "not the setuid"),
        ("sudo", "", "env: 'sudo': No such file or directory", "sudo is not installed"),
        ("sudo", PASSWORD, "sudo: unrecognized option '-p'", "options that send it a password"),
        ("doas", "", "doas: Authentication required", "asks deploy for a password"),
        ("doas", "", "doas: Operation not permitted", "does not allow deploy"),
        ("run0", "", "Failed to start transient service unit: Interactive authentication required.", "authenticate"),
        ("sudo", "", "This account is currently not available.", "no login shell"),
        ("sudo", "", "sudo: something new", "(exit status 1): sudo: something new"),
    ],
)
def test_each_cause_has_its_own_sentence(how: How, password: str, stderr: str, cause: str) -> None:
    """What the program says is told as what the user may not do, with what to change."""
    whole = Elevation("a", how, "deploy", password)
    error = whole.refused(whole.begin(), f"{stderr}\n".encode(), "exit status 1")
    assert cause in error.what
    assert error.remedy
    assert "{" not in str(error)


# Where the password comes from.


def test_a_password_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    """The line end of a file is not part of it."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    assert read_password(f"file:{file}", {}, "deploy") == PASSWORD
    assert read_password("env:SUDO", {"SUDO": PASSWORD}, "deploy") == PASSWORD


@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        (PASSWORD, 0o644, "can be read by others"),
        ("", 0o600, "is empty"),
        ("one line\nand another", 0o600, "must be one line"),
        ("abc", 0o600, "4 to 1024 characters"),
        (None, 0o600, "No such file"),
    ],
)
def test_a_file_that_cannot_be_a_password_is_refused(
    tmp_path: Path, text: str | None, mode: int, problem: str
) -> None:
    """The message names the key and the file, and never what is in it."""
    file = tmp_path / "password"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    with pytest.raises(UsageError, match=problem) as refused:
        read_password(f"file:{file}", {}, "deploy")
    assert str(refused.value).startswith("ssh.become_password: ")
    assert not text or text not in str(refused.value)


def test_an_unset_variable_is_named() -> None:
    """CI that lacks the secret says so before any host is asked."""
    with pytest.raises(UsageError, match="the variable SUDO is empty"):
        read_password("env:SUDO", {}, "deploy")


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt needs a terminal; without one, the message says what else there is."""

    def gone(*_: object, **__: object) -> None:
        raise OSError("no such device")

    monkeypatch.setattr("pathlib.Path.open", gone)
    with pytest.raises(UsageError, match="no terminal to ask on"):
        read_password("prompt", {}, "deploy")


def test_a_password_without_sudo_is_refused(tmp_path: Path) -> None:
    """Only sudo takes one; the target file's error names key and remedy."""
    lab = Path(__file__).parents[2] / "deploy" / "targets" / "lab.toml"
    file = tmp_path / "lab.toml"
    file.write_text(f'{lab.read_text()}\n[ssh]\nbecome = "doas"\nbecome_password = "prompt"\n')
    with pytest.raises(UsageError, match=r"ssh\.become_password.*only given to sudo.*'doas'"):
        load(file, {})
