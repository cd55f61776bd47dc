"""Faults of the machine that runs the session: its options, files, disk and terminal."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Final

from tests.faults.scene import CHANGING, Expected, Fault, Mode, Output, Scene, canonical, each, refused


def _option(*options: str) -> Callable[[Scene], None]:
    return lambda scene: scene.options.extend(options)


def _target(old: str, new: str) -> Callable[[Scene], None]:
    return lambda scene: scene.edit(old, new)


def _text(text: str) -> Callable[[Scene], None]:
    return lambda scene: scene.append(text)


def _refused(name: str, arrange: Callable[[Scene], None]) -> Fault:
    """A fault that ends a session of any mode before it has a host."""
    return Fault("runner", name, arrange, each(refused), needs_host=False)


def _provider(scene: Scene) -> None:
    scene.provider = "nowhere"


def _no_target_file(scene: Scene) -> None:
    scene.targets.unlink()


def _folder_for_target_file(scene: Scene) -> None:
    scene.targets.unlink()
    scene.targets.mkdir()


def _no_toml(scene: Scene) -> None:
    scene.targets.write_text("provider = = lab\n", "utf-8")


def _no_utf8(scene: Scene) -> None:
    scene.targets.write_bytes(b'provider = "lab\xff"\n')


def _no_hosts(scene: Scene) -> None:
    before, _, after = scene.targets.read_text("utf-8").partition("[[hosts]]")
    scene.targets.write_text(before + "[hypervisor]" + after.partition("[hypervisor]")[2], "utf-8")


def _host_twice(scene: Scene) -> None:
    scene.append('\n[[hosts]]\nname = "a"\nflake_attr = "choiros-a"\n')


def _file_for_reports(scene: Scene) -> None:
    path = scene.folder / "in-the-way"
    path.touch()
    scene.options.append(f"--report-dir={path}")


def _full_disk(scene: Scene) -> None:
    runs = scene.folder / "runs"
    runs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "full", str(runs)], check=True, timeout=30)
    scene.undo.callback(lambda: subprocess.run(["umount", str(runs)], check=True, timeout=30))


def _revision_of_two_words(scene: Scene) -> None:
    scene.revision = "two words"


def _short_secret(scene: Scene) -> None:
    scene.edit('provider = "lab"', 'provider = "lab"\nsecrets = ["FAULTS_TOKEN"]')
    scene.environ["FAULTS_TOKEN"] = "abc"  # noqa: S105 - it guards nothing


def _missing(option: str) -> Callable[[Scene], None]:
    return lambda scene: scene.options.append(f"{option}={scene.folder / 'not-there'}")


def _selected(mode: Mode) -> Expected:
    return refused(mode) if mode in CHANGING else Expected(11, frozenset({"found-healthy", "unknown"}))


def _output(kind: Output) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        scene.output = kind

    return arrange


FAULTS: Final = (
    _refused("the provider is unknown", _provider),
    _refused("an option is unknown", _option("--no-such-option")),
    _refused("`--on-failure` has a value that does not exist", _option("--on-failure=ignore")),
    _refused("`--shape` has a value that does not exist", _option("--shape=gcp")),
    _refused("`--soak` is not a number", _option("--soak=soon")),
    _refused("`--soak` is negative", _option("--soak=-1")),
    _refused("`--soak` is not finite", _option("--soak=nan")),
    _refused("`--keep-runs` is negative", _option("--keep-runs=-1")),
    _refused("`--host` selects no host", _option("--host=no-such-host")),
    _refused("two modes are asked for", _option("--plan", "--audit")),
    _refused("the revision is two words", _revision_of_two_words),
    _refused("the key to sign with is missing", _missing("--sign-key")),
    _refused("the folder of own checks is missing", _missing("--checks")),
    _refused("the target file is missing", _no_target_file),
    _refused("the target file is a folder", _folder_for_target_file),
    _refused("the target file is not TOML", _no_toml),
    _refused("the target file is not UTF-8", _no_utf8),
    _refused("the target file has an unknown table", _text("\n[helth]\nready_s = 1.0\n")),
    _refused("a value of the target file has the wrong type", _target("answers = 2", 'answers = "two"')),
    _refused("a value of the target file is out of range", _target("answers = 2", "answers = 0")),
    _refused(
        "a variable that the target file names is not set",
        _target('url = "file:///srv/sample.git"', 'url = { env = "FAULTS_NOT_SET" }'),
    ),
    _refused("the target file has no hosts", _no_hosts),
    _refused("the target file has a host twice", _host_twice),
    _refused("a health URL is not a URL", _target("http://127.0.0.1:9090/login", "127.0.0.1 port 9090")),
    _refused("a port is out of range", _target('listen = "127.0.0.1:9090"', 'listen = "127.0.0.1:99090"')),
    _refused("a secret has fewer than four characters", _short_secret),
    _refused("the folder for reports is a file", _file_for_reports),
    _refused("the disk of the report is full", _full_disk),
    _refused("checks are spread over processes (`-n2`)", _option("-n2")),
    _refused("checks that failed come first (`--ff`)", _option("-p", "cacheprovider", "--ff")),
    _refused("checks are left out (`--ignore`)", _option("--ignore=checks/test_runtime.py")),
    _refused("a debugger is asked for (`--pdb`)", _option("--pdb")),
    _refused("output goes around the redactor (`-s`)", _option("-s")),
    Fault(
        "runner",
        "checks are selected (`-k`)",
        _option("-k", "not live"),
        each(_selected),
    ),
    Fault("runner", "standard output is closed", _output("closed"), each(canonical)),
    Fault("runner", "standard output is full", _output("full"), each(canonical)),
    Fault("runner", "standard output is a broken pipe", _output("broken"), each(canonical)),
)
