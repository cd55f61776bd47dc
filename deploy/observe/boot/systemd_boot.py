"""Computes which entry systemd-boot starts from its menu and default, as versions 257 to 260 do (pure)."""

from __future__ import annotations

import fnmatch
import functools
import re

import msgspec

from switchproof.deploy.observe.boot.chosen import Boot, Entry
from switchproof.deploy.observe.boot.facts import BootFacts, BootFile

LOADER = "systemd-boot"
ROOTS = ("/boot", "/efi", "/boot/efi")
"""Mount points of the EFI system partition, or of the extended boot partition."""

PREFERRED_SINCE = 260
"""The first version that supports `preferred`."""

_COUNTER = re.compile(r"(?P<id>.*)\+(?P<left>\d{1,9})(-(?P<done>\d{1,9}))?", re.ASCII)
_FAT = {"vfat", "msdos"}
_ENTRY = r"(?:/boot|/efi|/boot/efi)/loader/entries/[^/]+"


class MenuEntry(msgspec.Struct, frozen=True):
    """An entry as systemd-boot reads it; `left` and `done` count its tries, None without boot counting."""

    id: str
    file: str
    sort_key: str | None
    machine_id: str | None
    version: str
    left: int | None
    done: int
    init: str
    missing: tuple[str, ...]


def choose(facts: BootFacts) -> Boot:
    """Compute the entry that systemd-boot starts next, and the one after that."""
    if doubt := _doubt(facts):
        return Boot(LOADER, doubt=doubt)
    entries = [entry for file in facts.named(_ENTRY) if (entry := _read(file)) is not None]
    menu = sorted(entries, key=functools.cmp_to_key(_compare))
    if not menu:
        return Boot(LOADER, doubt="no entry of systemd-boot has an existing kernel")
    asked = _asked(facts)
    lasting = _lasting(menu, asked, facts)
    if isinstance(lasting, str):
        return Boot(LOADER, doubt=lasting)
    following = lasting
    if (once := facts.variables.get("LoaderEntryOneShot", "")) and (chosen := _find(menu, once)) is not None:
        following = _entry(chosen, f"LoaderEntryOneShot {once}")
    for start in (following, lasting):
        if sum(each.id == _id(start.name) for each in menu) > 1:
            return Boot(LOADER, doubt=f"two entries have the id {_id(start.name)}, so either may boot")
    return Boot(LOADER, next=following, lasting=lasting)


def _doubt(facts: BootFacts) -> str:
    """Return why the files alone do not decide what boots; empty if they do."""
    if facts.cut:
        return "/boot holds more entries than can be read"
    if facts.firmware == "container":  # without firmware, the files alone decide
        return ""
    if facts.firmware != "efi":
        return "there are entries of systemd-boot, but the host was not booted by EFI firmware"
    if "/sys/firmware/efi/efivars" not in facts.mounts:
        return "the EFI variables, which overrule loader.conf, cannot be read: efivarfs is not mounted"
    if not facts.variables.get("LoaderInfo", "").startswith(LOADER):
        info = facts.variables.get("LoaderInfo") or "no boot loader that names itself"
        return f"there are entries of systemd-boot, but the host was booted by {info}"
    following, current = facts.variables.get("BootNext"), facts.variables.get("BootCurrent")
    if following is not None and following != current:
        return f"the firmware starts boot option {following} next (BootNext), not systemd-boot's {current}"
    esp = next((file.path.removesuffix("/loader/loader.conf") for file in facts.named(r".*/loader\.conf")), "/boot")
    if facts.mounts.get(esp) not in _FAT:
        return (
            f"{esp} is not the mounted EFI system partition ({facts.mounts.get(esp) or 'nothing'} is mounted there)"
        )
    return ""


class _Asked(msgspec.Struct, frozen=True):
    """The settings that choose the default: pattern and origin of each, the strongest first."""

    preferred: tuple[tuple[str, str], ...]
    default: tuple[tuple[str, str], ...]


def _asked(facts: BootFacts) -> _Asked:
    settings = {"default": "", "preferred": ""}
    for file in facts.named(r".*/loader/loader\.conf"):
        for line in file.lines:
            key, _, value = line.partition(" ")
            if key in settings:
                settings[key] = value.strip()  # the last one counts
    variable = facts.variables.get
    default = []
    for value, where in (
        (variable("LoaderEntryDefault", ""), "LoaderEntryDefault"),
        (settings["default"], "default"),
    ):
        if value == "@saved":
            default.append((variable("LoaderEntryLastBooted", ""), f"{where} @saved"))
        elif value:
            default.append((value, f"{where} {value}"))
    preferred = [
        (value, f"{where} {value}")
        for value, where in (
            (variable("LoaderEntryPreferred", ""), "LoaderEntryPreferred"),
            (settings["preferred"], "preferred"),
        )
        if value
    ]
    return _Asked(tuple(preferred), tuple(default))


def _lasting(menu: list[MenuEntry], asked: _Asked, facts: BootFacts) -> Entry | str:
    """Find the default entry, or return why it is unknown."""
    images = [file.path for file in facts.named(r".*/EFI/Linux/[^/]+\.efi")]
    default = _first(menu, asked.default, images)
    version = re.match(rf"{LOADER} (\d+)", facts.variables.get("LoaderInfo", ""))
    if not asked.preferred or (version and int(version[1]) < PREFERRED_SINCE):
        return default
    good = [entry for entry in menu if entry.left != 0]
    preferred = next(
        (_entry(entry, why) for value, why in asked.preferred if (entry := _find(good, value)) is not None), None
    )
    if preferred is None:
        return default
    knows = version is not None and facts.variables.get("LoaderEntryDefault") is None
    if not knows and (isinstance(default, str) or default.system != preferred.system):
        return f"it is unknown whether this systemd-boot follows {asked.preferred[0][1]!r}"
    return preferred


def _first(menu: list[MenuEntry], asked: tuple[tuple[str, str], ...], images: list[str]) -> Entry | str:
    for value, why in asked:
        exact = not re.search(r"[*?\[]", value)
        entry = _find(menu, value)
        if value.lower().startswith("auto-"):
            return Entry(value, "", why=why)
        matching = [path for path in images if fnmatch.fnmatchcase(path.rpartition("/")[2].lower(), value.lower())]
        if matching and not (exact and entry):
            return f"{why} may mean the unified kernel image {matching[0]}, whose system is not read"
        if entry is not None:
            return _entry(entry, why)
    if images:
        return f"the unified kernel image {images[0]} is in the menu, and its place in the order is not read"
    return _entry(menu[0], "the order of the menu")


def _find(menu: list[MenuEntry], pattern: str) -> MenuEntry | None:
    """Find the first entry whose id matches, whatever its tries."""
    return next((entry for entry in menu if fnmatch.fnmatchcase(entry.id, pattern.lower())), None)


def _entry(entry: MenuEntry, why: str) -> Entry:
    return Entry(entry.file, re.sub(r"/init$", "", entry.init), entry.missing, why)


def _id(file: str) -> str:
    """Return an entry's id: the name of its file without the counter."""
    stem = file.lower().removesuffix(".conf")
    counted = _COUNTER.fullmatch(stem)
    return f"{counted['id'] if counted else stem}.conf"


def _read(file: BootFile) -> MenuEntry | None:
    """Read an entry; None if systemd-boot skips it: a hidden file, or one whose kernel is missing."""
    values: dict[str, str] = {}
    missing = {line.partition(" ")[2] for line in file.lines if line.startswith("missing ")}
    for line in file.lines:
        key, _, value = line.partition(" ")
        if key != "missing":
            values[key] = value.strip() or values.get(key, "")
    kernel = values.get("linux") or values.get("efi") or values.get("uki")
    if file.name.startswith((".", "auto-")) or not kernel or f"{kernel} gone" in missing:
        return None
    counted = _COUNTER.fullmatch(file.name.lower().removesuffix(".conf"))
    return MenuEntry(
        id=_id(file.name),
        file=file.name,
        sort_key=values.get("sort-key"),
        machine_id=values.get("machine-id"),
        version=values.get("version", ""),
        left=int(counted["left"]) if counted else None,
        done=int(counted["done"] or 0) if counted else 0,
        init=values.get("options", "").removeprefix("init="),
        missing=tuple(sorted(path.rpartition(" ")[0] for path in missing)),
    )


def _compare(one: MenuEntry, other: MenuEntry) -> int:
    """Order two entries as systemd-boot's menu does: negative if `one` comes first."""
    if order := _cmp(one.left == 0, other.left == 0):
        return order
    if order := _cmp(one.sort_key is None, other.sort_key is None):
        return order
    if one.sort_key is not None and other.sort_key is not None:
        order = (
            _cmp(one.sort_key, other.sort_key)
            or _cmp(one.machine_id or "", other.machine_id or "")
            or -compare_versions(one.version, other.version)
        )
        if order:
            return order
    if order := -compare_versions(one.id, other.id):
        return order
    if one.left is None or other.left is None:
        return _cmp(one.left is None, other.left is None)
    return -_cmp(one.left, other.left) or _cmp(one.done, other.done)


def _cmp(one: str | int, other: str | int) -> int:
    return (one > other) - (one < other)  # type: ignore[operator]  # both are of one type


def compare_versions(one: str, other: str) -> int:
    """Compare two versions as systemd's `strverscmp_improved` does: negative if `one` is older."""
    while True:
        one, other = (re.sub(r"^[^A-Za-z0-9~.^-]+", "", text) for text in (one, other))
        if one[:1] == "~" or other[:1] == "~":
            if order := _cmp(one[:1] != "~", other[:1] != "~"):
                return order
            one, other = one[1:], other[1:]
        if not one or not other:
            return _cmp(bool(one), bool(other))
        for mark in "-^.":
            if one[:1] == mark or other[:1] == mark:
                if order := _cmp(one[:1] != mark, other[:1] != mark):
                    return order
                one, other = one[1:], other[1:]
        digits = one[:1].isdigit() or other[:1].isdigit()
        pattern = r"[0-9]*" if digits else r"[A-Za-z]*"
        mine, its = (re.match(pattern, text)[0] for text in (one, other))  # type: ignore[index]  # matches always
        one, other = one[len(mine) :], other[len(its) :]
        if digits:
            if order := _cmp(bool(mine), bool(its)):
                return order
            mine, its = mine.lstrip("0"), its.lstrip("0")
            order = _cmp(len(mine), len(its)) or _cmp(mine, its)
        else:
            shared = min(len(mine), len(its))
            order = _cmp(mine[:shared], its[:shared]) or _cmp(len(mine), len(its))
        if order:
            return order
