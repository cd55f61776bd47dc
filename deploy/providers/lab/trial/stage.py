"""Prepares a fresh lab host for one scenario, and the environment of the path on trial."""

from __future__ import annotations

import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from switchproof.deploy.providers.lab import process
from switchproof.deploy.providers.lab.errors import LabError
from switchproof.deploy.providers.lab.kinds import Runtime, Shape
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.revisions import FAILS_BESIDE
from switchproof.deploy.providers.lab.ssm.endpoint import SsmEndpoint
from switchproof.deploy.providers.lab.ssm.faults import Fault
from switchproof.deploy.providers.lab.trial.subject import MARK
from switchproof.deploy.providers.lab.trial.witness import Host

HOST = "a"
CHECKOUT = "/opt/choiros/workspace"
UNITS: Mapping[Shape, Mapping[str, tuple[str, ...]]] = {
    "ovh": {
        "hypervisor": ("hypervisor.service",),
        "live": ("cloud-hypervisor@live.service", "socat-sandbox@live.service"),
        "dev": ("cloud-hypervisor@dev.service", "socat-sandbox@dev.service"),
    },
    "aws": {
        "hypervisor": ("hypervisor.service",),
        "live": ("container@sandbox-live.service",),
        "dev": ("container@sandbox-dev.service",),
    },
}
"""The systemd units behind each endpoint of the contract."""

HELD_S = 60.0
"""Seconds for which an activation is held at most."""
POLL_S = 0.05
_STEP_S = 60.0

_HOLD = f"""#!/bin/bash
# Stands before the real one: an activation that tells that it begins waits here, once, until it is let go.
/usr/bin/logger "$@"
status=$?
case "$*" in *'switching to system configuration'*)
  if mkdir /run/switchproof-lab/held 2>/dev/null; then
    for ((i = 0; i < {HELD_S / POLL_S:.0f}; i++)); do [ ! -e /run/switchproof-lab/go ] || break; sleep {POLL_S}; done
  fi
esac
exit "$status"
"""


class Stage:
    """A lab of one host with its surroundings; see `set_up`."""

    def __init__(self, lab: Lab, token: str, endpoint: SsmEndpoint | None) -> None:
        self.lab = lab
        self.host = lab.hosts[HOST]
        self.shape = lab.state.shape
        self.endpoint = endpoint
        self.words = {name: f"word{secrets.token_hex(6)}" for name in (*UNITS[lab.state.shape], FAILS_BESIDE)}
        self.url = f"file://{lab.repository}"
        self._token = token
        self.units = UNITS[self.shape]
        contract = tuple(unit for several in self.units.values() for unit in several)
        self.seen = Host(self.host, self.shape, self.url, lab.state.hosts[0].attr, contract)

    @classmethod
    @contextmanager
    def set_up(cls, name: str, *, token: str, shape: Shape, runtime: Runtime) -> Iterator[Stage]:
        """Make a host with the first release and a checkout of it, for the duration of the block.

        Args:
            name: The lab's name.
            token: A secret for the path, which it must not show.
            shape: The shape of the host.
            runtime: The kind of its sandboxes.

        Raises:
            LabError: It could not be made.
        """
        with ExitStack() as stack:
            lab = stack.enter_context(Lab.up((HOST,), name=name, shape=shape, runtime=runtime))
            endpoint = stack.enter_context(SsmEndpoint.serve(lab)) if shape == "aws" else None
            stage = cls(lab, token, endpoint)
            stage._prepare()
            yield stage

    def commit(self, revision: str) -> str:
        """Return the full commit of a revision of the sample repository."""
        return self._git("rev-parse", "--verify", f"{revision}^{{commit}}").strip()

    def move_branch(self, branch: str, to: str) -> None:
        """Move a branch of the repository to another commit."""
        self._git("update-ref", f"refs/heads/{branch}", to)

    def let_behave(self, unit: str, words: str) -> None:
        """Change a sandbox's behaviour from its next start on; docs/lab.md lists the words."""
        self._write(f"/etc/switchproof-lab/guest-{unit}", f"sandbox.word={self.words[unit]} {words}\n")

    def change_host_key(self) -> None:
        """Give the host another SSH key than the published one."""
        self.inside(
            "cd /etc/ssh && rm ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key"
        )
        self.inside("systemctl restart ssh.service")

    def hold_activation(self) -> None:
        """Hold the next activation right after its begin, until `let_go`."""
        self.inside("mkdir -p /run/switchproof-lab /run/wrappers/bin")
        for folder in ("/usr/local/sbin", "/usr/local/bin", "/run/wrappers/bin"):
            self._write(f"{folder}/logger", _HOLD, mode="755")

    def held(self) -> bool:
        """Whether an activation is held."""
        return self.host.run(["test", "-e", "/run/switchproof-lab/held"], timeout_s=_STEP_S).returncode == 0

    def await_held(self, *, until: float, given_up: Callable[[], bool]) -> bool:
        """Wait until an activation is held, at most to a moment of the monotonic clock; return whether one is."""
        while not (is_held := self.held()) and time.monotonic() < until and not given_up():
            time.sleep(POLL_S)
        return is_held

    def let_go(self) -> None:
        """Release the held activation, and hold no other one."""
        self.inside("mkdir -p /run/switchproof-lab/held && touch /run/switchproof-lab/go")

    def cut(self) -> None:
        """Cut the connection between runner and host: its SSH connections, or its next requests to AWS."""
        if self.endpoint is None:
            self.inside("pkill -KILL -f '^sshd-session: ' || pkill -KILL -f '^sshd: .*@' || true")
            return
        for operation in ("SendCommand", "GetCommandInvocation", "ListCommandInvocations", "ListCommands"):
            self.endpoint.faults.plan(Fault.STALL_AFTER_ACCEPTING, operation=operation)

    def given(self, asked: str, folder: Path) -> dict[str, str]:
        """Return the path's environment, which names the commit and the host, and prepare its folder.

        Args:
            asked: The commit.
            folder: Receives its home, its folder for artifacts, and its `ssh_config`.
        """
        home, artifacts = folder / "home", folder / "artifacts"
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        artifacts.mkdir()
        (folder / "ssh_config").touch()
        values = {
            MARK: f"{self.lab.name}-{secrets.token_hex(4)}",
            "HOME": str(home),
            "RELEASE_SHA": asked,
            "DEPLOY_SHA": asked,
            "REPO_URL": self.url,
            "REPO_TOKEN": self._token,
            "DEPLOY_REPO_URL": self.url,
            "DEPLOY_REPO_TOKEN": self._token,
            "FLAKE_ATTR": self.lab.state.hosts[0].attr,
            "WORKDIR": CHECKOUT,
            "SWITCHPROOF_ARTIFACTS": str(artifacts),
        }
        return values | (
            self._by_ssh(home / ".ssh", folder / "ssh_config")
            if self.endpoint is None
            else self._by_ssm(self.endpoint)
        )

    def secrets(self) -> dict[str, str]:
        """Return the secrets that no command line may contain, by name."""
        values = {"the repository's token": self._token}
        if self.endpoint is None:
            values["the private key"] = self.lab.identity_file.read_text("utf-8").splitlines()[2]
        else:
            values["the AWS secret key"] = self.endpoint.environment["AWS_SECRET_ACCESS_KEY"]
        return values

    def sent(self) -> str:
        """Return all parameters of commands that were sent to AWS, where others may read them."""
        return repr([request for _, request in self.endpoint.calls]) if self.endpoint else ""

    def inside(self, script: str) -> str:
        """Run a shell text on the host without a connection; it must succeed."""
        done = self.host.run(["bash", "-euc", script], timeout_s=_STEP_S)
        if done.returncode != 0:
            raise LabError(f"`{script}` failed on the trial's host with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _prepare(self) -> None:
        # The repository has the same address on the runner and on the host.
        there = shlex.quote(str(self.lab.repository))
        self.inside(f"mkdir -p {shlex.quote(str(self.lab.repository.parent))} && ln -s /srv/sample.git {there}")
        self.inside(
            f"git clone --quiet {shlex.quote(self.url)} {CHECKOUT} && cd {CHECKOUT} && git reset --quiet --hard v1"
        )
        for unit, word in self.words.items():
            for name in (unit, f"sandbox-{unit}"):
                self._write(f"/etc/switchproof-lab/word-{name}", f"{word}\n")
        for unit in self.units:
            self.let_behave(unit, "")
        units = [unit for several in self.units.values() for unit in several]
        self.inside(f"systemctl restart {shlex.join(units)}")
        self.host.wait_serving()
        self.seen.note_before()

    def _by_ssh(self, folder: Path, config: Path) -> dict[str, str]:
        host = self.host
        key, known = folder / "id_ed25519", folder / "known_hosts"
        key.write_text(host.identity_file.read_text("utf-8"), "utf-8")
        key.chmod(0o600)
        known.write_text(self.lab.known_hosts.read_text("utf-8"), "utf-8")
        config.write_text(
            f"Host {host.hostname} {host.address}\n  HostName {host.address}\n  HostKeyAlias {host.address}\n"
            f"  Port {host.port}\n  User {host.user}\n  IdentityFile {key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {known}\n",
            "utf-8",
        )
        shutil.copy(config, folder / "config")
        return {
            "OVH_NODE_A_HOST": host.address,
            "OVH_NODE_A_HOST_KEY": host.host_key,
            "SWITCHPROOF_HOST": host.address,
            "SWITCHPROOF_HOST_ALIAS": host.hostname,
            "SWITCHPROOF_PORT": str(host.port),
            "SWITCHPROOF_USER": host.user,
            "SWITCHPROOF_KEY_FILE": str(key),
            "SWITCHPROOF_KNOWN_HOSTS": str(known),
            "SWITCHPROOF_HOST_KEY": host.host_key,
            "SWITCHPROOF_SSH_CONFIG": str(config),
        }

    def _by_ssm(self, endpoint: SsmEndpoint) -> dict[str, str]:
        instance = endpoint.instance_ids[HOST]
        return endpoint.environment | {
            "DEPLOY_INSTANCE_ID": instance,
            "EC2_INSTANCE_ID": instance,
            "SWITCHPROOF_INSTANCE_ID": instance,
        }

    def _git(self, *arguments: str) -> str:
        return process.check(["git", f"--git-dir={self.lab.repository}", *arguments], timeout_s=_STEP_S)

    def _write(self, path: str, text: str, mode: str = "644") -> None:
        script = f"mkdir -p {shlex.quote(str(Path(path).parent))} && cat >{path} && chmod {mode} {path}"
        done = self.host.run(["bash", "-euc", script], timeout_s=_STEP_S, input=text)
        if done.returncode != 0:
            raise LabError(f"{path} could not be written on the trial's host: {done.stderr.strip()}")
