"""Finds a repository's entry points and follows each of them."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Iterable
from pathlib import Path

from switchproof.deploy.paths.call import Recipes
from switchproof.deploy.paths.files import Files
from switchproof.deploy.paths.patience import OutOfPatience, patience
from switchproof.deploy.paths.readers import justfiles, makefiles
from switchproof.deploy.paths.readers.document import NotYaml
from switchproof.deploy.paths.readers.github import Workflows
from switchproof.deploy.paths.readers.gitlab import ROOTS, Pipelines
from switchproof.deploy.paths.readers.justfiles import Justfile, NotRead
from switchproof.deploy.paths.readers.makefiles import Makefile
from switchproof.deploy.paths.survey import EntryKind, EntryPoint, NotUnderstood, Place, Survey, make_survey
from switchproof.deploy.paths.trail import Trail
from switchproof.deploy.paths.unreached import Unreached, first_change
from switchproof.deploy.paths.values import shown
from switchproof.deploy.paths.walk import OWN_ROOT, Walker

_OTHERS = {
    ".circleci/*.y*ml": "CircleCI",
    "Jenkinsfile*": "Jenkins",
    "azure-pipelines*.y*ml": "Azure Pipelines",
    "bitbucket-pipelines.yml": "Bitbucket Pipelines",
    ".drone.y*ml": "Drone",
    ".woodpecker.y*ml": "Woodpecker",
    ".woodpecker/*.y*ml": "Woodpecker",
    ".buildkite/*.y*ml": "Buildkite",
    ".travis.yml": "Travis",
    ".build.yml": "builds.sr.ht",
    ".builds/*.yml": "builds.sr.ht",
    ".cirrus.y*ml": "Cirrus CI",
    ".cirrus.star": "Cirrus CI",
    ".forgejo/workflows/*.y*ml": "Forgejo Actions",
    ".gitea/workflows/*.y*ml": "Gitea Actions",
    "[Tt]askfile.y*ml": "Task",
    "Rakefile": "Rake",
    "tasks.py": "Invoke",
    "fabfile.py": "Fabric",
    "garnix.yaml": "Garnix",
}
"""Files of other services and tools, with wildcards; these are not read."""

_TASKS = {"mise.toml": "[tasks", ".mise.toml": "[tasks", "deno.json": '"tasks"'}
"""Files of tools that run tasks besides their main purpose, and how the tasks begin."""


class Surveyor:
    """Surveys one repository.

    Args:
        root: Its folder.
        vouched: Names, with wildcards, of actions, programs, files and entry points that the caller vouches for.

    Raises:
        UsageError: The folder does not exist.
    """

    def __init__(self, root: Path, vouched: Iterable[str] = ()) -> None:
        self.files = Files(root)
        self._vouched = dict.fromkeys(vouched, False)
        self._recipes: dict[str, Recipes] = {}
        self._entries: list[EntryPoint] = []
        self._strange: dict[tuple[str, Place], NotUnderstood] = {}

    def survey(self) -> Survey:
        """Find and follow every entry point, within the limits of `patience`."""
        with patience():
            return self._survey()

    def _survey(self) -> Survey:
        for path in (*justfiles.NAMES, *makefiles.NAMES, *ROOTS):
            if why := self.files.unreadable(path):
                self._note(self.files.place(path, 1), why)
        for find in (self._justfile, self._makefile, self._just, self._make, self._github, self._gitlab):
            try:
                find()
            except OutOfPatience as error:
                self._note(Place(file=".", line=1, text=""), str(error))
        for pattern, service in _OTHERS.items():
            for path in fnmatch.filter(self.files.listing, pattern):
                if path.count("/") == pattern.count("/"):
                    self._note(self.files.place(path, 1), f"of {service}, which is not read")
        for path, opening in _TASKS.items():
            if opening in (self.files.text(path) or ""):
                self._note(self.files.place(path, 1), "has tasks, which are not read")
        unreached = Unreached(self.files, lambda trail: Walker(self.files, trail, self._recipes, self._vouched))
        try:
            for place, message in unreached.notes():
                self._note(place, message)
        except OutOfPatience as error:
            self._note(Place(file=".", line=1, text=""), str(error))
        vouched = [pattern for pattern, has_occurred in self._vouched.items() if has_occurred]
        return make_survey(
            str(self.files.root), self._entries, list(self._strange.values()), vouched, self.files.commit()
        )

    def _just(self) -> None:
        if isinstance(justfile := self._recipes.get("just"), Justfile):
            for name in justfile.recipes:
                self._enter("just-recipe", name, justfile.place(name), _follow_recipe(justfile, name))

    def _make(self) -> None:
        if isinstance(makefile := self._recipes.get("make"), Makefile):
            for name in makefile.targets:
                self._enter("make-target", name, makefile.place(name), _follow_target(makefile, name))

    def _note(self, place: Place, message: str) -> None:
        if self._vouches(place.file):
            return
        self._strange.setdefault((message, place), NotUnderstood(place=place, words=shown(message)))

    def _vouches(self, name: str) -> bool:
        walker = Walker(self.files, Trail("", "just-recipe", "", self.files.place(name, 1)), {}, self._vouched)
        return walker.vouches(name)

    def _justfile(self) -> None:
        try:
            justfile = Justfile.of(self.files)
        except NotRead as error:
            path = next(name for name in justfiles.NAMES if self.files.is_file(name))
            self._note(self.files.place(path, 1), str(error))
            return
        if justfile:
            self._recipes["just"] = justfile

    def _makefile(self) -> None:
        makefile = Makefile.of(self.files)
        if makefile:
            self._recipes["make"] = makefile
            for place, message in makefile.strange:
                self._note(place, message)

    def _github(self) -> None:
        workflows = Workflows(self.files)
        for path in workflows.paths():
            try:
                for name, job in workflows.jobs(path):
                    place = self.files.place(job.file, job.line - 1 if job.is_map else job.line)

                    def follow(walker: Walker, path: str = path, job: object = job) -> None:
                        workflows.follow(walker, path, job)  # type: ignore[arg-type]

                    self._enter("github-job", name, place, follow)
            except NotYaml as error:
                self._note(self.files.place(path, error.line), str(error))
        for path, job in workflows.uncalled():
            trail = Trail(path, "github-job", path, self.files.place(path, 1))
            workflows.follow(Walker(self.files, trail, self._recipes, self._vouched), path, job)
            for place, message in first_change(trail, "in a workflow that only others call"):
                self._note(place, message)

    def _gitlab(self) -> None:
        pipelines = Pipelines(self.files)
        roots = [path for path in ROOTS if self.files.is_file(path)]
        seen: set[str] = set()
        while roots:
            root = roots.pop(0)
            if root in seen:
                continue
            seen.add(root)
            pipeline = pipelines.read(root)
            roots += pipelines.children(pipeline)
            for name, job in pipelines.jobs(pipeline):
                place = self.files.place(job.file, job.line - 1)

                def follow(walker: Walker, pipeline: object = pipeline, name: str = name) -> None:
                    pipelines.follow(walker, pipeline, name)  # type: ignore[arg-type]

                self._enter("gitlab-job", name, place, follow)
            for where, message in pipeline.strange:
                self._note(where, message)

    def _enter(self, kind: EntryKind, name: str, place: Place, follow: Callable[[Walker], None]) -> None:
        """Follow an entry point, unless the caller vouches for it."""
        entry = f"{place.file}:{name}"
        trail = Trail(entry, kind, name, place)
        walker = Walker(self.files, trail, self._recipes, self._vouched, elsewhere)
        if not walker.vouches(entry):
            try:
                follow(walker)
            except Exception as error:  # noqa: BLE001 - any failure of a reader means that it was not understood
                trail.unknown(place, f"reading it failed: {error!r}"[:200])
            self._entries.append(trail.entry())


def _follow_recipe(justfile: Justfile, name: str) -> Callable[[Walker], None]:
    def follow(walker: Walker) -> None:
        justfile.follow(walker, name, None, {})

    return follow


def _follow_target(makefile: Makefile, name: str) -> Callable[[Walker], None]:
    def follow(walker: Walker) -> None:
        makefile.follow(walker, name, {}, {})

    return follow


@functools.cache
def elsewhere() -> tuple[Files, dict[str, Recipes]] | None:
    """Return the files and recipes of this Switchproof, for jobs that fetch it; None without its justfile."""
    files = Files(OWN_ROOT, "switchproof/")
    try:
        justfile = Justfile.of(files)
    except NotRead:
        return None
    return (files, {"just": justfile}) if justfile else None
