"""The jobs of GitHub's workflows, with their local actions and reusable workflows."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from msgspec.structs import replace

from switchproof.deploy.paths.call import Call, Text
from switchproof.deploy.paths.files import Files
from switchproof.deploy.paths.meaning import (
    HARMLESS_ACTIONS,
    PASSING,
    PUBLISHING_ACTIONS,
    PYTHON,
    SHELLS,
    is_moving,
    of_aws,
    session_of,
)
from switchproof.deploy.paths.programs.python_text import follow_python
from switchproof.deploy.paths.readers.document import Node, NotYaml, load
from switchproof.deploy.paths.readers.expressions import Context
from switchproof.deploy.paths.readers.shell import Command, Scope
from switchproof.deploy.paths.survey import Kind, Place
from switchproof.deploy.paths.values import Values, either, mark
from switchproof.deploy.paths.walk import Walker

FOLDER = ".github/workflows"

_GIVEN: dict[str, Values] = {
    "GITHUB_SHA": (mark("github.sha"),),
    "GITHUB_REF": (mark("github.ref"),),
    "GITHUB_REF_NAME": (mark("github.ref_name"),),
    "GITHUB_HEAD_REF": (mark("github.head_ref"),),
    "GITHUB_WORKSPACE": (".",),
}
_SSH_ACTIONS = (
    "appleboy/ssh-action",
    "appleboy/scp-action",
    "fifsky/ssh-action",
    "garygrossgarten/github-action-ssh",
)
_HOSTED = re.compile(r"(ubuntu|macos|windows)-[\w.-]+\Z")
_OF_MATRIX = re.compile(r"\$\{\{\s*matrix\.([\w-]+)\s*\}\}\Z")
"""Labels of GitHub's own machines, which are not hosts."""
_DEEPEST = 10


class Workflows:
    """The workflows of a repository.

    Args:
        files: The repository.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self._loaded: dict[str, Node] = {}
        self._called: set[str] = set()

    def paths(self) -> list[str]:
        """Return the workflow files."""
        return [
            path
            for path in self.files.listing
            if posixpath.dirname(path) == FOLDER and path.endswith((".yml", ".yaml"))
        ]

    def load(self, path: str) -> Node:
        """Read a file, once.

        Raises:
            NotYaml: The file is not readable YAML.
        """
        if path not in self._loaded:
            self._loaded[path] = load(self.files, path)
        return self._loaded[path]

    def jobs(self, path: str) -> Iterator[tuple[str, Node]]:
        """Yield the jobs of a workflow that can run without a caller.

        Raises:
            NotYaml: The file is not a workflow.
        """
        workflow = self.load(path)
        jobs = workflow.get("jobs")
        if jobs is None or not jobs.is_map:
            raise NotYaml(1, "not a workflow: it has no jobs")
        if _only_called(workflow):
            return
        for name, job in jobs.items():
            condition = job.get("if")
            if condition is None or condition.text.strip() not in {"false", "${{ false }}"}:
                yield name, job

    def uncalled(self) -> Iterator[tuple[str, Node]]:
        """Yield the jobs of workflows that only another repository can call, after all others were followed."""
        for path in self.paths():
            workflow = self._loaded.get(path)
            jobs = workflow.get("jobs") if workflow and _only_called(workflow) else None
            if jobs and path not in self._called:
                yield from ((path, job) for _, job in jobs.items())

    def follow(self, walker: Walker, path: str, job: Node) -> None:
        """Follow a job of a workflow."""
        runs_on = job.get("runs-on")
        labels = [part.text for part in runs_on.parts()] if runs_on and runs_on.is_list else []
        walker.trail.own_runner = "self-hosted" in (*labels, runs_on.text if runs_on else "")
        machines = _machines(job)
        walker.trail.hosted = bool(machines) and all(_HOSTED.match(machine) for machine in machines)
        self._job(walker, self.load(path), job, {}, 0)

    def _job(self, walker: Walker, workflow: Node, job: Node, inputs: dict[str, Values], depth: int) -> None:
        context = Context(env=dict(_GIVEN), inputs=self._inputs(workflow, inputs))
        matrix = job.get("strategy", "matrix")
        for name, values in matrix.items() if matrix else ():
            options = tuple(part.text for part in values.parts() if not part.is_map and not part.is_list)
            if options and name not in {"include", "exclude"}:
                context.matrix[name] = options
        if job.value is None or not job.is_map:
            walker.trail.unknown(self.files.place(job.file, job.line), "not a job: it is empty")
            return
        for level in (workflow, job):
            self._env(walker, level.get("env"), context)
        if uses := job.get("uses"):
            self._reusable(walker, uses, job, context, depth)
            return
        steps = job.get("steps")
        if steps is None or not steps.is_list:
            walker.trail.unknown(self.files.place(job.file, job.line), "a job without steps")
            return
        defaults = [level.get("defaults", "run") for level in (job, workflow)]
        self._steps(walker, steps, context, [node for node in defaults if node], depth)

    def _inputs(self, workflow: Node, given: dict[str, Values]) -> dict[str, Values]:
        """Return the inputs: the caller's values, and the defaults of the others."""
        inputs: dict[str, Values] = {}
        for trigger in ("workflow_call", "workflow_dispatch"):
            declared = workflow.get("on", trigger, "inputs")
            for name, each in declared.items() if declared else ():
                default, options = each.get("default"), each.get("options")
                chosen = (default.text,) if default else ()
                if options and options.is_list:
                    inputs[name] = either([chosen, tuple(part.text for part in options.parts())])
                elif chosen:
                    # A person may choose another value.
                    inputs[name] = (*chosen, mark(f"inputs.{name}"))
        return {**inputs, **given}

    def _env(self, walker: Walker, env: Node | None, context: Context) -> dict[str, Values]:
        own: dict[str, Values] = {}
        for name, value in env.items() if env else ():
            own[name] = context.values(value.text)
            self._note(walker, name, own[name], value)
        context.env.update(own)
        return own

    def _note(self, walker: Walker, name: str, value: Values, node: Node) -> None:
        place = self.files.place(node.file, node.line)
        walker.note_assigned({name: value}, place)

    def _reusable(self, walker: Walker, uses: Node, job: Node, context: Context, depth: int) -> None:
        place = self.files.place(uses.file, uses.line)
        path = posixpath.normpath(uses.text.partition("@")[0]) if uses.text.startswith("./") else ""
        if not path:
            if not walker.vouches(uses.text):
                walker.trail.unknown(place, f"the workflow {uses.text} of another repository")
            return
        if depth > _DEEPEST or not self.files.is_file(path):
            walker.trail.unknown(place, f"{path} is not in the repository, or calls itself")
            return
        self._called.add(path)
        given = job.get("with")
        inputs = {name: context.values(value.text) for name, value in given.items()} if given else {}
        try:
            workflow = self.load(path)
        except NotYaml as error:
            walker.trail.unknown(self.files.place(path, error.line), str(error))
            return
        jobs = workflow.get("jobs")
        for _, inner in jobs.items() if jobs else ():
            self._job(walker, workflow, inner, inputs, depth + 1)

    def _steps(
        self, walker: Walker, steps: Node, context: Context, defaults: list[Node], depth: int, *, inline: bool = True
    ) -> None:
        for step in steps.parts():
            condition = step.get("if")
            if not step.is_map or (condition and condition.text.strip() in {"false", "${{ false }}"}):
                continue
            inner = replace(context, env=dict(context.env))
            self._env(walker, step.get("env"), inner)
            if run := step.get("run"):
                self._run(walker, step, run, inner, defaults, inline=inline)
            elif uses := step.get("uses"):
                self._uses(walker, step, uses, inner, depth)
            else:
                walker.trail.unknown(self.files.place(step.file, step.line), "a step without run or uses")

    def _run(
        self, walker: Walker, step: Node, run: Node, context: Context, defaults: list[Node], *, inline: bool
    ) -> None:
        rows = run.rows(self.files)
        place = self.files.place(run.file, rows[0])
        shell = step.get("shell") or next((own for level in defaults if (own := level.get("shell"))), None)
        where = step.get("working-directory") or next(
            (own for level in defaults if (own := level.get("working-directory"))), None
        )
        program = posixpath.basename(shell.text.split()[0]) if shell and shell.text.split() else "bash"
        text = Text(context.fill(run.text), run.file, rows, entry=inline)
        folder = posixpath.normpath(context.fill(where.text)) if where else "."
        scope = Scope(variables=dict(context.env), arguments=[], folder=folder, marks=context.marks)
        if program in SHELLS:
            walker.shell(text, scope)
        elif PYTHON.match(program):
            call = Call(program, (), Command(((program,),), 0, conditional=False), text, scope, place)
            follow_python(walker, run.text, None, call, rows)
        else:
            walker.trail.unknown(place, f"a step in {program}, which is not read")

    def _uses(self, walker: Walker, step: Node, uses: Node, context: Context, depth: int) -> None:
        place = self.files.place(uses.file, uses.line)
        name = uses.text.partition("@")[0]
        given = step.get("with")
        inputs = {key: context.values(value.text) for key, value in given.items()} if given else {}
        for key, value in given.items() if given else ():
            self._note(walker, key, inputs[key], value)
        if name.startswith("./") and walker.fetched_switchproof and not self._action(posixpath.normpath(name)):
            # The folder is inside the Switchproof that the job has checked out.
            texts = {key: value.text for key, value in given.items()} if given else {}
            text = Text(context.fill(session_of(texts, "")), uses.file, (uses.line,))
            walker.shell(text, Scope(variables=dict(context.env), arguments=[], marks=context.marks))
        elif name.startswith("./"):
            self._local(walker, posixpath.normpath(name), inputs, context, place=place, depth=depth)
        elif name == "actions/checkout":
            self._checkout(walker, inputs, place, step)
        elif name.startswith("aws-actions/"):
            walker.trail.find(Kind.AWS, place, f"{name} only works with AWS")
            if "ecs-deploy" in name or "cloudformation" in name:
                walker.trail.act(name, place, "aws", shared=False, inline=True)
        elif name == "actions/github-script":
            if any(
                word in text for text in inputs.get("script", ()) for word in ("exec", "child_process", "require(")
            ):
                walker.trail.unknown(place, "a program of JavaScript that runs others, which is not read")
        elif name in PUBLISHING_ACTIONS:
            walker.trail.published = True
        elif name in _SSH_ACTIONS:
            self._ssh(walker, step, name, inputs, context)
        elif not name.startswith(HARMLESS_ACTIONS) and not walker.vouches(name):
            if of_aws(name):
                walker.trail.find(Kind.AWS, place, f"{name} only works with AWS")
            walker.trail.unknown(place, f"it is unknown what the action {name} does")

    def _checkout(self, walker: Walker, inputs: dict[str, Values], place: Place, step: Node) -> None:
        repository = inputs.get("repository", ("",))
        elsewhere = repository != ("",) and "github.repository" not in repository[0]
        if elsewhere and any("switchproof" in text.lower() for text in repository):
            walker.fetched_switchproof = True
        reference = step.get("with", "ref")
        where = self.files.place(reference.file, reference.line) if reference else place
        for text in inputs.get("ref", ()):
            if is_moving(text, any_name=True):
                walker.trail.find(Kind.FLOATING, where, f"{text} is checked out, and can be another commit tomorrow")
        if elsewhere and "ref" not in inputs:
            walker.trail.find(Kind.FLOATING, place, "another repository is checked out at the head of its branch")

    def _ssh(self, walker: Walker, step: Node, name: str, inputs: dict[str, Values], context: Context) -> None:
        uses = step.get("uses") or step
        place = self.files.place(uses.file, uses.line)
        if "fingerprint" not in inputs:
            walker.trail.find(Kind.HOST_KEY, place, f"{name} without a fingerprint accepts any host key")
        script = step.get("with", "script") or step.get("with", "command")
        host = " ".join(inputs.get("host", ("",))).lower()
        if script:
            text = Text(
                context.fill(script.text),
                script.file,
                script.rows(self.files),
                provider="ovh" if "ovh" in host else "ssh",
            )
            walker.trail.did = True
            walker.shell(text, Scope(variables={}, marks=context.marks))
        elif "script_file" in inputs or "script_path" in inputs:
            path = (inputs.get("script_file") or inputs.get("script_path") or ("",))[0]
            text = Text(f"./{path.removeprefix('./')}", place.file, (place.line,), provider="ssh")
            walker.shell(text, Scope())
        elif "scp" not in name:
            walker.trail.unknown(place, f"{name} without a script")
        elif not inputs.get("target", ("",))[0].startswith(PASSING):
            walker.trail.unknown(place, f"{name} copies files to the host; it is unknown what they do there")

    def _action(self, folder: str) -> str | None:
        """Return the file of a local action; None if the folder has none."""
        paths = (posixpath.normpath(f"{folder}/{name}") for name in ("action.yml", "action.yaml"))
        return next((path for path in paths if self.files.is_file(path)), None)

    def _local(
        self,
        walker: Walker,
        folder: str,
        inputs: dict[str, Values],
        context: Context,
        *,
        place: Place,
        depth: int,
    ) -> None:
        path = self._action(folder)
        if path is None or depth > _DEEPEST:
            walker.trail.unknown(place, f"the action {folder} is not in the repository, or uses itself")
            return
        try:
            action = self.load(path)
        except NotYaml as error:
            walker.trail.unknown(self.files.place(path, error.line), str(error))
            return
        using = action.get("runs", "using")
        steps = action.get("runs", "steps")
        if using is None or using.text != "composite" or steps is None:
            walker.trail.unknown(place, f"the action {folder} is a program, which is not read")
            return
        declared = action.get("inputs")
        defaults: dict[str, Values] = {}
        for name, each in declared.items() if declared else ():
            if default := each.get("default"):
                defaults[name] = context.values(default.text)
        inner = Context(env=dict(context.env), inputs={**defaults, **inputs}, folder=folder)
        self._steps(walker, steps, inner, [], depth + 1)


def _only_called(workflow: Node) -> bool:
    """Whether a workflow runs only when another one calls it, and is followed from there."""
    on = workflow.get("on")
    if on is None:
        return False
    if on.is_map:
        names = {name for name, _ in on.items()}
    elif on.is_list:
        names = {part.text for part in on.parts()}
    else:
        names = {on.text}
    return names == {"workflow_call"}


def _machines(job: Node) -> list[str]:
    """Return what a job may run on: each label, and each value of the matrix that stands for one."""
    runs_on = job.get("runs-on")
    if runs_on is None:
        return []
    machines: list[str] = []
    for label in [part.text for part in runs_on.parts()] if runs_on.is_list else [runs_on.text]:
        named = _OF_MATRIX.match(label)
        matrix = job.get("strategy", "matrix")
        if named is None or matrix is None:
            machines.append(label)
            continue
        values, more = matrix.get(named[1]), matrix.get("include")
        if values is not None:
            machines += [part.text for part in values.parts()] if values.is_list else [values.text]
        if more is not None and not more.is_list:
            machines.append(more.text)
        added = [each.get(named[1]) for each in more.parts()] if more else []
        machines += [value.text for value in added if value is not None]
    return machines
