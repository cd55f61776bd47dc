"""A host's answer about its surroundings, as `look-around.sh` prints it."""

from __future__ import annotations

import base64

STORE = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
SYSTEM = f"{STORE}-nixos-system-b"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJNBm+7V+dBkFgjcuLHNpV0LQGLxNFJPpXhi0UZR3ZGY"

GOOD = {
    "units": (
        "Id=hypervisor.service\nLoadState=loaded\nFragmentPath=/etc/systemd/system/hypervisor.service\n"
        "DropInPaths=\nTransient=no\n\n"
        "Id=dbus.service\nLoadState=loaded\nFragmentPath=/usr/lib/systemd/system/dbus.service\n"
        "DropInPaths=\nTransient=no\n\n"
        "Id=proc.mount\nLoadState=loaded\nFragmentPath=\nDropInPaths=\nTransient=no\n"
    ),
    "unit-files": "hypervisor.service\ndbus.service\n",
    "real-paths": (
        f"/etc/systemd/system/hypervisor.service\t{STORE}-units/hypervisor.service\n"
        "/usr/lib/systemd/system/dbus.service\t/usr/lib/systemd/system/dbus.service\n"
    ),
    "placed": f"/etc/systemd/system/hypervisor.service\t{STORE}-units/hypervisor.service\n",
    "closure": f"{SYSTEM}\n{STORE}-units\n{STORE}-openssh\n",
    "processes": f"1\t/usr/lib/systemd/systemd\t/sbin/init\n40\t{STORE}-openssh/bin/sshd\tsshd: listener\n",
    "sockets": (
        'tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=40,fd=6))\n'
        'tcp LISTEN 0 64 127.0.0.1:9090 0.0.0.0:* users:(("hypervisor",pid=41,fd=3))\n'
    ),
    "sshd": (
        "port 22\npasswordauthentication no\nkbdinteractiveauthentication no\npermitemptypasswords no\n"
        "permitrootlogin without-password\n"
    ),
    "host-keys": f"{KEY}\n",
    "contract-units": "hypervisor.service\tchoiros\t\n",
    "credentials": "",
}


def printed(**changed: str | None) -> str:
    """The output of a host that is as it should be, but for these sections; None for one that was not told."""
    sections = GOOD | {name.replace("_", "-"): text for name, text in changed.items()}
    lines = [
        f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in sections.items() if text is not None
    ]
    return "\n".join([*lines, "end\n"])
