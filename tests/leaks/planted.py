"""Secrets of many kinds, as hosts, tools and users write them, with the part that must never be shown."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import textwrap
from urllib.parse import quote

NAMED = "Tr0ub4dor&3 \"zw\u00f6lf\" <x>/y+z='q'"
"""The value of a variable that the target file names; with all that escaping can do something to."""
TOOL = "AgAAAJob9Token4711Zz"
"""The value of a variable that a CI service sets."""
_TOOL_IN_BASE64 = base64.b64encode(TOOL.encode()).decode()
PASSWORD = "c0rrect-h0rse"  # noqa: S105 - planted
"""A password in the target file's repository URL."""
BRANCH = "feature/ghp_16C7e42F292c6912E7710c838347Ae178B4a"
"""What a user asks for."""

_BODY = [
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW",
    "QyNTUxOQAAACBsrH+mWbqyrqh6pgwBcG9SLy4cTUXGZ7Tc1L3n0mJ1KAAAAJhV0QrOVdEK",
    "zgAAAAtzc2gtZWQyNTUxOQAAACBsrH+mWbqyrqh6pgwBcG9SLy4cTUXGZ7Tc1L3n0mJ1KA",
    "AAAEDmS0oLw2nA",
]
_RSA = [line.replace("b3BlbnNzaC1rZXktdjE", "MIIEowIBAAKCAQEAx7c") for line in _BODY]
KEY = "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *_BODY, "-----END OPENSSH PRIVATE KEY-----"])
_JOURNAL_KEY = "\n".join(f"Nov 24 04:31:20 a app[410]: {line}" for line in KEY.split("\n"))
_CUT_AT_START = "\n".join(["x", *_RSA[1:], "-----END RSA PRIVATE KEY-----"])
_CUT_AT_END = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *_RSA[:3]])
_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
_AWS = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKE"
_SESSION = "IQoJb3JpZ2luX2VjEOr//////////wEaCWV1LXdlc3QtMSJHMEUCIQDm1" * 2

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "private key": (KEY, tuple(_BODY)),
    "private key in a journal": (_JOURNAL_KEY, tuple(_BODY)),
    "private key in JSON": (json.dumps({"key": KEY}), tuple(_BODY)),
    "private key without its beginning": (_CUT_AT_START, tuple(_RSA[1:])),
    "private key without its end": (_CUT_AT_END, tuple(_RSA[:3])),
    "private key in base64": (
        base64.b64encode(KEY.encode()).decode(),
        (base64.b64encode(KEY.encode()).decode()[60:],),
    ),
    "age key": ("AGE-SECRET-KEY-1QL3Z7HJY54PW3HYWW5AYYFG7ZQGVC7W3J2ELW8ZMRJ2KG5SFN9AQ", ("QL3Z7HJY54PW3HYWW5A",)),
    "AWS key pair": (f"AKIAIOSFODNN7EXAMPLE {_AWS}", ("IOSFODNN7", _AWS[8:])),
    "AWS secret": (f"aws_secret_access_key = {_AWS}", (_AWS[8:],)),
    "AWS session": (f"export X={_SESSION}", (_SESSION[12:],)),
    "bearer token": ("> Authorization: Bearer mF_9.B5f-4.1JqM", ("B5f-4",)),
    "basic authorization": ("'authorization': 'Basic dXNlcjpodW50ZXIy'", ("dXNlcjpodW50ZXIy",)),
    "password in a URL": ("fetch https://me:hunt3rTwo@example.org/r.git", ("hunt3rTwo",)),
    "token as a user": ("fetch https://0123456789abcdef0123@example.org/r.git", ("0123456789abcdef0123",)),
    "GitHub token": ("remote ghp_0A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r", ("0A1b2C3d4E5f",)),
    "GitLab token": ("token glpat-Zz9-xYw8Vu7Ts6Rq5Po4", ("Zz9-xYw8",)),
    "Slack token": ("slack xoxb-123456789012-abcdefABCDEF", ("123456789012-abc",)),
    "JWT": (f"jwt {_JWT}", ("eyJzdWIi", "dozjgNry")),
    "password in an assignment": ("DB_PASSWORD=sw0rdf1sh, x", ("sw0rdf1sh",)),
    "secret in JSON": ('{"client_secret": "a b,c&d3"}', ("b,c&d3",)),
    "token in YAML": ("auth_token: 7f3a9c-Qx81", ("7f3a9c",)),
    "option": ("curl --proxy-password s3same-0pen", ("s3same",)),
    "cookie": ("Set-Cookie: sid=38afes7a8; HttpOnly", ("38afes7a8",)),
    "password hash": (f"root:$6$rounds=5000$usesomesalt${'kq1w' * 12}:", ("kq1wkq1w",)),
    ".netrc": ("machine h login me password 0penup", ("0penup",)),
    "presigned URL": ("https://b.s3.example.org/k?X-Amz-Signature=9f86d081884c7d65", ("9f86d081",)),
    "Nix signing key": (f"cache-1:{'Ab3/' * 21}Zz==", ("Ab3/Ab3/",)),
}

NAMED_FORMS = (
    NAMED,
    json.dumps(NAMED)[1:-1],
    json.dumps(json.dumps(NAMED)[1:-1])[1:-1],
    quote(NAMED, safe=""),
    re.sub("%..", lambda code: code[0].lower(), quote(NAMED)),
    html.escape(NAMED),
    shlex.quote(NAMED),
    repr(NAMED)[1:-1],
    base64.b64encode(NAMED.encode()).decode(),
    base64.b64encode(f"me:{NAMED}".encode()).decode(),
    base64.urlsafe_b64encode(f"x{NAMED}".encode()).decode(),
    "\n".join(textwrap.wrap(base64.b64encode(NAMED.encode()).decode(), 24)),
    NAMED.encode().hex(),
    f"{NAMED[:14]}\\\n    {NAMED[14:]}",
    f"Nov 24 04:31:20 a app[410]: {NAMED[:11]}\nNov 24 04:31:20 a app[410]: {NAMED[11:]}",
)
"""The named value in every spelling that a host may echo it in."""

NAMED_NEEDLES = (
    *("Tr0ub4dor", "54723075623464", "VHIwdWI0ZG9yJjMg", base64.b64encode(f"me:{NAMED}".encode()).decode()[6:24]),
    base64.urlsafe_b64encode(f"x{NAMED}".encode()).decode()[4:24],
    *("y+z=", "y%2Bz", "lf%22", 'lf"', "lf\\", "lf&quot;"),
)

ALL = "\n".join(
    [*(f"{kind}: {said}" for kind, (said, _) in KINDS.items()), *NAMED_FORMS, TOOL, _TOOL_IN_BASE64, PASSWORD, BRANCH]
)
"""Every secret in every form, as one text of many lines."""

NEEDLES = tuple(
    dict.fromkeys(
        [
            *(needle for _, needles in KINDS.values() for needle in needles),
            *NAMED_NEEDLES,
            *(TOOL, _TOOL_IN_BASE64[:20], PASSWORD, BRANCH[12:]),
        ]
    )
)
"""What must not be found anywhere."""


def found_in(text: str) -> list[str]:
    """Return what is found in a text that must not be, also behind the escapes of HTML and JSON."""
    forms = {text, html.unescape(text)}
    forms |= {form.replace("\\n", "\n").replace('\\"', '"') for form in forms}
    return [needle for needle in NEEDLES if any(needle in form for form in forms)]
