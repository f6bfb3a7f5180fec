"""A Docker Server in Python: the Docker Engine API over a real engine, as a Twisted service."""

from dockerapi._version import __version__

__all__ = ["__version__"]
