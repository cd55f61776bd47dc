"""Identifies a check as an item of pytest: its place, id and title, and the remedy for its failure."""

from __future__ import annotations

import datetime as dt
import re

import msgspec
import pytest

from switchproof.checks.fixtures import Shown
from switchproof.collection.description import describe
from switchproof.collection.own import AUDIT, clause_of, contexts_of
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.causes.in_machine import find_cause
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.record.facts import Leg
from switchproof.deploy.target.types import Target


class Place(msgspec.Struct, frozen=True):
    """What a check is about: a host, a leg of the run, and an endpoint if it is about one."""

    host: str
    leg: Leg
    endpoint: str | None = None


_ID = pytest.StashKey[str]()
PLACE = pytest.StashKey[Place]()
SHOWN = pytest.StashKey[Shown]()
BEGAN = pytest.StashKey[dt.datetime]()


def label(place: Place) -> str:
    """Name a place in the id of an item."""
    parts = [place.host, *([place.endpoint] if place.endpoint and place.endpoint != "hypervisor" else [])]
    return "-".join([*parts, *{"back": ["rollback"], "again": ["again"]}.get(place.leg, [])])


def is_of_cutover(item: pytest.Item) -> bool:
    """Whether a check is only for the cutover; it comes after the contract and blocks no part of it."""
    return "cutover" in contexts_of(item)


def is_last(item: pytest.Item) -> bool:
    """Whether a check waits for all others of its host."""
    return item.get_closest_marker("last") is not None


def title_of(item: pytest.Item, target: Target) -> str:
    """Return the title of a check, with the endpoint that it is about."""
    title, endpoint = describe(item).title, item.stash[PLACE].endpoint
    if "no_hypervisor" in getattr(item, "fixturenames", ()):
        return f"{title}: {target.hypervisor.absent}"
    return f"{endpoint}: {title}" if endpoint and endpoint != "hypervisor" else title


def remedy_of(item: pytest.Item, call: pytest.CallInfo[None]) -> str:
    """Return what to try: the remedy for the cause that was found, else the check's own."""
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, Inconclusive) and error.remedy:
        return error.remedy
    endpoint = getattr(item, "funcargs", {}).get("endpoint")
    cause = find_cause(endpoint) if isinstance(endpoint, EndpointSeen) else None
    return cause.remedy if cause else describe(item).remedy


def check_id(item: pytest.Item) -> str:
    """Return the id of the check that an item makes."""
    if _ID not in item.stash:
        item.stash[_ID] = _make_check_id(item)
    return item.stash[_ID]


def _make_check_id(item: pytest.Item) -> str:
    place = item.stash[PLACE]
    place_label = label(place)
    params: str = getattr(item, "callspec").id  # noqa: B009 - an item with a place has parameters, and their id
    parameters = (
        "" if params == place_label else params.removeprefix(f"{place_label}-").removesuffix(f"-{place_label}")
    )
    suffix = "[" + re.sub(r"[/\s]", "_", parameters) + "]" if parameters else ""
    return make_id(item, place.endpoint) + suffix


def make_id(node: pytest.Item, endpoint: str | None) -> str:
    """Make the id of a check: the same in every run, on every host."""
    name = re.sub(r"\[.*$", "", node.name).removeprefix("test_").replace("_", "-")
    middle = f"/{endpoint}" if endpoint and endpoint != "hypervisor" else ""
    return f"{clause_of(node) or AUDIT}{middle}/{name}"
