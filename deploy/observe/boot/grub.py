"""Computes which entry GRUB starts from its environment, default and menu, as GRUB 2.12 does (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from switchproof.deploy.observe.boot.chosen import Boot, Entry
from switchproof.deploy.observe.boot.facts import BootFacts

LOADER = "grub"
CONFIG = r"/boot/grub2?/grub\.cfg"
ENVIRONMENT = r"/boot/grub2?/grubenv"

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_SET = re.compile(r"(?:set\s+)?(\w+)=(.*)")
_IS_SET = re.compile(r"\[\s+(?:(-n|-z)\s+)?\"?\$\{?(\w+)\}?\"?\s+\]")
_TITLE = re.compile(r"(?:menuentry|submenu)\s+(?:\"([^\"]*)\"|'([^']*)'|(\S+))")
_MENU_ID = re.compile(r"(?:--id(?:\s+|=)|\$\{?menuentry_id_option\}?\s+)(?:\"([^\"]*)\"|'([^']*)'|(\S+))")
_FROM_ELSEWHERE = ("blscfg", "configfile")


class _Node(msgspec.Struct):
    """An entry of the menu, or a submenu with entries of its own."""

    title: str
    id: str
    submenu: bool
    system: str = ""
    missing: list[str] = msgspec.field(default_factory=list)
    entries: list[_Node] = msgspec.field(default_factory=list)


class _Read(msgspec.Struct):
    """The state of reading the configuration."""

    variables: dict[str, str]
    menu: _Node
    once: str | None = None
    doubt: str = ""


class _Branch(msgspec.Struct, frozen=True):
    """A branch of an `if`; None stands for what only GRUB can decide.

    Attributes:
        condition: Whether its own condition holds; that of `else` always does.
        is_reached: Whether no condition of an earlier branch holds.
    """

    condition: bool | None
    is_reached: bool | None = True

    @property
    def is_taken(self) -> bool | None:
        """Whether its statements run."""
        return _all((self.is_reached, self.condition))

    def followed_by(self, condition: bool | None) -> _Branch:
        """Return the branch after this one."""
        fails = None if self.condition is None else not self.condition
        return _Branch(condition, _all((self.is_reached, fails)))


def choose(facts: BootFacts) -> Boot:
    """Compute the entry that GRUB starts next, and the one after that."""
    if facts.cut:
        return Boot(LOADER, doubt="grub.cfg is too long to be read")
    configs = facts.named(CONFIG)
    if len(configs) != 1:
        return Boot(LOADER, doubt=f"{len(configs)} files named grub.cfg were found under /boot")
    environment = _environment(facts)
    following = _start(_evaluate(configs[0].lines, environment))
    lasting = following
    if once := environment.get("next_entry"):
        without = {name: value for name, value in environment.items() if name != "next_entry"}
        lasting = _start(_evaluate(configs[0].lines, without))
        if isinstance(following, Entry):
            following = replace(following, why=f"next_entry={once}")
    for entry in (following, lasting):
        if isinstance(entry, str):
            return Boot(LOADER, doubt=entry)
    assert isinstance(following, Entry)  # both were checked above
    assert isinstance(lasting, Entry)
    return Boot(LOADER, next=following, lasting=lasting)


def _environment(facts: BootFacts) -> dict[str, str]:
    """Read the environment block; without one, the configuration alone decides."""
    values = {}
    for file in facts.named(ENVIRONMENT)[:1]:
        for line in file.lines:
            name, separator, value = line.partition("=")
            if separator and not line.startswith("#"):
                values[name] = value
    return values


def _evaluate(lines: tuple[str, ...], environment: dict[str, str]) -> _Read:
    """Evaluate a configuration as GRUB does, as far as it decides the default and the menu."""
    read = _Read(dict(environment), _Node("", "", submenu=True))
    branches: list[_Branch] = []
    menus = [read.menu]
    blocks: list[str] = []
    for line in lines:
        word = line.split()[0]
        inside = next((block for block in reversed(blocks) if block != "submenu"), "")
        if word in {"menuentry", "submenu", "function"} and line.rstrip().endswith("{"):
            blocks.append(word)
            if word != "function" and inside != "function":
                node = _Node(_quoted(_TITLE, line), _quoted(_MENU_ID, line), submenu=word == "submenu")
                runs = _all(branch.is_taken for branch in branches)
                if runs is None:
                    read.doubt = read.doubt or "an entry of GRUB's menu depends on a condition"
                if runs is not False:
                    menus[-1].entries.append(node)
                menus.append(node)
        elif line.strip() == "}" and blocks:
            if blocks.pop() != "function" and len(menus) > 1:
                menus.pop()
        elif inside == "function":
            continue
        elif inside == "menuentry":
            _read_entry(menus[-1], word, line)
        else:
            _read_statement(read, branches, word, line)
    return read


def _read_entry(node: _Node, word: str, line: str) -> None:
    if word.startswith("linux"):
        inits = re.findall(r"\sinit=(\S+)", line)
        node.system = re.sub(r"/init$", "", inits[-1]) if inits else ""
    elif word == "missing":
        node.missing.append(line.split()[1])


def _read_statement(read: _Read, branches: list[_Branch], word: str, line: str) -> None:
    runs = _all(branch.is_taken for branch in branches)
    if word == "if":
        branches.append(_Branch(_is_true(line, read.variables)))
    elif word == "elif" and branches:
        branches[-1] = branches[-1].followed_by(_is_true(line, read.variables))
    elif word == "else" and branches:
        branches[-1] = branches[-1].followed_by(condition=True)
    elif word == "fi" and branches:
        branches.pop()
    elif word in _FROM_ELSEWHERE and runs is not False:
        read.doubt = f"GRUB's menu comes from elsewhere ({word}), which is not read"
    elif (assignment := _SET.fullmatch(line.strip())) and runs is not False:
        name, value = assignment[1], _expanded(assignment[2].strip().strip("\"'"), read.variables)
        if name == "default" and runs is None and read.variables.get("default") != value:
            read.doubt = f"GRUB's default depends on a condition that cannot be evaluated here: {line.strip()[:80]}"
        # GRUB clears next_entry before it uses it; the menu's default stays.
        if name != "next_entry":
            read.variables[name] = value


def _all(conditions: Iterable[bool | None]) -> bool | None:
    """Whether all conditions hold; None if that depends on one that only GRUB can decide."""
    seen = {*conditions}
    return False if False in seen else None if None in seen else True


def _is_true(line: str, variables: dict[str, str]) -> bool | None:
    """Evaluate a condition; None if only GRUB can."""
    text = line.removeprefix("elif").removeprefix("if").split(";")[0].strip()
    if re.fullmatch(r"\[\s+-s\s+\S*grubenv\s*\]", text):
        return True
    test = _IS_SET.fullmatch(text)
    if test is None:
        return None
    is_set = bool(variables.get(test[2]))
    return not is_set if test[1] == "-z" else is_set


def _expanded(value: str, variables: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda match: variables.get(match[1], ""), value)


def _quoted(pattern: re.Pattern[str], line: str) -> str:
    match = pattern.search(line)
    return next((group for group in match.groups() if group is not None), "") if match else ""


def _start(read: _Read) -> Entry | str:
    """Find the default entry in the menu, or return why it is unknown."""
    if read.doubt:
        return read.doubt
    if not read.menu.entries:
        return "grub.cfg has no entry"
    default = read.variables.get("default", "")
    node, path = _descend(read.menu, default)
    if node.submenu:
        return f"GRUB's default {default!r} is a submenu without a chosen entry"
    why = f"default {default}" if default else "the first entry"
    return Entry(" > ".join(path), node.system, tuple(node.missing), why)


def _descend(menu: _Node, default: str) -> tuple[_Node, list[str]]:
    """Follow a default such as `1>0` or a title; a missing entry means the first one."""
    node, titles = menu, []
    for part in _parts(default):
        node = _pick(node, part)
        titles.append(node.title)
        if not node.submenu:
            break
    return node, titles


def _parts(default: str) -> Iterator[str]:
    """Split at `>`; `>>` stands for the character itself."""
    for part in re.split(r"(?<!>)>(?!>)", default):
        yield part.replace(">>", ">").strip()


def _pick(menu: _Node, name: str) -> _Node:
    if not menu.entries:
        return menu
    if re.fullmatch(r"[0-9]{1,6}", name):
        return menu.entries[int(name)] if int(name) < len(menu.entries) else menu.entries[0]
    return next((entry for entry in menu.entries if name and name in {entry.title, entry.id}), menu.entries[0])
