"""Faults of a host: its sandboxes, its hypervisor, its systems and what is wrong on it besides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from switchproof.deploy.contract import HostState
from switchproof.deploy.providers.lab import faults as lab_faults
from tests.deploys import parity
from tests.faults.scene import (
    CHANGING,
    Expected,
    Fault,
    Scene,
    broken,
    canonical,
    each,
    mended,
)


def _sandbox(fault: lab_faults.Fault, unit: str) -> Fault:
    """A fault of one sandbox, which stays whatever is deployed."""

    def arrange(scene: Scene) -> None:
        assert scene.host is not None
        host = scene.host
        scene.undo.callback(lambda: lab_faults.mend_host(host))
        lab_faults.break_host(host, fault.name, unit)

    return Fault("host", f"`{unit}`: {fault.about}", arrange, each(lambda mode: broken(mode, "runtime")))


def _script(breaks: str, mends: str) -> Callable[[Scene], None]:
    return lambda scene: scene.break_with(breaks, mends)


def _masked(unit: str) -> Callable[[Scene], None]:
    return _script(
        f"systemctl mask --runtime --now {unit}", f"systemctl unmask --runtime {unit} && systemctl start {unit}"
    )


_OLD_TROUBLE = r"""
  printf '[Service]\nType=oneshot\nExecStart=/bin/false\n' >/run/systemd/system/old-trouble.service
  systemctl daemon-reload; systemctl start old-trouble.service || true
"""
_OLD_TROUBLE_GONE = """
  rm /run/systemd/system/old-trouble.service; systemctl reset-failed old-trouble.service || true
  systemctl daemon-reload
"""

_SWITCHED: Final[dict[str, tuple[int, HostState]]] = {
    "ends with 0": (0, HostState.CONVERGED),
    "ends with 0 and switched nothing": (1, HostState.ROLLED_BACK),
    "ends with 3": (1, HostState.ROLLED_BACK),
    "ends with 137": (1, HostState.ROLLED_BACK),
    "dies by a signal": (1, HostState.ROLLED_BACK),
    "says what is not UTF-8": (0, HostState.CONVERGED),
}
"""How a deploy must end when nixos-rebuild does that; a rollback does not run it."""


def _switch(behaviour: parity.Behaviour) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        places = " ".join(f"{place}/nixos-rebuild" for place in parity.PLACES)
        assert scene.host is not None
        scene.undo.callback(lambda: scene.inside(f"rm -rf /run/behaviour /run/behaved {places}"))
        put = "".join(
            f"cat >{place}/nixos-rebuild <<'SWITCH'\n{parity.SWITCH}SWITCH\nchmod 755 {place}/nixos-rebuild\n"
            for place in parity.PLACES
        )
        told = f"cat >/run/behaviour <<'BEHAVIOUR'\n{behaviour.switch}\nBEHAVIOUR\n"
        scene.inside(f"rm -rf /run/behaved; mkdir -p {' '.join(parity.PLACES)}\n{put}{told}")

    return arrange


def _behaviour(name: str) -> Fault:
    behaviour = next(one for one in parity.BEHAVIOURS if one.name == f"the switch {name}")
    code, state = _SWITCHED[name]
    ends = Expected(code, frozenset({state}), "converge" if code else None)
    return Fault("host", behaviour.name, _switch(behaviour), {"deploy": ends, "drill": ends})


FAULTS: Final = (
    *(
        _sandbox(fault, ("live", "dev")[number % 2])
        for number, fault in enumerate(one for one in lab_faults.FAULTS if not one.machine)
    ),
    Fault(
        "host",
        "the hypervisor is stopped",
        _script("systemctl stop hypervisor.service", "systemctl start hypervisor.service"),
        each(lambda mode: mended(mode, "hypervisor")),
    ),
    Fault(
        "host",
        "the hypervisor's process is stopped by a signal",
        _script(
            "systemctl kill --signal=STOP hypervisor.service",
            "systemctl kill --signal=CONT hypervisor.service || true",
        ),
        each(lambda mode: mended(mode, "hypervisor")),
    ),
    Fault(
        "host",
        "the forward of `dev` is masked",
        _masked("socat-sandbox@dev.service"),
        {mode: broken(mode, "runtime" if mode == "audit" else None) for mode in ("audit", *CHANGING)},
    ),
    Fault(
        "host",
        "a unit outside the contract failed before",
        _script(_OLD_TROUBLE, _OLD_TROUBLE_GONE),
        each(canonical),
    ),
    *(_behaviour(name) for name in _SWITCHED),
)
