"""Collects the checks of a session: on which hosts and legs, in which order, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from switchproof.collection.description import describe
from switchproof.collection.items import PLACE, Place, check_id, is_last, is_of_cutover, label, make_id, title_of
from switchproof.collection.own import OwnChecks, clause_of, contexts_of
from switchproof.collection.selection import Selection
from switchproof.deploy.contract import Clause
from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Mode, Plan
from switchproof.deploy.record import facts, waivers
from switchproof.deploy.record.events import ExpectedCheck
from switchproof.deploy.record.facts import Leg
from switchproof.deploy.redact.redactor import Redactor


class Collection:
    """The pytest plugin that collects the checks of the contract and of a team.

    Args:
        plan: What the run does.
        redact: Takes secrets out of messages.
        selection: Which checks the command line asks for.
        waived: The target file's waivers.

    Attributes:
        manifest: Every check that the run has to make.
        later: The checks of legs after the first.
        selected: The options that left checks out; empty if none did.
    """

    def __init__(self, plan: Plan, redact: Redactor, selection: Selection, waived: tuple[facts.Waiver, ...]) -> None:
        self.manifest: list[ExpectedCheck] = []
        self.later: list[pytest.Item] = []
        self.selected = ""
        self._plan = plan
        self._redact = redact
        self._selection = selection
        self._waivers = waived
        self._own = OwnChecks(plan.checks)
        self._collected: list[pytest.Item] = []
        self._elsewhere: dict[str, Path] = {}
        self._locations: dict[Callable[..., object], tuple[str, int | None]] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one item of a check for each host, leg and endpoint."""
        if self._own.has(metafunc.definition.path) and "place" not in metafunc.fixturenames:
            metafunc.fixturenames.append("place")  # also of a check that does not ask for a host by name
        if "place" not in metafunc.fixturenames:
            return
        contexts = contexts_of(metafunc.definition)
        legs = [leg for leg, here in _contexts(self._plan).items() if here & set(contexts)]
        names: list[str | None] = [None]
        is_absent = self._plan.target.hypervisor.absent is not None
        if {"endpoint", "unit"} & set(metafunc.fixturenames):
            hypervisor = clause_of(metafunc.definition) is Clause.HYPERVISOR and "unit" not in metafunc.fixturenames
            names = list(self._plan.target.runtime) if not hypervisor else [] if is_absent else ["hypervisor"]
        elif "no_hypervisor" in metafunc.fixturenames and not is_absent:
            names = []
        if not legs:
            ids = (make_id(metafunc.definition, name) for name in names)
            self._elsewhere.update(dict.fromkeys(ids, metafunc.definition.path))
        places = [Place(host.name, leg, name) for leg in legs for host in self._plan.target.hosts for name in names]
        metafunc.parametrize("place", places, indirect=True, ids=[label(place) for place in places])

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Note own checks that cannot be collected."""
        report = yield
        if not report.passed:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self._own.not_collected(collector.path, report.outcome, reason)
        return report

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note every check before a plugin or a conftest.py can remove it."""
        params = item.callspec.params if hasattr(item, "callspec") else {}
        self._own.collected(item, placed="place" in params)
        if isinstance(place := params.get("place"), Place):
            item.stash[PLACE] = place
            self._share_location(item)
            self._collected.append(item)

    def _share_location(self, item: pytest.Item) -> None:
        """Give the items of one check the place of its function in a file, which pytest inspects for each of them."""
        if isinstance(item, pytest.Function):
            if (path_and_line := self._locations.get(item.function)) is None:
                path_and_line = self._locations[item.function] = item.location[:2]
            vars(item)["location"] = (*path_and_line, item.getmodpath())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Put the checks into the order of the contract; keep those of later legs until they are needed."""
        checks = self._collected
        self.later = sorted((item for item in checks if item.stash[PLACE].leg != "forward"), key=self._rank)
        first = sorted((item for item in checks if item.stash[PLACE].leg == "forward"), key=self._rank)
        self._refuse([*first, *self.later])
        if left_out := [item for item in items if not self._selection.takes(item)]:
            config.hook.pytest_deselected(items=left_out)
        taken = {id(item) for item in items} - {id(item) for item in left_out}
        items[:] = [item for item in first if id(item) in taken]
        self.manifest = [
            ExpectedCheck(
                host=item.stash[PLACE].host,
                leg=item.stash[PLACE].leg,
                clause=clause_of(item),
                id=check_id(item),
                title=title_of(item, self._plan.target),
                last=is_last(item),
                why=describe(item).why,
                severity=describe(item).severity,
                source=self._own.source(item.path),
            )
            for item in [*first, *self.later]
        ]
        self.manifest += self._not_collected()
        yield
        # A plugin or a team's conftest.py may have put them into another order, or taken some away.
        kept = {id(item) for item in items}
        items[:] = [item for item in first if id(item) in kept]
        _count(config, len(first))
        if len(items) < len(first) and not config.option.collectonly:
            self._miss(config, len(first) - len(items), len(first))

    def _miss(self, config: pytest.Config, missing: int, whole: int) -> None:
        """Refuse to change a host without every check; note that an audit is partial."""
        options = self._selection.options(config)
        if self._plan.mode.changes_hosts:
            what = options or "a plugin or a conftest.py"
            advice = "remove it" if options else "remove that"
            raise pytest.UsageError(
                f"{self._redact(what)}: leaves out {missing} of {whole} checks, and no host is changed without all "
                f"of them: {advice}, or verify without changing anything, with --audit"
            )
        self.selected = options

    def _refuse(self, checks: list[pytest.Item]) -> None:
        """Refuse problems of own checks, a selection without checks, and waivers of checks that do not exist."""
        host = self._plan.target.hosts[0].name
        for leg in _contexts(self._plan):
            here = [item for item in checks if (item.stash[PLACE].host, item.stash[PLACE].leg) == (host, leg)]
            self._own.identified(((item, check_id(item)) for item in here), self._elsewhere)
        self._own.named(checks)
        try:
            self._own.refuse()
            self._selection.refuse(checks)
            known = {check_id(item) for item in checks}
            waivers.refuse(self._waivers, known, self._elsewhere, str(self._plan.targets_file))
        except UsageError as error:
            raise pytest.UsageError(self._redact(str(error))) from None

    def _rank(self, item: pytest.Item) -> tuple[bool, bool, int, bool]:
        """Return a check's place in the order: audit checks come after all clauses, own ones after the contract's."""
        clause, order = clause_of(item), list(Clause)
        place = order.index(clause) if clause else len(order)
        return is_last(item), is_of_cutover(item), place, self._own.has(item.path)

    def _not_collected(self) -> Iterator[ExpectedCheck]:
        """Name the parts of the contract that no collected check covers, so that they count as missing."""
        if self._plan.mode in {Mode.PLAN, Mode.PREFLIGHT}:
            return
        contract = [check for check in self.manifest if not check.source and check.leg == "forward"]
        have: dict[tuple[str, Clause | None], set[str]] = {}
        for check in contract:
            have.setdefault((check.host, check.clause), set()).add(check.id.split("/")[1])
        kept = {check.host for check in self.manifest if check.last}
        for host in self._plan.target.hosts:
            for clause in Clause:
                names = list(self._plan.target.runtime) if clause is Clause.RUNTIME else [None]
                for name in names:
                    parts = have.get((host.name, clause), set())
                    if not parts or (name is not None and name not in parts):
                        which = f"{clause}/{name}" if name else f"{clause}"
                        yield ExpectedCheck(
                            host=host.name, leg="forward", clause=clause, id=f"{which}/all", title=clause.promise
                        )
            if self._plan.mode.changes_hosts and host.name not in kept:
                title = "The host keeps the system"
                yield ExpectedCheck(
                    host=host.name, leg="forward", clause=Clause.CONVERGE, id="converge/keeps", title=title, last=True
                )


def _count(config: pytest.Config, number: int) -> None:
    """Let pytest count the checks that it lists, without those of other modes and of legs that may not come."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter._numcollected = number  # noqa: SLF001 - pytest offers no other way


def _contexts(plan: Plan) -> dict[Leg, set[str]]:
    """Return the contexts of checks that apply on each leg; `keep` is for the leg whose system is to stay."""
    match plan.mode:
        case Mode.DEPLOY:
            return {"forward": {"deploy", "keep"}, "back": {"rollback"}}
        case Mode.ROLLBACK:
            return {"forward": {"rollback", "restore", "keep"}, "back": {"rollback"}}
        case Mode.DRILL:
            return {"forward": {"deploy"}, "back": {"rollback"}, "again": {"deploy", "keep"}}
        case mode:
            also = {"cutover": plan.cutover is not None, "evaluation": plan.evaluates}
            return {"forward": {mode.value, *(name for name, applies in also.items() if applies)}}
