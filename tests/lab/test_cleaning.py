"""Nothing of a lab stays on this machine, however the lab ended."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab import folders, mounts, preflight, process
from switchproof.deploy.providers.lab import lab as lab_module
from switchproof.deploy.providers.lab.errors import HostFailedError, LabError, LabUnavailable
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.lab.leftovers import leftovers

pytestmark = [pytest.mark.lab, pytest.mark.long]
ROOT = Path(__file__).parents[2]
OWNER = """
import signal, sys, time
from switchproof.deploy.providers.lab.lab import Lab
# Whoever starts tests in the background has them ignore Control-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
with Lab.up(("a",), name=sys.argv[1], keep=sys.argv[2] == "keep", runtime="netns"):
    print("up", flush=True)
    if sys.argv[2] == "stay":
        time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _able() -> None:
    try:
        preflight.require()
    except LabUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A lab's name of this test's own, and no lab left under it."""
    short = f"test-{abs(hash(request.node.name)) % 10**8}"
    yield short
    if (folders.labs() / short).exists():
        Lab.attach(short).down()
    assert leftovers(short) == []


def _owner(name: str, what: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", OWNER, name, what], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def _interface(name: str) -> Path:
    return Path("/sys/class/net", Lab.attach(name).state.hosts[0].cable.interface)


def test_down_leaves_nothing(name: str) -> None:
    """After the end of the block no process, mount, interface, cgroup or file is left; down again is no error."""
    with Lab.up(("a",), name=name, runtime="netns") as lab:
        interface = _interface(name)
        assert interface.exists()
        assert {line.split()[0] for line in leftovers(name)} == {"mount", "process", "cgroup", "folder"}
    assert not interface.exists()
    assert leftovers(name) == []
    lab.down()


def test_an_exception_leaves_nothing(name: str) -> None:
    """An error while the lab is used takes it down all the same."""
    with pytest.raises(ZeroDivisionError), Lab.up(("a",), name=name, runtime="netns") as lab:
        raise ZeroDivisionError(lab.name)
    assert leftovers(name) == []


def test_the_next_lab_takes_away_what_a_killed_owner_left(name: str) -> None:
    """When its owner is killed a lab goes on; whoever starts the next lab, of any name, takes it away."""
    owner = _owner(name, "stay")
    interface = _interface(name)
    owner.kill()
    owner.communicate(timeout=20)
    assert leftovers(name) != []
    with Lab.up(("a",), name=f"next-{name}", runtime="netns"):
        assert leftovers(name) == []
        assert not interface.exists()
    assert leftovers(f"next-{name}") == []


def test_an_interrupted_owner_takes_its_lab_along(name: str) -> None:
    """Control-C reaches the owner and not its hosts, and the owner takes them down."""
    owner = _owner(name, "stay")
    owner.send_signal(signal.SIGINT)
    owner.communicate(timeout=20)
    assert leftovers(name) == []


def test_a_kept_lab_outlives_its_owner(name: str) -> None:
    """A lab that is kept stays up after its owner ended, through cleaning, until it is taken down."""
    assert _owner(name, "keep").wait(timeout=20) == 0
    lab_module.clean()
    lab = Lab.attach(name)
    assert lab.hosts["a"].run(["hostname"], timeout_s=20).stdout == "choiros-a\n"
    with pytest.raises(LabError, match="already up"):
        Lab.up(("a",), name=name, runtime="netns")
    lab.down()
    assert leftovers(name) == []


@pytest.mark.parametrize("step", ["prepare", "switch_on", "wait_ready"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_start_that_fails_at_any_step_leaves_nothing(
    name: str, step: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the second host fails with, the first one is taken away too."""
    original = getattr(LabHost, step)

    def fail_on_b(host: LabHost, *args: object, **kwargs: object) -> None:
        if host.name == "b":
            raise error
        original(host, *args, **kwargs)

    monkeypatch.setattr(LabHost, step, fail_on_b)
    with pytest.raises(error):
        Lab.up(name=name, runtime="netns")
    assert leftovers(name) == []


def test_a_host_that_does_not_boot_is_told_with_its_last_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the host and ends with what its console said; nothing is left."""
    original = LabHost.prepare

    def prepare(host: LabHost, image: Path) -> None:
        original(host, image)
        init = host.root / "sbin/init"
        init.unlink()
        init.write_text("#!/bin/sh\necho the disk is on fire\nexit 1\n")
        init.chmod(0o755)

    monkeypatch.setattr(LabHost, "prepare", prepare)
    with pytest.raises(HostFailedError, match=r"Host a stopped during its start(?s:.*)the disk is on fire"):
        Lab.up(("a",), name=name, runtime="netns")
    assert leftovers(name) == []


@pytest.mark.parametrize(
    ("load", "reason"), [(0.5, ""), (99.0, r" This machine is busy \(load 99, \d+ processors\)")]
)
def test_a_host_that_hangs_is_given_up(name: str, load: float, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is never ready is taken away when its time is over; where the machine is busy, that is said."""

    def not_booted(_: LabHost) -> bool:
        return False

    monkeypatch.setattr(LabHost, "_booted", not_booted)
    monkeypatch.setattr(lab_module, "START_TIMEOUT_S", 0.5)
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    with pytest.raises(HostFailedError, match=rf"not ready in time\.{reason}(?! This)"):
        Lab.up(("a",), name=name, runtime="netns")
    assert leftovers(name) == []


def test_a_folder_is_not_deleted_across_a_mount(tmp_path: Path) -> None:
    """Deleting refuses while anything is mounted below, and what is mounted keeps its files."""
    inside, outside = tmp_path / "lab" / "inside", tmp_path / "outside"
    inside.mkdir(parents=True)
    outside.mkdir()
    (outside / "precious").touch()
    process.check(["mount", "--bind", str(outside), str(inside)], timeout_s=20)
    try:
        with pytest.raises(LabError, match="still mounted"):
            mounts.delete(tmp_path / "lab")
    finally:
        mounts.unmount_below(tmp_path / "lab")
    assert (outside / "precious").exists()
