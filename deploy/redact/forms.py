"""Removes secrets of unknown value by their form, with one rule for each form.

A pattern is tried only at the form's markers, which are fast to find. Every quantifier is bounded, possessive or
stopped by the next piece, so that the time grows with the length of the text and no faster.
"""

from __future__ import annotations

import functools
import heapq
import re
from collections.abc import Iterator

import msgspec


class Form(msgspec.Struct, frozen=True):
    """One form of secret.

    Attributes:
        name: The name under which the record counts such secrets.
        markers: Texts with which the patterns begin; in lower case, unless the case matters.
        patterns: The patterns, of which the first match counts; its group `x` is removed.
        shown: The replacement.
        any_case: Whether markers and patterns apply to the text in lower case.
    """

    name: str
    markers: tuple[str, ...]
    patterns: tuple[str, ...]
    shown: str
    any_case: bool = True

    def take_out(self, text: str) -> tuple[str, int]:
        """Return a text without such secrets, and the number of secrets removed."""
        searched = _lower(text) if self.any_case else text
        markers = [marker for marker in self.markers if marker in searched]
        if not markers:
            return text, 0
        patterns = [_compiled(pattern) for pattern in self.patterns]
        kept: list[str] = []
        at = 0
        last = -1
        for place in heapq.merge(*(_places(searched, marker) for marker in markers)):
            if place < at or place == last:
                continue
            last = place
            secret = next((match for pattern in patterns if (match := pattern.match(searched, place))), None)
            if secret is not None:
                kept += [text[at : secret.start("x")], self.shown]
                at = secret.end("x")
        return ("".join([*kept, text[at:]]), len(kept) // 2) if kept else (text, 0)


def _lower(text: str) -> str:
    """Return a text of the same length with ASCII letters in lower case."""
    if text.isascii():
        return text.lower()
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def _places(text: str, marker: str) -> Iterator[int]:
    """Yield every position of a marker, lazily: there may be as many as characters."""
    at = text.find(marker)
    while at >= 0:
        yield at
        at = text.find(marker, at + 1)


def _form(name: str, markers: str, *patterns: str, shown: str = "[redacted]", any_case: bool = True) -> Form:
    return Form(name, tuple(markers.split()), patterns, shown, any_case)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern when a marker of it is first seen: compiling all takes as long as connecting to a host."""
    return re.compile(pattern)


_NO_VALUE = r"\[redacted|\$|<|~/|/(?:run|etc|var|nix|root|home|opt|proc|tmp|dev|usr)/|\*+(?![^\s\"'\\])"
"""Beginnings that are not a value: a reference to one, or a secret that was removed already."""
_NO_WORD = (
    r"(?!" + _NO_VALUE + r"|(?:none|null|nil|true|false|yes|no|not|empty|unset|set|required|missing|invalid|incorrect"
    r"|wrong|expired|unknown|failed|is|was|must|the|for|to|or|and|with|from|of|in|authentication|accepted|denied"
    r"|rejected|disabled|enabled|changed|prompt|hidden|option|instead)(?:[\s\"',;.)\]]|\Z))"
)
"""Not followed by a word that logs write about a password."""
_SECRETISH = r"(?=[^\s\"',;]{0,80}?[0-9!#$%&*+=?@^_~-])"
"""Followed by more than letters, so that words of a sentence do not match."""
_IS = r"[\"'\\]*+[ \t]*+(?:=>|:=|[:=])[ \t]*+"
# Until 3.11.5, Python does not go back to where a possessive round of several pieces began.
_OPENED = r"(?:[\s\"'\\]|\[(?!redacted))*(?![\s\"'\\\[])"
_QUOTED = rf"(\\{{0,7}}[\"'])(?!{_NO_VALUE}|(?:none|null|true|false)\1)(?P<x>[^\n]{{4,300}}?)\1"
_BARE = r"[\"'\\]*+" + _NO_WORD + r"(?![:=])"
_PASSWORD = r"pass(?:word|wd|phrase)"  # noqa: S105 - a pattern
_KEY_OF = "".join(f"|(?<={kind}{dash})" for kind in ("api", "access", "secret", "private") for dash in ("", "_", "-"))
_KEY_OF += "".join(f"|(?<={kind}_)" for kind in ("signing", "encryption", "account"))
_KEY = rf"(?:secret|token|(?:{_KEY_OF[1:]})key)"
_ENDS = "|".join(
    f"(?<={word})"
    for word in (
        *("password", "passwd", "passphrase", "secret", "token"),
        *(f"{kind}{dash}key" for kind in ("api", "access", "secret", "private") for dash in ("", "_", "-")),
        *(f"{kind}_key" for kind in ("signing", "encryption", "account")),
    )
)
_ENDS = f"(?:{_ENDS})"
"""After the name of an option whose value is a secret."""

_TOKENS = (
    r"(?<![A-Za-z0-9_])(?P<x>gh[oprsu]_[A-Za-z0-9]{20,}"
    r"|github_pat_[A-Za-z0-9_]{20,}"
    r"|gl(?:pat|dt|rt|ptt|cbt|ft|soat|agent|oas|imt)-[A-Za-z0-9_.-]{16,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}"
    r"|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|dckr_pat_[A-Za-z0-9_-]{20,}"
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|sk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,}"
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}"
    r"|hv[sbr]\.[A-Za-z0-9_-]{20,}|dop_v1_[0-9a-f]{64}|tskey-[a-z]{2,10}-[A-Za-z0-9-]{10,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
    r"|eyJ[A-Za-z0-9_-]{8,800}+\.eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]+){1,3})"
)
_TOKENS_BEGIN = (
    "gho_ ghp_ ghr_ ghs_ ghu_ github_pat_ glpat- gldt- glrt- glptt- glcbt- glft- glsoat- glagent- gloas- glimt- xox "
    "xapp- npm_ pypi- dckr_pat_ sk_live_ sk_test_ rk_live_ rk_test_ sk- AIza ya29. "
    "hvs. hvb. hvr. dop_v1_ tskey- SG. eyJ"
)

FORMS: tuple[Form, ...] = (
    _form(
        "aws-secret",
        "AKIA ASIA",
        r"(?:AKIA|ASIA)[A-Z0-9]{16}\b[^A-Za-z0-9]{1,8}(?:[A-Za-z_]{1,30}[^A-Za-z0-9]{1,8})?"
        r"(?P<x>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        shown="[redacted: AWS secret]",
        any_case=False,
    ),
    _form(
        "aws-access-key",
        "AKIA ASIA",
        r"\b(?P<x>(?:AKIA|ASIA)[A-Z0-9]{16})\b",
        shown="[redacted: AWS access key]",
        any_case=False,
    ),
    _form(
        "aws-secret",
        "secret session security",
        r"(?:secret_?access_?key|(?:session|security)[_-]?token)\W{1,6}(?P<x>[a-z0-9/+=]{16,})",
        shown="[redacted: AWS secret]",
    ),
    _form(
        "aws-secret",
        "IQoJb3JpZ2lu FwoGZXIvYXdz FQoGZXIvYXdz",
        r"\b(?P<x>(?:IQoJb3JpZ2lu|F[wQ]oGZXIvYXdz)[A-Za-z0-9/+=]{40,})",
        shown="[redacted: AWS secret]",
        any_case=False,
    ),
    _form(
        "authorization",
        "authorization bearer",
        rf"\bauthorization{_IS}{_OPENED}(?:digest|hawk|oauth|aws4-hmac-sha256)\s++(?P<x>(?!\[redacted)[^\n]{{8,}})",
        rf"\b(?:authorization{_IS}{_OPENED}(?:(?:basic|bearer|negotiate|token|apikey)\s+)?+|bearer\s+)"
        r"(?P<x>[a-z0-9._~+/=-]{8,})",
        shown="[redacted: credentials]",
    ),
    _form("token", _TOKENS_BEGIN, _TOKENS, shown="[redacted: token]", any_case=False),
    _form(
        "token",
        "hooks.slack.com/ /api/webhooks/",
        r"(?:hooks\.slack\.com/[a-z]{3,20}/|/api/webhooks/)(?P<x>[a-z0-9/_-]{10,})",
        shown="[redacted: token]",
    ),
    _form(
        "private-key",
        "AGE-SECRET-KEY-",
        r"(?P<x>AGE-SECRET-KEY-[0-9A-Z-]{20,})",
        shown="[redacted: private key]",
        any_case=False,
    ),
    _form(
        "private-key",
        ":",  # of a Nix binary cache: its name, and 64 bytes
        r"(?<!sha512):(?P<x>[A-Za-z0-9+/]{86}==)(?![A-Za-z0-9+/=])",
        shown="[redacted: private key]",
        any_case=False,
    ),
    _form(
        "password-hash",
        "$1$ $2a$ $2b$ $2y$ $5$ $6$ $7$ $y$ $gy$ $argon2 $scrypt$ $pbkdf2",
        r"(?P<x>\$(?:1|2[aby]|5|6|7|y|gy|argon2(?:id|i|d)|scrypt|pbkdf2[a-z0-9-]{0,12})\$[./a-z0-9$=,+_-]{16,})",
        shown="[redacted: password hash]",
    ),
    _form(
        "cookie",
        "cookie",
        rf"cookie{_IS}{_OPENED}(?P<x>[^\s=]{{1,100}}=[^\n\"]{{4,}})",
        shown="[redacted: cookie]",
    ),
    _form(
        "password",
        "password passwd passphrase",
        rf"{_PASSWORD}{_IS}{_QUOTED}",
        rf"{_PASSWORD}={_BARE}(?P<x>[^\s&\"',;]+)",
        rf"{_PASSWORD}{_IS}{_BARE}(?P<x>[^\s&\"',;]{{4,}})",
    ),
    _form(
        "password",
        "secret token key",
        rf"{_KEY}{_IS}{_QUOTED}",
        rf"{_KEY}(?:=|[\"'\\]++(?::|=>|=)[ \t]*+){_BARE}(?P<x>[^\s&\"',;]{{4,}})",
        rf"{_KEY}{_IS}{_BARE}{_SECRETISH}(?P<x>[^\s&\"',;]{{8,}})",
    ),
    _form(
        "password",
        "--",
        rf"(?<!-)--[a-z][a-z_-]{{2,48}}+{_ENDS}[ \t]++[\"'\\]*+{_NO_WORD}(?!-)(?P<x>[^\s&\"',;]{{4,}})",
    ),
    _form(
        "password",
        "login",  # as in .netrc
        r"\blogin[ \t]++[^\s]{1,200}\s{1,20}password[ \t]++(?P<x>(?!\[redacted)\S{1,200})",
    ),
    _form(
        "url-password",
        "://",
        r"(?<=[a-z0-9+.-])://[^/\s:@]*+:(?P<x>(?!\[redacted)[^/\s\"'<>]+)@",
        r"(?:(?<=http)|(?<=https))://(?=[^/\s:@]{0,80}\d)(?P<x>[a-z0-9_.~%-]{16,200})@",
    ),
    _form(
        "url-password",
        "%3a%2f%2f",
        r"%3a%2f%2f[^\s%/:@&]{0,100}(?:%3a|:)(?P<x>(?!\[redacted)[^\s/&\"'<>]{1,200}?)%40",
    ),
    _form(
        "url-signature",
        "?sig= &sig= signature=",
        r"(?:[?&]sig|(?<=[?&])signature|(?<=-)signature)=(?P<x>(?!\[redacted)[^\s&\"'<>]{8,})",
    ),
)

_ANY_CASE = tuple(dict.fromkeys(marker for form in FORMS if form.any_case for marker in form.markers))
_ONE_CASE = tuple(dict.fromkeys(marker for form in FORMS if not form.any_case for marker in form.markers))


def markers_in(text: str) -> set[str]:
    """Return the markers that a text has. Most texts have none, and only forms with one of them need be tried."""
    lowered = _lower(text)
    return {marker for marker in _ANY_CASE if marker in lowered} | {marker for marker in _ONE_CASE if marker in text}
