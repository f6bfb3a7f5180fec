"""Tests of `dockerapi.local.containers.life`."""
