"""The pytest plugin: adds the options of a deploy, and loads the rest when a deploy or a trial is asked for."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from switchproof import options

FOREIGN = pytest.StashKey[tuple[str, ...]]()
"""Options of ours that another plugin, or the user's `conftest.py`, also defines."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """Register the options after every plugin and `conftest.py` has registered its own."""
    asked = options.is_asked(args)
    if asked:
        from switchproof import start

        start.begin(early_config)
    try:
        yield
    except Exception as error:
        if asked:
            start.refuse_broken(error)
        raise
    foreign = early_config.stash[FOREIGN] = options.register(parser)
    if asked:
        start.proceed(early_config, foreign)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make the session a deploy or a trial if it is asked for."""
    foreign = config.stash.get(FOREIGN, options.TRIGGERS)
    if options.belongs_to_others(foreign):
        return
    asked = config.option
    if asked.help or asked.version or asked.markers or asked.showfixtures or asked.show_fixtures_per_test:
        return
    if config.option.provider is None:
        options.refuse_alone(config, foreign)
        return
    from switchproof.session import setup

    setup.configure(config)
