"""A provider brings its table, the keys of its hosts, its rules and its words; the list needs no more."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from jsonschema import Draft202012Validator
from msgspec import Meta
from msgspec.structs import replace

from switchproof.deploy import providers
from switchproof.deploy.connection import ConnectionFacts, Provider
from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers import KINDS, kind_named, open_provider
from switchproof.deploy.providers.kind import Kind, Opening
from switchproof.deploy.providers.lab.kinds import LabOptions
from switchproof.deploy.providers.ssh.table import SSH, Ssh
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.loading import load
from switchproof.deploy.target.schema import json_schema
from switchproof.deploy.target.table import Table
from switchproof.deploy.target.types import Target
from switchproof.reports import ways

TARGET_ROOM = Path(__file__).parents[2] / "deploy" / "target"


class Serial(Table, frozen=True, kw_only=True):
    """How hosts are reached over a serial line."""

    baud: int = 9600


class SerialHost(Table, frozen=True, kw_only=True):
    """The keys of a host at a serial line.

    Attributes:
        line: The device that leads to it.
    """

    line: Annotated[str, Meta(pattern=r"^/dev/[a-z0-9]+$(?!\n)")] | None = None


def find_problems(target: Target, is_own: bool) -> Iterator[str]:
    for index, host in enumerate(target.hosts):
        if is_own != bool(host.part(SerialHost).line):
            yield f"hosts[{index}].line: only hosts of the provider 'serial' have one, and they must"


def refuse(target: Target, _: Opening) -> Provider:
    raise UsageError(f"no modem at {target.table(Serial).baud} baud")


SERIAL = Kind(
    name="serial",
    providers=("serial",),
    is_transport=True,
    table=Serial,
    host=SerialHost,
    find_problems=find_problems,
    patterns={r"^/dev/[a-z0-9]+$(?!\n)": ("a device", "/dev/ttys0")},
    stand_ins={"line": "/dev/env"},
    open=refuse,
    label="a serial line",
    vouched_by="whoever laid the cable",
)
LISTED = (*KINDS, SERIAL)
REST = (TARGETS / "lab.toml").read_text(encoding="utf-8")
REST = REST[REST.index("[hypervisor]") :]
HOSTS = """
provider = "serial"
[repository]
url = "https://git.example/r.git"
[serial]
baud = 300
[[hosts]]
name = "a"
flake_attr = "a"
line = "/dev/ttys1"
[[hosts]]
name = "b"
flake_attr = "b"
line = { env = "LINE_OF_B" }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "serial.toml"
    path.write_text(text + REST, encoding="utf-8")
    return path


def test_a_provider_of_another_room_is_one_entry_in_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table, the keys of its hosts and its way to be opened come with its entry; no other room knows of it."""
    target = load(written(tmp_path, HOSTS), {}, ["a"], LISTED)
    assert target.table(Serial).baud == 300
    assert target.hosts[0].part(SerialHost).line == "/dev/ttys1"
    assert target.table(Ssh) == Ssh()
    monkeypatch.setattr(providers, "KINDS", LISTED)
    opening = Opening(changes_hosts=False, lab=LabOptions(), say=print, emulated=lambda *_: None, secrets={})
    with pytest.raises(UsageError, match="no modem at 300 baud"):
        open_provider(target, opening)
    assert kind_named("serial") is SERIAL


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('line = "/dev/ttys1"', "", r"hosts\[0\]\.line: only hosts of the provider 'serial'"),
        ('"/dev/ttys1"', '"ttys1"', r"hosts\[0\]\.line: must be a device \(found 'ttys1'\).*/dev/ttys0"),
        ("baud = 300", "bauds = 300", r"serial\.bauds: unknown key; did you mean baud\?"),
        ('provider = "serial"', 'provider = "serail"', r'did you mean provider = "serial"\?.*transport = "serial"'),
        ('provider = "serial"', 'transport = "seriel"', r'transport: not allowed; did you mean "serial"\?'),
        (
            'provider = "serial"',
            'provider = "lab"',
            r"hosts\[0\]\.line: only hosts of the provider 'serial' have one",
        ),
    ],
)
def test_its_rules_and_words_are_part_of_the_whole(old: str, new: str, problem: str, tmp_path: Path) -> None:
    """A mistake in its part of a file is told as any other, with the line, what is allowed and an example."""
    with pytest.raises(UsageError, match=rf"serial\.toml(:\d+)?: .*{problem}"):
        load(written(tmp_path, HOSTS.replace(old, new)), {"LINE_OF_B": "/dev/ttys2"}, (), LISTED)


def test_its_transport_serves_providers_of_any_name(tmp_path: Path) -> None:
    """A target file may name the transport instead of the provider, if the entry says so."""
    text = HOSTS.replace('provider = "serial"', 'provider = "cellar"\ntransport = "serial"')
    assert load(written(tmp_path, text), {"LINE_OF_B": "/dev/ttys2"}, (), LISTED).transport == "serial"
    alone = (*KINDS, replace(SERIAL, is_transport=False))
    with pytest.raises(UsageError, match="transport: not allowed"):
        load(written(tmp_path, text), {}, (), alone)


def test_its_table_is_part_of_the_schema() -> None:
    """Editors know the table, the key of a host with its description, the transport and the name."""
    schema = json_schema(LISTED)
    Draft202012Validator.check_schema(schema)
    definitions = schema["$defs"]
    assert definitions["Target"]["properties"]["serial"]["default"] == {"baud": 9600}
    assert "line: The device that leads to it." in definitions["Host"]["description"]
    assert {"line", "address", "instance"} <= definitions["Host"]["properties"].keys()
    assert '"serial"' in str(definitions["Target"]).replace("'", '"')


def test_a_record_may_name_a_kind_that_is_gone() -> None:
    """The report shows the word of the record itself, and that a host key is missing is not explained away."""
    connection = ConnectionFacts(kind="carrier", address="loft")
    assert (ways.label(connection), ways.vouched_by(connection)) == ("carrier", "")
    assert ways.label(ConnectionFacts(kind="ssm")) == "SSM"
    assert ways.vouched_by(ConnectionFacts(kind="ssh")) == ""


def test_kinds_of_providers_differ() -> None:
    """No two have one name, one key of hosts or one provider, so that a target file has one meaning."""
    names = [kind.name for kind in KINDS]
    called = [name for kind in KINDS for name in kind.providers]
    keys = [key for kind in KINDS if kind.host for key in kind.host.__struct_fields__]
    for words in (names, called, keys):
        assert len(words) == len(set(words))
    assert SSH.label
    assert all(kind.label or kind.name == "lab" for kind in KINDS)


def test_target_files_know_no_provider() -> None:
    """No module of the room imports a provider or asks for one by name."""
    called = {name for kind in KINDS for name in (kind.name, *kind.providers)}
    for module in TARGET_ROOM.glob("*.py"):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        asked = {
            node.value
            for compared in ast.walk(tree)
            if isinstance(compared, ast.Compare | ast.match_case)
            for node in ast.walk(compared)
            if isinstance(node, ast.Constant)
        }
        assert not asked & called, module
        assert not re.search(r"import .*providers|from switchproof\.deploy\.providers", ast.unparse(tree)), module
