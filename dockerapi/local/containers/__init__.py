"""Containers of the embedded engine."""
