"""The parts of Switchproof that need packages beside those that every deploy needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Literal

from switchproof.deploy.errors import UsageError

Extra = Literal["aws", "paths"]

MODULES: Mapping[Extra, tuple[str, ...]] = {
    "aws": ("boto3",),
    "paths": ("ruamel.yaml", "tree_sitter", "tree_sitter_bash", "tree_sitter_make"),
}
"""The modules that each extra brings."""


def require(extra: Extra, purpose: str) -> None:
    """Refuse a purpose whose packages are not installed.

    Args:
        extra: The extra that has them.
        purpose: An option or a command, as the subject of a sentence.

    Raises:
        UsageError: Names the module, and how to install the extra.
    """
    for module in MODULES[extra]:
        if not _is_there(module):
            raise UsageError(
                f"{purpose} needs the Python module {module}, which is not installed: "
                f"install Switchproof with the extra {extra}, as in pip install '/path/to/switchproof[{extra}]'"
            )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that the module is in
        return False
