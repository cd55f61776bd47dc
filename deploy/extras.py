"""The extras: parts of Switchproof that need further packages."""

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
"""The modules of each extra."""


def require(extra: Extra, purpose: str) -> None:
    """Refuse a purpose whose packages are not installed.

    Args:
        extra: The extra with these packages.
        purpose: An option or a command, as the subject of a sentence.

    Raises:
        UsageError: A module is missing; the message says how to install the extra.
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
    except ModuleNotFoundError:  # the package that contains the module is missing
        return False
