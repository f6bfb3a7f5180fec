"""Tests of `dockerapi.local.containers.cdi`."""
