"""Private keys in lines of text: also with the prefixes of a log, and cut off at either end."""

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
"""Lines that a key may have; what follows is a text of its own again."""
_STRANGERS = 20
"""Lines of others in a row that may stand between two lines of a key, as in the journal of several units."""
_WHOLE_LINE, _SOME_LINE = 40, 16
"""Characters of base64 that all lines of a key but its last have; and below which a line can be its last only."""


class KeyHider:
    """Takes private keys out of one text that may come in pieces, each of whole lines."""

    def __init__(self) -> None:
        self._left = 0
        self._strangers = 0
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
        """Add to the lines shown what of a line may be."""
        said, at = "", 0
        for mark in _MARK.finditer(line):
            head, begins = line[at : mark.start()], mark["begin"] is not None
            if self._left and begins and not mark[0].startswith("-----"):
                pass  # what a key begins with behind its first line
            elif not self._left:
                said += (head if begins else _before_end(head, shown)) + HIDDEN
                self.count += 1
            elif begins:
                said += HIDDEN
                self.count += 1
            elif at == 0:
                _drop_short(shown)
            self._left, self._strangers, at = (LONGEST if begins else 0), 0, mark.end()
        rest = line[at:]
        hidden = at > 0 or (self._left > 0 and self._belongs(rest))
        if not (self._left and hidden):
            said += rest
        if said or not hidden:
            shown.append(said)

    def _belongs(self, line: str) -> bool:
        """Say whether a line after the beginning of a key is a part of it."""
        token = _last_token(line)
        if _BASE64.fullmatch(token) and (token == line.strip() or _is_random(token)):
            self._strangers = 0
            if len(token) < _SOME_LINE:
                self._left = min(self._left, 2)  # for its last line but the end mark
            return True
        self._strangers += 1
        if self._strangers > _STRANGERS:
            self._left = 0
        return False


def body_at_end(text: str) -> int:
    """Return how many characters at the end of whole lines look like a key, of which only its end mark would tell."""
    lines = text.splitlines(keepends=True)[-LONGEST:]
    held = len(lines.pop()) if lines and _SHORT.fullmatch(lines[-1].strip()) else 0
    short = held
    while lines and len(token := _last_token(lines[-1])) >= _WHOLE_LINE and _BASE64.fullmatch(token):
        held += len(lines.pop())
    return held if held > short else 0


def _is_random(token: str) -> bool:
    """Say whether a token at the end of a line looks like a key's, rather than like a word or a path."""
    mixed = re.search(r"\d", token) and re.search("[a-z]", token) and re.search("[A-Z]", token)
    return token.endswith("=") or len(token) >= _WHOLE_LINE or bool(mixed and len(token) >= _SOME_LINE)


def _last_token(line: str) -> str:
    words = line.rstrip("\"',; \t").rsplit(None, 1)
    return words[-1].removesuffix("\\n") if words else ""


def _drop_short(shown: list[str]) -> None:
    """Take the last line of a key back, which alone does not look like one."""
    if shown and _BASE64.fullmatch(_last_token(shown[-1])):
        shown.pop()


def _before_end(head: str, shown: list[str]) -> str:
    """Take back what stands before the end of a key whose beginning is cut off; return what is left of its line."""
    body = max(_ONE_LINE_BODY.finditer(head), key=lambda found: found.end(), default=None) if head.strip() else None
    if body is not None and len(body[0]) >= _SOME_LINE and body.end() == len(head):
        return head[: body.start()]
    _drop_short(shown)
    while shown and len(token := _last_token(shown[-1])) >= _WHOLE_LINE and _BASE64.fullmatch(token):
        shown.pop()
    return head
