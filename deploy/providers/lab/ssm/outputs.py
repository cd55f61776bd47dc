"""Makes the agent's reply of a script's end, by its source and a measured run: status, code, output (pure)."""

from __future__ import annotations

import json

import msgspec

AGENT_KEPT, PLUGIN_KEPT = 24_000, 2_500
"""Bytes that the agent keeps of each stream, and of both together (ListCommandInvocations)."""
STDERR_KEPT = 8_000
"""Characters of standard error that AWS returns of what the agent sent (its documentation); it adds no mark."""
REPLY_KEPT = 120_000
"""Bytes of JSON above which the agent's websocket accepts no reply."""
CUT = b"--output truncated--"
_TITLE, _STDOUT_CUT, _STDERR_CUT = (
    b"\n----------ERROR-------\n",
    b"\n---Output truncated---",
    b"\n---Error truncated----",
)
KILLED = 137
"""The exit code of a killed script; a script that itself ends with it counts as killed."""
REBOOT = 194
"""The exit code with which a script asks for a reboot, after which it runs again from its start."""
SUCCEED, FAIL = 168, 169
"""The exit codes with which a script ends its whole document as success or failure."""
_SKIPPED = "Further document steps will be skipped."


class Finished(msgspec.Struct, frozen=True):
    """How a script ended.

    Attributes:
        code: Its exit code; negative if its shell ended by that signal.
        stdout: Its standard output.
        stderr: Its standard error.
        late: Whether the time limit was over.
        problem: Why it did not start, in Go's wording.
    """

    code: int
    stdout: bytes
    stderr: bytes
    late: bool = False
    problem: str = ""


class Reply(msgspec.Struct, frozen=True):
    """A reply of the agent.

    Attributes:
        status: As AWS spells it.
        details: The status details, as AWS spells them.
        code: The response code.
        stdout: Standard output, as the agent cuts it.
        stderr: Standard error, as the agent cuts it.
        both: Both streams, as in ListCommandInvocations.
    """

    status: str
    details: str
    code: int
    stdout: str
    stderr: str
    both: str = ""

    @property
    def size(self) -> int:
        """Its size in bytes, as JSON."""
        # Go also escapes `<`, `>` and `&`.
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
        stdout = cut(stdout, AGENT_KEPT - len(added)) + added
        stderr = b"" if code == SUCCEED else stderr + added
    status = "Success" if code == SUCCEED else "Failed"
    return _reply((status, status), code, stdout, stderr)


def _reply(ended: tuple[str, str], code: int, stdout: bytes, stderr: bytes) -> Reply:
    return Reply(
        *ended,
        code,
        text_of(cut(stdout, AGENT_KEPT)),
        text_of(cut(stderr, AGENT_KEPT)),
        text_of(cut_together(stdout, stderr)),
    )


def cut(output: bytes, limit: int) -> bytes:
    """Return the kept part of an output; an output of exactly `limit` bytes is cut already."""
    return output if len(output) < limit else output[: limit - len(CUT)] + CUT


def cut_together(stdout: bytes, stderr: bytes) -> bytes:
    """Return the kept part of both streams: the longer one is cut, or both alike if each has more than half."""
    title = _TITLE if stderr else b""
    room = PLUGIN_KEPT - len(title)
    if len(stdout) + len(stderr) < room:
        return stdout + title + stderr
    half = room // 2
    if len(stdout) > half and len(stderr) > half:
        each = (room - len(_STDOUT_CUT) - len(_STDERR_CUT)) // 2
        return stdout[:each] + _STDOUT_CUT + title + stderr[:each] + _STDERR_CUT
    if len(stdout) <= half:
        return stdout + title + stderr[: room - len(_STDERR_CUT) - len(stdout)] + _STDERR_CUT
    return stdout[: room - len(_STDOUT_CUT) - len(stderr)] + _STDOUT_CUT + title + stderr


def text_of(output: bytes) -> str:
    """Return bytes as in Go's JSON: each byte that is not UTF-8 becomes U+FFFD."""
    text = output.decode("utf-8", "surrogateescape")
    return "".join("\ufffd" if "\udc80" <= character <= "\udcff" else character for character in text)


def _signal(number: int) -> str:
    """Return Go's name of a signal."""
    return "signal: " + {1: "hangup", 2: "interrupt", 9: "killed", 15: "terminated"}.get(number, str(number))
