"""Tests of `dockerapi.local.containers.mounts`."""
