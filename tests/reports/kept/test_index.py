"""`index.html` lists every kept run."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from switchproof.deploy.settings import read_settings
from switchproof.reports.__main__ import main
from switchproof.reports.kept import index
from tests.reports import pages, stories
from tests.reports.runs import keep


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Runs of two providers, of every way to end."""
    for hours, story in enumerate(
        [
            stories.canonical("a", "b"),
            stories.rolled_back(),
            stories.unsafe(),
            stories.drill("a"),
            stories.killed(),
            stories.hostile(),
        ]
    ):
        keep(tmp_path, story, hours)
    broken = tmp_path / "20261124T000000Z-deploy-ovh-0f0f"
    broken.mkdir()
    (broken / "record.json").write_text("<b>")
    return tmp_path


def page(folder: Path) -> pages.Element:
    return pages.read(index.write(folder, folder).read_text(encoding="utf-8"))


def rows(table: pages.Element) -> list[list[str]]:
    return [[cell.text for cell in row.all() if cell.tag in {"th", "td"}] for row in table.one("tbody").all("tr")]


def tables(section: pages.Element, title: str) -> list[list[str]]:
    (table,) = [each for each in section.all("table") if each.one("caption").text.startswith(title)]
    return rows(table)


def test_every_run_is_listed_newest_first_by_provider(folder: Path) -> None:
    """Each provider has its runs, the newest first, with mode, revision, verdict, duration and why."""
    ovh, lab = page(folder).all("section")
    assert [section.one("h2").text for section in (ovh, lab)] == ["ovh", "lab (emulated)"]
    runs = tables(ovh, "Every kept run")
    assert [(row[0], row[1], row[4]) for row in runs] == [
        ("2026-11-24 00:00:00 UTC", "deploy", "? unreadable"),
        ("2026-11-23 20:12:03 UTC", "deploy", "✗ non-canonical"),
        ("2026-11-23 19:12:03 UTC", "deploy", "? killed"),
        ("2026-11-23 18:12:03 UTC", "drill", "✓ canonical"),
        ("2026-11-23 16:12:03 UTC", "deploy", "✗ non-canonical"),
        ("2026-11-23 15:12:03 UTC", "deploy", "✓ canonical"),
    ]
    assert runs[-2][3] == "main 1a2b3c4d5e6f Serve the new login page"
    assert runs[-2][2] == "a rolled-back b converged"
    assert "The hypervisor answered 502" in runs[-2][6]
    assert runs[0][2:4] == ["not known", "not known"]
    assert "record.json: cannot be read as a run" in runs[0][6]
    assert runs[2][5] == "never ended"
    assert re.fullmatch(r"\d+(\.\d)? (s|min \d\d s)", runs[-1][5])


def test_each_host_has_its_state_and_its_trend(folder: Path) -> None:
    """A host's row says how it was left, by which run, its newest canonical run, and its verdicts over time."""
    ovh = page(folder).all("section")[0]
    hosts = {row[0]: row for row in tables(ovh, "How each host")}
    assert hosts["b"][1:3] == ["✓ converged", "2026-11-23 16:12:03 UTC ✗ non-canonical"]
    assert hosts["b"][3] == "2026-11-23 15:12:03 UTC 1a2b3c4d5e6f"
    assert hosts["a"][4] == "✓ ✗ ✓ ?"
    trends = {row[0]: row for row in tables(ovh, "How the runs of each mode")}
    assert trends["deploy"][1:3] == ["4", "✓ ✗ ? ✗"]
    assert "newest" in trends["deploy"][3]


def test_emulated_runs_are_marked(folder: Path) -> None:
    """Runs against a stand-in are marked, each in its row and all together where there are no others."""
    ovh, lab = page(folder).all("section")
    assert tables(lab, "Every kept run")[0][1] == "deploy (emulated)"
    assert lab.all("p", class_="emulated")
    assert not ovh.all("p", class_="emulated")


def test_each_run_is_linked_with_what_there_is(folder: Path) -> None:
    """A run links to its report, a killed one to the page that was made again or its events, never to nothing."""

    def targets() -> list[str]:
        found = [link.attributes["href"] for link in page(folder).all("a")]
        assert all((folder / href).exists() for href in found if not href.startswith("#"))
        return [href for href in found if not href.startswith("#")]

    (killed,) = [run for run in folder.iterdir() if run.is_dir() and not (run / "record.json").exists()]
    assert f"./{killed.name}/events.jsonl" in targets()
    assert main(["render", str(killed)]) == 0
    assert f"./{killed.name}/conformance.html" in targets()


def test_what_hosts_said_is_text(folder: Path) -> None:
    """Whatever stands in a record or beside it, the page has no script, fetches nothing and stays in its folder."""
    (folder / '20261124T000001Z-deploy-<img src=x>-"').mkdir()
    shown = index.write(folder, folder).read_text(encoding="utf-8")
    root = pages.read(shown)
    assert not [element for element in root.all() if element.tag in {"script", "img", "iframe", "link", "object"}]
    for element in root.all():
        assert not [name for name in element.attributes if name.startswith("on") or name in {"src", "style"}]
        assert element.attributes.get("href", "#").startswith(("#", "./"))
    assert "</script><img src=x onerror=alert(1)>" in root.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    (policy,) = [meta.attributes["content"] for meta in root.all("meta") if "http-equiv" in meta.attributes]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_the_page_can_be_read_aloud(folder: Path) -> None:
    """Tables have captions and scopes, pictures and marks have words, and every id stands once."""
    root = page(folder)
    assert root.one("html").attributes["lang"] == "en"
    for table in root.all("table"):
        assert table.one("caption").text
        assert all(head.attributes["scope"] in {"row", "col"} for head in table.all("th"))
    assert all(picture.attributes["aria-label"] for picture in root.all("svg"))
    ids = [element.attributes["id"] for element in root.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))


def test_a_hundred_hosts_are_counted_by_their_states(tmp_path: Path) -> None:
    """Of a run of many hosts the states are counted, and the hosts stand behind them."""
    keep(tmp_path, stories.canonical(*(f"host-{number}" for number in range(100))))
    (run,) = tables(page(tmp_path), "Every kept run")
    assert run[2].startswith("100 hosts: 100 converged host-0 converged")


def test_a_folder_without_runs_has_a_page(tmp_path: Path) -> None:
    """Where nothing is kept, the page says so."""
    assert "No run is kept here." in page(tmp_path).text


def test_runs_that_end_at_the_same_time_all_stand_in_it(tmp_path: Path) -> None:
    """Of runs that write the page at once the last one has seen all, and no piece of a page is left."""

    def end(number: int) -> Path:
        place = keep(tmp_path, stories.unsafe(), number)
        index.write(tmp_path, tmp_path)
        return place

    with ThreadPoolExecutor(6) as pool:
        ended = list(pool.map(end, range(6)))
    shown = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert [place for place in ended if place.name not in shown] == []
    assert [path.name for path in tmp_path.glob("*.partial")] == []


def test_it_stands_beside_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By default the page is above the folder of runs, with --report-dir in it, as `latest` is."""
    settings = read_settings(tmp_path)
    assert settings.home == tmp_path / "reports"
    assert settings.home_of(tmp_path) == tmp_path
    place = keep(settings.report_dir, stories.canonical("a"))
    monkeypatch.chdir(tmp_path)
    assert main(["index"]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == tmp_path / "reports" / "index.html"
    shown = pages.read(page.read_text(encoding="utf-8"))
    assert f"./runs/{place.name}/report.html" in {link.attributes["href"] for link in shown.all("a")}


def test_the_command_writes_and_opens_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The place is printed; with --open a desktop shows it, and where there is none nothing more happens."""
    opened: list[Any] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: opened.append(command))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert main(["index", str(folder), "--open"]) == 0
    assert opened == []
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert main(["index", str(folder), "--open"]) == 0
    assert opened == [["/usr/bin/xdg-open", str(folder / "index.html")]]
    assert capsys.readouterr().out == f"{folder / 'index.html'}\n" * 2
    assert main(["index", str(folder / "none")]) == 4
    assert "none: no such folder" in capsys.readouterr().err
