"""A login user without root rights on a lab host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from switchproof.deploy.providers.lab.host import LabHost

PASSWORD = "corr3ct horse"  # noqa: S105 - of an account that only a lab host has
COMMAND = "/bin/sh -c echo switchproof-is-root; exec /bin/sh -s"
"""What a rule allows, as sudoers writes it."""

_ADD = f"""
useradd --create-home --shell /bin/bash deploy
echo 'deploy:{PASSWORD}' | chpasswd
install -d -o deploy -m 700 ~deploy/.ssh
install -o deploy -m 600 ~root/.ssh/authorized_keys ~deploy/.ssh/authorized_keys
echo 'AllowUsers deploy' >/etc/ssh/sshd_config.d/deploy.conf
systemctl restart ssh.service
"""
_REMOVE = """
rm -f /etc/ssh/sshd_config.d/deploy.conf /etc/sudoers.d/deploy /etc/doas.conf
systemctl restart ssh.service
userdel --remove --force deploy 2>/dev/null
rm -rf /run/sudo/ts /var/lib/sudo/lectured
"""


@contextmanager
def login_user(machine: LabHost) -> Iterator[None]:
    """Give a host the user `deploy`, whom the lab's key lets in, for as long as the block lasts."""
    _inside(machine, _REMOVE)
    assert not (done := _inside(machine, f"set -e\n{_ADD}")), done
    try:
        yield
    finally:
        _inside(machine, _REMOVE)


def allow(machine: LabHost, *lines: str) -> None:
    """Make lines the only rules of sudo for that user."""
    text = "".join(f"{line}\n" for line in lines)
    script = (
        "set -e; umask 337; rm -f /etc/sudoers.d/deploy; printf '%s' \"$1\" >/etc/sudoers.d/.deploy; "
        "visudo -cqf /etc/sudoers.d/.deploy; mv /etc/sudoers.d/.deploy /etc/sudoers.d/deploy"
    )
    done = machine.run(["sh", "-c", script, "sh", text], timeout_s=30)
    assert done.returncode == 0, done.stderr


def _inside(machine: LabHost, script: str) -> str:
    done = machine.run(["sh", "-c", script], timeout_s=60)
    return "" if done.returncode == 0 else done.stderr + done.stdout
