"""What other people's tests may use: an API server over handlers of their own."""

from dockerapi.testing.server import APIServer

__all__ = ["APIServer"]
