"""Tests of `dockerapi.local.containers.creation`."""
