"""Every answer is judged by one rule."""

from __future__ import annotations

import json

import pytest

from switchproof.deploy.observe.answers import Answer, is_address_of, is_unknown, json_problem, judged, problem_of
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import read_observation
from switchproof.deploy.target.types import Endpoint, Health, JsonValue
from tests.answers import LIVE, bodies, frame

WANT: dict[str, JsonValue] = {"status": "healthy", "instance_role": "live"}
GOOD = json.dumps(WANT)
ENDPOINT = Endpoint(units=LIVE, listen="127.0.0.1:8080", url="http://127.0.0.1:8080/health", json=WANT)

CASES: list[tuple[dict[str, JsonValue], bytes, bool]] = [
    (WANT, GOOD.encode(), True),
    (WANT, json.dumps(WANT, indent=4).encode() + b"\n\n", True),
    (WANT, b'{"x":{"status":"failed","a":[1,{"b":"]"}]},"instance_role":"live","status":"healthy"}', True),
    (WANT, b'{"status":"degraded","instance_role":"live","components":{"cache":{"status":"healthy"}}}', False),
    (WANT, b'{"components":[{"status":"healthy","instance_role":"live"}]}', False),
    (WANT, b'{"note":"\\"status\\":\\"healthy\\"","instance_role":"live","status":"failed"}', False),
    (WANT, b'{"note":"\\\\","instance_role":"live","status":"healthy"}', True),
    (WANT, b'{"note":"\\\\\\"","instance_role":"live","status":"healthy"}', True),
    (WANT, b'{"st\\u0061tus":"he\\u0061lthy","instance_role":"\\u006Cive"}', True),
    (WANT, b'{"status":"healthy","instance_role":"live","status":"healthy"}', False),
    (WANT, b'{"status":"healthy","instance_role":"live","\\u0073tatus":"failed"}', False),
    (WANT, b'{"status":"healthy","instance_role":"live","x":' + b"7" * 5000 + b"}", True),
    (WANT, b'{"status":["healthy"],"instance_role":"live"}', False),
    (WANT, b'{"status":{},"instance_role":"live"}', False),
    (WANT, b'{"status":"healthy ","instance_role":"live"}', False),
    (WANT, b'{"status":"healthyx","instance_role":"live"}', False),
    (WANT, b'{"status":"heal\0thy","instance_role":"live"}', False),
    (WANT, b"\0" + GOOD.encode(), False),
    (WANT, GOOD.encode() + b"\0", False),
    (WANT, GOOD.encode("utf-16-le"), False),
    (WANT, GOOD.encode("utf-16"), False),
    (WANT, GOOD.encode("utf-8-sig"), False),
    (WANT, GOOD.encode() * 2, False),
    (WANT, GOOD.encode()[:-1], False),
    (WANT, b"[" + GOOD.encode() + b"]", False),
    (WANT, b"x" + GOOD.encode(), False),
    (WANT, b"", False),
    (WANT, b"null", False),
    (WANT, b'"', False),
    ({"n": 1}, b'{"n":1}', True),
    ({"n": 1}, b'{"n" : 1 , "x":2}', True),
    ({"n": 1}, b'{"n":10}', False),
    ({"n": 1}, b'{"n":1.0}', False),
    ({"n": 1}, b'{"n":"1"}', False),
    ({"n": 1}, b'{"n":true}', False),
    ({"n": 0}, b'{"n":-0}', True),
    ({"n": 1.5}, b'{"n":15e-1}', True),
    ({"n": 1.5}, b'{"n":1.50}', True),
    ({"n": 1.5}, b'{"n":1.51}', False),
    ({"n": 1}, b'{"n":' + b"1" * 5000 + b"}", False),
    ({"ok": True}, b'{"ok":true}', True),
    ({"ok": True}, b'{"ok":false}', False),
    ({"ok": True}, b'{"ok":"true"}', False),
    ({"ok": False}, b'{"ok":null}', False),
    ({"s": 'a/b\n\t"\\é🚀'}, json.dumps({"s": 'a/b\n\t"\\é🚀'}).replace("/", "\\/").encode(), True),
    ({"s": 'a/b\n\t"\\é🚀'}, json.dumps({"s": 'a/b\n\t"\\é🚀'}, ensure_ascii=False).encode(), True),
    ({"s": "\x1e\x1f\x7f"}, b'{"s":"\\u001e\\u001F\x7f"}', True),
    ({"s": ""}, b'{"s":""}', True),
    ({"s": "true"}, b'{"s":true}', False),
    ({"é": "x"}, b'{"\\u00e9":"x"}', True),
]


@pytest.mark.parametrize(("want", "body", "good"), CASES)
def test_body_is_judged_as_json_says(want: dict[str, JsonValue], body: bytes, good: bool) -> None:
    """A body is good if it is a JSON object in UTF-8 with each wanted key once, on its top level, and its value."""
    assert (json_problem(body, want) is None) is good


def answer(content: bytes | None, **changes: object) -> Answer:
    """A good answer with another body."""
    given: dict[str, object] = {"at": 0.0, "good": True, "code": 200, "connect_s": 0.1, "total_s": 0.2, "curl": 0}
    return Answer(**{**given, "words": "", "remote": "127.0.0.1:8080", "body": content, **changes})  # type: ignore[arg-type]


def test_every_answer_is_judged_as_the_last_one_is() -> None:
    """An answer in the middle of the watch that the host liked is bad if its body is not the wanted one."""
    nested = b'{"status":"degraded","instance_role":"live","components":{"cache":{"status":"healthy"}}}'
    row = (answer(GOOD.encode()), answer(nested), answer(GOOD.encode()))
    assert [one.good for one in judged(row, ENDPOINT, WANT)] == [True, False, True]


def test_degraded_middle_of_a_soak_is_no_soak() -> None:
    """A soak in which one body was bad counts from after it, and its history says what the body said."""
    nested = GOOD.replace("healthy", "degraded")
    rows = "".join(f"{100.25 + n:.2f} live yes 200 0.001 0.002 0 {n % 2} 127.0.0.1:8080 \n" for n in range(3))
    sent: dict[str, str | None] = {**bodies({"live 0": GOOD, "live 1": nested}), "watch.series": rows}
    seen = EndpointSeen("live", ENDPOINT, Health(), read_observation(frame(sent)))
    assert (seen.answer_problem, seen.streak.answers) == (None, 1)
    assert '\'status\' is "degraded" instead of "healthy"' in seen.history


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"remote": "10.0.0.5:8080"}, "10.0.0.5:8080 answered, not 127.0.0.1:8080"),
        ({"remote": "127.0.0.1:9999"}, "127.0.0.1:9999 answered, not 127.0.0.1:8080"),
        ({"remote": ""}, "an unknown address answered, not 127.0.0.1:8080"),
        (
            {"curl": 8, "words": "its status line is 'HTTP/1.0 200garbage'"},
            "no answer: not an HTTP answer (its status",
        ),
        ({"body": None}, "the host did not send its body"),
        ({"body": b"\xff"}, "the body is not UTF-8"),
    ],
)
def test_answer_that_is_not_the_wanted_one_says_why(changes: dict[str, object], problem: str) -> None:
    """Who answered, in which protocol, and whether the body came at all are looked at in every answer."""
    found = problem_of(answer(GOOD.encode(), **changes), ENDPOINT, WANT)
    assert found is not None
    assert problem in found


def test_answer_without_its_body_is_unknown() -> None:
    """Nothing is concluded where a body was not sent or curl itself failed; another status says enough."""
    assert is_unknown(answer(None), ENDPOINT, WANT)
    assert is_unknown(answer(None, curl=2), ENDPOINT, WANT)
    assert not is_unknown(answer(None, code=500), ENDPOINT, WANT)
    assert not is_unknown(answer(None, curl=7), ENDPOINT, WANT)
    assert not is_unknown(answer(None), ENDPOINT, {})


@pytest.mark.parametrize(
    ("remote", "listen", "same"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("[::1]:80", "[::1]:80", True),
        ("127.0.0.1:80", "0.0.0.0:80", True),
        ("127.0.0.1:80", "[::]:80", True),
        ("[::1]:80", "[::]:80", True),
        ("[::1]:80", "0.0.0.0:80", False),
        ("127.0.0.2:80", "127.0.0.1:80", False),
        ("127.0.0.1:81", "0.0.0.0:80", False),
        ("", "0.0.0.0:80", False),
        ("x:80", "127.0.0.1:80", False),
    ],
)
def test_address_that_answered_is_the_one_listened_on(remote: str, listen: str, same: bool) -> None:
    """An answer is the endpoint's only if it came from where the endpoint listens."""
    assert is_address_of(remote, listen) is same


TCP = Endpoint(units=LIVE, probe="tcp", listen="127.0.0.1:25", expect="220 ")
UNIX = Endpoint(units=LIVE, probe="unix", listen="/run/web.sock", url="http://localhost/", contains="ok")
EXEC = Endpoint(units=LIVE, probe="exec", command=("/x",), user="root", exit_code=3, contains="ok")
BANNER = {"code": 0, "remote": "127.0.0.1:25"}


@pytest.mark.parametrize(
    ("want", "content", "changes", "problem", "unknown"),
    [
        (TCP, b"220 mail", BANNER, None, False),
        (TCP, b"421 busy", BANNER, "the banner lacks '220 '", False),
        (TCP, b"", BANNER, "the banner lacks '220 '", False),
        (TCP, None, BANNER, "the host did not send its banner", True),
        (TCP, b"220 mail", BANNER | {"remote": "127.0.0.1:26"}, "127.0.0.1:26 answered, not 127.0.0.1:25", False),
        (TCP, b"220 mail", BANNER | {"remote": ""}, "an unknown address answered, not 127.0.0.1:25", False),
        (TCP, b"220 mail", BANNER | {"curl": 101}, "no answer: a connection that no process accepted in time", False),
        (TCP, b"220 mail", BANNER | {"curl": 102}, "no answer: a connection that another unit accepted", False),
        (TCP, b"220 mail", BANNER | {"curl": 2}, "no answer: nothing is known about the connection", True),
        (TCP, b"220 mail", BANNER | {"curl": -1}, "no answer: curl exit code -1", True),
        (UNIX, b"ok", {"remote": ""}, None, False),
        (UNIX, b"ok", {"remote": "", "code": 204}, "HTTP 204 instead of 200", False),
        (UNIX, None, {"remote": ""}, "the host did not send its body", True),
        (EXEC, b"ok", {"code": 3, "remote": ""}, None, False),
        (EXEC, b"ok", {"code": 0, "remote": ""}, "exit code 0 instead of 3", False),
        (EXEC, b"no", {"code": 3, "remote": ""}, "the output lacks 'ok'", False),
        (EXEC, None, {"code": 3, "remote": ""}, "the host did not send its output", True),
        (EXEC, b"ok", {"code": 3, "curl": 28}, "no answer: the program did not end in time", False),
        (EXEC, b"ok", {"code": 3, "curl": 2}, "no answer: it is unknown how the program ended", True),
        (EXEC, b"ok", {"code": 3, "curl": 103}, "no answer: the program could not be run", False),
    ],
)
def test_each_kind_of_answer_is_judged_by_its_own_rule(
    want: Endpoint, content: bytes | None, changes: dict[str, object], problem: str | None, unknown: bool
) -> None:
    """A banner, a body and an output must have come, from where they should, with the wanted code."""
    one = answer(content, **changes)
    assert problem_of(one, want, {}) == problem
    assert is_unknown(one, want, {}) is unknown
    assert judged((one,), want, {})[0].good is (problem is None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("SSL certificate problem: certificate has expired", "its certificate has expired"),
        ("server certificate verification failed. certificate has expired", "its certificate has expired"),
        ("SSL certificate problem: certificate is not yet valid", "its certificate is not valid yet"),
        ("SSL: no alternative certificate subject name matches target host name 'x'", "is for another name"),
        ("SSL: certificate subject name 'y' does not match target host name 'x'", "is for another name"),
        ("SSL certificate problem: self-signed certificate", "is not signed by a trusted authority"),
        ("SSL certificate problem: unable to get local issuer certificate", "is not signed by a trusted authority"),
        ("SSL certificate problem: certificate revoked", "its certificate is revoked"),
        ("something new", "its certificate is not trusted"),
        ("", "its certificate is not trusted"),
    ],
)
def test_a_certificate_that_is_not_trusted_has_its_own_sentence(words: str, said: str) -> None:
    """What curl's libraries say of a certificate becomes one of a few sentences, and none of them is a pass."""
    want = Endpoint(units=LIVE, probe="https", listen="127.0.0.1:443", url="https://x/")
    found = problem_of(answer(b"", curl=60, words=words, remote="127.0.0.1:443"), want, {})
    assert found is not None
    assert said in found
    assert words in found
