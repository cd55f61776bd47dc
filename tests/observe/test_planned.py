"""A plan says in numbers and names what a deploy would build, fetch, change and leave to a reboot."""

from __future__ import annotations

import pytest

from switchproof.deploy.host.frame import Frame
from switchproof.deploy.observe.planned import Elsewhere, read_differences

OLD, NEW = f"/nix/store/{'a' * 32}-nixos-system-a-25.11", f"/nix/store/{'b' * 32}-nixos-system-a-25.11"
DRV = f"/nix/store/{'c' * 32}-%s.drv"
FORECAST = f"""\
warning: Git tree '/srv/a' is dirty
these 2 derivations will be built:
  {DRV % "unit-web.service"}
  {DRV % "nixos-system-a-25.11"}
these 3 paths will be fetched (1.20 MiB download, 5.60 MiB unpacked):
  /nix/store/{"d" * 32}-hello-2.12
  /nix/store/{"e" * 32}-glibc-2.40
  /nix/store/{"f" * 32}-bash-5.2
"""


def answer(**parts: str) -> Frame:
    """The answer to a plan of one changed unit."""
    said = {
        "running": OLD,
        "expected": NEW,
        "closure": "web: 1 → 2",
        "units": "would restart the following units: web",
    }
    said |= {"sizes": f"{OLD}\t 104857600\n{NEW}\t 157286400\n", "system.reboot": ""}
    return Frame("plan", {name: text.encode() for name, text in (said | parts).items()})


def test_all_that_nix_foresees_is_told() -> None:
    """Derivations by name, paths with their sizes, the closure's growth, packages, units and the reboot."""
    told = read_differences(answer(forecast=FORECAST, **{"system.reboot": "kernel initrd "})).describe()
    assert told.splitlines() == [
        f"runs {OLD}",
        "2 derivations to build: unit-web.service, nixos-system-a-25.11",
        "3 store paths to fetch (1.20 MiB download, 5.60 MiB unpacked)",
        "its closure has 150.0 MiB, the running one 100.0 MiB",
        "web: 1 → 2",
        "would restart the following units: web",
        "a reboot would be needed for: kernel, initrd",
    ]


@pytest.mark.parametrize(
    ("forecast", "lines"),
    [
        ("", ["nothing to build", "nothing to fetch"]),
        (f"this derivation will be built:\n  {DRV % 'a'}\n", ["1 derivation to build: a", "nothing to fetch"]),
        (
            f"this path will be fetched (0.1 MiB download, 0.2 MiB unpacked):\n  /nix/store/{'d' * 32}-a\n",
            ["nothing to build", "1 store path to fetch (0.1 MiB download, 0.2 MiB unpacked)"],
        ),
        (f"this path will be fetched:\n  /nix/store/{'d' * 32}-a\n", ["nothing to build", "1 store path to fetch"]),
        (
            "these 14 derivations will be built:\n" + "".join(f"  {DRV % number}\n" for number in range(14)),
            ["14 derivations to build: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more", "nothing to fetch"],
        ),
    ],
)
def test_nix_s_forecast_is_read_in_its_forms(forecast: str, lines: list[str]) -> None:
    """One or many, with sizes or without, and nothing at all; a long list is cut."""
    assert read_differences(answer(forecast=forecast)).describe().splitlines()[1:3] == lines


@pytest.mark.parametrize(
    ("forecast", "lacks", "lines"),
    [
        (
            FORECAST,
            (40, 84_095_795),
            [
                "2 derivations to build on the builder big: unit-web.service, nixos-system-a-25.11",
                "3 store paths to fetch there (1.20 MiB download, 5.60 MiB unpacked)",
                "40 store paths to bring to the host (80.2 MiB unpacked)",
            ],
        ),
        (
            "",
            (0, 0),
            ["nothing to build on the builder big", "nothing to fetch there", "nothing to bring to the host"],
        ),
    ],
)
def test_what_another_machine_builds_and_the_host_lacks_is_told(
    forecast: str, lacks: tuple[int, int], lines: list[str]
) -> None:
    """It is that machine's forecast, and the host gets store paths from it."""
    told = read_differences(answer(), Elsewhere("the builder big", forecast, lacks)).describe()
    assert told.splitlines()[1:4] == lines
    assert told.endswith("no reboot would be needed")


def test_a_host_that_foresees_nothing_says_nothing_about_it() -> None:
    """Nothing is made up."""
    told = read_differences(answer()).describe()
    assert "to build" not in told
    assert "to fetch" not in told


def test_a_size_that_nix_did_not_report_is_left_out() -> None:
    """Half of a comparison is none."""
    assert "MiB" not in read_differences(answer(sizes=f"{OLD}\t 104857600\n")).describe()
