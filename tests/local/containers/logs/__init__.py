"""Tests of `dockerapi.local.containers.logs`."""
