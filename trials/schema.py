"""Makes the JSON Schema of `trial.json` from the record's types and their docstrings."""

from __future__ import annotations

from typing import Any

from switchproof.deploy.record.schema import schema_of
from switchproof.trials.record import Trial


def trial_schema() -> dict[str, Any]:
    """Return the JSON Schema of `trial.json`."""
    return schema_of(Trial, "Switchproof trial of a deploy path, version 1", "urn:switchproof:trial:v1")
