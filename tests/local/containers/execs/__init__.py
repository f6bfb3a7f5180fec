"""Tests of `dockerapi.local.containers.execs`."""
