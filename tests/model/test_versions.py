"""Versions are in order, and none is sent what it did not have."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.model.operations import OPERATIONS
from dockerapi.model.versions import (
    _CHANGES,
    NEWEST,
    OLDEST,
    Version,
    adapt,
    differences,
)

versions = st.builds(Version, st.just(1), st.integers(12, 60))
INFO: dict[str, Any] = {
    "ID": "x",
    "Containerd": {"Address": "/run/x"},
    "FirewallBackend": {"Driver": "nftables"},
    "Runtimes": {"runc": {"path": "runc", "status": {}}, "crun": {"path": "crun"}},
    "RuncCommit": {"ID": "1", "Expected": "1"},
    "InitCommit": None,
    "BridgeNfIptables": True,
}


class VersionTests(SynchronousTestCase):
    def test_order(self) -> None:
        self.assertLess(Version.parse("1.9"), Version.parse("1.41"))
        self.assertLess(OLDEST, NEWEST)
        self.assertGreater(Version(2, 0), NEWEST)

    def test_reading(self) -> None:
        self.assertEqual(Version.parse("1.41.7"), Version(1, 41))
        self.assertEqual(Version.parse("1"), Version(1, 0))
        for text in ("", ".", "1.x", "v1.41", "1.41 ", "-1.0", "1" * 5000):
            self.assertRaises(ValueError, Version.parse, text)

    @given(versions)
    def test_text_and_back(self, version: Version) -> None:
        self.assertEqual(Version.parse(str(version)), version)


class AdaptTests(SynchronousTestCase):
    def test_an_old_client(self) -> None:
        self.assertEqual(
            adapt("SystemInfo", Version(1, 43), INFO),
            {
                "ID": "x",
                "Runtimes": {"runc": {"path": "runc"}, "crun": {"path": "crun"}},
                "RuncCommit": {"ID": "1", "Expected": "1"},
                "InitCommit": None,
                "BridgeNfIptables": True,
            },
        )

    def test_a_new_client(self) -> None:
        found = adapt("SystemInfo", NEWEST, INFO)
        self.assertEqual(found["RuncCommit"], {"ID": "1"})
        self.assertEqual(found["Containerd"], INFO["Containerd"])
        self.assertNotIn("BridgeNfIptables", found)

    @given(versions)
    def test_the_answer_itself_is_left_alone(self, version: Version) -> None:
        before = copy.deepcopy(INFO)
        once = adapt("SystemInfo", version, INFO)
        self.assertEqual(INFO, before)
        self.assertEqual(adapt("SystemInfo", version, once), once)

    @given(
        st.sampled_from(OPERATIONS),
        versions,
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["Runtimes", "Status", "RuncCommit", "x"]), inner)
            ),
            max_leaves=10,
        ),
    )
    def test_any_answer_passes(self, operation: str, version: Version, answer: Any) -> None:
        adapted = adapt(operation, version, answer)
        if not differences(operation, version):
            self.assertEqual(adapted, answer)

    def test_rules_are_of_operations(self) -> None:
        self.assertLessEqual(set(_CHANGES), set(OPERATIONS))
