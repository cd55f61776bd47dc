"""The documents say what the code does."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.contract import Clause, ExitCode
from switchproof.deploy.host.program import whole_script
from switchproof.deploy.providers import json_schema
from switchproof.deploy.providers.lab import kvm
from switchproof.deploy.providers.lab.revisions import REVISIONS
from switchproof.deploy.record.schema import record_schema
from switchproof.reports.reading import EXIT_MEANINGS
from switchproof.trials.record import FindingId
from switchproof.trials.scenario import SCENARIOS
from switchproof.trials.schema import trial_schema

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
"""Every document of the project."""


@pytest.mark.parametrize(
    ("name", "schema"), [("target", json_schema), ("record", record_schema), ("trial", trial_schema)]
)
def test_the_schema_is_the_one_of_the_code(name: str, schema: Callable[[], object]) -> None:
    """The published JSON Schemas of target files, records and trials are what `just schema` writes."""
    published = msgspec.json.decode((ROOT / "docs" / f"{name}.schema.json").read_bytes())
    assert published == msgspec.json.decode(msgspec.json.encode(schema()))


def test_every_revision_of_the_lab_is_documented() -> None:
    """The lab's page lists every revision of the sample repository with the clause that it fails."""
    page = (ROOT / "docs" / "lab.md").read_text(encoding="utf-8")
    for revision in REVISIONS:
        (row,) = re.findall(rf"^\| `{re.escape(revision.name)}` \|.*$", page, re.MULTILINE)
        assert row.endswith(f"| `{revision.clause}` |" if revision.clause else "| (canonical) |")


def test_figures_of_the_first_pages_are_those_of_the_code() -> None:
    """README and the lab's page state a time or a size only where a constant or the sample holds it."""
    page = (ROOT / "docs" / "lab.md").read_text(encoding="utf-8")
    (crash,) = (edit for one in REVISIONS if one.name == "broken/live-crash-loop" for edit in one.edits)
    held = {
        f"{kvm.FIRST_BOOT_TIMEOUT_S:g} s",
        *(f"{seconds} s" for seconds in re.findall(r"echo (\d+) >", repr(crash))),
    }
    assert set(re.findall(r"\b[\d.,]+ (?:ms|s|MB|GB|KiB|%|seconds|minutes)(?!\w)", README + page)) <= held


def test_every_scenario_and_finding_of_a_trial_is_documented() -> None:
    """The page of trials has a row for each of them, and no other."""
    page = (ROOT / "docs" / "subjects.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE)
    assert rows == [scenario.name for scenario in SCENARIOS] + [finding.value for finding in FindingId]


def test_the_readme_states_the_contract() -> None:
    """README's table of clauses is the contract's own words."""
    for clause in Clause:
        assert f"| `{clause}` | {clause.promise}".replace("nixos-rebuild switch", "`nixos-rebuild switch`") in README


def test_the_readme_names_every_exit_code() -> None:
    """README's table has a row for every exit code of a deploy, but pytest's own internal error."""
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert codes == {int(code) for code in ExitCode} - {ExitCode.INTERNAL}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and GitLab make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_documents_leads_somewhere(page: Path) -> None:
    """Each relative link names a file that exists and, with an anchor, a heading of it."""
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_every_command_that_a_host_needs_is_documented() -> None:
    """The page of what a host needs names each command that the script asks for, and no other; README links it."""
    script = whole_script()
    (tools,) = re.findall(r"^find_lacking\(\) \{\n.*?for tool in ([a-z0-9 -]+); do", script, re.MULTILINE | re.DOTALL)
    page = (ROOT / "docs" / "hosts.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE) == tools.split()
    assert "](docs/hosts.md)" in README


def test_the_sample_of_readme_has_no_number_that_ages() -> None:
    """The words of README's sample are those of the summary, and no number of checks stands there to become wrong."""
    (sample,) = re.findall(r"```\n(CANONICAL .*?)```", README, re.DOTALL)
    assert not re.search(r"\d+ of \d+ checks", sample)
    assert f"Exit 0: {EXIT_MEANINGS[ExitCode.CANONICAL]}\n" in sample
    assert re.findall(r"^host +(.*)$", sample, re.MULTILINE)[0].split() == [clause.value for clause in Clause]


def test_what_runs_and_their_examples_leave_behind_is_ignored() -> None:
    """No file that a run writes beside the reports dirties the working copy, or gets into a wheel."""
    left = ["runs/x/record.json", "trials/x", "latest", "index.html", ".index.lock"]
    paths = [f"reports/{name}" for name in left]
    done = subprocess.run(["git", "check-ignore", *paths], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.stdout.split() == paths
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert {f"/src/switchproof/reports/{name.split('/')[0]}" for name in left} == set(build["exclude"])
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for file in re.findall(r"ssh-keygen -t \S+ .*?-f (\S+)", page.read_text(encoding="utf-8")):
            assert file.strip("`;").startswith(('"$keys/', "~/", "FILE")), (
                f"{page.name}: a private key in the working copy"
            )


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_path_of_a_page_for_contributors_exists(name: str) -> None:
    """Each path of a file or folder is there, so that a move renames it in the page; NAME stands for any name."""
    named = re.findall(r"`((?:\.?[\w-]+/)+[\w.*-]*)`", (ROOT / name).read_text(encoding="utf-8"))
    paths = [path for path in named if not re.search(r"\b[A-Z]{3,}\b", path) and not path.startswith("dist/")]
    assert len(paths) > 10
    assert [path for path in paths if not any(ROOT.glob(path.rstrip("/")))] == []


def test_the_protocol_s_page_names_functions_of_the_script() -> None:
    """Each function and verb in the section about the host is one of the host's script."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("## The protocol on the host\n")[2].partition("\n## ")[0]
    script = whole_script()
    functions = set(re.findall(r"^([a-z_]+)\(\)", script, re.MULTILINE))
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", section))
    assert len(named) > 15
    assert named <= functions | {name.removeprefix("verb_") for name in functions}


@pytest.mark.parametrize("name", ["CONTRIBUTING.md"])
def test_every_recipe_and_module_of_a_page_exists(name: str) -> None:
    """Each recipe of the justfile and each module that a page has people run is there."""
    text = (ROOT / name).read_text(encoding="utf-8")
    recipes = set(
        re.findall(r"^([a-z][\w-]*)(?: [^\n:]*)?:", (ROOT / "justfile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert set(re.findall(r"\bjust ([a-z][a-z-]*[a-z])(?!…)\b", text)) <= recipes | {"bench"}
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), module


def test_the_table_of_commands_says_in_how_many_processes_the_suite_runs() -> None:
    """The number is that of the recipe."""
    row = re.search(r"\| `just test` \|.* in (\w+) processes", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    recipe = re.search(r"^test:.*\n.*--numprocesses=(\d)", (ROOT / "justfile").read_text("utf-8"), re.MULTILINE)
    assert row
    assert recipe
    assert ["one", "two", "three", "four", "five", "six"].index(row[1]) + 1 == int(recipe[1])
