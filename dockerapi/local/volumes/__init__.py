"""Volumes of the embedded engine."""
