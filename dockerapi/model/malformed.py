"""The one error of this package: what came cannot be read as what it should be."""

from __future__ import annotations


class Malformed(ValueError):
    """A request that breaks the API's syntax; its text is for the client and names the field."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
