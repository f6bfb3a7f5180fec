"""Tests of `dockerapi.local.containers.health`."""
