"""Tests of `dockerapi.local.containers.stats`."""
