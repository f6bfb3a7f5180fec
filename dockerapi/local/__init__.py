"""The embedded engine: real containers on this host."""
