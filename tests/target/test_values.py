"""Values of a target file are read exactly: paths, addresses, URLs, times and demands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.host.program import endpoints
from tests.target.texts import TEXT, loaded


def test_a_file_of_headers_is_a_path_on_the_host(tmp_path: Path) -> None:
    """The probe is sent the path and never a value, and the endpoint behind a forward is asked without it."""
    key = 'headers_file = "/run/secrets/health-headers"'
    target = loaded(tmp_path, TEXT.replace("[runtime.live]", f"[runtime.live]\n{key}"))
    sent = next(line.split("\x1f") for line in endpoints(target).split("\n") if line.startswith("live\x1f"))
    assert sent[4] == "http\x1ehttp://127.0.0.1:8080/health\x1e/run/secrets/health-headers"
    with pytest.raises(UsageError, match=r"runtime\.live\.headers_file.*absolute path"):
        loaded(tmp_path, TEXT.replace("[runtime.live]", '[runtime.live]\nheaders_file = "secrets/x"'))


@pytest.mark.parametrize(
    "url",
    [
        "x",
        "/health",
        "127.0.0.1:8080/x",
        "ftp://h/",
        "file:///etc/passwd",
        "http://",
        "http:///x",
        "http://h:0/",
        "http://h:99999/",
        "http://h:x/",
        "http://h/a b",
        "http://h/\\u0009",
        "http://h/\\u001f",
        "http://h/\\u0000",
        "http://h/\\u007f",
        "http://h/\\n",
        "http://[::1/",
        "http://h/'",
        'http://h/\\"',
        "http://h/\\\\",
    ],
)
def test_url_that_cannot_be_asked_is_refused(url: str, tmp_path: Path) -> None:
    """An endpoint's URL has a scheme of HTTP, a host, a port in range and no character that needs an escape."""
    with pytest.raises(UsageError, match=r"runtime\.live\.url: .* \(found "):
        loaded(tmp_path, TEXT.replace("http://127.0.0.1:8080/health", url))


@pytest.mark.parametrize("listen", ["[::1]:8080", "[fe80::1]:1", "0.0.0.0:65535", "[::]:80"])
def test_address_is_taken_as_ss_writes_it(listen: str, tmp_path: Path) -> None:
    """An IPv4 or IPv6 address in its one spelling is taken."""
    text = TEXT.replace("http://127.0.0.1:8080", f"http://{listen}").replace("127.0.0.1:8080", listen)
    assert loaded(tmp_path, text).runtime["live"].listen == listen


@pytest.mark.parametrize(
    ("listen", "url", "found"),
    [
        (
            "127.0.0.1:8080",
            "http://127.0.0.1:9999/health",
            "asks port 9999, but the service listens on 127.0.0.1:8080",
        ),
        ("127.0.0.1:8080", "http://127.0.0.1/health", "asks port 80, but"),
        (
            "127.0.0.1:8080",
            "http://10.0.0.100:8080/health",
            "asks 10.0.0.100, but the service listens on 127.0.0.1:8080",
        ),
        ("127.0.0.1:8080", "http://[::1]:8080/health", "asks ::1, but"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080/health", None),
        ("127.0.0.1:80", "http://example.org/health", None),
        ("0.0.0.0:8080", "http://10.0.0.1:8080/health", None),
        ("[::]:8080", "http://127.0.0.1:8080/health", None),
    ],
)
def test_url_that_leads_elsewhere_is_refused(listen: str, url: str, found: str | None, tmp_path: Path) -> None:
    """What is asked is what is listened on; where a name leads is seen when it is asked."""
    text = TEXT.replace("http://127.0.0.1:8080/health", "URL").replace("127.0.0.1:8080", listen).replace("URL", url)
    if found is None:
        assert loaded(tmp_path, text).runtime["live"].url == url
        return
    with pytest.raises(UsageError, match=re.escape(f"runtime.live.url: {found}")):
        loaded(tmp_path, text)


def test_time_to_confirm_is_by_default_longer_than_the_checks(tmp_path: Path) -> None:
    """Unless the file says otherwise, an unconfirmed host waits longer than all its answers may take."""
    target = loaded(tmp_path)
    assert target.rollback.confirm_s is None
    assert target.confirm_s > target.health.ready_s + target.health.soak_s + 120
    assert target.confirm_s >= target.health.longest_s + 240


@pytest.mark.parametrize(("given", "means"), [("0", 0.0), ("135", 135.0), ("3600.5", 3600.5)])
def test_time_to_confirm_may_be_chosen_or_turned_off(given: str, means: float, tmp_path: Path) -> None:
    """The time may be any that outlasts readiness and soak; none at all turns the dead man's switch off."""
    assert loaded(tmp_path, f"{TEXT}\n[rollback]\nconfirm_s = {given}\n").confirm_s == means


@pytest.mark.parametrize("given", ["134.9", "-1", "1e9"])
def test_time_to_confirm_that_cannot_be_kept_is_refused(given: str, tmp_path: Path) -> None:
    """A time in which no system could show that it is healthy is refused by name."""
    with pytest.raises(UsageError, match=r"rollback\.confirm_s"):
        loaded(tmp_path, f"{TEXT}\n[rollback]\nconfirm_s = {given}\n")


@pytest.mark.parametrize(
    ("given", "means"), [("45m", 2700), ("12h", 43200), ("7d", 604_800), ("2w", 1_209_600), (None, 604_800)]
)
def test_age_of_a_record_is_a_number_and_a_unit(given: str | None, means: int, tmp_path: Path) -> None:
    """How old the record before a deploy may be is written in minutes, hours, days or weeks; a week by default."""
    age = f'max_age = "{given}"' if given else ""
    requires = loaded(tmp_path, f'{TEXT}\n[requires]\ngroup = "staging"\n{age}\n').requires
    assert requires is not None
    assert (requires.longest.total_seconds(), requires.drill, requires.signer) == (means, False, None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ('max_age = "7d"', "requires.group: missing"),
        ('group = "Staging!"', r"requires\.group: "),
        ('group = "b"\nmax_age = "7"', r"requires\.max_age: .*\(found '7'\)"),
        ('group = "b"\nmax_age = "0d"', r"requires\.max_age: "),
        ('group = "b"\nmax_age = 7', r"requires\.max_age: "),
        ('group = "b"\ndrill = "yes"', r"requires\.drill: "),
        ('group = "b"\nfresh = true', "requires.fresh: unknown key"),
    ],
)
def test_demand_that_cannot_be_understood_is_refused(given: str, says: str, tmp_path: Path) -> None:
    """A mistake in what production demands is told by its key, and opens no gate."""
    with pytest.raises(UsageError, match=says):
        loaded(tmp_path, f"{TEXT}\n[requires]\n{given}\n")
