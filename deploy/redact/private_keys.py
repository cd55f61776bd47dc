"""Removes private keys from lines of text, also with log prefixes and cut off at either end."""

from __future__ import annotations

import base64
import re

HIDDEN = "[redacted: private key]"

_KINDS = ("", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED ", "PGP ")
_BLOCK = r"[A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?-----"
_PEM_IN_BASE64 = "|".join(
    base64.b64encode(f"-----BEGIN {kind}PRIVATE KEY".encode())
    .decode()
    .rstrip("=")[: 4 * ((11 + len(kind) + 11) // 3)]
    for kind in _KINDS
)
_MARK = re.compile(
    rf"(?P<begin>-----BEGIN {_BLOCK}|\bPrivate-Lines: \d+"
    rf"|(?:b3BlbnNzaC1rZXktdjE|{_PEM_IN_BASE64})[A-Za-z0-9+/=]*)|-----END {_BLOCK}|\bPrivate-MAC: [0-9a-f]+"
)
_MARKS = ("PRIVATE KEY", "Private-", "b3BlbnNzaC1rZXktdjE", "LS0tLS1CRUdJTi")
_ONE_LINE_BODY = re.compile(r"[A-Za-z0-9+/=]*(?:\\{1,8}[rn][A-Za-z0-9+/=]*)*")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{1,200}={0,3}|=[A-Za-z0-9+/]{4}")

_SHORT = re.compile(r"[A-Za-z0-9+/]{1,39}={0,2}")

LONGEST = 400
"""The most lines of a key; later lines are ordinary text again."""
_FOREIGN_LINES = 20
"""Other lines in a row that may come between two lines of a key, as in the journal of several units."""
_WHOLE_LINE, _SOME_LINE = 40, 16
"""Least characters of base64 in a full line of a key, and in any line of it but the last."""


class KeyHider:
    """Removes private keys from one text, which may come in pieces of whole lines. `count` is the number removed."""

    def __init__(self) -> None:
        self._left = 0
        self._foreign_lines = 0
        self.count = 0

    def __call__(self, text: str) -> str:
        """Return the next piece of the text without private keys."""
        if not self._left and not any(mark in text for mark in _MARKS):
            return text
        shown: list[str] = []
        ended = text.endswith("\n")
        for line in text.removesuffix("\n").split("\n"):
            if self._left:
                self._left -= 1
            self._take(line, shown)
        return "\n".join(shown) + ("\n" if ended and shown else "")

    def _take(self, line: str, shown: list[str]) -> None:
        """Add the parts of a line that may be shown to `shown`."""
        kept, at = "", 0
        for mark in _MARK.finditer(line):
            head, begins = line[at : mark.start()], mark["begin"] is not None
            if self._left and begins and not mark[0].startswith("-----"):
                pass  # the beginning of a key's body, after its first line
            elif not self._left:
                kept += (head if begins else _before_end(head, shown)) + HIDDEN
                self.count += 1
            elif begins:
                kept += HIDDEN
                self.count += 1
            elif at == 0:
                _drop_short(shown)
            self._left, self._foreign_lines, at = (LONGEST if begins else 0), 0, mark.end()
        rest = line[at:]
        hidden = at > 0 or (self._left > 0 and self._belongs(rest))
        if not (self._left and hidden):
            kept += rest
        if kept or not hidden:
            shown.append(kept)

    def _belongs(self, line: str) -> bool:
        """Whether a line after the beginning of a key is part of it."""
        token = _last_token(line)
        if _BASE64.fullmatch(token) and (token == line.strip() or _is_random(token)):
            self._foreign_lines = 0
            if len(token) < _SOME_LINE:
                self._left = min(self._left, 2)  # this was its last line; only the end mark may follow
            return True
        self._foreign_lines += 1
        if self._foreign_lines > _FOREIGN_LINES:
            self._left = 0
        return False


def body_at_end(text: str) -> int:
    """Return how many characters at the end of whole lines may be a key that only its end mark would prove."""
    lines = text.splitlines(keepends=True)[-LONGEST:]
    held = len(lines.pop()) if lines and _SHORT.fullmatch(lines[-1].strip()) else 0
    short = held
    while lines and len(token := _last_token(lines[-1])) >= _WHOLE_LINE and _BASE64.fullmatch(token):
        held += len(lines.pop())
    return held if held > short else 0


def _is_random(token: str) -> bool:
    """Whether a token at the end of a line looks like part of a key, rather than like a word or a path."""
    mixed = re.search(r"\d", token) and re.search("[a-z]", token) and re.search("[A-Z]", token)
    return token.endswith("=") or len(token) >= _WHOLE_LINE or bool(mixed and len(token) >= _SOME_LINE)


def _last_token(line: str) -> str:
    tokens = line.rstrip("\"',; \t").rsplit(None, 1)
    return tokens[-1].removesuffix("\\n") if tokens else ""


def _drop_short(shown: list[str]) -> None:
    """Remove the last line of a key, which alone does not look like one."""
    if shown and _BASE64.fullmatch(_last_token(shown[-1])):
        shown.pop()


def _before_end(head: str, shown: list[str]) -> str:
    """Remove the lines before the end of a key whose beginning is cut off; return the rest of the end's line."""
    body = max(_ONE_LINE_BODY.finditer(head), key=lambda match: match.end(), default=None) if head.strip() else None
    if body is not None and len(body[0]) >= _SOME_LINE and body.end() == len(head):
        return head[: body.start()]
    _drop_short(shown)
    while shown and len(token := _last_token(shown[-1])) >= _WHOLE_LINE and _BASE64.fullmatch(token):
        shown.pop()
    return head
