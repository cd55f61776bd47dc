"""The errors that the endpoint answers with, by AWS's own names."""

from __future__ import annotations


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        code: AWS's name for it.
        message: What is wrong.
        status: The HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
