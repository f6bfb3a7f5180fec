"""Protocols without I/O, usable from both ends."""
