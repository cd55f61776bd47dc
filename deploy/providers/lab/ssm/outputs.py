"""What the agent makes of a script's end, as its source and a measured run have it: status, code and output. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

STDOUT_KEPT, STDERR_KEPT, PLUGIN_KEPT = 24_000, 8_000, 2_500
"""Bytes that are kept of a command's output (GetCommandInvocation; ListCommandInvocations)."""
REPLY_KEPT = 120_000
"""Bytes of JSON above which the agent's websocket takes no reply."""
CUT, PLUGIN_CUT = b"--output truncated--", b"\n---Output truncated---"
KILLED = 137
"""The exit code of a script that was killed; a script that itself ends with it is taken for one."""
REBOOT = 194
"""The exit code with which a script asks for a reboot, after which it runs again from its start."""
SUCCEED, FAIL = 168, 169
"""The exit codes with which a script ends its whole document, well or badly."""
_SKIPPED = "Further document steps will be skipped."


@dataclass(frozen=True)
class Finished:
    """How a script ended.

    Attributes:
        code: Its exit code; negative if its shell ended by that signal.
        stdout: What it printed.
        stderr: Likewise.
        late: The time limit was over.
        problem: Why it did not start, in the words of Go.
    """

    code: int
    stdout: bytes
    stderr: bytes
    late: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Reply:
    """What the agent replies.

    Attributes:
        status: As AWS spells it.
        details: Likewise.
        code: The response code.
        stdout: Standard output, cut.
        stderr: Standard error, cut.
        both: Both as ListCommandInvocations has them.
    """

    status: str
    details: str
    code: int
    stdout: str
    stderr: str
    both: str = ""

    @property
    def size(self) -> int:
        """Bytes of it as JSON."""
        # Go escapes `<`, `>` and `&`, too.
        text = json.dumps([self.stdout, self.stderr, self.both])
        return len(text) + 5 * sum(text.count(character) for character in "<>&")


def reply_to(finished: Finished, *, cancelled: bool) -> Reply:
    """Make the agent's reply of a script's end."""
    code = -1 if finished.code < 0 else finished.code
    stdout, stderr = finished.stdout, finished.stderr
    if cancelled or finished.late or code == KILLED:
        ended = ("Cancelled", "Cancelled") if cancelled else ("TimedOut", "ExecutionTimedOut")
        return _reply(ended, KILLED, stdout, stderr)
    if code == 0:
        return _reply(("Success", "Success"), 0, stdout, stderr)
    why = finished.problem or (_signal(-finished.code) if code == -1 else f"exit status {code}")
    stderr += f"failed to run commands: {why}".encode()
    if code in {SUCCEED, FAIL}:
        how = "succeeded" if code == SUCCEED else "Failed"
        added = f"\nStep exited with code {code}. Therefore, marking step as {how}. {_SKIPPED}".encode()
        stdout = cut(stdout, STDOUT_KEPT - len(added)) + added
        stderr = b"" if code == SUCCEED else stderr + added
    status = "Success" if code == SUCCEED else "Failed"
    return _reply((status, status), code, stdout, stderr)


def _reply(ended: tuple[str, str], code: int, stdout: bytes, stderr: bytes) -> Reply:
    both = stdout + (b"\n----------ERROR-------\n" + stderr if stderr else b"")
    return Reply(
        *ended,
        code,
        text_of(cut(stdout, STDOUT_KEPT)),
        text_of(cut(stderr, STDERR_KEPT)),
        text_of(cut(both, PLUGIN_KEPT, PLUGIN_CUT)),
    )


def cut(output: bytes, limit: int, mark: bytes = CUT) -> bytes:
    """Return what is kept of an output; one of exactly `limit` bytes is cut already."""
    return output if len(output) < limit else output[: limit - len(mark)] + mark


def text_of(output: bytes) -> str:
    """Return bytes as Go's JSON has them: each byte that is no UTF-8 becomes U+FFFD."""
    text = output.decode("utf-8", "surrogateescape")
    return "".join("\ufffd" if "\udc80" <= character <= "\udcff" else character for character in text)


def _signal(number: int) -> str:
    """Name a signal as Go does."""
    return "signal: " + {1: "hangup", 2: "interrupt", 9: "killed", 15: "terminated"}.get(number, str(number))
