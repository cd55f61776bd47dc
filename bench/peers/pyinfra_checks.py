"""The ten checks as a user of pyinfra writes them: facts and expected values.

Every host that passes all ten leaves a file of its name in the folder `right`.
"""

import json
from pathlib import Path

from pyinfra import host
from pyinfra.facts.server import Command
from pyinfra.facts.systemd import SystemdStatus

UNITS = ["hypervisor.service", "socat-sandbox@live.service", "socat-sandbox@dev.service"]
PORTS = [9090, 8080, 8081]

status = host.get_fact(SystemdStatus, services=UNITS)
for unit in UNITS:
    assert status[unit], f"{unit} is not running"

listening = {line.split()[3] for line in host.get_fact(Command, "ss -Hltn").splitlines()}
for port in PORTS:
    assert f"127.0.0.1:{port}" in listening, f"nobody listens on {port}"

assert "ChoirOS" in host.get_fact(Command, "curl -fsS --max-time 5 http://127.0.0.1:9090/login")
for port, role in ((8080, "live"), (8081, "dev")):
    body = json.loads(host.get_fact(Command, f"curl -fsS --max-time 5 http://127.0.0.1:{port}/health"))
    assert (body["status"], body["instance_role"]) == ("healthy", role)

links = host.get_fact(Command, "readlink -e /run/current-system /nix/var/nix/profiles/system").split()
assert links == links[:1] * 2, "what runs is not what the profile points to"

(Path("right") / host.name).touch()
