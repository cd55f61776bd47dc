"""A target file for tests, with its variables and a function that loads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from switchproof.deploy.providers import load
from switchproof.deploy.target.types import Target
from tests.answers import HOST_KEY

TEXT = f"""
provider = "ovh"
[repository]
url = "https://example.org/r.git"
[[hosts]]
name = "a"
flake_attr = "choiros-a"
address = "192.0.2.1"
host_keys = ["{HOST_KEY}"]
groups = ["production"]
[[hosts]]
name = "b"
flake_attr = "choiros-b"
address = {{ env = "B_HOST" }}
host_keys = [{{ env = "B_KEY" }}]
[hypervisor]
units = ["hypervisor.service"]
listen = "127.0.0.1:9090"
url = "http://127.0.0.1:9090/login"
[runtime.dev]
units = ["vm.service", "socat@dev.service"]
listen = "127.0.0.1:8081"
url = "http://127.0.0.1:8081/health"
[runtime.live]
units = ["vm.service", "socat@live.service"]
listen = "127.0.0.1:8080"
url = "http://127.0.0.1:8080/health"
json = {{ status = "healthy" }}
"""
ENVIRON = {"B_HOST": "192.0.2.2", "B_KEY": HOST_KEY}


def loaded(folder: Path, text: str = TEXT, environ: Mapping[str, str] = ENVIRON, *select: str) -> Target:
    path = folder / "t.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ, select)
