"""Keys and a signed run that the tests of this package look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.promotion.runs import Keys, make_keys, signed_run


@pytest.fixture(scope="package")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Real keys of `ssh-keygen`."""
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def run(tmp_path: Path, keys: Keys) -> Path:
    """The folder of a signed, canonical run on staging."""
    return signed_run(tmp_path, keys)
