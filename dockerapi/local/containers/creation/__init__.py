"""From a create request to a container: checks, defaults, names."""
