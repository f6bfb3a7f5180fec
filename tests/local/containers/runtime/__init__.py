"""Tests of `dockerapi.local.containers.runtime`."""
