"""What the benchmark of audits prepares for its peers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import verify

PIP = """#!/bin/sh
if [ -n "$PIP_CONSTRAINT" ]; then echo "ResolutionImpossible" >&2; exit 1; fi
touch "${0%/*}/pyinfra"
"""


def test_pyinfra_is_installed_by_its_own_needs_where_the_surroundings_constrain_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CI constrains pip to our locked versions, and pyinfra asks for an older paramiko than they hold."""

    def create(folder: Path, **_: object) -> None:
        pip = folder / "bin" / "pip"
        pip.parent.mkdir(parents=True)
        pip.write_text(PIP)
        pip.chmod(0o755)

    monkeypatch.setattr("venv.create", create)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "requirements.lock"))
    assert verify.own_pyinfra().exists()
