"""What each part of the report shows of a record."""

from __future__ import annotations

import hashlib
import html as stdlib_html
import json
import re
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.contract import Clause, ExitCode, HostState, Verdict
from switchproof.deploy.record import events as ev
from switchproof.deploy.record import facts
from switchproof.deploy.record.record import Record
from switchproof.reports.page import layout
from tests.reports import pages, stories
from tests.reports.story import BEGIN, CI, HOSTILE, NEW, OLD, OVER_SSH, SHA, Story


def read(record: Record, folder: Path | None = None) -> pages.Element:
    return pages.read(layout.standalone(record, folder))


def part(root: pages.Element, heading: str) -> pages.Element:
    """The section under a heading."""
    (found,) = [
        section
        for section in root.all("section")
        if any(head.text == heading for head in section.all(id=_id(section)))
    ]
    return found


def _id(section: pages.Element) -> str:
    return section.attributes.get("aria-labelledby", "none")


def table(root: pages.Element, caption: str) -> list[list[str]]:
    """The rows of the table whose caption begins so."""
    (found,) = [each for each in root.all("table") if each.one("caption").text.startswith(caption)]
    rows = [row for body in found.all("tbody") for row in body.all("tr")]
    return [[cell.text for cell in row.all() if cell.tag in {"th", "td"}] for row in rows]


def checks(root: pages.Element, title: str) -> list[pages.Element]:
    return [
        check for check in root.all("details", class_="check") if check.all("summary")[0].one("bdi").text == title
    ]


def test_first_screen_says_what_where_when_and_who() -> None:
    """Requested and full revision, subject, author and date, hosts, times, owner and CI run stand at the top."""
    root = read(stories.rolled_back().record())
    told = {group.one("dt").text: group for group in root.one("dl", class_="four").all("div")}
    assert list(told) == ["What", "Where", "When", "Who"]
    for words in ("main", SHA, "Serve the new login page", "Ada Example", "2026-11-23 12:12:03 UTC", "example.org"):
        assert words in told["What"].text, words
    assert [link.text for link in told["Where"].all("a")] == ["a", "b"]
    assert "exit code 1" in told["When"].text
    assert "deployer@build-7" in told["Who"].text
    (run,) = told["Who"].all("a")
    assert (run.attributes["href"], run.text) == (CI.url, "github run 4711")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "https://", "http://x/\"onclick='y'", HOSTILE]
)
def test_only_an_address_on_the_web_is_linked(url: str) -> None:
    """What a CI system, or a file that says it is a record, gives as its address is no link unless it is one."""
    record = Story("a", ci=msgspec.structs.replace(CI, url=url)).record()
    assert not [link for link in read(record).all("a") if link.attributes["href"].startswith(("h", "j", "d"))]


def test_state_of_each_host_stands_in_the_matrix() -> None:
    """Beside its clauses each host has the state that it was left in and how that is known, once for all its legs."""
    matrix = read(stories.rolled_back().record()).one("table", class_="matrix")
    first = matrix.all("tbody")[0].all("tr")
    assert [cell.text for cell in first[0].all("td")[-2:]] == [
        "↩ rolled-back",
        "It runs the toplevel it had before, verified by every check.",
    ]
    assert first[0].all("td")[-1].attributes["rowspan"] == "2" == str(len(first))


def test_every_check_is_counted_under_the_matrix() -> None:
    """How many checks there were, and what came of them, is said in one sentence; silence counts as well."""
    assert read(stories.rolled_back().record()).one("p", class_="tally").text == (
        "27 checks on all legs: 24 passed, 1 failed, 2 blocked."
    )
    assert "9 checks on all legs: 1 passed, 8 inconclusive." in read(stories.killed().record()).text


def test_first_sentence_of_each_mode() -> None:
    """A rollback, a drill and an audit each say what they did, and every run how it left its hosts."""
    assert "and nothing was changed" in read(stories.returned().record()).one("p", class_="sentence").text
    root = read(stories.drill().record())
    assert "deployed, gone back and deployed again" in root.one("p", class_="sentence").text
    assert root.one("p", class_="aftermath").text == "Both hosts were left converged."
    assert read(stories.rolled_back().record()).one("p", class_="aftermath").text == (
        "Host a was left rolled back to the earlier system and verified there; host b was left converged."
    )


def test_failed_check_says_everything_that_helps() -> None:
    """Why it matters, what asked, attempts over time, limit, id, what to try, and evidence with its digest."""
    root = read(stories.rolled_back().record())
    failed = checks(root, "The hypervisor answers /login on 127.0.0.1:9090")[0]
    said = failed.text
    for words in (
        "Why it matters This is what users reach first",
        "Asked by curl -sS --max-time 5 http://127.0.0.1:9090/login",
        "+0.1 s ✗ connection refused or no route",
        "+2.1 s ✗ 502",
        "+4.3 s ✓ 200",
        "of at most 5.0 s",
        "Try: See the log of hypervisor.service",
        "Id answers",
    ):
        assert words in said, words
    (kept,) = [one for one in stories.rolled_back().record().evidence if one.path.endswith("hypervisor.json")]
    assert f"SHA-256 {kept.sha256[:12]}" in said
    assert kept.sha256 in part(root, "Evidence").text


def test_evidence_of_the_run_stands_before_that_of_its_hosts() -> None:
    """A file that belongs to no host, as the survey of a cutover, and files of hosts are listed on one page."""
    story = stories.rolled_back()
    path = "evidence/survey.json"
    story.tell(ev.EvidenceKept(at=story.at, host=None, title="", path=path, sha256="0" * 64, bytes=2))
    heads = [head.text for head in part(read(story.record()), "Evidence").all("th") if head.attributes.get("colspan")]
    assert heads[0] == "The run"
    assert heads[1:] == sorted(heads[1:])
    assert "Host a" in heads


def test_evidence_that_bears_on_a_failure_is_read_in_the_page(tmp_path: Path) -> None:
    """The telling lines stand with the first check that they bear on, as text, and later checks lead there."""
    log = b"it starts\n" + HOSTILE.encode() + b"\n\xff</script>\nout of memory\n"
    story = Story("a").resolved()
    path = "evidence/a/diagnostics/journal/live.service.txt"
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(log)
    digest = hashlib.sha256(log).hexdigest()
    story.tell(ev.EvidenceKept(at=story.at, host="a", title="", path=path, sha256=digest, bytes=len(log)))
    message = "no answer\nthe last words of live.service:\n  out of memory"
    story.check("a", Clause.RUNTIME, "live", Verdict.FAILED, message, evidence=(path,))
    story.check("a", Clause.RUNTIME, "dev", Verdict.INCONCLUSIVE, evidence=(path,))
    record = story.record()
    shown = layout.standalone(record, tmp_path)
    root = pages.read(shown)
    first, second = checks(root, "live listens on 8080 and answers") + checks(root, "dev listens on 8081 and answers")
    assert first.one("pre").text.startswith("it starts </script><img src=x")
    assert first.one("pre").text.endswith("out of memory")
    assert "4 lines" not in first.text
    assert "all of it" in first.text
    assert first.text.count("out of memory") == 1
    assert second.one("ul", class_="files").all("a")[-1].text == "shown above"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    assert "the last words of live.service: out of memory" in read(record).text


def test_difference_to_earlier_runs_is_told() -> None:
    """What is new since the last canonical run, and what the run before says of it, with links to both."""
    root = part(read(stories.rolled_back().record()), "Since the last canonical run")
    assert [head.text for head in root.all("h3")] == [
        "Against the last canonical run",
        "Against the run before this one",
    ]
    assert [row[:2] for row in table(root, "Checks of the first leg with another result than in the last")] == [
        ["new", "a"]
    ]
    changes = [row[0] for row in table(root, "Checks of the first leg with another result than in the run before")]
    assert changes[0] == "still failing"
    assert set(changes[1:]) == {"fixed"}
    assert {link.attributes["href"].split("/")[0] for link in root.all("a")} == {".."}


def test_run_without_an_earlier_canonical_one_says_so() -> None:
    """The first run of its hosts has nothing to be held against."""
    assert "There is no earlier canonical run" in part(read(Story("a").record()), "Since the last canonical run").text


def test_before_and_after_stand_side_by_side() -> None:
    """Generation, toplevel and revision, the units that changed, and the difference of the closures."""
    root = read(stories.canonical("a").record())
    rows = {row[0]: row[1:] for row in table(root, "Which system a had")}
    assert rows["generation"] == ["41", "42", "changed"]
    assert rows["toplevel"] == [OLD, NEW, "changed"]
    assert rows["revision"][2] == "same"
    units = table(root, "The contract's units: 3 of 3 redefined, 3 restarted")
    assert units[0][:3] == ["hypervisor.service", "active (running), process 400", "active (running), process 500"]
    closure = root.one("details", class_="closure")
    assert closure.one("summary").text == "Closure difference, deploy: 5 packages"
    assert "openssl: 3.4.0 → 3.4.1" in closure.one("pre").text
    assert closure.all("a")[-1].attributes["href"] == "./evidence/a/closure.txt"


def test_specialisation_is_shown_where_one_ran() -> None:
    """The page says whether it is the same as before, and nothing where the system itself ran both times."""
    record = stories.canonical("a").record()
    (host,) = record.hosts
    assert "specialisation" not in [row[0] for row in table(read(record), "Which system a had")]

    def with_special(system: ev.SystemIdentity | None, name: str) -> ev.SystemIdentity:
        assert system is not None
        return msgspec.structs.replace(system, specialisation=name)

    after = msgspec.structs.replace(host, after=with_special(host.after, "quiet"))
    both = msgspec.structs.replace(after, before=with_special(host.before, "quiet"))
    for shown, row in ((after, ["none", "quiet", "changed"]), (both, ["quiet", "quiet", "same"])):
        page = read(msgspec.structs.replace(record, hosts=(shown,)))
        assert ["specialisation", *row] in table(page, "Which system a had")


def test_health_over_time_is_drawn_and_told() -> None:
    """Each endpoint of each leg has its strip, and a row that says the same in words."""
    record = stories.rolled_back().record()
    root = read(record)
    drawings = root.all("svg", class_="health")
    assert len(drawings) == len({(host.name, watch.leg) for host in record.hosts for watch in host.watches}) == 2
    (row,) = table(root, "Deploy: each endpoint's answers")
    assert row[:5] == ["hypervisor", "unhealthy", "never", "8.5 s of at most 2 min 25 s", "117"]
    assert "+4.3 s ✓ 200" in row[-1]


def test_phases_stand_beside_their_medians() -> None:
    """Each phase has what it took and what it usually takes."""
    rows = {row[0]: row for row in table(read(stories.canonical("a").record()), "How long each phase of a took")}
    assert rows["converge"][3:6] == ["12.3 s", "41.0 s of 12 runs", "faster than usual"]


def test_what_was_not_seen_has_its_own_part() -> None:
    """Checks that proved nothing, redactions, and what stood in for the real thing are named."""
    story = Story("a", "b", emulated=True).connected("a").phase("b", "connect", 10.0, problem="no route to host")
    story.check("a", Clause.RUNTIME, "live", Verdict.BLOCKED, "blocked by converge")
    story.tell(ev.RunFinished(at=story.at, exit_code=ExitCode.INCONCLUSIVE, redactions={"aws-key": 3}))
    told = part(read(story.record()), "What was not seen")
    assert "b : no route to host" in told.text
    assert ["a", "⊘ blocked", "blocked by converge", "1: live"] in table(told, "Checks that were not made")
    assert table(told, "Secrets that were removed") == [["aws-key", "3"]]
    assert "nixos-rebuild and switch-to-configuration themselves" in told.text


def test_connections_and_versions_are_told() -> None:
    """Host keys, ciphers, clocks, harness, contract, options and versions stand in the last part."""
    record = stories.canonical("a").record()
    told = part(read(record), "About this record")
    (row,) = table(told, "How each host was reached")
    assert row[1].startswith("SSH root@203.0.113.7:22")
    assert "over deploy@bastion.example.org:22 ssh-ed25519 SHA256:" in row[1]
    assert row[2] == OVER_SSH.host_key
    assert "aes128-ctr" in row[3]
    assert row[4] == "-0.012 s ± 0.021 s"
    for words in (record.contract_sha256, "switchproof 0.1.0", "paramiko 5.0.1", "on-failure rollback"):
        assert words in told.text, words


def test_promotion_is_told_at_the_top() -> None:
    """The signed record that let a deploy through stands before the matrix."""
    record = stories.canonical("a").record()
    source = ev.PromotedFrom(
        record="s3://x/record.json", run="run-1", signer="ci@example.org", statement_sha256="f" * 64
    )
    record.promoted_from = source
    root = read(record)
    assert "signed by ci@example.org" in part(root, "Promoted").text
    headings = [head.text for head in root.all("h2")]
    assert headings.index("Promoted") < headings.index("Hosts and clauses")


def test_hostile_text_is_text_in_every_part() -> None:
    """Where everything that can be said is an attack, each part shows it and none obeys."""
    record = stories.hostile().record()
    record.promoted_from = ev.PromotedFrom(record=HOSTILE, run=HOSTILE, signer=HOSTILE, statement_sha256=HOSTILE)
    record.run.owner = HOSTILE
    record.run.ci = facts.CiRun(system=HOSTILE, url=HOSTILE, run=HOSTILE, job=HOSTILE, actor=HOSTILE, ref=HOSTILE)
    record.run.versions = {HOSTILE: HOSTILE}
    record.redactions = {HOSTILE: 1}
    record.revision.author = HOSTILE
    record.hosts[0].warnings = [HOSTILE]
    bad = facts.EarlierHost(name=record.hosts[0].name, toplevel=HOSTILE, not_passed={"switched": HOSTILE})
    record.earlier.previous = record.earlier.canonical = facts.EarlierRun(
        run=HOSTILE,
        folder="../" + HOSTILE,
        mode=HOSTILE,
        started=BEGIN,
        verdict=HOSTILE,
        sha=HOSTILE,
        contract_sha256=HOSTILE,
        hosts=(bad,),
    )
    shown = layout.standalone(record)
    root = pages.read(shown)
    known = {"html", "head", "meta", "title", "style", "body", "main", "svg", "g", "path", "rect", "line", "text"}
    known |= {
        "header",
        "section",
        "nav",
        "details",
        "summary",
        "div",
        "p",
        "span",
        "a",
        "b",
        "strong",
        "small",
        "bdi",
    }
    known |= {"h1", "h2", "h3", "h4", "ul", "li", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th"}
    known |= {
        "td",
        "pre",
        "code",
        "br",
        "time",
        "form",
        "label",
        "input",
        "select",
        "option",
        "button",
        "output",
        "script",
    }
    assert {element.tag for element in root.all()} <= known
    assert not [a for each in root.all() for a in each.attributes if a.startswith("on") or a in {"src", "style"}]
    links = {link.attributes["href"] for link in root.all("a")}
    assert all(link.startswith(("#", "./")) for link in links), links
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    for section in root.all("section") + root.all("details", class_="host"):
        if section.all("h2"):
            assert "<img" not in "".join(re.findall(r"<(?!img)[^<>]*", section.text))


def test_of_many_hosts_those_with_trouble_come_first() -> None:
    """Among more hosts than a screen holds the failed ones lead the matrix and stand open; the others are folded."""
    names = [f"host-{number:02d}" for number in range(30)]
    story = Story(*names).resolved()
    for name in names:
        story.clauses(name, *list(Clause)[:3])
        verdict = Verdict.FAILED if name == "host-17" else Verdict.PASSED
        story.clauses(name, Clause.RUNTIME, verdict=verdict).clauses(name, Clause.DIAGNOSTICS)
        story.left(name, HostState.CONVERGED, "")
    root = read(story.ended(ExitCode.SAFE_FAILURE).record())
    shown, folded = root.all("table", class_="matrix")
    assert [body.one("th").text for body in shown.all("tbody")] == ["host-17"]
    assert [body.one("th").text for body in folded.all("tbody")] == [name for name in names if name != "host-17"]
    opened = [host.one("h2").text for host in root.all("details", class_="host") if "open" in host.attributes]
    assert opened == ["Host host-17 ✗ failed"]


def test_what_checks_have_in_common_is_told_once_of_many() -> None:
    """A report of many hosts says why a check matters with the first of its id and with each that did not pass."""
    names = [f"host-{number:02d}" for number in range(40)]
    story = Story(*names).resolved()
    for name in names:
        story.clauses(name, *Clause, verdict=Verdict.FAILED if name == "host-39" else Verdict.PASSED)
    root = read(story.record())
    told = [check for check in root.all("details", class_="check") if "Users work in this sandbox." in check.text]
    assert len(told) == 2
    assert "only with the first check of each kind" in root.text


def test_report_of_ten_hosts_with_full_diagnostics_is_below_a_megabyte(tmp_path: Path) -> None:
    """Ten hosts of which each failed, was diagnosed at length and was brought back fit into less than 1 MB."""
    names = [f"host-{number:02d}" for number in range(10)]
    story = Story(*names, ci=CI).earlier().resolved()
    log = "".join(f"Nov 25 02:31:29 host live[{n}]: {'words ' * (n % 30)}\n" for n in range(200)).encode()
    flapping = tuple((float(second), 502 if second % 2 else 0) for second in range(200))
    for name in names:
        story.connected(name).seen(name, "before", OLD, 41).units(name, "before", 1, "0", "a").switched(name, 90.0)
        story.watched(name, *flapping, settled="unhealthy", left_out=400)
        files = [f"evidence/{name}/diagnostics/journal/unit-{n}.service.txt" for n in range(30)]
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_bytes(log)
            digest = hashlib.sha256(log).hexdigest()
            story.tell(
                ev.EvidenceKept(at=story.at, host=name, title="journal", path=file, sha256=digest, bytes=len(log))
            )
        story.clauses(name, Clause.REVISION, Clause.CONVERGE)
        for clause, check, share in (
            (Clause.HYPERVISOR, "answers", files[:10]),
            (Clause.RUNTIME, "live", files[10:20]),
            (Clause.RUNTIME, "dev", files[20:]),
        ):
            story.check(
                name,
                clause,
                check,
                Verdict.FAILED,
                "no\n" + "said at length\n" * 50,
                expected="status 200\n" * 9,
                seen="<p>502</p>\n" * 200,
                evidence=tuple(share),
                endpoint="hypervisor",
                command="c" * 200,
            )
        story.clauses(name, Clause.DIAGNOSTICS)
        story.tell(ev.RollbackBegun(at=story.at, host=name, reason="failed", to=OLD))
        story.phase(name, "rollback", 9.0, leg="back").watched(name, leg="back").clauses(name, *Clause, leg="back")
        story.seen(name, "after", OLD, 41).units(name, "after", 2, "0", "c").left(
            name, HostState.ROLLED_BACK, "r" * 200
        )
    shown = layout.standalone(story.ended(ExitCode.SAFE_FAILURE).record(), tmp_path)
    assert len(shown.encode()) < 900_000
    assert shown.count("lines</summary>") == 300


def theirs(tests: dict[str, list[dict[str, object]]]) -> str:
    """A page as pytest-html writes it."""
    data = stdlib_html.escape(json.dumps({"tests": tests, "environment": {}}))
    style = '<style type="text/css">td { color: #999; }</style>'
    return (
        f'<html><head>{style}</head><body><h1 id="title">t</h1>'
        f'<div id="data-container" data-jsonblob="{data}"></div><script>x()</script></body></html>'
    )


def row(name: str, result: str = "Passed", log: str = "") -> list[dict[str, object]]:
    return [{"testId": name, "result": result, "log": log, "extras": [], "resultsTableRow": [f"<td>{name}</td>"]}]


def test_long_log_is_cut_between_lines() -> None:
    """A long log of a test is cut where no escape is, and says where the whole stands."""
    (cut,) = _rows(layout.session_log(theirs({"t": row("t", "Failed", '&lt;b&gt; it\'s "quoted"\n' * 200)})))
    assert str(cut["log"]).endswith("\n[the check above has all of it]")
    assert set(str(cut["log"]).split("\n")[:-1]) == {'&lt;b&gt; it\'s "quoted"'}


def test_log_cannot_leave_its_attribute() -> None:
    """Whatever a test's log holds, it stays data: quotes of either kind, markup and ampersands."""
    evil = "'></div><script>alert(1)</script> \" &quot; &#39; &amp;"
    log = layout.session_log(theirs({"t": row("t", "Failed", evil)}))
    assert [one["log"] for one in _rows(log)] == [evil]
    root = pages.read(layout.standalone(stories.canonical("a").record(), log=log))
    assert [script.text for script in root.all("script")][1:] == ["x()"]


def _rows(log: layout.SessionLog) -> list[dict[str, object]]:
    data = pages.log_data(pages.read(str(log.body)))
    tests = data["tests"]
    assert isinstance(tests, dict)
    return [one for rows in tests.values() for one in rows]
