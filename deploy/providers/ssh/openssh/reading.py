"""Reads the lines of an ssh_config for one host: Host, Match and Include; the first value counts."""

from __future__ import annotations

import glob
import os
import pwd
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.ssh.openssh.directives import HONOURED, IGNORED, ONLY, OTHER_NAMES
from switchproof.deploy.providers.ssh.openssh.jumps import read_jumps
from switchproof.deploy.providers.ssh.openssh.lines import (
    matches,
    matches_host,
    matches_list,
    next_word,
    split_keyword,
    split_lines,
    split_words,
)
from switchproof.deploy.providers.ssh.openssh.values import FAMILIES, FLAG, expand, read_port, shown

DEEPEST = 16
"""Levels of included files; READCONF_MAX_DEPTH of OpenSSH."""
MOST_FILES = 1000
MAX_BYTES = 2**20

_RAW = {"proxyjump", "proxycommand", "knownhostscommand"}
_SEVERAL = {"userknownhostsfile", "globalknownhostsfile"}
_REPEATED = {"identityfile", "certificatefile"}
_PROXIES = {"proxyjump", "proxycommand"}
_UNSUPPORTED_CRITERIA = {"exec", "localnetwork", "tagged", "sessiontype", "version", "command"}


class Setting(msgspec.Struct, frozen=True):
    """The arguments of a directive, with file and line."""

    words: tuple[str, ...]
    where: str

    @property
    def text(self) -> str:
        """The arguments as one text."""
        return " ".join(self.words)


class Person(msgspec.Struct, frozen=True):
    """The local user and machine, for a file's tokens and conditions."""

    name: str
    home: str
    uid: int

    @classmethod
    def current(cls) -> Person:
        """Return the user of this process."""
        try:
            entry = pwd.getpwuid(os.getuid())
        except KeyError:  # a container may run under a user id without a name
            name = os.environ.get("USER") or str(os.getuid())
            return cls(name, os.environ.get("HOME", "/"), os.getuid())
        return cls(entry.pw_name, entry.pw_dir, os.getuid())


class Reading:
    """Reads a file for one host; for most directives the first value counts."""

    def __init__(self, host: str, person: Person, user: str | None, default_user: str) -> None:
        self.original = self.host = host
        self.person, self.given_user, self.default_user = person, user, default_user
        self.first: dict[str, Setting] = {}
        self.repeated: dict[str, list[Setting]] = {}
        self.wants_final = self.final = False
        self._unknown = ""
        self._active = True
        self._files = 0

    @property
    def hostname(self) -> str:
        """The name to connect to, as known so far."""
        if (setting := self.first.get("hostname")) is None:
            return self.host
        return self.host if self.final else expand(setting.text, {"h": self.host}, setting.where, "HostName")

    def begin_final(self) -> None:
        """Begin the second pass, in which `Host` sees the name to connect to."""
        self.host, self.final = self.lookup_name, True

    @property
    def lookup_name(self) -> str:
        """The name to connect to in lower case, as ssh writes it."""
        name = self.hostname
        return name if ":" in name or re.fullmatch(r"[0-9.]+", name) else name.lower()

    def read(self, path: Path, *, active: bool, included_at: str = "", never: bool = False, depth: int = 0) -> None:
        """Read a file; directives count while `active`, and nothing in it matches if `never`."""
        self._files += 1
        if depth > DEEPEST or self._files > MOST_FILES:
            limit = f"more than {DEEPEST} deep" if depth > DEEPEST else f"more than {MOST_FILES} files"
            raise UsageError(f"{included_at}: Include: {limit}; remove the files that include each other")
        content = _content(path, included_at)
        self._active = active
        for number, line in split_lines(content):
            self._take(line, f"{shown(path)}:{number}", never=never, depth=depth)

    def _take(self, line: str, where: str, *, never: bool, depth: int) -> None:
        spelled, rest = split_keyword(line)
        if not spelled:
            return
        keyword = OTHER_NAMES.get(spelled.lower(), spelled.lower())
        if not rest:
            raise UsageError(f"{where}: {spelled!r} needs a value")
        if keyword not in HONOURED and keyword not in ONLY:
            if keyword not in IGNORED and not matches_list(keyword, self._unknown):
                raise UsageError(
                    f"{where}: {spelled!r}: bad configuration option; correct it, or add it to IgnoreUnknown"
                )
            return
        words = split_words(rest)
        if words is None:
            raise UsageError(f"{where}: {spelled}: a quote is not closed")
        match keyword:
            case "host":
                self._active = not never and self._host_matches(words, where)
            case "match":
                matched = self._match(rest, where, never=never)
                self._active = matched and not never
            case "include":
                self._include(words, where, never=never, depth=depth)
            case "ignoreunknown":
                self._unknown = self._unknown or words[0].lower() if words and self._active else self._unknown
            case _:
                self._set(keyword, words, rest, where)

    def _set(self, keyword: str, words: list[str], rest: str, where: str) -> None:
        name = HONOURED.get(keyword) or ONLY[keyword][0]
        if keyword in _RAW:
            words = [rest.partition("#")[0].strip(" \t=") if keyword == "proxyjump" else rest]
        if not words or not words[0]:
            raise UsageError(f"{where}: {name} needs a value")
        if len(words) > 1 and keyword not in _SEVERAL and keyword not in ONLY:
            raise UsageError(f"{where}: {name}: extra arguments at the end of the line (found {words[1]!r})")
        _check_value(keyword, name, words, where)
        if not self._active:
            return
        setting = Setting(tuple(words), where)
        if keyword in _REPEATED:
            self.repeated.setdefault(keyword, []).append(setting)
        elif keyword not in self.first and not (keyword in _PROXIES and _PROXIES & self.first.keys()):
            self.first[keyword] = setting

    def _host_matches(self, patterns: list[str], where: str) -> bool:
        is_matched = False
        for pattern in patterns:
            if not pattern:
                raise UsageError(f"{where}: Host: an empty pattern")
            if matches(self.host, pattern.removeprefix("!")):
                if pattern.startswith("!"):
                    return False
                is_matched = True
        return is_matched

    def _match(self, criteria: str, where: str, *, never: bool) -> bool:
        """Evaluate the criteria of a Match; refuse an unsupported one if the block depends on it."""
        result, seen, unsupported = True, 0, ""
        rest = criteria
        while rest:
            criterion, rest = next_word(rest)
            if not criterion or criterion.startswith("#"):
                break
            negated = criterion.startswith("!")
            name = criterion.removeprefix("!").lower()
            if name == "all":
                following, _ = next_word(rest)
                if seen > 1 or (following and not following.startswith("#")):
                    raise UsageError(f"{where}: Match: 'all' cannot be combined with other criteria")
                result = result and not negated
                break
            seen += 1
            if name in {"final", "canonical"}:
                self.wants_final = self.wants_final or name == "final"
                result = result and self.final != negated
                continue
            argument, rest = next_word(rest)
            if not argument or argument.startswith("#"):
                raise UsageError(f"{where}: Match: {criterion!r} needs a value")
            if name in _UNSUPPORTED_CRITERIA:
                unsupported = unsupported or criterion
                continue
            result = self._criterion(name, argument, where) != negated and result
        else:
            if not criteria:
                raise UsageError(f"{where}: Match needs a criterion")
        if unsupported and result and not never:
            raise UsageError(
                f"{where}: Match {unsupported}: this criterion is not supported; use a Host block instead, or "
                "remove the block from the file that ssh.config names"
            )
        return result

    def _criterion(self, name: str, argument: str, where: str) -> bool:
        match name:
            case "host":
                return matches_host(self.hostname, argument)
            case "originalhost":
                return matches_host(self.original, argument)
            case "user":
                return matches_list(self.user(), argument)
            case "localuser":
                return matches_list(self.person.name, argument)
            case _:
                raise UsageError(f"{where}: Match {name!r}: no such criterion")

    def user(self) -> str:
        """Return the user as known so far."""
        setting = self.first.get("user")
        return self.given_user or (setting.text if setting else self.default_user)

    def _include(self, patterns: list[str], where: str, *, never: bool, depth: int) -> None:
        was_active = self._active
        for pattern in patterns:
            if not pattern:
                raise UsageError(f"{where}: Include: an empty pattern")
            if "${" in pattern or "%" in pattern:
                raise UsageError(f"{where}: Include: variables and tokens are not supported (found {pattern!r})")
            for path in _glob(pattern):
                self.read(path, active=was_active, included_at=where, never=never or not was_active, depth=depth + 1)
                self._active = was_active


def _glob(pattern: str) -> Iterator[Path]:
    """Return the files of an Include, in order; relative names are in ~/.ssh."""
    whole = pattern if pattern.startswith(("/", "~")) else f"~/.ssh/{pattern}"
    whole = os.path.expanduser(whole)  # noqa: PTH111 - HOME counts, as in ssh
    for name in sorted(glob.glob(whole)):  # noqa: PTH207 - a pattern, not a folder's content
        path = Path(name)
        if not path.is_dir():
            yield path


def _content(path: Path, included_at: str) -> bytes:
    """Read a whole file within limits; only its owner may be able to write an included file."""
    at = f"{included_at}: Include: " if included_at else ""
    name = shown(path)
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or status.st_rdev == Path(os.devnull).stat().st_rdev):
            raise UsageError(f"{at}{name}: not a regular file")
        if included_at and (status.st_uid not in {0, os.getuid()} or status.st_mode & 0o022):
            raise UsageError(
                f"{at}{name}: bad owner or permissions (mode {status.st_mode & 0o7777:04o}); "
                "only its owner may write it: chmod go-w"
            )
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{at}{name}: the ssh_config cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise UsageError(f"{at}{name}: larger than {MAX_BYTES} bytes; is this an ssh_config?")
    return content


def _check_value(keyword: str, name: str, words: list[str], where: str) -> None:
    """Check a value's form even in a block that does not apply, because ssh also rejects such a file."""
    value = words[0]
    match keyword:
        case "port" if read_port(value) is None:
            raise UsageError(f"{where}: Port: not a port (found {value!r})")
        case "addressfamily" if value.lower() not in FAMILIES:
            raise UsageError(f"{where}: AddressFamily: found {value!r}; allowed: {', '.join(FAMILIES)}")
        case "identitiesonly" if value.lower() not in FLAG:
            raise UsageError(f"{where}: IdentitiesOnly: found {value!r}; allowed: yes, no")
        case "proxyjump":
            read_jumps(value, where)
        case "userknownhostsfile" | "globalknownhostsfile" if "none" in [word.lower() for word in words[1:]] or (
            value.lower() == "none" and len(words) > 1
        ):
            raise UsageError(f"{where}: {name}: 'none' stands alone")
