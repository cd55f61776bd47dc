"""Every unit's database has the tables that its programs expect."""

import sqlite3

import pytest
from testinfra.host import Host

from switchproof.checks.fixtures import RuntimeUnit, Show

MIGRATIONS = "/etc/choiros/migrations"
"""What the running system brings along: environment.etc."choiros/migrations".source = ./migrations;"""

DATABASE = "/var/lib/choiros/{unit}.db"


@pytest.mark.clause("runtime", severity="critical")
@pytest.mark.when("deploy", "audit")
def test_every_migration_is_applied(host: Host, unit: RuntimeUnit, show: Show) -> None:
    """Every migration that the running system brings along is applied to the unit's database.

    A program that finds old tables answers well on its health page and loses data on all others. After a rollback the
    database may well be ahead of the system, so that is not looked at there.

    Try: run the migrations by hand, and read what the first one that fails says.
    """
    path = DATABASE.format(unit=unit.name)
    assert host.file(MIGRATIONS).is_directory, f"the running system brings no {MIGRATIONS} along"
    needed = set(host.file(MIGRATIONS).listdir())
    assert needed, f"there is no migration in {MIGRATIONS}"
    assert host.file(path).is_file, f"{unit.name} has no database at {path}"
    with sqlite3.connect(":memory:") as database:
        database.deserialize(host.file(path).content)
        applied = {name for (name,) in database.execute("SELECT name FROM migrations")}
    show(
        expected=", ".join(sorted(needed)),
        seen=", ".join(sorted(applied)) or "none",
        command=f"sqlite3 {path} .dump",
    )
    missing = sorted(needed - applied)
    assert not missing, f"not applied to {path}: {', '.join(missing)}"
