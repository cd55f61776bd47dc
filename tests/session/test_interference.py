"""Whatever runs checks again, elsewhere, in another order or not at all is refused; what is inert is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.session.interference import MEDDLERS, refuse_interference


def config(
    words: tuple[str, ...] = (),
    *,
    options: dict[str, object] | None = None,
    inis: dict[str, object] | None = None,
    plugins: tuple[str, ...] = (),
) -> pytest.Config:
    """As much of a configuration as is asked for."""
    given, settings = options or {}, {"addopts": []} | (inis or {})
    made = SimpleNamespace(
        option=SimpleNamespace(**given),
        invocation_params=SimpleNamespace(args=words),
        getoption=given.get,
        getini=settings.__getitem__,
        pluginmanager=SimpleNamespace(has_plugin=plugins.__contains__),
    )
    return cast("pytest.Config", made)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTEST_ADDOPTS", "PYTEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [(spelling, name) for one in MEDDLERS for name, spellings in one.options.items() for spelling in spellings],
)
def test_an_option_is_refused_by_its_name(spelling: str, name: str) -> None:
    """Each spelling of each option is named in the refusal, with its value."""
    words = (spelling.removesuffix("="), "7") if spelling.endswith("=") else (spelling,)
    with pytest.raises(UsageError, match="not allowed in a deploy") as refusal:
        refuse_interference(config(words, options={name: 7 if spelling.endswith("=") else True}))
    assert f"leave out {' '.join(words)}" in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "plugins"),
    [
        ({"numprocesses": 0, "dist": "no", "tx": []}, ("xdist",)),
        ({"numprocesses": None, "reruns": None, "count": 1, "parallel_threads": "1"}, ("xdist", "rerunfailures")),
        ({"timeout": None, "num_shards": 1, "forked": False, "retries": 0}, ("timeout",)),
        ({"randomly_reorganize": False}, ("randomly",)),
    ],
)
def test_a_plugin_that_does_nothing_is_fine(options: dict[str, object], plugins: tuple[str, ...]) -> None:
    """An installed plugin with its defaults is no reason to refuse anything."""
    refuse_interference(config(options=options, plugins=plugins))


def test_the_place_of_an_option_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option out of the environment or a configuration file is refused with its place, and the way out."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-n auto")
    spread = {"numprocesses": 2, "dist": "load", "tx": ["popen", "popen"]}
    with pytest.raises(UsageError, match=r"leave out -n auto \(PYTEST_ADDOPTS\), or add -n 0") as refusal:
        refuse_interference(config(options=spread))
    assert "--tx" not in str(refusal.value), "what -n has set is told beside it"
    monkeypatch.delenv("PYTEST_ADDOPTS")
    with pytest.raises(UsageError, match="--reruns=2 \\(addopts in the configuration file\\)"):
        refuse_interference(config(options={"reruns": 2}, inis={"addopts": ["--reruns=2"]}))


def test_what_is_active_without_an_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shuffling plugin, a setting, an environment variable and a worker process are refused as well."""
    with pytest.raises(UsageError, match="add -p no:randomly"):
        refuse_interference(config(options={"randomly_reorganize": True}, plugins=("randomly",)))
    with pytest.raises(UsageError, match="timeout"):
        refuse_interference(config(inis={"timeout": "5"}))
    monkeypatch.setenv("PYTEST_TIMEOUT", "5")
    refuse_interference(config())  # no plugin reads it
    with pytest.raises(UsageError, match="PYTEST_TIMEOUT"):
        refuse_interference(config(options={"timeout": None}))
    worker = config()
    vars(worker)["workerinput"] = {}
    with pytest.raises(UsageError, match="-n 0"):
        refuse_interference(worker)
