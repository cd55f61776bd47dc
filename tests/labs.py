"""Names labs so that tests that run at the same time do not share them."""

import os


def own(name: str) -> str:
    """Give a lab a name of this worker's own, where the tests run in several."""
    return name + os.environ.get("PYTEST_XDIST_WORKER", "")
