"""The streams into and out of containers and execs."""
