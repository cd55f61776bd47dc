"""Answers of a host, for the tests of their readers."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Mapping

from switchproof.deploy.host.frame import Frame

NONCE = "0a1b2c3d4e5f6071"
TOPLEVEL = "/nix/store/9z8x7c6v5b4n3m2l1k0j9h8g7f6d5s4a-nixos-system-choiros-a-25.05"
SHA = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
NAR_HASH = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"
HYPERVISOR = "hypervisor.service"
LIVE = ("cloud-hypervisor@live.service", "socat-sandbox@live.service")


def payload(sections: Mapping[str, bytes]) -> bytes:
    """A row of sections, as `say` writes it."""
    return b"".join(b"%s %d\n%s\n" % (name.encode(), len(body), body) for name, body in sections.items())


def packed(content: bytes, *, nonce: str = NONCE, verb: str = "observe") -> bytes:
    """A frame, as `answer` prints it."""
    digest = hashlib.sha256(content).hexdigest()
    body = base64.encodebytes(gzip.compress(content, mtime=0)).decode()
    return f"\nSWITCHPROOF/1 {nonce} {verb} {len(content)} {digest}\n{body}SWITCHPROOF/1 {nonce} end\n".encode()


def unit_show(name: str, **values: str) -> str:
    """One unit, as `systemctl show` prints it."""
    shown = {
        "Id": name,
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "running",
        "Result": "success",
        "MainPID": "410",
        "InvocationID": "a" * 32,
        "NRestarts": "0",
        "ExecMainStatus": "0",
    } | values
    return "".join(f"{key}={value}\n" for key, value in shown.items())


def answers(name: str, *rounds: tuple[float, str]) -> str:
    """A series of one endpoint: when it was asked, and `yes` or `no`; every answer has the body 0."""
    return "".join(
        f"{at:.2f} {name} {good} {200 if good == 'yes' else 503} 0.001 0.002 0 0 {REMOTE.get(name, '-')} \n"
        for at, good in rounds
    )


REMOTE = {"hypervisor": "127.0.0.1:9090", "live": "127.0.0.1:8080", "dev": "127.0.0.1:8081"}


def bodies(texts: Mapping[str, str | bytes]) -> dict[str, str]:
    """Bodies by `endpoint` or `endpoint number`, as the parts in which they travel."""
    raw = {name: text if isinstance(text, bytes) else text.encode() for name, text in texts.items()}
    return {
        "watch.bodies": "".join(
            f"{name if ' ' in name else f'{name} 0'} {len(body)}\n" for name, body in raw.items()
        ),
        "watch.body-bytes": base64.b64encode(b"".join(raw.values())).decode(),
    }


def direct_answer(body: str, facts: str) -> str:
    """What a workload itself answered: its body, then code, seconds twice, curl's exit code and its words."""
    code, connect, total, curl, reason = facts.split(" ", 4)
    return f"{body}\n" + "\x1f".join((code, connect, total, curl, str(len(body)), "10.0.0.100", "8080", reason))


def presence(at: float, **units: str) -> str:
    """What units were from a time on; a unit is called by its letters, its state is `active running PID INV N`."""
    names = {"hypervisor": HYPERVISOR, "vm": LIVE[0], "socat": LIVE[1]}
    return f"at {at:.2f}\n" + "".join(f"{names[unit]} {state}\n" for unit, state in units.items())


RUNNING = {
    "hypervisor": "active running 410 aaaa 0",
    "vm": "active running 420 bbbb 0",
    "socat": "active running 430 cccc 0",
}

BODIES = {
    "hypervisor": "<title>Sign in</title>",
    "live": '{"status": "healthy", "instance_role": "live"}',
}


def boots(toplevel: str) -> dict[str, str]:
    """What a host says of its boot loader, systemd-boot, that starts a system."""
    return {
        "boot.firmware": "efi",
        "boot.mounts": "/boot vfat\n/sys/firmware/efi/efivars efivarfs\n",
        "boot.variables": "LoaderInfo systemd-boot 257.13\nBootCurrent 0001\n",
        "boot.files": "\x1f/boot/loader/loader.conf\ndefault nixos-generation-42.conf\n"
        "\x1f/boot/loader/entries/nixos-generation-42.conf\nsort-key nixos\nversion Generation 42\n"
        f"linux /EFI/nixos/a-bzImage.efi\ninitrd /EFI/nixos/b-initrd.efi\noptions init={toplevel}/init\n",
        "boot.cut": "",
    }


SECTIONS = {
    "watch.settled": "hypervisor healthy\nlive healthy\n",
    "watch.began": "100.00",
    "watch.ended": "103.50",
    "watch.series": answers("hypervisor", *((100.25 + n, "yes") for n in range(4)))
    + answers("live", *((100.25 + n, "yes") for n in range(4))),
    "watch.units": presence(100.25, **RUNNING),
    **bodies(BODIES),
    "system.running": TOPLEVEL,
    "system.profile": TOPLEVEL,
    "system.booted": TOPLEVEL,
    "system.generation": "42",
    "system.revision": SHA,
    "system.nar_hash": f"{NAR_HASH}\n",
    "system.built_from": SHA + "\n",
    "system.boot_id": "b00t",
    "system.installed": "",
    "system.reboot": "",
    "system.kernels": "6.12.0 6.12.0",
    "system.clock": "1763910000.123456789",
    "units.failed": "",
    "units.show": "\n".join(unit_show(name) for name in (HYPERVISOR, *LIVE)),
    "units.origins": "".join(
        f"{name} /etc/systemd/system/{name} /nix/store/units/{name} /nix/store/units/{name}\n"
        for name in (HYPERVISOR, *LIVE)
    ),
    "units.definition": "".join(f"{name} {'d' * 64}\n" for name in (HYPERVISOR, *LIVE)),
    "processes": f"{HYPERVISOR} 410 {TOPLEVEL}/bin/busybox \n",
    "listeners": f"127.0.0.1:9090 410 {HYPERVISOR}\n127.0.0.1:8080 430 {LIVE[1]}\n",
    **boots(TOPLEVEL),
    "diagnosable": f"systemctl {HYPERVISOR} 512\njournalctl {HYPERVISOR} 4096\nss sockets 900\njournald line 1\n",
}
"""A healthy host with a hypervisor and one unit, as `observe` tells of it."""


def frame(changes: Mapping[str, str | None] | None = None, verb: str = "observe") -> Frame:
    """The healthy host's frame with some parts changed; None leaves a part out, `answer.NAME` is the body of NAME."""
    sections: dict[str, str | None] = {**SECTIONS, **(changes or {})}
    texts = {
        name.removeprefix("answer."): sections.pop(name) for name in list(sections) if name.startswith("answer.")
    }
    if texts:
        sections |= bodies(BODIES | {name: text for name, text in texts.items() if text is not None})
    return Frame(verb, {name: text.encode() for name, text in sections.items() if text is not None})
