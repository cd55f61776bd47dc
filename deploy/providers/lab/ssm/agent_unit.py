"""Runs a real amazon-ssm-agent as a unit of a lab host, which has no way to AWS."""

from __future__ import annotations

import contextlib
import json

from switchproof.deploy.providers.lab.errors import LabError
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.ssm.agent import ORCHESTRATION, PATH
from switchproof.deploy.providers.lab.ssm.signature import Key

UNIT = "amazon-ssm-agent.service"
HERE = "/usr/local/lib/switchproof-lab/real/ssm-agent"
"""The folder of the programs on every host, read-only."""
RESTART_S = 90
"""Seconds until systemd restarts an agent that ended, as in NixOS."""
TIMEOUT_S = 60.0

_SETTINGS = "/etc/amazon/ssm/amazon-ssm-agent.json"
_SECRET = "/run/switchproof-lab-ssm-agent"  # noqa: S105 - the path of a file
_UNIT_FILE = f"/run/systemd/system/{UNIT}"
_UNIT = f"""\
[Unit]
Description=amazon-ssm-agent

[Service]
ExecStart={HERE}/amazon-ssm-agent
Environment=AWS_SHARED_CREDENTIALS_FILE={_SECRET}
Environment=PATH={PATH}
KillMode=process
Restart=always
RestartPreventExitStatus=194
RestartSec={RESTART_S}
"""
_WRITE = 'umask 077; mkdir -p "${0%/*}" && cat >"$0"'


class AgentUnit:
    """The unit of a real agent on one host.

    Args:
        host: The host.
        instance: Its instance id.
        region: Its region.
    """

    def __init__(self, host: LabHost, instance: str, region: str) -> None:
        self._host, self._instance, self._region = host, instance, region

    def start(self, url: str, key: Key) -> None:
        """Start the agent, which then calls `url` and nothing else.

        Args:
            url: The URL of the agent's side of the endpoint, with its scheme.
            key: The key with which the agent signs.

        Raises:
            LabError: The host could reach other machines, or systemd refused to start the agent.
        """
        self._require_no_way_out()
        self.stop()
        self._write(_SETTINGS, json.dumps(settings(url, self._instance, self._region)))
        secret = f"[default]\naws_access_key_id = {key.id}\naws_secret_access_key = {key.secret}\n"
        self._write(_SECRET, secret)  # a file, because scripts get the agent's environment
        self._write(_UNIT_FILE, _UNIT)
        self._systemctl("daemon-reload")
        self._systemctl("start", UNIT)

    def stop(self) -> None:
        """Stop the agent and everything that it started, and remove its files from a host that is on."""
        with contextlib.suppress(LabError):
            # `KillMode=process` leaves the agent's workers, which would go on under the next agent.
            self._host.run(["systemctl", "kill", "--kill-whom=all", "--signal=KILL", UNIT], timeout_s=TIMEOUT_S)
            self._host.run(["systemctl", "stop", UNIT], timeout_s=TIMEOUT_S)
            files = [_UNIT_FILE, _SETTINGS, _SECRET, ORCHESTRATION, "/var/log/amazon/ssm"]
            self._host.run(["rm", "-rf", "--", *files], timeout_s=TIMEOUT_S)
            self._host.run(["systemctl", "daemon-reload"], timeout_s=TIMEOUT_S)

    def restart(self) -> None:
        """Restart the agent, like a switch that changes its unit; its scripts survive."""
        self._systemctl("restart", "--no-block", UNIT)

    def die(self) -> None:
        """Kill the agent with everything that it started; systemd starts it again after a while."""
        self._systemctl("kill", "--kill-whom=all", "--signal=KILL", UNIT)

    def last_lines(self) -> str:
        """Return the last lines of the agent's journal; empty for a host that is off."""
        with contextlib.suppress(LabError):
            lines = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=12", f"--unit={UNIT}"]
            return self._host.run(lines, timeout_s=TIMEOUT_S).stdout
        return ""

    def _require_no_way_out(self) -> None:
        """Refuse a host with a default route, because the agent asks AWS itself when its settings are wrong."""
        for family in ("-4", "-6"):
            routes = self._host.run(["ip", family, "route", "show", "default", "table", "all"], timeout_s=TIMEOUT_S)
            if routes.returncode != 0 or routes.stdout.strip():
                raise LabError(
                    f"--lab-ssm-agent: host {self._host.name} may have a way out of this machine "
                    f"({(routes.stdout or routes.stderr).strip()}); a real agent runs only where there is none"
                )

    def _write(self, path: str, text: str) -> None:
        done = self._host.run(["sh", "-c", _WRITE, path], timeout_s=TIMEOUT_S, input=text)
        self._require(done.returncode, f"write {path}", done.stderr)

    def _systemctl(self, *arguments: str) -> None:
        done = self._host.run(["systemctl", *arguments], timeout_s=TIMEOUT_S)
        self._require(done.returncode, f"run systemctl {arguments[0]}", done.stderr)

    def _require(self, status: int, what: str, stderr: str) -> None:
        if status != 0:
            raise LabError(f"--lab-ssm-agent: host {self._host.name} could not {what}: {stderr.strip()}")


def settings(url: str, instance: str, region: str) -> dict[str, object]:
    """Return the agent's settings, in which every address is the endpoint's.

    Args:
        url: The endpoint's URL with its scheme, because the agent takes AWS's own address in place of another form.
        instance: The instance id.
        region: The region.
    """
    return {
        "Identity": {
            "ConsumptionOrder": ["CustomIdentity"],
            "CustomIdentities": [
                {
                    "InstanceID": instance,
                    "Region": region,
                    "AvailabilityZone": f"{region}a",
                    "InstanceType": "lab",
                    "CredentialsProvider": "DEFAULT",
                }
            ],
        },
        "Mds": {"Endpoint": url},
        "Ssm": {"Endpoint": url},
        "Mgs": {"Endpoint": url.partition("://")[2], "Region": region},
        "S3": {"Endpoint": url, "Region": region},
        "Kms": {"Endpoint": url},
        "Agent": {"Region": region, "SelfUpdate": False, "TelemetryMetricsToSSM": False},
    }
