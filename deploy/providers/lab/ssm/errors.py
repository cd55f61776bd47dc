"""The errors of the endpoint, by AWS's own names (pure)."""

from __future__ import annotations


class Refused(Exception):
    """A request that the endpoint refuses.

    Args:
        code: AWS's name for it.
        message: The error message.
        status: The HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
