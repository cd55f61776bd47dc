"""Keeps every `conftest.py` of the user's own tests out of a deploy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

_NAME = "conftest.py"
_FIXTURE = type(pytest.fixture(lambda: None))
_LEFT_OUT = pytest.StashKey[dict[str, ModuleType]]()


def leave_out(config: pytest.Config) -> None:
    """Remove every `conftest.py` that is loaded, with the plugins that it names.

    An empty module stays registered in the place of each, so that pytest does not load the file again.
    """
    manager = config.pluginmanager
    left_out = config.stash.setdefault(_LEFT_OUT, {})
    for name, module in manager.list_name_plugin():
        if isinstance(module, ModuleType) and Path(name).name == _NAME:
            for plugin in _named_plugins(module, manager):
                _drop_fixtures(manager.unregister(name=plugin))
            manager.unregister(module, name)
            manager.register(ModuleType("conftest"), name)
            left_out[name] = module


def keep_to(config: pytest.Config, folders: Iterable[Path]) -> None:
    """Let only the `conftest.py` files in some folders, and below those, take part in the session.

    Args:
        config: Of pytest.
        folders: The folders whose modules pytest collects, absolute.
    """
    manager = config.pluginmanager
    kept = tuple(folders)
    for name, module in config.stash.get(_LEFT_OUT, {}).items():
        if any(Path(name).is_relative_to(folder) for folder in kept):
            manager.unregister(name=name)
            manager.register(module, name)
    for parent in {parent for folder in kept for parent in folder.parents}:
        name = str(parent / _NAME)
        if not manager.has_plugin(name):
            manager.register(ModuleType("conftest"), name)


def _drop_fixtures(plugin: object) -> None:
    """Remove the fixtures of a module: pytest searches every plugin that was ever registered."""
    for name, value in list(vars(plugin).items()) if isinstance(plugin, ModuleType) else ():
        if isinstance(value, _FIXTURE):
            delattr(plugin, name)


def _named_plugins(module: ModuleType, manager: pytest.PytestPluginManager) -> list[str]:
    """Name the plugins that a module requires, directly or through other plugins."""
    names = getattr(module, "pytest_plugins", ())
    plugin_names = [names] if isinstance(names, str) else list(names)
    for name in tuple(plugin_names):
        if isinstance(plugin := manager.get_plugin(name), ModuleType):
            plugin_names += _named_plugins(plugin, manager)
    return plugin_names
