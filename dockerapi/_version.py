"""The version of this package; read by the build and sent by the server."""

__version__ = "0.1.0"
