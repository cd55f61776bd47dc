"""A session takes the lab that is up, unless it was asked for sandboxes of the other kind."""

from types import SimpleNamespace

import pytest

from deploy.errors import UsageError
from deploy.plan import TARGETS
from deploy.providers.lab import provider
from deploy.providers.lab.provider import LabProvider
from deploy.providers.lab.state import Runtime
from deploy.target import load

TARGET = load(TARGETS / "lab.toml", {})


@pytest.fixture(autouse=True)
def _up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab of processes that is up."""
    host = SimpleNamespace(address="10.213.0.2", port=22, user="root", host_key="key")
    state = SimpleNamespace(runtime="netns", told="processes")
    lab = SimpleNamespace(name="default", state=state, hosts={"a": host, "b": host}, identity_file="/id")
    monkeypatch.setattr(provider, "_already_up", lambda _: lab)
    monkeypatch.setattr(provider, "SshProvider", lambda _: None)


@pytest.mark.parametrize("runtime", [None, "netns"])
def test_the_lab_that_is_up_is_used_and_told(runtime: Runtime | None) -> None:
    """Without a wish, or with the right one, the session says which lab it uses and what its sandboxes are."""
    said: list[str] = []
    LabProvider(TARGET, keep=False, runtime=runtime, say=said.append, emulated=lambda *_: None).close()
    assert said == ["Using the lab 'default', which is up, with processes."]


def test_a_lab_of_the_other_kind_is_refused() -> None:
    """The refusal names the option, the lab and what it has."""
    with pytest.raises(UsageError, match=r"--lab-runtime=microvm: the lab 'default' that is up has processes"):
        LabProvider(TARGET, keep=False, runtime="microvm", say=lambda _: None, emulated=lambda *_: None)
