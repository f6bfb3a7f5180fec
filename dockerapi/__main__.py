"""The command `dockerapi`, also as `python -m dockerapi`."""
