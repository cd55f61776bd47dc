"""Secrets and terminal codes are taken out of text; everything else stays."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from switchproof.deploy.redact.private_keys import KeyHider
from switchproof.deploy.redact.redactor import Lines, Redactor, plain
from tests.answers import SECTIONS, packed, payload

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5v\nbmU=\n-----END OPENSSH PRIVATE KEY-----"
AWS = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN"
HUB = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"

secrets = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=6, max_size=20).filter(
    lambda text: plain(text) == text and not any(part in "[redacted: TOKEN]" for part in (text, text.lower()))
)


@pytest.mark.parametrize(
    ("text", "hidden", "shown"),
    [
        (f"a\n{KEY}\nb", "b3BlbnNz", "a\n[redacted: private key]\nb"),
        (KEY[:70], "b3BlbnNz", "[redacted: private key]"),
        (json.dumps({"key": KEY, "next": 1}), "b3BlbnNz", '{"key": "[redacted: private key]", "next": 1}'),
        (KEY.replace("OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"), "b3BlbnNz", "[redacted: private key]"),
        (KEY.replace("OPENSSH ", ""), "b3BlbnNz", "[redacted: private key]"),
        ("id AKIAIOSFODNN7EXAMPLE.", "IOSFODNN", "id [redacted: AWS access key]."),
        ("ASIAIOSFODNN7EXAMPLE", "IOSFODNN", "[redacted: AWS access key]"),
        (f"aws_secret_access_key = {AWS}", "wJalr", "aws_secret_access_key = [redacted: AWS secret]"),
        (f"AWS_SESSION_TOKEN={AWS}", "wJalr", "AWS_SESSION_TOKEN=[redacted: AWS secret]"),
        (f'"SecretAccessKey" : "{AWS}",', "wJalr", '"SecretAccessKey" : "[redacted: AWS secret]",'),
        (json.dumps(json.dumps({"SecretAccessKey": AWS})), "wJalr", "[redacted: AWS secret]"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNl", "Authorization: Basic [redacted: credentials]"),
        ("authorization: abcdefgh12", "abcdefgh", "authorization: [redacted: credentials]"),
        ("> Authorization: token abcdefgh12", "abcdefgh", "> Authorization: token [redacted: credentials]"),
        ('{"Authorization": "Basic dXNlcjpwYXNz"}', "dXNl", '{"Authorization": "Basic [redacted: credentials]"}'),
        ("a bearer abcdefgh.12-_~", "abcdefgh", "a bearer [redacted: credentials]"),
        (f"git clone https://{HUB}@github.com/o/r", "16C7", "git clone https://[redacted: token]@github.com/o/r"),
        (f"saw session={JWT}; x", "eyJ", "saw session=[redacted: token]; x"),
        ("fetch https://me:hunter2@example.org/r.git", "hunter2", "fetch https://me:[redacted]@example.org/r.git"),
        ("HTTPS://me:p@ss:w0rd@example.org", "w0rd", "HTTPS://me:[redacted]@example.org"),
        ("https://:hunter2@example.org", "hunter2", "https://:[redacted]@example.org"),
        ("postgresql+psycopg://u:hunter2@db:5432/x", "hunter2", "postgresql+psycopg://u:[redacted]@db:5432/x"),
        ("Environment=DB_PASSWORD=hunter2 X=1", "hunter2", "Environment=DB_PASSWORD=[redacted] X=1"),
        ("--api-key=1 PASSWORD='hunter2'", "hunter2", "--api-key=1 PASSWORD='[redacted]'"),
        ("bear\x1b[31mer \x1b[0mabcd\x1b[1mefgh1234", "efgh", "bearer [redacted: credentials]"),
    ],
)
def test_secrets_that_can_be_told_are_taken_out(text: str, hidden: str, shown: str) -> None:
    """Keys, tokens, credentials and passwords of known forms are replaced by what they were, and counted."""
    redact = Redactor()
    assert hidden not in redact(text)
    assert shown in redact(text)
    assert redact.counts.total() >= 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "error: builder for '/nix/store/0q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h-x.drv' failed with exit code 1",
        "fetching git+ssh://git@github.com/o/r.git at https://example.org:8443/a?b=c@d",
        '{"url": "http://127.0.0.1:8080/health", "mail": "a@example.org"}',
        "http://127.0.0.1:9090/login answered; see ops@example.org",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q host",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "Authorization failed; the bearer is known; tokens: 3; password: none",
        "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d\tΩ → ✓ 漢字 🚀\n",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    """Store paths, addresses, public keys, commits and ordinary words stay as they are."""
    redact = Redactor([("TOKEN", "s3cr3t"), ("SHORT", "a"), ("EMPTY", ""), ("BLANK", "\n")])
    assert redact(text) == text
    assert not redact.counts


@given(secrets, st.text(max_size=40), st.text(max_size=40))
def test_given_secret_is_never_shown(secret: str, before: str, after: str) -> None:
    """A secret's value is taken out wherever it stands, in plain text, JSON or a URL."""
    redact = Redactor([("TOKEN", secret)])
    spellings = {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1].replace("/", "\\/").replace("<", "\\u003C"),
        quote(secret, safe=""),
        quote(quote(secret, safe=""), safe=""),
        "".join(f"%{byte:02X}" for byte in secret.encode()),
        "".join(f"%25{byte:02x}" for byte in secret.encode()),
        "".join(f"\\x{byte:02x}" for byte in secret.encode()),
        secret.encode().hex(":"),
        secret.encode().hex(":").upper(),
    }
    for spelled in spellings:
        shown = redact(f"{before}\n{spelled}\n{after}")
        assert spelled not in shown or spelled in before + after
        assert "[redacted: TOKEN]" in shown
    assert redact.counts["TOKEN"] >= len(spellings)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_secret_of_several_lines_is_hidden_line_by_line(ends: str) -> None:
    """A secret of several lines is taken out whole, and where a log shows only one of its lines."""
    redact = Redactor([("JSON_KEY", ends.join(["first-line", "}", "second-line"]) + ends)])
    assert redact("x first-line\n}\nsecond-line y }") == "x [redacted: JSON_KEY] y }"
    assert redact("unit[1]: second-line }") == "unit[1]: [redacted: JSON_KEY] }"


def test_longer_secret_goes_first() -> None:
    """A secret that begins like another one is taken out whole."""
    redact = Redactor([("SHORT", "abcd"), ("LONG", "abcd-efgh")])
    assert redact("abcd-efgh abcd") == "[redacted: LONG] [redacted: SHORT]"
    assert redact.counts == {"LONG": 1, "SHORT": 1}


def test_name_of_a_secret_is_only_a_name() -> None:
    """A name that looks like a reference of a regular expression is shown as it is."""
    assert Redactor([(r"\1\g<0>", "s3cr3t")])("s3cr3t") == r"[redacted: \1\g<0>]"


@given(st.text(st.sampled_from("\x1b[]0;31mPX^\\\x07\x9b\x9d\r\n\t\b\u202e\u2066\u200b\ud800ab é"), max_size=60))
def test_plain_text_is_plain(text: str) -> None:
    """No control character but line feed and tab, no mark that reorders and no half character is left."""
    shown = plain(text)
    assert all(char in "\n\t" or (char.isprintable() or char == "\xa0") for char in shown)
    shown.encode()
    assert plain(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "link"),
        ("10%\r50%\r100%\r\ndone", "10%\n50%\n100%\ndone"),
        ("\x1b]0;title never ends\nthe error", "\nthe error"),
        ("\x1b\x1b[0m[31m", "\N{REPLACEMENT CHARACTER}[31m"),
        ("a\x00b\x08c\x9b31m", "a\ufffdb\ufffdc\ufffd31m"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
    ],
)
def test_terminal_codes_are_taken_out(text: str, shown: str) -> None:
    """Colours, titles, links, redrawn lines and reordering marks are gone, and no line goes with them."""
    assert plain(text) == shown


@given(
    st.lists(
        st.sampled_from(
            [
                KEY,
                KEY[:50],
                AWS,
                JWT,
                HUB,
                "AKIAIOSFODNN7EXAMPLE",
                "https://u:p@h",
                "https://",
                "u:",
                "p@",
                "Authorization: ",
                "negotiate ",
                "bearer ",
                "aws_secret_access_key=",
                "password=",
                '"',
                " ",
                "\n",
                "\\",
                "tok-EN!",
                "abcdefgh1",
            ]
        )
    ).map("".join)
)
@example("password=\\abcdefgh1")
@example("Authorization: negotiate abcdefgh1")
@example("https://u:p@h password='abcdefgh1'")
def test_redacting_twice_is_redacting_once(text: str) -> None:
    """What was redacted already is not changed any more."""
    redact = Redactor([("TOKEN", "tok-EN!")])
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "piece",
    [
        *("a.", "a-", "://", "x://x:", "-----BEGIN ", "eyJ", "Authorization: ", "bearer ", "=", "\x1b]", "p="),
        *("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "A" * 64 + "\n", "\n", "AKIAIOSFODNN7EXAMPLE "),
        *("password", 'password="', "token: ", "token='", "--token ", "secret\\", "login password ", "cookie: "),
        *(
            "%3a%2f%2f",
            "https://a1",
            "x:x@",
            "$6$",
            "key",
            ":" + "A" * 86,
            "hooks.slack.com/",
            "tok-EN!tok-EN",
            "tok\n",
        ),
        *(":", "--", "--a", "--token", "-eyJabc", "74:6f:", "%2574", "\\x74"),
        *("t\n    ", "dG9rLUVO", "&sig=", "xox", "LS0tLS1CRUdJTi", "\\", " ", '"'),
    ],
)
def test_no_text_takes_longer_than_its_length(piece: str) -> None:
    """A text made to keep the rules busy is redacted in time that grows as its length does."""
    redact = Redactor([("TOKEN", "tok-EN!tok-EN?"), ("OTHER", "x://x:!x://y"), ("BLANK", "a" + " " * 12 + "b\\\\")])
    ratios = []
    for _ in range(TRIES):
        short = best_of_three(redact, piece * (20_000 // len(piece)))
        long = best_of_three(redact, piece * (160_000 // len(piece)))
        ratios.append(long / max(short, 0.0005))
        if (
            ratios[-1] < 3 * 8
        ):  # eight times the text; by squares it were sixty-four times the time, whatever the machine
            return
    pytest.fail(f"eight times the text takes {ratios} times as long")


@pytest.mark.parametrize("piece", [":", "--", "-", "--a", "-eyJabc", "key='", "%3a%2f%2f:"])
def test_hostile_text_costs_little_more_than_a_log(piece: str) -> None:
    """A text made of what the rules look for takes some times as long as a journal does, and little memory."""
    redact = Redactor([("TOKEN", "tok-EN!tok-EN?")])
    line = "Nov 26 12:00:01 host nix[12]: copying path '/nix/store/abc-foo-1.2' from https://cache.example:443\n"
    size = 120_000
    ratios = []
    for _ in range(TRIES):
        usual = best_of_three(redact, line * (size // len(line)))
        ratios.append(best_of_three(redact, piece * (size // len(piece))) / max(usual, 0.002))
        if ratios[-1] < 40:
            return
    pytest.fail(f"the hostile text takes {ratios} times as long")


TRIES = 5
"""Comparisons of which one has to hold: on a busy machine times differ by chance, but not five times in a row."""


def best_of_three(redact: Redactor, text: str) -> float:
    times = []
    for _ in range(3):
        began = time.process_time()
        redact(text)
        times.append(time.process_time() - began)
    return min(times)


def test_evidence_of_real_hosts_stays_as_it_is() -> None:
    """Units, sockets, journals, store paths, digests, commits and frames, as hosts told them, lose no character."""
    real = (Path(__file__).parent / "real_evidence.txt").read_text(encoding="utf-8")
    frame = packed(payload({name: text.encode() for name, text in SECTIONS.items()})).decode()
    digests = (
        "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
        "sha512:z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==\n"
        "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=\n"
        "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8  a.txt\nInvocationID: 7c1d5b0f2a\n"
        "password authentication failed; key: value; token 3 of 4; secrets=/run/secrets; PasswordAuthentication no\n"
    )
    for text in (real, frame, digests):
        redact = Redactor([("TOKEN", "s3cr3t-t0ken")])
        assert redact(text) == plain(text)
        assert not redact.counts


WRAPPED = "Zq8-fo0bar/Baz+Quux=77"


@pytest.mark.parametrize("cut", range(1, len(WRAPPED)))
@pytest.mark.parametrize("between", ["\n", "\\\n    ", "\nE       ", "\nNov 24 04:31:20 a app[1]: "])
def test_secret_that_goes_on_in_the_next_line_is_hidden(cut: int, between: str) -> None:
    """A secret is found over the end of a line, whether the text comes whole or line by line."""
    text = f"before\nx {WRAPPED[:cut]}{between}{WRAPPED[cut:]} y\nafter\n"
    redact = Redactor([("TOKEN", WRAPPED)])
    assert redact(text) == "before\nx [redacted: TOKEN] y\nafter\n"
    lines = Lines(redact)
    shown = [lines(line) for line in text.splitlines(keepends=True)] + [lines("", last=True)]
    assert "".join(shown) == "before\nx [redacted: TOKEN] y\nafter\n"


def test_lines_that_hold_no_secret_do_not_wait() -> None:
    """A line of a log is shown when it comes, unless a secret may begin at its end."""
    lines = Lines(Redactor([("TOKEN", "Zq8-fo0bar")]))
    assert lines("building\ncopying\n") == "building\ncopying\n"
    assert lines("the end is Zq8\n") == ""
    assert lines("no\n") == "the end is Zq8\nno\n"
    assert lines("the end is Zq8\n", last=True) == "the end is Zq8\n"


@pytest.mark.parametrize("size", [1, 2, 3])
def test_key_that_comes_in_pieces_is_hidden(size: int) -> None:
    """A private key is hidden in each piece of a log; what comes after it is shown."""
    lines = Lines(Redactor())
    text = f"before it\n{KEY}\nafter it\n".splitlines(keepends=True)
    pieces = ["".join(text[at : at + size]) for at in range(0, len(text), size)]
    shown = "".join([lines(piece) for piece in pieces] + [lines("", last=True)])
    assert shown == "before it\n[redacted: private key]\nafter it\n"


def test_key_without_an_end_hides_only_itself() -> None:
    """After a key that is cut off, lines of a log are shown as ever, between its lines and behind them."""
    body = "MIIEowIBAAKCAQEAx7cQyNTUxOQAAACBsrH+mWbqyrqh6pgwBcG9SLy4cTUXGZ7Tc1L"
    redact = Redactor()
    shown = redact(
        f"-----BEGIN RSA PRIVATE KEY-----\n{body}\nsshd[3]: Connection closed\n{body}\nDone. All is well\n"
    )
    assert shown == "[redacted: private key]\nsshd[3]: Connection closed\nDone. All is well\n"


def test_a_harmless_text_is_searched_once_however_many_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    redact, searched = Redactor(), list[str]()
    monkeypatch.setattr("switchproof.deploy.redact.redactor._REMEMBERED", 10)
    for number in range(25):
        redact(f"check of host {number}")
    hide = redact.hide

    def search(text: str, keys: KeyHider) -> str:
        searched.append(text)
        return hide(text, keys)

    monkeypatch.setattr(redact, "hide", search)
    for _ in range(3):
        assert redact("check of the last host") == "check of the last host"
    assert searched == ["check of the last host"]
