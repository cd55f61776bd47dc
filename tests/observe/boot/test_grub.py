"""GRUB's configuration is followed as GRUB follows it, statement by statement."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from switchproof.deploy.observe.boot import grub
from switchproof.deploy.observe.boot.chosen import Boot, Entry
from switchproof.deploy.observe.boot.facts import BootFile
from tests.observe.boot.menus import grub_cfg, grub_facts, grubenv, system


def entry(name: str, *lines: str, title: str = "", opens: str = "menuentry") -> tuple[str, ...]:
    """An entry of the menu that starts a system of the same name."""
    return f"{opens} {title or name} {{", f"linux /bzImage init={system(name)}/init", *lines, "}"


AB = (*entry("a"), *entry("b"))
NESTED = (*entry("a"), "submenu more {", *entry("b"), "submenu 'even more' {", *entry("c"), *entry("d"), "}", "}")
UNKNOWN = 'if [ "$grub_platform" = "efi" ]; then'


def boot(*lines: str, env: tuple[str, ...] = ()) -> Boot:
    return grub.choose(grub_facts(BootFile("/boot/grub/grub.cfg", lines), grubenv(*env)))


STARTS: dict[str, tuple[tuple[str, ...], str]] = {
    # What grub.cfg says, and the system that it starts.
    "the second by its number": (("set default=1", *AB), "b"),
    "the second by its title": (("set default=b", *AB), "b"),
    "the one after the last: the first": (("set default=2", *AB), "a"),
    "a number of seven digits is a title": (("set default=0000001", *AB), "a"),
    "a default without set": (("default=1", *AB), "b"),
    "a default in single quotes": (("set default='1'", *AB), "b"),
    "a default in double quotes": (('set default="1"', *AB), "b"),
    "a default from a variable": (("set x=1", 'set default="${x}"', *AB), "b"),
    "a default from a variable without braces": (("set x=1", "set default=$x", *AB), "b"),
    "a default from a variable that nobody set": (("set default=${x}1", *AB), "b"),
    "the default of the last line": (("set default=1", "set default=0", *AB), "a"),
    "a title in double quotes": (("set default='x y'", *AB, *entry("c", title='"x y" --class z')), "c"),
    "a title in single quotes": (('set default="x y"', *AB, *entry("c", title="'x y' --class z")), "c"),
    "a title is matched whole": (("set default=x", *AB, *entry("c", title="'x y'")), "a"),
    "an id": (("set default=i", *AB, *entry("c", title="'x y' --id i")), "c"),
    "an id after an equals sign": (("set default=i", *AB, *entry("c", title="'x y' --id=i")), "c"),
    "an id in quotes": (("set default='i j'", *AB, *entry("c", title="'x y' --id \"i j\"")), "c"),
    "an id as grub-mkconfig writes it": (
        ("set default=i", *AB, *entry("c", title="'x y' $menuentry_id_option 'i'")),
        "c",
    ),
    "an empty default is no name of an entry without id": (("set default=", *AB), "a"),
    "an entry of a submenu": (("set default=1>0", *NESTED), "b"),
    "an entry of a submenu in a submenu": (("set default=1>1>1", *NESTED), "d"),
    "an entry of a submenu in a submenu by titles": (("set default='more>even more>d'", *NESTED), "d"),
    "an entry that is not in the submenu: its first": (("set default=1>7", *NESTED), "b"),
    "blanks around a part": (("set default='1 > 1 > 0'", *NESTED), "c"),
    "an entry is no submenu, whatever follows it": (("set default='0>1'", *NESTED), "a"),
    "after a submenu the menu goes on": (("set default=2", *NESTED, *entry("z")), "z"),
    "a title with a doubled sign": (("set default='x>>y'", *AB, *entry("c", title="'x>y'")), "c"),
    "an entry in a branch that is taken": (("set x=1", 'if [ "$x" ]; then', *entry("c"), "fi", *AB), "c"),
    "an entry in a branch that is not taken": (('if [ "$x" ]; then', *entry("c"), "fi", *AB), "a"),
    "what stands in an entry that is not taken is not of the one before": (
        (*entry("a"), 'if [ "$x" ]; then', *entry("c"), "fi"),
        "a",
    ),
    "an entry of a function is not in the menu": (("function f {", *entry("c"), "}", *AB), "a"),
    "an entry after a function is": (("function f {", "true", "}", *entry("c"), *AB), "c"),
    "a statement of a function is not run": (("function f {", "set default=1", "}", *AB), "a"),
    "a condition of a function is not one outside": (("function f {", 'if [ "$x" ]; then', "}", *AB), "a"),
    "a statement in an entry is run only by that": ((*entry("a", "set default=1"), *entry("b")), "a"),
    "a statement in a submenu is run before it is chosen": (
        ("submenu more {", "set default=0", *entry("b"), "}", *AB, "set default=1"),
        "a",
    ),
    "a condition in an entry holds for that alone": ((*entry("a", UNKNOWN), *entry("b"), "set default=1"), "b"),
    "an opening brace before a blank": (("menuentry c { ", *entry("c")[1:], *AB), "c"),
    "a brace behind another word": (("echo {", "}", *AB), "a"),
    "a closing brace too many": (("}", "set default=1", *AB), "b"),
    "an end too many": (("fi", "else", "elif [ $x ]; then", "set default=1", *AB), "b"),
    "the last init counts": (("menuentry a {", f"linux /k init=/x init={system('b')}/init", "}"), "b"),
    "linuxefi": (("menuentry a {", f"linuxefi /k init={system('b')}/init", "}"), "b"),
    "an initrd names no system": (("menuentry a {", *entry("a")[1:-1], "initrd /i init=/x", "}"), "a"),
    # Conditions.
    "if": (("set x=1", 'if [ "${x}" ]; then', "set default=1", "fi", *AB), "b"),
    "if not": (('if [ "${x}" ]; then', "set default=1", "fi", *AB), "a"),
    "if -n": (("set x=1", 'if [ -n "${x}" ]; then', "set default=1", "fi", *AB), "b"),
    "if -n not": (('if [ -n "${x}" ]; then', "set default=1", "fi", *AB), "a"),
    "if -z": (('if [ -z "${x}" ]; then', "set default=1", "fi", *AB), "b"),
    "if -z not": (("set x=1", 'if [ -z "${x}" ]; then', "set default=1", "fi", *AB), "a"),
    "if of a bare variable": (("set x=1", "if [ $x ] ; then", "set default=1", "fi", *AB), "b"),
    "if there is an environment block": (("if [ -s $prefix/grubenv ]; then", "set default=1", "fi", *AB), "b"),
    "else after what holds": (("set x=1", 'if [ "$x" ]; then', "else", "set default=1", "fi", *AB), "a"),
    "else after what does not": (('if [ "$x" ]; then', "else", "set default=1", "fi", *AB), "b"),
    "elif after what holds": (
        ("set x=1", 'if [ "$x" ]; then', 'elif [ "$x" ]; then', "set default=1", "fi", *AB),
        "a",
    ),
    "elif after what does not": (
        ("set y=1", 'if [ "$x" ]; then', 'elif [ "$y" ]; then', "set default=1", "fi", *AB),
        "b",
    ),
    "elif that does not hold": (('if [ "$x" ]; then', 'elif [ "$y" ]; then', "set default=1", "fi", *AB), "a"),
    "else after elif after what holds": (
        ("set x=1", 'if [ "$x" ]; then', 'elif [ "$y" ]; then', "else", "set default=1", "fi", *AB),
        "a",
    ),
    "else after elif that holds": (
        ("set y=1", 'if [ "$x" ]; then', 'elif [ "$y" ]; then', "else", "set default=1", "fi", *AB),
        "a",
    ),
    "elif that does not hold after what nobody can decide": (
        (UNKNOWN, 'elif [ "$x" ]; then', "set default=1", "fi", *AB),
        "a",
    ),
    "else after elif that holds after what nobody can decide": (
        ("set x=1", UNKNOWN, 'elif [ "$x" ]; then', "set z=1", "else", "set default=1", "fi", *AB),
        "a",
    ),
    "elif of an inner if that does not hold": (
        (
            "set x=1",
            'if [ "$x" ]; then',
            'if [ "$y" ]; then',
            'elif [ "$y" ]; then',
            "set default=1",
            "fi",
            "fi",
            *AB,
        ),
        "a",
    ),
    "elif of an inner if that holds": (
        (
            "set x=1",
            'if [ "$x" ]; then',
            'if [ "$y" ]; then',
            'elif [ "$x" ]; then',
            "set default=1",
            "fi",
            "fi",
            *AB,
        ),
        "b",
    ),
    "else of an inner if": (
        ("set x=1", 'if [ "$x" ]; then', 'if [ "$y" ]; then', "else", "set default=1", "fi", "fi", *AB),
        "b",
    ),
    "else of an outer if after an inner one": (
        ("set x=1", 'if [ "$x" ]; then', 'if [ "$x" ]; then', "fi", "else", "set default=1", "fi", *AB),
        "a",
    ),
    "else of an inner if that holds": (
        ("set x=1", 'if [ "$x" ]; then', 'if [ "$x" ]; then', "else", "set default=1", "fi", "fi", *AB),
        "a",
    ),
    "after fi all is run": (('if [ "$x" ]; then', "fi", "set default=1", *AB), "b"),
    "what holds in what does not": (
        ("set y=1", 'if [ "$x" ]; then', 'if [ "$y" ]; then', "set default=1", "fi", "fi", *AB),
        "a",
    ),
    "what nobody can decide in what does not hold": (
        ('if [ "$x" ]; then', UNKNOWN, "set default=1", "configfile /x", *entry("c"), "fi", "fi", *AB),
        "a",
    ),
    "another variable by a condition that nobody can decide": (
        ("set default=1", UNKNOWN, "set x=1", "fi", *AB),
        "b",
    ),
    "the same default by a condition that nobody can decide": (
        ("set default=1", UNKNOWN, "set default=1", "fi", *AB),
        "b",
    ),
    "a menu from elsewhere in a branch that is not taken": (
        ('if [ "$x" ]; then', "configfile /x", "fi", *AB),
        "a",
    ),
}


@pytest.mark.parametrize("case", STARTS, ids=lambda case: case.replace(" ", "-"))
def test_default_entry_is_the_one_that_grub_starts(case: str) -> None:
    """Defaults, titles, ids, submenus, functions and conditions count as far as GRUB itself counts them."""
    lines, expected = STARTS[case]
    chosen = boot(*lines)
    assert chosen.doubt == ""
    assert chosen.next == chosen.lasting
    assert chosen.next is not None
    assert chosen.next.system == system(expected)


DOUBTS: dict[str, tuple[tuple[str, ...], str]] = {
    "an entry by a condition": ((UNKNOWN, *entry("c"), "fi", *AB), "an entry of GRUB's menu depends on a condition"),
    "an entry after elif": (
        ("set x=1", UNKNOWN, 'elif [ "$x" ]; then', *entry("c"), "fi", *AB),
        "an entry of GRUB's menu depends on a condition",
    ),
    "an entry after else": (
        (UNKNOWN, "else", *entry("c"), "fi", *AB),
        "an entry of GRUB's menu depends on a condition",
    ),
    "an entry after elif and else": (
        (UNKNOWN, 'elif [ "$x" ]; then', "else", *entry("c"), "fi", *AB),
        "an entry of GRUB's menu depends on a condition",
    ),
    "an entry by a condition that nobody can decide after one that does not hold": (
        ('if [ "$x" ]; then', "elif [ $y = 1 ]; then", *entry("c"), "fi", *AB),
        "an entry of GRUB's menu depends on a condition",
    ),
    "the first doubt stays": (
        ("blscfg", UNKNOWN, *entry("c"), "fi", *AB),
        "GRUB's menu comes from elsewhere (blscfg), which is not read",
    ),
    "another default by a condition": (
        (UNKNOWN, "set default=1", "fi", *AB),
        "GRUB's default depends on a condition that cannot be evaluated here: set default=1",
    ),
    "another default after one that is set": (
        ("set default=0", UNKNOWN, "set default=1", "fi", *AB),
        "GRUB's default depends on a condition that cannot be evaluated here: set default=1",
    ),
    "a menu from elsewhere": (
        ("configfile /x", *AB),
        "GRUB's menu comes from elsewhere (configfile), which is not read",
    ),
    "a menu from elsewhere by a condition": (
        (UNKNOWN, "configfile /x", "fi", *AB),
        "GRUB's menu comes from elsewhere (configfile), which is not read",
    ),
    "a submenu in a submenu": (
        ("set default=1>1", *NESTED),
        "GRUB's default '1>1' is a submenu without a chosen entry",
    ),
    "an empty submenu": (
        ("set default=0>0", "submenu more {", "}", *AB),
        "GRUB's default '0>0' is a submenu without a chosen entry",
    ),
    "no entry": (("set default=0",), "grub.cfg has no entry"),
}


@pytest.mark.parametrize("case", DOUBTS, ids=lambda case: case.replace(" ", "-"))
def test_what_only_grub_can_decide_is_not_guessed(case: str) -> None:
    """Where an entry or the default depends on what is not read here, the reason is told and nothing else."""
    lines, doubt = DOUBTS[case]
    assert boot(*lines) == Boot("grub", doubt=doubt)


def test_doubt_quotes_the_beginning_of_a_long_line() -> None:
    """Eighty characters of a statement are enough to find it."""
    long = f"set default={'x' * 200}"
    assert boot(UNKNOWN, long, "fi", *AB).doubt.endswith(f"here: {long[:80]}")


def test_chosen_entry_names_its_place_in_the_menu_its_files_and_the_reason() -> None:
    """A person finds the entry by the titles on the way to it, and what chose it by the name of the setting."""
    lines = (
        "set default=1>0",
        *entry("a"),
        "submenu more {",
        *entry("b", "missing //k gone", "missing //i empty"),
        "}",
    )
    chosen = Entry("more > b", system("b"), ("//k", "//i"), "default 1>0")
    assert boot(*lines) == Boot("grub", chosen, chosen)
    assert boot("set default=0>1>0", *AB).next == Entry("a", system("a"), (), "default 0>1>0")
    first = boot(*AB).next
    assert first is not None
    assert (first.name, first.why) == ("a", "the first entry")


def test_entry_without_a_system_names_none() -> None:
    """A memory test or another system's loader boots, but no NixOS."""
    chosen = boot("menuentry memtest {", "linux /memtest", "}", *AB).next
    assert chosen is not None
    assert chosen.system == ""


def test_entry_for_once_is_told_by_its_variable_and_then_forgotten() -> None:
    """GRUB forgets it before it starts the entry, so the boot after the next one takes the default."""
    once = ('if [ "${next_entry}" ]; then', 'set default="${next_entry}"', "set next_entry=", "fi")
    after = ('if [ "${next_entry}" ]; then', "set once=1", "fi")
    chosen = boot(*once, *after, *AB, env=("next_entry=1",))
    assert chosen.next == Entry("b", system("b"), (), "next_entry=1")
    assert chosen.lasting == Entry("a", system("a"), (), "the first entry")


def test_forgotten_entry_for_once_still_counts_below() -> None:
    """NixOS clears the variable first and asks for it afterwards as well; the entry is started all the same."""
    lines = ("set next_entry=", 'if [ "${next_entry}" ]; then', "set default=1", "fi", *AB)
    chosen = boot(*lines, env=("next_entry=1",))
    assert chosen.next is not None
    assert chosen.lasting is not None
    assert (chosen.next.system, chosen.lasting.system) == (system("b"), system("a"))


@pytest.mark.parametrize("default", ["0", "1"], ids=["for-once", "later"])
def test_doubt_about_either_boot_is_a_doubt_about_both(default: str) -> None:
    """A submenu that is chosen for once, or for later boots alone, leaves nothing known."""
    other = "1" if default == "0" else "0"
    lines = (f"set default={default}", 'if [ "${next_entry}" ]; then', f"set default={other}", "fi", *NESTED)
    chosen = boot(*lines, env=("next_entry=x",))
    assert chosen == Boot("grub", doubt="GRUB's default '1' is a submenu without a chosen entry")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("saved=1",), "b"),
        (("# GRUB Environment Block", "saved=1", "####"), "b"),
        (("saved=0", "saved=1"), "b"),
        (("#saved=1",), "a"),
        (("saved",), "a"),
        (("saved=1", "saved"), "b"),
    ],
)
def test_environment_block_is_read_as_grub_reads_it(lines: tuple[str, ...], expected: str) -> None:
    """Comments and lines without a value say nothing, and the last value of a name counts."""
    chosen = boot("set default=${saved}", *AB, env=lines)
    assert chosen.next is not None
    assert chosen.next.system == system(expected)


def test_environment_block_is_the_first_that_is_there() -> None:
    """A host that changed from one folder to the other has the older one still."""
    files = (BootFile("/boot/grub/grub.cfg", ("set default=${saved}", *AB)), grubenv("saved=1"))
    chosen = grub.choose(grub_facts(*files, BootFile("/boot/grub2/grubenv", ("saved=0",)))).next
    assert chosen is not None
    assert chosen.system == system("b")


def test_configuration_that_was_cut_proves_nothing() -> None:
    """What the host left out may hold the default."""
    whole = grub_facts(grub_cfg())
    assert grub.choose(whole).doubt == ""
    cut = replace(whole, cut=True)
    assert grub.choose(cut) == Boot("grub", doubt="grub.cfg is too long to be read")


def test_no_configuration_is_no_answer() -> None:
    """Without a grub.cfg nothing is known, and the number says so."""
    assert grub.choose(grub_facts()).doubt == "0 files named grub.cfg were found under /boot"
