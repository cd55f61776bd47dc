"""What the programs that matter for a deploy do, told from how they are called."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from switchproof.deploy.paths.meaning import (
    AWS_PROGRAMS,
    CHANGES_UNITS,
    DEPLOYERS,
    DEPLOYS_HERE,
    HOST_SCRIPT,
    PASSING,
    PYTHON,
    SSH_VALUES,
    SWITCHES,
    UNREAD,
    is_moving,
    moving_flake,
)
from switchproof.deploy.paths.python import Suspect
from switchproof.deploy.paths.survey import Kind
from switchproof.deploy.paths.values import Values, is_known, joined, shown

if TYPE_CHECKING:
    from switchproof.deploy.paths.walk import Call, Walker

_BUILDS = frozenset({"build", "build-vm", "dry-build", "dry-activate", "repl", "edit"})
"""What nixos-rebuild does that changes no host."""

_LOOKS = frozenset({"observe", "diagnose", "status", "resolve", "generations", "confirm", "plan"})
"""Verbs of the host-side script that change nothing."""

OWN_SCRIPT = "deploy/host/host-switch.sh"
"""Where Switchproof's own repository has it."""

_SITE = frozenset({"/etc/profile", "/etc/os-release", "/etc/bashrc", "/etc/bash.bashrc"})


def host_script(walker: Walker, call: Call) -> None:
    """The shared host-side script."""
    verb = call.plain[0] if call.words else "deploy"
    if verb not in _LOOKS:
        walker.trail.act(f"{HOST_SCRIPT} {shown(verb)}", call.place, call.text.provider, shared=True, inline=False)


def unseen_host_script(walker: Walker, call: Call, name: str) -> None:
    """Note a program that has the name of the host-side script, and whose text is not in the repository."""
    if not walker.vouches(name):
        walker.trail.unknown(
            call.place, f"{shown(name)} has the name of the host-side script, but its content cannot be read here"
        )


def act(walker: Walker, call: Call, what: str, provider: str | None = None) -> None:
    """Note that a call changes a host."""
    walker.trail.act(
        what, call.place, provider or call.text.provider, shared=call.text.shared, inline=call.text.entry
    )


def ssh(walker: Walker, call: Call) -> None:
    """SSH: what it runs there, and from where that comes."""
    words = list(call.words)
    destination: Values | None = None
    quiet = False
    while words:
        word = words[0][0]
        if word == "--":
            words.pop(0)
        elif word.startswith("-"):
            words.pop(0)
            quiet = quiet or (not word.startswith("--") and bool(set(word[1:2]) & set("NGQVO")))
            if word in SSH_VALUES and words:
                words.pop(0)
        elif not is_known(word) and destination is None and len(words) > 1 and _is_options(word):
            words.pop(0)
        elif destination is None:
            destination = words.pop(0)
        else:
            break
    if destination is None:
        return
    told = " ".join(shown(text) for word in call.words for text in word).lower()
    provider = "ovh" if "ovh" in told else "ssh"
    if words:
        walker.inline(call, joined(words, " "), provider=provider)
    elif not quiet and (call.command.heredoc or call.command.stdin or call.command.piped):
        walker.stdin(call, needed=True, provider=provider)


def _is_options(word: str) -> bool:
    """Whether a word that is not known is likely to be options."""
    return any(part in word.upper() for part in ("OPT", "ARGS", "FLAGS"))


def copies(walker: Walker, call: Call) -> None:
    """Scp and rsync: what they bring to a host may be run there."""
    for word in call.words:
        for said in word:
            if ":" not in said and (found := walker.files.find(said, call.scope.folder)):
                walker.trail.copied[posixpath.basename(found)] = found
    place = call.plain[-1].partition(":")[2] if call.words else ""
    if place.startswith("/") and not place.startswith(PASSING) and not walker.vouches(call.name):
        walker.trail.unknown(
            call.place, f"{call.name} copies files to {shown(call.plain[-1])}; it is unknown what they do there"
        )


def ssh_keyscan(walker: Walker, call: Call) -> None:
    """Ssh-keyscan at deploy time takes whichever key answers."""
    walker.trail.find(Kind.HOST_KEY, call.place, "ssh-keyscan accepts any key that is presented for the host")


def git(walker: Walker, call: Call) -> None:
    """Git, as far as it chooses a commit."""
    words = list(call.words)
    while words and words[0][0].startswith("-"):
        option = words.pop(0)[0]
        if option in {"-C", "-c", "--git-dir", "--work-tree"} and words:
            words.pop(0)
    if not words:
        return
    verb, rest = words[0][0], words[1:]
    names = [word for word in rest if not word[0].startswith("-")]
    if any("switchproof" in text.lower() for word in rest for text in word) or _in_switchproof(call):
        walker.switchproof = True
        walker.trail.fetched_branch = any(is_moving(text) for word in names for text in word)
        if walker.trail.fetched_branch:
            walker.trail.find(Kind.FLOATING, call.place, "Switchproof itself is fetched by a branch")
        return
    match verb:
        case "pull":
            if call.text.provider not in {"local", "lab"}:
                act(walker, call, "git pull")
            walker.trail.find(Kind.FLOATING, call.place, "git pull takes the head of the branch at that time")
        case "fetch":
            revisions = names[1:]
            walker.trail.fetched_branch = not revisions or any(is_moving(text) for word in revisions for text in word)
        case "clone":
            branch = call.option("--branch", "-b")
            if branch and not any(is_moving(text, any_name=True) for text in branch):
                return
            walker.trail.cloned = call.place
        case "checkout" | "switch" | "reset":
            _choose(walker, call, [word for word in names if word[0] != "--"])
        case "submodule" if any(word[0] == "--remote" for word in rest):
            walker.trail.find(Kind.FLOATING, call.place, "the submodules' branches are followed")


def _in_switchproof(call: Call) -> bool:
    folder = call.option("-C")
    return "switchproof" in call.scope.folder.lower() or bool(folder and "switchproof" in folder[0].lower())


def _choose(walker: Walker, call: Call, names: list[Values]) -> None:
    for text in (text for word in names for text in word):
        if is_moving(text) or (text == "FETCH_HEAD" and walker.trail.fetched_branch):
            walker.trail.find(Kind.FLOATING, call.place, f"{shown(text)} can be another commit tomorrow")
            return
    if names:
        walker.trail.cloned = None


def nixos_rebuild(walker: Walker, call: Call) -> None:
    """Nixos-rebuild: whether it switches, and to what."""
    _flake(walker, call, call.option("--flake", "-f"))
    for word in call.plain:
        if word in {"--upgrade", "--upgrade-all", "--recreate-lock-file"} or word.startswith("--update-input"):
            walker.trail.find(Kind.FLOATING, call.place, f"{word} builds new, unreviewed inputs")
    target = call.option("--target-host")
    provider = None if target is None else "ovh" if any("ovh" in text.lower() for text in target) else "ssh"
    if SWITCHES & {text for word in call.words for text in word}:
        act(walker, call, "nixos-rebuild", provider)
    elif any(not is_known(word) for word in call.plain) and not _BUILDS & set(call.plain):
        walker.trail.unknown(call.place, "the arguments of nixos-rebuild are known only at run time")


def _flake(walker: Walker, call: Call, reference: Values | None) -> None:
    for text in reference or ():
        if moving_flake(text):
            walker.trail.find(Kind.FLOATING, call.place, f"the flake {shown(text)} follows a branch")


def switch_to_configuration(walker: Walker, call: Call) -> None:
    """The activation of a system."""
    if not call.words or call.plain[0] != "dry-activate":
        act(walker, call, "switch-to-configuration")


def nix_env(walker: Walker, call: Call) -> None:
    """Nix-env, which can set the system profile."""
    if any(word in {"--set", "--rollback", "--switch-generation", "-G"} for word in call.plain) and any(
        "profiles/system" in text for word in call.words for text in word
    ):
        act(walker, call, "nix-env")


def nix(walker: Walker, call: Call) -> None:
    """Nix, as far as it runs something or chooses a commit."""
    plain = call.plain
    while plain and plain[0].startswith("-"):
        plain = plain[3:] if plain[0] == "--option" else plain[2:] if plain[0].startswith("--extra-") else plain[1:]
    match plain:
        case ["flake", "update" | "lock", *rest] if plain[1] == "update" or "--update-input" in rest:
            walker.trail.find(Kind.FLOATING, call.place, f"nix flake {plain[1]} builds new, unreviewed inputs")
        case ["run", *rest]:
            _nix_run(walker, call, rest)
        case ["develop" | "shell", *_]:
            for option in ("-c", "--command"):
                if option in call.plain and (words := call.words[call.plain.index(option) + 1 :]):
                    walker.again(call, words)
        case _:
            pass


def _nix_run(walker: Walker, call: Call, rest: list[str]) -> None:
    reference = next((word for word in rest if not word.startswith("-")), ".")
    _flake(walker, call, (reference,))
    program = reference.rpartition("#")[2] or reference
    for known in (*DEPLOYERS, "nixos-rebuild"):
        if known in reference:
            words = call.words[call.plain.index("--") + 1 :] if "--" in call.plain else ()
            walker.run(replace(call, name=known, words=tuple(words)))
            return
    if not walker.vouches(reference) and (not is_known(reference) or reference.startswith((".", "/", "path:"))):
        walker.trail.unknown(call.place, f"nix run {shown(program)} runs a program of the flake, which is not read")


def nix_shell(walker: Walker, call: Call) -> None:
    """Nix-shell with a command."""
    command = call.option("--run", "--command")
    if command:
        walker.inline(call, command)


def deployer(walker: Walker, call: Call) -> None:
    """Another program that deploys."""
    words = DEPLOYERS[call.name]
    if words is None or words & set(call.plain) or any(not is_known(word) for word in call.plain[:1]):
        here = DEPLOYS_HERE & {call.name, *call.plain} or (call.name == "nh" and not call.option("--target-host"))
        act(walker, call, call.name, None if here else "ssh")


def deploy_rs(walker: Walker, call: Call) -> None:
    """Deploy-rs, whose program is called `deploy`."""
    for text in call.plain:
        _flake(walker, call, (text,))
    act(walker, call, "deploy", "ssh")


def systemctl(walker: Walker, call: Call) -> None:
    """Systemctl, when it changes units."""
    if "--user" in call.plain:
        return
    if verb := next((word for word in call.plain if word in CHANGES_UNITS), None):
        act(walker, call, f"systemctl {verb}", "ssh" if call.option("-H", "--host") else None)


def service(walker: Walker, call: Call) -> None:
    """The older way to change a unit."""
    if CHANGES_UNITS & set(call.plain[1:]):
        act(walker, call, "service")


def aws(walker: Walker, call: Call) -> None:
    """AWS's command line."""
    walker.trail.find(Kind.AWS, call.place, f"{call.name} only works with AWS")
    plain = [word for word in call.plain if not word.startswith("-")]
    at = call.plain.index("ssm") if "ssm" in call.plain else -1
    if call.name != "aws" or at < 0 or not plain:
        return
    verb = call.plain[at + 1] if at + 1 < len(call.plain) else ""
    if verb == "start-session":
        act(walker, call, "aws ssm start-session", "aws")
    if verb == "send-command":
        _send_command(walker, call)


def _send_command(walker: Walker, call: Call) -> None:
    """What SSM is told to run, where that can be read; else whether it is the shared script."""
    said = (*(call.option("--parameters") or ()), *(call.option("--cli-input-json") or ()))
    commands = [command for text in said for command in _commands(text)]
    if commands:
        walker.trail.act("aws ssm send-command", call.place, "aws", shared=True, inline=False)
        walker.inline(call, ("\n".join(commands),), provider="aws")
        return
    if walker.trail.strings:
        walker.trail.act("aws ssm send-command", call.place, "aws", shared=True, inline=False)
        there = replace(call, words=(), text=replace(call.text, provider="aws"))
        for path in walker.files.called(HOST_SCRIPT):
            walker.file(path, there)
        if not walker.files.called(HOST_SCRIPT):
            unseen_host_script(walker, call, HOST_SCRIPT)
        return
    act(walker, call, "aws ssm send-command", "aws")
    walker.trail.unknown(call.place, "the command that SSM runs is known only at run time")


def _commands(text: str) -> list[str]:
    """The commands in the parameters of SSM, in any of the ways in which they are written."""
    try:
        document = json.loads(text)
    except ValueError:
        _, found, rest = text.partition("commands=")
        if not found:
            return []
        try:
            document = {"commands": json.loads(rest)}
        except ValueError:
            return [rest.strip("[]'\"")] if is_known(rest) and rest else []
    if isinstance(document, dict) and "Parameters" in document:
        document = document["Parameters"]
    commands = document.get("commands") if isinstance(document, dict) else None
    if isinstance(commands, str):
        commands = [commands]
    return [command for command in commands if isinstance(command, str)] if isinstance(commands, list) else []


def python(walker: Walker, call: Call) -> None:
    """Python: a module, a text or a script."""
    words = list(call.words)
    while words and words[0][0].startswith("-") and words[0][0] not in {"-", "-c", "-m"}:
        option = words.pop(0)[0]
        if option in {"-W", "-X"} and words:
            words.pop(0)
    match [word[0] for word in words]:
        case ["-m", "pytest", *_]:
            session(walker, replace(call, name="pytest", words=tuple(words[2:])))
        case ["-m", "switchproof", *_]:
            command(walker, replace(call, words=tuple(words[2:])))
        case ["-m", module, *_]:
            path = module.replace(".", "/")
            for candidate in (f"{path}.py", f"{path}/__main__.py", f"src/{path}.py", f"src/{path}/__main__.py"):
                if (text := walker.files.text(candidate)) is not None:
                    python_text(walker, text, candidate, call)
                    return
            if not is_known(module):
                walker.trail.unknown(call.place, f"the module {shown(module)} is known only at run time")
        case ["-c", text, *_]:
            python_text(walker, text, None, call)
        case [] | ["-", *_]:
            for text in call.command.heredoc or ():
                python_text(walker, text, None, call)
        case [script, *_]:
            found = walker.files.find(script, call.scope.folder, posixpath.dirname(call.scope.script or ""))
            if found:
                walker.file(found, replace(call, words=tuple(words[1:])))
            elif not walker.vouches(script):
                walker.trail.unknown(call.place, f"{shown(script)} is not in the repository")
        case _:
            pass


def python_text(walker: Walker, text: str, path: str | None, call: Call) -> None:
    """A program of Python: it is not followed, but one that can reach a host is not passed over."""
    ours = path.removeprefix("src/switchproof/").split("/")[0] if path else ""
    if ours in {"deploy", "checks", "reports"} and walker.files.is_file(OWN_SCRIPT):
        return
    for found in Suspect(walker.files).look(text, path):
        if found.file and walker.vouches(found.file):
            continue
        place = walker.files.place(found.file, found.line) if found.file else call.place
        walker.trail.unknown(
            place, f"a program of Python that may deploy: {found.why}; such programs are not followed"
        )
        if found.of_aws:
            walker.trail.find(Kind.AWS, place, f"only makes sense with AWS: {found.why}")


def session(walker: Walker, call: Call) -> None:
    """A session of Switchproof: pytest with --provider."""
    provider = call.option("--provider")
    if provider is None:
        return
    words = {text for word in call.words for text in word}
    if words & {"--audit", "--plan", "--collect-only", "--co"}:
        return
    for name in provider:
        known = name if is_known(name) else "any"
        walker.trail.act(f"{call.name} --provider={shown(name)}", call.place, known, shared=True, inline=False)
    if provider == ("lab",):
        return
    for text in call.option("--sha") or ():
        if is_moving(text, any_name=True):
            walker.trail.find(Kind.FLOATING, call.place, f"--sha={shown(text)} can be another commit tomorrow")


def command(walker: Walker, call: Call) -> None:
    """The command of Switchproof, whose verbs take the options of a session."""
    verb = call.words[0][0] if call.words else ""
    if verb in {"deploy", "rollback", "drill"}:
        session(walker, replace(call, name=f"switchproof {verb}", words=call.words[1:]))


def recipe_tool(walker: Walker, call: Call) -> None:
    """Just, make and the package managers of JavaScript, whose recipes are followed."""
    walker.recipe("make" if call.name == "gmake" else call.name, call)


def package_script(walker: Walker, call: Call) -> None:
    """A script of package.json."""
    match call.plain:
        case ["run" | "run-script", name, *_]:
            pass
        case [("test" | "start" | "stop" | "restart") as name, *_]:
            pass
        case _:
            return
    try:
        package = json.loads(walker.files.text(posixpath.join(call.scope.folder, "package.json")) or "{}")
        script = package.get("scripts", {}).get(name)
    except (ValueError, AttributeError):
        script = None
    if not isinstance(script, str):
        walker.trail.unknown(call.place, f"{call.name} {shown(name)}: package.json has no such script")
        return
    walker.inline(call, (script,))


def trap(walker: Walker, call: Call) -> None:
    """The text that runs at a signal."""
    if call.words and call.plain[0] not in {"-", "", "-p", "-l"}:
        walker.inline(call, call.words[0])


def evaluate(walker: Walker, call: Call) -> None:
    """Eval: text that is shell."""
    if call.words and call.plain[0].startswith("⟦") and _harmless_eval(call.plain[0]):
        return
    walker.inline(call, joined(list(call.words), " "))


def _harmless_eval(text: str) -> bool:
    return any(word in text for word in ("ssh-agent", "direnv", "brew_shellenv", "shellenv"))


def source(walker: Walker, call: Call) -> None:
    """Source: another file, read into the same shell."""
    if not call.words:
        return
    for said in call.words[0]:
        found = walker.files.find(said, call.scope.folder, posixpath.dirname(call.scope.script or ""))
        if found:
            walker.source(found, call)
        elif not (
            said.endswith(("/bin/activate", "nix-daemon.sh", "/nix.sh", ".env"))
            or said in _SITE
            or walker.vouches(said)
        ):
            walker.trail.unknown(call.place, f"{shown(said)}, which it sources, is not in the repository")


def unread(walker: Walker, call: Call) -> None:
    """A program whose own files say what it does to which hosts."""
    if not walker.vouches(call.name):
        walker.trail.unknown(call.place, f"{call.name} changes hosts with its own files, which are not read")


def other_user(walker: Walker, call: Call) -> None:
    """Su and runuser, with a text to run."""
    if command := call.option("-c", "--command"):
        walker.inline(call, command)
    elif "--" in call.plain and (words := call.words[call.plain.index("--") + 1 :]):
        walker.again(call, words)


def change_folder(_: Walker, call: Call) -> None:
    """Cd: where the following commands find their files."""
    folder = next((word for word in call.plain if not word.startswith("-")), None)
    if folder and is_known(folder) and not folder.startswith(("/", "~")) and not call.command.conditional:
        call.scope.folder = posixpath.normpath(posixpath.join(call.scope.folder, folder))


def find_exec(walker: Walker, call: Call) -> None:
    """Find, when it runs something."""
    for option in ("-exec", "-execdir", "-ok"):
        if option in call.plain and (words := call.words[call.plain.index(option) + 1 :]):
            walker.again(call, [word for word in words if word[0] not in {";", "+", "{}"}])


def downloads(walker: Walker, call: Call) -> None:
    """Other interpreters with a text of their own."""
    if any(word in {"-e", "-E", "--eval"} for word in call.plain) and not PYTHON.match(call.name):
        walker.trail.unknown(call.place, f"a program of {call.name}, which is not read")
        return
    script = next((word for word in call.plain if not word.startswith("-")), None)
    if script and walker.files.find(script, call.scope.folder):
        walker.trail.unknown(call.place, f"{script} is a program of {call.name}, which is not read")


HANDLERS: dict[str, Callable[[Walker, Call], None]] = {
    "ssh": ssh,
    "scp": copies,
    "rsync": copies,
    "ssh-keyscan": ssh_keyscan,
    "git": git,
    "nixos-rebuild": nixos_rebuild,
    "nixos-rebuild-ng": nixos_rebuild,
    "switch-to-configuration": switch_to_configuration,
    "nix-env": nix_env,
    "nix": nix,
    "nix-shell": nix_shell,
    "deploy": deploy_rs,
    "systemctl": systemctl,
    "service": service,
    "pytest": session,
    "switchproof": command,
    "py.test": session,
    "just": recipe_tool,
    "make": recipe_tool,
    "gmake": recipe_tool,
    "npm": package_script,
    "pnpm": package_script,
    "yarn": package_script,
    "trap": trap,
    "eval": evaluate,
    "source": source,
    ".": source,
    "cd": change_folder,
    "pushd": change_folder,
    "find": find_exec,
    "node": downloads,
    "ruby": downloads,
    "deno": downloads,
    "bun": downloads,
    "pwsh": downloads,
    "su": other_user,
    "runuser": other_user,
    HOST_SCRIPT: lambda walker, call: unseen_host_script(walker, call, call.name),
    **dict.fromkeys(UNREAD, unread),
    **dict.fromkeys(AWS_PROGRAMS, aws),
    **dict.fromkeys(DEPLOYERS, deployer),
}
