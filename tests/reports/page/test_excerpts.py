"""Which lines of evidence stand in a report."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from switchproof.deploy.record.record import Evidence
from switchproof.reports.page import excerpts


def kept(folder: Path, name: str, content: bytes) -> Evidence:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Evidence(path=name, title="", host="a", sha256=digest, bytes=len(content))


def take(folder: Path, *files: Evidence) -> list[excerpts.Excerpt]:
    return list(excerpts.take(folder, {file.path: file for file in files}, [file.path for file in files]).values())


def test_log_shows_its_last_lines_and_says_how_many() -> None:
    """Of a long log the end is shown, with how many lines that is of how many."""
    shown = excerpts.excerpt("\n".join(f"line {'x' * n}" for n in range(100)), head=False, limit=100_000)
    assert shown.lines.splitlines()[-1] == f"line {'x' * 99}"
    assert (shown.shown, shown.total, shown.whole) == (excerpts.LINES, 100, False)


def test_huge_log_is_looked_at_where_it_tells() -> None:
    """Of megabytes only the telling end is gone through, and the number of lines is that of all."""
    content = "\n".join(f"line {n} {'x' * (n % 50)}" for n in range(50_000))
    last, first = excerpts.excerpt(content, head=False), excerpts.excerpt(content, head=True)
    assert (last.total, first.total) == (50_000, 50_000)
    assert last.lines.splitlines()[-1].startswith("line 49999 ")
    assert first.lines.splitlines()[0].startswith("line 0")
    flat = excerpts.excerpt("M" * 1_000_000, head=False)
    assert (flat.shown, len(flat.lines) < 500) == (1, True)


def test_listing_shows_its_first_lines() -> None:
    """What says most at its beginning, such as a unit's status, is shown from there."""
    shown = excerpts.excerpt("head\n" + "\n".join("x" * n for n in range(100)), head=True, limit=100_000)
    assert shown.lines.splitlines()[0] == "head"


def test_lines_alike_but_for_numbers_are_one() -> None:
    """A hundred probes in a log do not hide what was said before them."""
    probes = [f"2026-11-25T02:33:{n:02d}.{n:06d}+00:00 a sandbox[{n}]: GET /health 200" for n in range(60)]
    shown = excerpts.excerpt("\n".join(["out of memory", *probes]), head=False, limit=2000)
    lines = shown.lines.splitlines()
    assert lines == ["out of memory", probes[0], "[58 lines that differ only in numbers]", probes[-1]]
    assert (shown.shown, shown.total, shown.whole, shown.folded) == (61, 61, True, True)


def test_lines_of_any_length_are_cut() -> None:
    """A line of a megabyte is cut and says how long it is; nothing else is lost for it."""
    shown = excerpts.excerpt("first\n" + "M" * 1_000_000 + "\nlast", head=False)
    assert len(shown.lines) < 500
    assert "[1,000,000 characters]" in shown.lines
    assert shown.lines.endswith("\nlast")


def test_text_of_a_host_is_inert() -> None:
    """Neither escapes nor control characters nor what is no UTF-8 stay in an excerpt."""
    shown = excerpts.excerpt("\x1b[31mred\x1b[0m\u202e\x00ok \ufffd", head=False)
    assert shown.lines.startswith("red")
    assert not {"\x1b", "\x00", "\u202e"} & set(shown.lines)


def test_files_of_the_run_are_read(tmp_path: Path) -> None:
    """A file that is as it was kept is shown, one that is empty as empty."""
    journal = kept(tmp_path, "evidence/a/journal/live.service.txt", b"it died\n\xff\xfe\n\n")
    empty = kept(tmp_path, "evidence/a/empty.txt", b"")
    first, second = take(tmp_path, journal, empty)
    assert (first.lines.splitlines()[0], first.whole, first.problem) == ("it died", True, "")
    assert (second.lines, second.total, second.problem) == ("", 0, "")


def test_file_that_was_changed_is_not_shown(tmp_path: Path) -> None:
    """What stands in the folder and is not what was kept is no evidence."""
    evidence = kept(tmp_path, "evidence/a/log.txt", b"all failed")
    (tmp_path / evidence.path).write_bytes(b"all is well")
    (shown,) = take(tmp_path, evidence)
    assert shown.lines == ""
    assert "SHA-256 differs" in shown.problem


@pytest.mark.parametrize("path", ["../outside.txt", "/etc/hostname", "evidence/../../outside.txt", "evidence/link"])
def test_no_file_from_outside_is_read(tmp_path: Path, path: str) -> None:
    """A record that names a file outside the run's folder, or a link that leads there, gets nothing of it."""
    run = tmp_path / "run"
    (run / "evidence").mkdir(parents=True)
    (tmp_path / "outside.txt").write_bytes(b"secret")
    (run / "evidence" / "link").symlink_to(tmp_path / "outside.txt")
    digest = hashlib.sha256(b"secret").hexdigest()
    (shown,) = take(run, Evidence(path=path, title="", host=None, sha256=digest, bytes=6))
    assert shown.lines == ""
    assert shown.problem


def test_file_that_is_gone_says_so(tmp_path: Path) -> None:
    """A file that cannot be read is told with the reason; the report is made all the same."""
    gone = kept(tmp_path, "evidence/a/log.txt", b"x")
    (tmp_path / gone.path).unlink()
    long = Evidence(path=f"evidence/{'x' * 5000}", title="", host="a", sha256="", bytes=0)
    assert [bool(shown.problem) for shown in take(tmp_path, gone, long)] == [True, True]


def test_all_excerpts_together_keep_to_a_page_s_room(tmp_path: Path) -> None:
    """However many files bear on failures, what is shown of them is bounded, and each gets its share."""
    body = "\n".join("y" * (n % 90) for n in range(500)).encode()
    files = [kept(tmp_path, f"evidence/a/{n}.txt", body + f"\nthe end of {n}".encode()) for n in range(300)]
    shown = take(tmp_path, *files)
    assert sum(len(one.lines) for one in shown) <= excerpts.PAGE_CHARACTERS
    assert all(one.lines.endswith(f"the end of {n}") for n, one in enumerate(shown))
