"""The jobs of GitLab's pipelines, with included, extended and referenced parts."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator

import msgspec

from switchproof.deploy.paths.call import Text
from switchproof.deploy.paths.files import Files
from switchproof.deploy.paths.meaning import is_moving, session_of
from switchproof.deploy.paths.readers.document import Node, NotYaml, load
from switchproof.deploy.paths.readers.shell import Scope
from switchproof.deploy.paths.survey import Place
from switchproof.deploy.paths.values import Values, either, joined, mark
from switchproof.deploy.paths.walk import Walker

ROOTS = (".gitlab-ci.yml", ".gitlab-ci.yaml")

_NO_JOBS = frozenset(
    {
        "default",
        "include",
        "stages",
        "variables",
        "workflow",
        "image",
        "services",
        "cache",
        "before_script",
        "after_script",
        "spec",
        "pages:deploy",
    }
)
_GIVEN: dict[str, Values] = {
    "CI_COMMIT_SHA": (mark("CI_COMMIT_SHA"),),
    "CI_COMMIT_REF_NAME": (mark("CI_COMMIT_REF_NAME"),),
    "CI_COMMIT_BRANCH": (mark("CI_COMMIT_BRANCH"),),
    "CI_DEFAULT_BRANCH": (mark("CI_DEFAULT_BRANCH"),),
    "CI_PROJECT_DIR": (".",),
}
_OURS = re.compile(r"switchproof[^@]*/session@", re.IGNORECASE)
"""Switchproof's component, whose job runs the command."""
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_HEREDOC = re.compile(r"(?<!<)<<-?\s*[\\'\"]?([A-Za-z_]\w*)")
_DEEPEST = 10


class Pipeline(msgspec.Struct):
    """The configuration of a pipeline: its file and all included files.

    Attributes:
        root: Its file.
        parts: The top-level values by name; for several of a name, those of included files come first.
        strange: Places that could not be read, each with the reason.
    """

    root: str
    parts: dict[str, list[Node]] = msgspec.field(default_factory=dict)
    strange: list[tuple[Place, str]] = msgspec.field(default_factory=list)


class Pipelines:
    """The pipelines of a repository.

    Args:
        files: The repository.
    """

    def __init__(self, files: Files) -> None:
        self.files = files

    def read(self, root: str) -> Pipeline:
        """Read a pipeline."""
        pipeline = Pipeline(root)
        self._take(pipeline, root, set())
        return pipeline

    def _take(self, pipeline: Pipeline, path: str, seen: set[str]) -> None:
        if path in seen:
            return
        seen.add(path)
        try:
            document = load(self.files, path)
        except NotYaml as error:
            pipeline.strange.append((self.files.place(path, error.line), str(error)))
            return
        if not document.is_map:
            pipeline.strange.append((self.files.place(path, 1), "not a pipeline: it is not a mapping"))
            return
        if include := document.get("include"):
            for part in include.parts() if include.is_list else [include]:
                self._include(pipeline, part, seen)
        for name, node in document.items():
            if name != "include":
                pipeline.parts.setdefault(name, []).append(node)

    def _include(self, pipeline: Pipeline, node: Node, seen: set[str]) -> None:
        place = self.files.place(node.file, node.line)
        component = node.get("component")
        if component and _OURS.search(component.text):
            given = node.get("inputs")
            inputs = {key: value.text for key, value in given.items()} if given else {}
            session = session_of(inputs, "" if inputs.get("command") == "rollback" else "$CI_COMMIT_SHA")
            job = Node({"script": [session]}, node.file, node.line)
            pipeline.parts.setdefault(inputs.get("job", "deploy"), []).append(job)
            if any(is_moving(each, any_name=True) for each in _expanded(component.text.rpartition("@")[2], {})):
                pipeline.strange.append((place, f"includes {component.text}, which can change at any time"))
            return
        local = node.get("local") if node.is_map else node
        if local is None or "://" in local.text:
            what = next((f"{key} {value.text}" for key, value in node.items()), node.text)
            pipeline.strange.append((place, f"includes {what}, which is not in the repository"))
            return
        wanted = local.text.lstrip("/")
        paths = [path for path in self.files.listing if fnmatch.fnmatchcase(path, wanted)]
        if not paths:
            pipeline.strange.append((place, f"includes {wanted}, which is not in the repository"))
        for path in paths:
            self._take(pipeline, path, seen)

    def jobs(self, pipeline: Pipeline) -> Iterator[tuple[str, Node]]:
        """Yield the jobs that run; templates, whose names begin with a dot, are followed where jobs use them."""
        for name, nodes in pipeline.parts.items():
            if name.startswith(".") or name in _NO_JOBS or not nodes[-1].is_map:
                continue
            rules = self._key(pipeline, name, "rules")
            whens = [when.text for part in rules.parts() if (when := part.get("when"))] if rules else []
            if rules and whens and set(whens) == {"never"} and len(whens) == len(list(rules.parts())):
                continue
            yield name, nodes[-1]

    def children(self, pipeline: Pipeline) -> Iterator[str]:
        """Yield the files of child pipelines."""
        for name, node in self.jobs(pipeline):
            trigger = self._key(pipeline, name, "trigger")
            include = trigger.get("include") if trigger else None
            if include is None:
                continue
            for part in include.parts() if include.is_list else [include]:
                local = part.get("local") if part.is_map else part
                path = local.text.lstrip("/") if local else ""
                if self.files.is_file(path):
                    yield path
                else:
                    place = self.files.place(node.file, part.line)
                    pipeline.strange.append((place, "starts a pipeline that is not in the repository"))

    def follow(self, walker: Walker, pipeline: Pipeline, name: str) -> None:
        """Follow a job."""
        job = pipeline.parts[name][-1]
        place = self.files.place(job.file, job.line)
        variables = dict(_GIVEN)
        for layer in (pipeline.parts.get("variables", []), *self._layers(pipeline, name, "variables")):
            for node in layer:
                self._variables(walker, node, variables)
        before = self._key(pipeline, name, "before_script") or self._default(pipeline, "before_script")
        after = self._key(pipeline, name, "after_script") or self._default(pipeline, "after_script")
        script = self._key(pipeline, name, "script")
        if self._key(pipeline, name, "run"):
            walker.trail.unknown(place, "a job of steps (run:), which are not read")
        trigger = self._key(pipeline, name, "trigger")
        if trigger and not (trigger.is_map and trigger.get("include")):
            walker.trail.unknown(self.files.place(trigger.file, trigger.line), "starts a pipeline of another project")
        if script is None and trigger is None and not self._key(pipeline, name, "run"):
            walker.trail.unknown(place, "a job without a script")
        for parts in ([before, script], [after]):
            self._script(walker, pipeline, [part for part in parts if part], variables)

    def _script(self, walker: Walker, pipeline: Pipeline, parts: list[Node], variables: dict[str, Values]) -> None:
        """Follow the lines that a runner joins for one shell, one by one: they may come from several files."""
        scope = Scope(variables=dict(variables), arguments=[])
        for part in parts:
            lines = self._lines(walker, pipeline, part, 0)
            for line in lines:
                text, rows = line.text, line.rows(self.files)
                while end := _open_heredoc(text):
                    following = next(lines, None)
                    if following is None:
                        break
                    text = f"{text}\n{following.text if following.text.strip() != end else end}"
                    rows = (*rows, *following.rows(self.files))
                if not walker.shell(Text(text, line.file, rows), scope):
                    return

    def _lines(self, walker: Walker, pipeline: Pipeline, node: Node, depth: int) -> Iterator[Node]:
        if node.tag == "!reference":
            keys = [str(part.value) for part in node.parts()]
            referenced = self._reference(pipeline, keys) if depth < _DEEPEST else None
            if referenced is None:
                place = self.files.place(node.file, node.line)
                walker.trail.unknown(place, f"!reference [{', '.join(keys)}] refers to nothing")
            else:
                yield from self._lines(walker, pipeline, referenced, depth + 1)
        elif node.is_list:
            for part in node.parts():
                yield from self._lines(walker, pipeline, part, depth)
        elif node.is_map:
            walker.trail.unknown(self.files.place(node.file, node.line), "not a line of a script, but a mapping")
        else:
            yield node

    def _reference(self, pipeline: Pipeline, keys: list[str]) -> Node | None:
        if not keys:
            return None
        if len(keys) == 1:
            nodes = pipeline.parts.get(keys[0])
            return nodes[-1] if nodes else None
        node = self._key(pipeline, keys[0], keys[1])
        return node.get(*keys[2:]) if node and len(keys) > 2 else node  # noqa: PLR2004 - job, key, rest

    def _layers(self, pipeline: Pipeline, name: str, key: str, depth: int = 0) -> list[list[Node]]:
        """Return the values of a key in a job and in the jobs that it extends, the nearest last."""
        nodes = pipeline.parts.get(name, [])
        layers: list[list[Node]] = []
        for node in nodes:
            extends = node.get("extends")
            if extends and depth < _DEEPEST:
                for base in extends.parts() if extends.is_list else [extends]:
                    layers += self._layers(pipeline, base.text, key, depth + 1)
            own = node.get(key)
            if own is not None:
                layers.append([own])
        return layers

    def _key(self, pipeline: Pipeline, name: str, key: str) -> Node | None:
        layers = self._layers(pipeline, name, key)
        node = layers[-1][-1] if layers else None
        return None if node is None or node.value is None else node

    def _default(self, pipeline: Pipeline, key: str) -> Node | None:
        for nodes in (pipeline.parts.get("default", []), pipeline.parts.get(key, [])):
            for node in reversed(nodes):
                value = node.get(key) if node.is_map else node
                if value:
                    return value
        return None

    def _variables(self, walker: Walker, node: Node, variables: dict[str, Values]) -> None:
        if node.tag == "!reference":
            return
        for name, value in node.items():
            default = value.get("value") if value.is_map else value
            texts = [part.text for part in value.get("options").parts()] if value.get("options") else []  # type: ignore[union-attr]
            first = default.text if default else ""
            own = either([(first,), tuple(texts) or (first,)])
            known = either(_expanded(text, variables) for text in own)
            variables[name] = known
            walker.note_assigned({name: known}, self.files.place(node.file, value.line))


def _open_heredoc(text: str) -> str | None:
    """Return the end that a here-document in a text lacks, because it spans several items of a script."""
    for start in _HEREDOC.finditer(text):
        if start[1] not in (line.strip() for line in text[start.end() :].splitlines()):
            return start[1]
    return None


def _expanded(text: str, variables: dict[str, Values]) -> Values:
    parts: list[Values] = []
    at = 0
    for variable in _VARIABLE.finditer(text):
        name = variable[1] or variable[2]
        parts += [(text[at : variable.start()],), variables.get(name, (mark(name),))]
        at = variable.end()
    parts.append((text[at:],))
    return joined(parts)
