"""Attacks on what keeps containers apart from their host."""
