"""Reads the GitLab component, and fills in its inputs as GitLab does: in values, after the YAML is parsed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

TEMPLATE = Path(__file__).parents[1] / "templates" / "session" / "template.yml"


def _read() -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(TEMPLATE))


INPUTS: dict[str, dict[str, Any]] = _read()[0]["spec"]["inputs"]


def filled(**given: object) -> dict[str, Any]:
    """Return what the component adds to a pipeline; an input is refused as GitLab refuses it.

    Raises:
        ValueError: The component has no such input, or not with this value.
    """
    if unknown := given.keys() - INPUTS.keys():
        raise ValueError(f"no such input: {unknown}")
    values = {name: given.get(name, details.get("default")) for name, details in INPUTS.items()}
    for name, value in values.items():
        details = INPUTS[name]
        if (
            value is None
            or value not in details.get("options", [value])
            or not re.search(details.get("regex", ""), str(value))
        ):
            raise ValueError(f"{name} cannot be {value!r}")
    content = _replaced(_read()[1], values)
    assert isinstance(content, dict)
    return content


def _replaced(node: Any, values: dict[str, object]) -> Any:
    match node:
        case dict():
            return {_replaced(key, values): _replaced(value, values) for key, value in node.items()}
        case list():
            return [_replaced(each, values) for each in node]
        case str() if whole := re.fullmatch(r"\$\[\[ inputs\.([\w-]+) \]\]", node):
            return values[whole[1]]
        case str():
            shown = {
                name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()
            }
            return re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda match: shown[match[1]], node)
    return node
