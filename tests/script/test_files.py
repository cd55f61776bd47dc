"""Files that the script writes are there whole or not at all, and for root alone."""

from __future__ import annotations

from pathlib import Path

from tests.host_functions import run


def test_what_the_script_writes_is_for_root_alone(tmp_path: Path) -> None:
    """X-6: files and folders that it makes are closed to others, also by hand."""
    text = f"echo x >{tmp_path}/file; mkdir {tmp_path}/folder; stat -c %a {tmp_path}/f*"
    assert run(text).split() == ["600", "700"]
