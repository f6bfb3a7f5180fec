"""Ratios of speed and memory against dockerd and podman, on one machine in one run."""
