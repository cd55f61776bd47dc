"""KVM is used only where a first boot has shown that it works, and that is tried only where it can."""

from collections.abc import Callable
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab import kvm
from switchproof.deploy.providers.lab.kvm import Seen, promising
from switchproof.deploy.providers.lab.state import Accelerator

GOOD = Seen(extensions=True, writable=True, paravirtual=False)
IMAGE = Path("image-1")


@pytest.fixture
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Seen, bool], list[Path]]:
    """Set what the machine looks like and how a first boot ends; returns the list of first boots."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def prepare(seen: Seen, works: bool) -> list[Path]:
        boots: list[Path] = []

        def first_boot(image: Path, machinery: Accelerator, *, timeout_s: float) -> bool:
            assert (machinery, timeout_s) == ("kvm", 10.0)
            boots.append(image)
            return works

        monkeypatch.setattr(kvm, "look", lambda: seen)
        monkeypatch.setattr(kvm, "boots", first_boot)
        return boots

    return prepare


@pytest.mark.parametrize(
    ("seen", "worth_a_try"),
    [
        (GOOD, True),
        (Seen(extensions=False, writable=True, paravirtual=False), False),
        (Seen(extensions=True, writable=False, paravirtual=False), False),
        (Seen(extensions=True, writable=True, paravirtual=True), False),
    ],
)
def test_a_first_boot_is_tried_only_where_it_can_work(
    boot: Callable[[Seen, bool], list[Path]], seen: Seen, worth_a_try: bool
) -> None:
    """Without the processor's extensions, a device that opens and a whole KVM nothing is booted with it."""
    boots = boot(seen, True)
    assert promising(seen) is worth_a_try
    assert kvm.accelerator(IMAGE) == ("kvm" if worth_a_try else "tcg")
    assert bool(boots) is worth_a_try


@pytest.mark.parametrize("works", [True, False])
def test_a_first_boot_is_made_once_for_an_image(boot: Callable[[Seen, bool], list[Path]], works: bool) -> None:
    """What it showed is remembered, for this image and no other."""
    boots = boot(GOOD, works)
    assert {kvm.accelerator(IMAGE) for _ in range(3)} == {"kvm" if works else "tcg"}
    kvm.accelerator(Path("image-2"))
    assert boots == [IMAGE, Path("image-2")]


def test_looking_touches_nothing() -> None:
    """This machine is looked at without a boot."""
    assert isinstance(kvm.look(), Seen)
