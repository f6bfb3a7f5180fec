"""The daemon: the one place that knows every part."""
