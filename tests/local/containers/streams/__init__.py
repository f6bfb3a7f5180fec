"""Tests of `dockerapi.local.containers.streams`."""
