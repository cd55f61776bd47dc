"""Reads the small repositories of `bench/corpus/`, which have the right answer beside each line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from switchproof.deploy.host.program import whole_script
from switchproof.deploy.paths.survey import Kind, SurveyVerdict

CORPUS = Path(__file__).parent / "corpus"
NOT_UNDERSTOOD = "not-understood"
FINDINGS = ("verdict", "path", *Kind, NOT_UNDERSTOOD)
"""Everything that a survey reports and that has answers, in the order of the table."""

_MARGIN = "» "
_FILE = "== "
_SHIPPED = " <- switchproof script"


@dataclass(frozen=True, order=True)
class Answer:
    """One thing that a survey reports.

    Attributes:
        finding: Its kind, of `FINDINGS`.
        where: The line as FILE:LINE; of a path its name and providers, of a verdict the verdict itself.
    """

    finding: str
    where: str


@dataclass(frozen=True)
class Repository:
    """A small repository with its answers.

    Attributes:
        name: Its name.
        about: A sentence on what it shows.
        files: The text of each file.
        answers: All right answers.
        lines: The number of lines with answers, which are those of all files but Switchproof's own script.
    """

    name: str
    about: str
    files: dict[str, str]
    answers: frozenset[Answer]
    lines: int

    def make(self, folder: Path) -> Path:
        """Write its files into a folder."""
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return folder


def read_all(corpus: Path = CORPUS) -> list[Repository]:
    """Read all repositories, in order of their names.

    Raises:
        RuntimeError: A file is not in the form that docs/bench-paths.md describes.
    """
    return [read(path.stem, path.read_text(encoding="utf-8")) for path in sorted(corpus.glob("*.txt"))]


def read(name: str, text: str) -> Repository:
    """Read a repository.

    Args:
        name: Its name.
        text: A sentence on it; its paths and its verdict; its files with their answers.

    Raises:
        RuntimeError: The text is not in the form that docs/bench-paths.md describes.
    """
    head, *parts = text.split(f"\n{_FILE}")
    about, *rest = head.strip().splitlines()
    answers = set(_of_head(name, rest))
    files: dict[str, str] = {}
    count = 0
    for part in parts:
        title, _, body = part.partition("\n")
        path = title.removesuffix(_SHIPPED)
        if path != title:
            files[path] = whole_script()
            continue
        lines: list[str] = []
        for line in body.strip("\n").split("\n"):
            if line.startswith(_MARGIN):
                answers.update(_known(name, finding, f"{path}:{len(lines)}") for finding in line.split()[1:])
            else:
                lines.append(line)
        files[path] = "\n".join(lines) + "\n"
        count += len(lines)
    return Repository(name, about, files, frozenset(answers), count)


def _of_head(name: str, lines: Iterable[str]) -> Iterable[Answer]:
    for line in lines:
        key, _, value = line.partition(": ")
        if key not in {"path", "verdict"} or (key == "verdict" and value not in set(SurveyVerdict)):
            raise RuntimeError(f"bench/corpus/{name}.txt: {line!r} names neither a path nor a verdict")
        yield Answer(key, value)


def _known(name: str, finding: str, where: str) -> Answer:
    if finding not in {*Kind, NOT_UNDERSTOOD}:
        raise RuntimeError(f"bench/corpus/{name}.txt: {where}: {finding!r} is not a finding of a line")
    return Answer(finding, where)
