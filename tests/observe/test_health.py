"""An endpoint is healthy if it is exactly what the target file asks for."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import read_observation
from switchproof.deploy.target.types import Endpoint, Health
from tests.answers import BODIES, LIVE, answers, bodies, direct_answer, frame, presence, unit_show

WANT: dict[str, str | int | float | bool] = {"status": "healthy", "instance_role": "live"}
BODY = BODIES["live"]


def seen(
    want: dict[str, str | int | float | bool] | None = None, contains: str | None = None, **changes: str | None
) -> EndpointSeen:
    endpoint = Endpoint(
        units=LIVE,
        listen="127.0.0.1:8080",
        url="http://127.0.0.1:8080/health",
        json=WANT if want is None else want,
        contains=contains,
        backend="http://10.0.0.100:8080/health",
    )
    parts = {name.replace("__", "."): text for name, text in changes.items()}
    return EndpointSeen("live", endpoint, Health(), read_observation(frame(parts)))


def problem(body: str, want: dict[str, str | int | float | bool] | None = None) -> str | None:
    return seen(want, answer__live=body).answer_problem


def test_healthy_endpoint_has_no_problem() -> None:
    """An endpoint that is as it should be has active units, its own listener, a good answer and a good streak."""
    endpoint = seen()
    assert endpoint.answer_problem is None
    assert endpoint.all_active
    assert [listener.unit for listener in endpoint.listeners] == [LIVE[1]]
    assert endpoint.streak.answers == 4
    assert endpoint.history == "+0.2 s HTTP 200"
    assert endpoint.seen == f"HTTP 200 in 2 ms: {BODY}"
    assert endpoint.wanted == (
        'HTTP 200 from http://127.0.0.1:8080/health, "status": "healthy", "instance_role": "live"'
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "not JSON"),
        ("healthy", "not JSON"),
        ("{", "not JSON"),
        (BODY + BODY, "not JSON"),
        (BODY[:-1], "not JSON"),
        ("\ufeff" + BODY, "not JSON"),
        ("[" * 60_000, "nested too deeply"),
        ('{"a":' * 20_000, "nested too deeply"),
        (BODY[:-1] + ', "x": ' + "[" * 250 + "]" * 250 + "}", "nested too deeply"),
        ("9" * 60_000, "not a JSON object"),
        (BODY[:-1] + ', "x": NaN}', "not JSON"),
        (BODY[:-1] + ', "x": -Infinity}', "not JSON"),
        (f"[{BODY}]", "not a JSON object"),
        ("null", "not a JSON object"),
        (json.dumps(BODY), "not a JSON object"),
        ("{}", "'status' is missing"),
        ('{"status": "healthy"}', "'instance_role' is missing"),
        (json.dumps({"x": WANT}), "'status' is missing"),
        (json.dumps(WANT | {"status": "unhealthy"}), '\'status\' is "unhealthy" instead of "healthy"'),
        (json.dumps(WANT | {"status": "Healthy"}), "'status' is"),
        (json.dumps(WANT | {"status": "healthy "}), "'status' is"),
        (json.dumps(WANT | {"status": ["healthy"]}), "'status' is"),
        (json.dumps(WANT | {"status": {"status": "healthy"}}), "'status' is"),
        (json.dumps(WANT | {"status": None}), "'status' is null"),
        (json.dumps(WANT | {"instance_role": "dev"}), "'instance_role' is \"dev\""),
        (BODY[:-1] + ', "status": "healthy"}', "'status' stands in the body more than once"),
        ('{"status": "failed", ' + BODY[1:], "'status' stands in the body more than once"),
        (BODY[:-1] + ', "\\u0073tatus": "failed"}', "'status' stands in the body more than once"),
    ],
)
def test_body_that_is_not_the_wanted_one_is_told(body: str, said: str) -> None:
    """A body that is no JSON object, or whose wanted keys are missing, different, nested or doubled, is a problem."""
    found = problem(body)
    assert found is not None
    assert said in found


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(WANT | {"x": [1, {"status": "failed"}], "y": None}, indent=4),
        '{"x":{"a":1,"a":2},"instance_role":"\\u006cive","status":"healthy"}',
        '{"x":1,"x":2,"instance_role":"live","status":"healthy"}\n\n',
        BODY[:-1] + ', "x": "' + "[" * 1000 + '\\\\", "y": ' + "[" * 249 + "]" * 249 + "}",
    ],
)
def test_rest_of_the_body_is_the_endpoint_s_own(body: str) -> None:
    """Other keys, spacing, order and escapes in a body are no problem."""
    assert problem(body) is None


@pytest.mark.parametrize("wanted", [True, False, 1, 0, 1.5, "1", "true", ""])
@pytest.mark.parametrize("found", [True, False, 1, 0, 1.5, "1", "true", "", None, [], {}])
def test_types_of_values_count(wanted: str | float | bool, found: object) -> None:
    """A value is the wanted one only if it is of the same type: `true` is not 1, and 1 is not "1"."""
    same = type(wanted) is type(found) and wanted == found
    assert (problem(json.dumps({"x": found}), {"x": wanted}) is None) == same


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["status", "instance_role", "x"]), inner)
    ),
    max_leaves=8,
)


@given(json_values)
def test_only_the_wanted_object_is_good(value: object) -> None:
    """Of all JSON values only an object with just the wanted values is no problem."""
    good = isinstance(value, dict) and {key: value.get(key) for key in WANT} == WANT
    text = json.dumps(value)
    assert (problem(text) is None) == (good and "NaN" not in text and "Infinity" not in text)


@given(st.text(max_size=200))
def test_any_body_is_judged(body: str) -> None:
    """Whatever a body is, it is judged."""
    assert problem(body) is not None
    assert isinstance(seen(answer__live=body).seen, str)


@pytest.mark.parametrize(
    ("series", "said"),
    [
        ("", "never asked"),
        (answers("dev", (100.25, "yes")), "never asked"),
        ("100.25 live no 503 0.001 0.002 0 0 127.0.0.1:8080 \n", "HTTP 503 instead of 200"),
        ("100.25 live yes 201 0.001 0.002 0 0 127.0.0.1:8080 \n", "HTTP 201 instead of 200"),
        (
            "100.25 live no 302 0.001 0.002 0 0 127.0.0.1:8080 http://127.0.0.1/login\n",
            "HTTP 302 instead of 200 (a redirect to http://127.0.0.1/login; redirects are not followed)",
        ),
        (
            "100.25 live no 000 0 0.1 7 0 127.0.0.1:8080 refused\n",
            "no answer: connection refused or no route (refused)",
        ),
        ("100.25 live no 200 0 5 28 0 127.0.0.1:8080 timed out\n", "no answer: no answer in time"),
        ("100.25 live yes 200 0 5 63 0 127.0.0.1:8080 \n", "no answer: answer too large"),
        ("100.25 live yes 200 0 5 ? 0 127.0.0.1:8080 \n", "no answer: curl exit code -1"),
        (answers("live", (100.25, "yes")) + "101.25 live no 503 0 0.1 0 0 127.0.0.1:8080 \n", "HTTP 503"),
    ],
)
def test_last_answer_counts(series: str, said: str) -> None:
    """Without an answer, or with a last one of another status or cut short, the body does not matter."""
    found = seen(watch__series=series).answer_problem
    assert found is not None
    assert said in found


@pytest.mark.parametrize(
    ("contains", "body", "good"),
    [
        ("Sign in", "<a>Sign in</a>", True),
        ("Sign in", "sign in", False),
        ("a.c", "abc", False),
        ("é", "caf\u00e9", True),
        ("x", "", False),
    ],
)
def test_text_is_looked_for_as_it_stands(contains: str, body: str, good: bool) -> None:
    """A text that the body must contain is no pattern, and its case counts."""
    found = seen({}, contains, answer__live=body).answer_problem
    assert (found is None) is good
    assert good or found == f"the body lacks {contains!r}"


@pytest.mark.parametrize(
    ("shown", "active"),
    [
        (unit_show(LIVE[0]) + "\n" + unit_show(LIVE[1]), True),
        (unit_show(LIVE[0]), False),
        ("", False),
        (unit_show(LIVE[0]) + "\n" + unit_show(LIVE[1] + "x"), False),
        (unit_show(LIVE[0]) + "\n" + unit_show(LIVE[1], ActiveState="activating"), False),
        (unit_show(LIVE[0], ActiveState="failed") + "\n" + unit_show(LIVE[1]), False),
        (unit_show(LIVE[0], ActiveState="reloading") + "\n" + unit_show(LIVE[1]), False),
    ],
)
def test_every_unit_must_be_seen_active(shown: str, active: bool) -> None:
    """A unit that is not active, or was not seen at all, is not active."""
    endpoint = seen(units__show=shown)
    assert endpoint.all_active is active
    assert ("not seen" in endpoint.states) == (shown.count("Id=") < 2 or "servicex" in shown)


def test_strangers_on_the_port_are_seen() -> None:
    """Whoever would hear a connection to the port is listed, whatever unit it is of."""
    rows = f"127.0.0.1:8080 430 {LIVE[1]}\n*:8080 9 ?\n127.0.0.1%lo:8080 10 x.service\n"
    rows += "[::]:8080 11 y.service\n127.0.0.1:80 1 z\n"
    assert [listener.pid for listener in seen(listeners=rows).listeners] == [430, 9, 10]


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        (
            direct_answer("body", "200 0.001 0.002 0 "),
            "; the workload itself answers at http://10.0.0.100:8080/health with HTTP 200",
        ),
        (
            direct_answer("", "000 0.0 0.1 7 Failed to connect"),
            "; the workload itself does not answer at http://10.0.0.100:8080/health either (Failed to connect)",
        ),
        ("", "either (nothing)"),
        ("odd", "either (nothing)"),
    ],
)
def test_workload_behind_a_forward_is_told(backend: str, said: str) -> None:
    """When the forward does not answer, the message says whether the workload behind it does."""
    found = seen(
        watch__series="100.25 live no 000 0 0.1 7 0 127.0.0.1:8080 refused\n", backend__live=backend
    ).answer_problem
    assert found is not None
    assert said in found


def test_history_tells_changes_once() -> None:
    """Like answers are told once, bad ones marked, restarts added; a long body is cut in what is shown."""
    series = "".join(f"10{n}.00 live no 200 0 0.1 0 {body} 127.0.0.1:8080 \n" for n, body in enumerate("bbggb"))
    row = {"vm": "active running 1 a 0", "socat": "active running 2 b 0"}
    units = presence(100.0, **row) + presence(103.0, **row | {"vm": "active running 3 c 1"})
    sent = bodies({"live g": BODY, "live b": "x" * 1000})
    changes = {"watch__series": series, "watch__units": units, "watch__bodies": sent["watch.bodies"]}
    endpoint = seen(None, None, **changes, **{"watch__body-bytes": sent["watch.body-bytes"]})
    bad = "HTTP 200 (bad: the body is not JSON)"
    assert endpoint.history.split("; ")[:3] == [f"+0.0 s {bad}", "+2.0 s HTTP 200", f"+4.0 s {bad}"]
    assert "pid 1, 0 restarts → active (running), pid 3, 1 restarts" in endpoint.history
    assert endpoint.seen.endswith("… (1000 characters)")
    assert seen(watch__series="").seen == "never asked"
