"""What the processes of units run from."""

from __future__ import annotations

from pathlib import Path

from tests.host_functions import run


def test_process_s_beginning_is_read_whatever_its_name(tmp_path: Path) -> None:
    """A process that calls itself by blanks, digits and parentheses began when the kernel says."""
    text = """
    mkdir -p "$DIR/8" "$DIR/9"
    echo "8 (a) 1 (b) S 1 8 8 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9" >"$DIR/8/stat"
    echo "a[\\$(echo evil)]" >"$DIR/9/stat"
    began=''
    for pid in 8 9 10; do note_began "$pid"; done
    printf %s "$began"
    """
    assert (
        run(
            text,
            "numbers",
            "contract",
            "processes",
            values={"DIR": str(tmp_path)},
            replace={"/proc/": f"{tmp_path}/"},
        )
        == "8 4242\n"
    )
