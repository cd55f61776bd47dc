"""Functions of the host's script, to be run here without a host."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping

from switchproof.deploy.host.program import whole_script


def function(name: str) -> str:
    """The text of one function of the script."""
    found = re.search(
        rf"^{name}\(\) (\{{.*?^\}}|\(.*?^\)|\{{ .*?\}})$",
        whole_script(),
        re.MULTILINE | re.DOTALL,
    )
    assert found, name
    return found[0]


def constant(name: str) -> str:
    """The line of the script that gives a constant its value."""
    found = re.search(rf"^readonly {name}=.*$", whole_script(), re.MULTILINE)
    assert found, name
    return found[0]


def run(
    text: str,
    *names: str,
    stdin: bytes = b"",
    values: Mapping[str, str] | None = None,
    replace: Mapping[str, str] | None = None,
) -> str:
    """Run a text in bash with some functions of the script; it must end well and say nothing on standard error."""
    head = "set -euo pipefail; export LC_ALL=C; readonly US=$'\\x1f' RS=$'\\x1e'\n"
    whole = "\n".join([head, *map(function, names), text])
    for old, new in (replace or {}).items():
        whole = whole.replace(old, new)
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", **(values or {})}
    done = subprocess.run(["bash", "-c", whole], input=stdin, capture_output=True, check=False, timeout=30, env=env)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    return done.stdout.decode()
