"""What entry points call is followed through, wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from switchproof.deploy.host.program import whole_script
from switchproof.deploy.paths.survey import EntryPoint, State
from tests.paths.repositories import survey

BAD = "#!/bin/sh\nnixos-rebuild switch\n"


def only(folder: Path, name: str, files: Mapping[str, str]) -> EntryPoint:
    (entry,) = survey(folder, files).named(name)
    return entry


def workflow(steps: str, job: str = "ship", extra: str = "") -> str:
    return f"on: push\n{extra}jobs:\n  {job}:\n    runs-on: x\n    steps:\n{steps}"


def chained(folder: Path, files: Mapping[str, str], name: str = "ship") -> tuple[State, str | None]:
    entry = only(folder, name, files)
    assert not entry.not_understood
    return entry.state, str(entry.actions[0].place) if entry.actions else None


@pytest.mark.parametrize(
    ("files", "where"),
    [
        pytest.param(
            {"justfile": "ship:\n    ./a.sh\n", "a.sh": "./b/c.sh\n", "b/c.sh": BAD}, "b/c.sh:2", id="scripts"
        ),
        pytest.param(
            {
                "justfile": "ship:\n    b/a.sh\n",
                "b/a.sh": 'D="$(cd "$(dirname "$0")" && pwd)"\n"$D/c.sh"\n',
                "b/c.sh": BAD,
            },
            "b/c.sh:2",
            id="beside-the-script",
        ),
        pytest.param(
            {"justfile": "ship:\n    . ./lib.sh; go\n", "lib.sh": "go() {\n  nixos-rebuild switch\n}\n"},
            "lib.sh:2",
            id="function-of-a-library",
        ),
        pytest.param(
            {"justfile": "ship: other\nother x='a':\n    ./{{x}}.sh\n", "a.sh": BAD}, "a.sh:2", id="dependency"
        ),
        pytest.param(
            {"justfile": "ship:\n    just other a\nother x:\n    ./{{x}}.sh\n", "a.sh": BAD}, "a.sh:2", id="just"
        ),
        pytest.param(
            {"justfile": "mod m\nship:\n    just m::go\n", "m.just": "go:\n    ./a.sh\n", "a.sh": BAD},
            "a.sh:2",
            id="module",
        ),
        pytest.param(
            {"justfile": "import 'i.just'\nship: go\n", "i.just": "go:\n    ./a.sh\n", "a.sh": BAD},
            "a.sh:2",
            id="import",
        ),
        pytest.param(
            {"justfile": "ship:\n    #!/usr/bin/env bash\n    set -e\n    ./a.sh\n", "a.sh": BAD},
            "a.sh:2",
            id="shebang",
        ),
        pytest.param(
            {"justfile": "ship:\n    make go\n", "Makefile": "go: x\nx:\n\t./a.sh\n", "a.sh": BAD},
            "a.sh:2",
            id="make",
        ),
        pytest.param(
            {"justfile": "ship:\n    npm run go\n", "package.json": '{"scripts": {"go": "./a.sh"}}', "a.sh": BAD},
            "a.sh:2",
            id="npm",
        ),
        pytest.param({"Makefile": "S = a.sh\nship:\n\t@./$(S)\n", "a.sh": BAD}, "a.sh:2", id="make-variable"),
        pytest.param(
            {"Makefile": "include m.mk\n", "m.mk": "ship:\n\t$(MAKE) go\ngo:\n\t./a.sh\n", "a.sh": BAD},
            "a.sh:2",
            id="make-include",
        ),
        pytest.param({"Makefile": "ifdef X\nship:\n\t./a.sh\nendif\n", "a.sh": BAD}, "a.sh:2", id="make-conditional"),
        pytest.param(
            {
                ".github/workflows/w.yml": workflow("      - run: just go\n"),
                "justfile": "go:\n    ./a.sh\n",
                "a.sh": BAD,
            },
            "a.sh:2",
            id="github-just",
        ),
        pytest.param(
            {
                ".github/workflows/w.yml": workflow("      - run: ./c.sh\n        working-directory: b\n"),
                "b/c.sh": BAD,
            },
            "b/c.sh:2",
            id="github-folder",
        ),
        pytest.param(
            {
                ".github/workflows/w.yml": workflow(
                    "      - uses: ./.github/actions/go\n        with:\n          script: a.sh\n"
                ),
                ".github/actions/go/action.yml": "runs:\n  using: composite\n  steps:\n"
                "    - run: ./${{ inputs.script }}\n      shell: bash\n",
                "a.sh": BAD,
            },
            "a.sh:2",
            id="github-composite",
        ),
        pytest.param(
            {
                ".github/workflows/w.yml": "on: push\njobs:\n  ship:\n"
                "    uses: ./.github/workflows/r.yml\n    with:\n      s: a\n",
                ".github/workflows/r.yml": "on:\n  workflow_call:\n    inputs:\n      s: {type: string}\n"
                "jobs:\n  x:\n    runs-on: x\n    steps:\n      - run: ./${{ inputs.s }}.sh\n",
                "a.sh": BAD,
            },
            "a.sh:2",
            id="github-reusable",
        ),
        pytest.param(
            {
                ".github/workflows/w.yml": workflow("      - run: ${{ env.S }}\n", extra="env:\n  S: ./a.sh\n"),
                "a.sh": BAD,
            },
            "a.sh:2",
            id="github-env",
        ),
        pytest.param(
            {
                ".github/workflows/w.yml": "on: push\njobs:\n  ship:\n    runs-on: x\n"
                "    strategy:\n      matrix:\n        s: [b, a]\n"
                "    steps:\n      - run: ./${{ matrix.s }}.sh\n",
                "a.sh": BAD,
                "b.sh": "true\n",
            },
            "a.sh:2",
            id="github-matrix",
        ),
        pytest.param({".gitlab-ci.yml": "ship:\n  script:\n    - ./a.sh\n", "a.sh": BAD}, "a.sh:2", id="gitlab"),
        pytest.param({"Makefile": "ship: go-x\ngo-%:\n\t./a.sh\n", "a.sh": BAD}, "a.sh:2", id="make-pattern"),
        pytest.param(
            {".gitlab-ci.yml": ".b:\n  script: [./a.sh]\nship:\n  extends: .b\n", "a.sh": BAD},
            "a.sh:2",
            id="gitlab-extends",
        ),
        pytest.param(
            {
                ".gitlab-ci.yml": ".b:\n  script:\n    - ./a.sh\nship:\n  script:\n    - !reference [.b, script]\n",
                "a.sh": BAD,
            },
            "a.sh:2",
            id="gitlab-reference",
        ),
        pytest.param(
            {
                ".gitlab-ci.yml": "include:\n  - local: /ci/*.yml\n",
                "ci/x.yml": "ship:\n  script: ./a.sh\n",
                "a.sh": BAD,
            },
            "a.sh:2",
            id="gitlab-include",
        ),
        pytest.param(
            {
                ".gitlab-ci.yml": "variables:\n  S: a\ndefault:\n  before_script:\n    - ./$S.sh\n"
                "ship:\n  script: 'true'\n",
                "a.sh": BAD,
            },
            "a.sh:2",
            id="gitlab-default",
        ),
        pytest.param(
            {
                ".gitlab-ci.yml": "x:\n  trigger:\n    include: c.yml\n",
                "c.yml": "ship:\n  script: ./a.sh\n",
                "a.sh": BAD,
            },
            "a.sh:2",
            id="gitlab-child",
        ),
        pytest.param(
            {
                ".gitlab-ci.yml": ".x: &x\n  script:\n    - |\n      true\n      ./a.sh\nship:\n  <<: *x\n",
                "a.sh": BAD,
            },
            "a.sh:2",
            id="gitlab-anchor",
        ),
    ],
)
def test_it_is_followed_to_the_line_that_deploys(tmp_path: Path, files: dict[str, str], where: str) -> None:
    """From the entry point through whatever lies between, the line that changes a host is found."""
    assert chained(tmp_path, files) == (State.ACTIVE, where)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({".github/workflows/w.yml": workflow("      - uses: someone/deploys@v1\n")}, "someone/deploys"),
        (
            {".github/workflows/w.yml": "on: push\njobs:\n  ship:\n    uses: o/r/.github/workflows/w.yml@v1\n"},
            "another repository",
        ),
        ({".github/workflows/w.yml": workflow("      - run: x\n        shell: pwsh\n")}, "pwsh"),
        ({".gitlab-ci.yml": "ship:\n  trigger: other/project\n"}, "another project"),
        ({".gitlab-ci.yml": "ship:\n  script:\n    - !reference [gone, script]\n"}, "refers to nothing"),
        ({"justfile": "set shell := ['fish', '-c']\nship:\n    x\n"}, "fish"),
        ({"justfile": "ship:\n    ./x.py\n", "x.py": "import boto3\n"}, "boto3"),
        ({"justfile": "ship:\n    ./x.rb\n", "x.rb": "#!/usr/bin/env ruby\n"}, "ruby"),
    ],
)
def test_what_an_entry_point_does_elsewhere_is_not_passed_over(
    tmp_path: Path, files: dict[str, str], words: str
) -> None:
    """An action, workflow, project or language that is not read makes the entry point not understood."""
    entry = only(tmp_path, "ship", files)
    assert entry.state is State.NOT_UNDERSTOOD
    assert any(words in each.words for each in entry.not_understood)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({".github/workflows/w.yml": "jobs: [\n"}, "not readable YAML"),
        ({".github/workflows/w.yml": "on: push\n"}, "no jobs"),
        ({".gitlab-ci.yml": "a: 1\na: 2\n"}, "not readable YAML"),
        ({".gitlab-ci.yml": "include:\n  - remote: https://example.org/x.yml\n"}, "not in the repository"),
        ({"justfile": "ship:\n  a\n    b {{\n"}, "cannot read it"),
        ({"Makefile": "define D\nx\nendef\n"}, "define"),
        ({"Jenkinsfile": "x"}, "Jenkins"),
    ],
)
def test_files_that_cannot_be_read_are_told(tmp_path: Path, files: dict[str, str], words: str) -> None:
    """A file that holds entry points and cannot be read is not the same as one that holds none."""
    found = survey(tmp_path, files)
    assert any(words in each.words for each in found.not_understood)
    assert found.exit_code == 11


def test_nothing_of_the_repository_is_run(tmp_path: Path) -> None:
    """A Makefile's $(shell …) and a justfile's backticks are read and never executed."""
    flag = tmp_path / "ran"
    survey(
        tmp_path / "r",
        {
            "Makefile": f"X := $(shell touch {flag})\n$(shell touch {flag})\na:\n\techo $(X)\n",
            "justfile": f"x := `touch {flag}`\na:\n    echo {{{{x}}}}\n",
        },
    )
    assert not flag.exists()


def test_a_link_out_of_the_repository_is_not_followed(tmp_path: Path) -> None:
    """What lies outside is not the repository's; a script that leads there was not understood."""
    (tmp_path / "outside.sh").write_text(BAD)
    repository = tmp_path / "r"
    repository.mkdir()
    (repository / "a.sh").symlink_to(tmp_path / "outside.sh")
    entry = only(repository, "ship", {"justfile": "ship:\n    ./a.sh\n"})
    assert entry.state is State.NOT_UNDERSTOOD


def test_scripts_that_call_each_other_come_to_an_end(tmp_path: Path) -> None:
    """A circle of scripts and recipes is followed once around."""
    files = {"justfile": "ship:\n    ./a.sh\n", "a.sh": "./b.sh\n", "b.sh": "just ship\nnixos-rebuild switch\n"}
    assert only(tmp_path, "ship", files).state is State.ACTIVE


def test_what_multiplies_without_end_is_given_up(tmp_path: Path) -> None:
    """Functions that call each other in ever new ways are followed so far, and then not understood."""
    functions = "".join(f"f{n}() {{ X=$X{n}; f{n + 1} a$1; f{n + 1} b$1; }}\n" for n in range(30))
    files = {"justfile": "ship:\n    ./a.sh\n", "a.sh": f"{functions}f30() {{ :; }}\nf0\n"}
    entry = only(tmp_path, "ship", files)
    assert any("too many" in each.words for each in entry.not_understood)


def test_who_vouches_is_told(tmp_path: Path) -> None:
    """What the caller vouches for is passed over and stands in the survey; what was not met does not."""
    files = {".github/workflows/w.yml": workflow("      - uses: someone/lints@v1\n")}
    found = survey(tmp_path, files, ["someone/*", "nobody/*"])
    assert (found.not_understood, found.entry_points[0].not_understood) == ((), ())
    assert found.vouched == ("someone/*",)


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("    - ssh web 'bash -s' << 'EOF'\n    - set -e\n    - reboot\n    - EOF\n", 5),
        ("    - |\n      ssh web bash -s <<EOF\n      set -e\n      reboot\n      EOF\n", 6),
        ("    - |\n      cat <<EOF | ssh web bash\n      set -e\n      reboot\n      EOF\n", 6),
    ],
)
def test_a_here_document_is_told_at_its_own_lines(tmp_path: Path, script: str, line: int) -> None:
    """Behind a shell in an argument, and across the items of a GitLab script, a line is the one in the file."""
    state, place = chained(tmp_path, {".gitlab-ci.yml": f"ship:\n  script:\n{script}"})
    assert (state, place) == (State.ACTIVE, f".gitlab-ci.yml:{line}")


def test_a_here_document_of_gitlab_that_never_ends_is_read(tmp_path: Path) -> None:
    """A job whose items end before the here-document does is followed to its end."""
    entry = only(tmp_path, "ship", {".gitlab-ci.yml": "ship:\n  script:\n    - ssh web bash <<EOF\n    - reboot\n"})
    assert entry.state is not State.NO_DEPLOY


def test_a_command_through_ssm_is_told_at_the_line_of_the_call(tmp_path: Path) -> None:
    """The commands are an argument of the call, whose later lines are none of theirs."""
    call = 'aws ssm send-command --parameters \'commands=["true","reboot"]\''
    job = f"ship:\n  script:\n    - |\n      {call}\n      true\n"
    entry = only(tmp_path, "ship", {".gitlab-ci.yml": job})
    assert {str(action.place) for action in entry.actions} == {".gitlab-ci.yml:4"}


@pytest.mark.parametrize(("arguments", "state"), [("status", State.NO_DEPLOY), ("deploy", State.ACTIVE)])
def test_a_script_on_standard_input_gets_its_arguments(tmp_path: Path, arguments: str, state: State) -> None:
    """`bash -s -- status` runs the script with that verb."""
    files = {
        "justfile": f"ship:\n    ssh web bash -s -- {arguments} < host-switch.sh\n",
        "host-switch.sh": whole_script(),
    }
    assert only(tmp_path, "ship", files).state is state


def test_an_argument_that_may_be_empty_leaves_the_default(tmp_path: Path) -> None:
    """A recipe whose parameter is empty by default passes an empty word on."""
    files = {"justfile": "ship x='':\n    ./a.sh {{x}}\n", "a.sh": '"./${1:-b}.sh"\n', "b.sh": BAD}
    entry = only(tmp_path, "ship", files)
    assert [str(action.place) for action in entry.actions] == ["b.sh:2"]


def test_a_command_of_several_lines_is_told_at_its_own_line(tmp_path: Path) -> None:
    """A text in quotes that goes on behind a backslash keeps the lines of the file."""
    recipe = 'ship:\n\tssh web "cd x && \\\n\tgit log && \\\n\treboot"\n'
    assert chained(tmp_path, {"Makefile": recipe}) == (State.ACTIVE, "Makefile:4")


def test_a_value_of_several_lines_is_one_line(tmp_path: Path) -> None:
    """A backslash at the end of a line joins a variable's words."""
    script = 'OPTS="-p 22 \\\n  -i key"\nssh $OPTS web reboot\n'
    assert chained(tmp_path, {"justfile": "ship:\n    ./a.sh\n", "a.sh": script}) == (State.ACTIVE, "a.sh:3")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ('ssh "$@"', 4),
        ('ssh "$1" "${@:2}"', 4),
        ('ssh "$1" reboot', 1),
        ('ssh "${OPTS[@]}" web reboot', 1),
    ],
)
def test_a_function_that_passes_its_arguments_on_is_told_at_its_call(tmp_path: Path, body: str, line: int) -> None:
    """The line that says what runs on the host is the caller's, unless the function itself says it."""
    script = f"on() {{ {body}; }}\n\ntrue\non web reboot\n"
    assert chained(tmp_path, {"justfile": "ship:\n    ./a.sh\n", "a.sh": script}) == (State.ACTIVE, f"a.sh:{line}")


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"justfile": "ship:\n    #!/usr/bin/env python3\n    import os\n    os.system('ssh a b')\n"}, "justfile:4"),
        (
            {
                ".github/workflows/w.yml": workflow(
                    "      - shell: python\n        run: |\n          import os\n          os.system('ssh a b')\n"
                )
            },
            ".github/workflows/w.yml:9",
        ),
    ],
)
def test_python_in_an_entry_point_is_told_at_its_own_line(
    tmp_path: Path, files: Mapping[str, str], place: str
) -> None:
    """The line with which a program can reach a host is named, not the one that starts it."""
    assert [str(each.place) for each in only(tmp_path, "ship", files).not_understood] == [place]


@pytest.mark.parametrize("words", ["$SSH_OPTS web", '"root@$OPTARG"', "$FLAGS $TARGET"])
def test_a_variable_that_holds_options_is_no_host(tmp_path: Path, words: str) -> None:
    """By its name a variable may hold options; with a user in front of it, it is the host."""
    assert chained(tmp_path, {"justfile": f"ship:\n    ssh {words} reboot\n"}) == (State.ACTIVE, "justfile:2")


@pytest.mark.parametrize("end", ["", " \\\n\t", "; \\\n\t", " \\\n \\\n"])
def test_a_command_that_goes_on_into_nothing_is_read(tmp_path: Path, end: str) -> None:
    """A Makefile puts the closing quote on a line of its own."""
    recipe = f'ship:\n\tssh web " \\\n\treboot{end}"\n'
    assert chained(tmp_path, {"Makefile": recipe}) == (State.ACTIVE, "Makefile:3")


@pytest.mark.parametrize("middle", ["< /dev/null", "> log", ">> log 2>&1", "2> /dev/null"])
def test_arguments_after_a_redirection_are_arguments(tmp_path: Path, middle: str) -> None:
    """They name the host of a deploy, wherever the shell allows them."""
    files = {"justfile": f"ship:\n    nixos-rebuild switch {middle} --target-host root@web |& nom\n"}
    entry = only(tmp_path, "ship", files)
    assert (entry.providers, entry.not_understood) == (("ssh",), ())
