"""Names and options of volumes, and what is asked of them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import EngineError, InvalidParameter, NotFound
from dockerapi.local.host.mounting import parse_options
from dockerapi.local.host.syscalls import MountFlag
from dockerapi.local.volumes.driver import is_read_only
from dockerapi.local.volumes.rules import check_driver, check_name, check_options
from dockerapi.local.volumes.volume import Volume


class NameTests(SynchronousTestCase):
    @given(st.text(max_size=12))
    def test_what_passes_is_one_plain_name(self, name: str) -> None:
        try:
            check_name(name)
        except InvalidParameter as refused:
            self.assertTrue(refused.message.startswith(f"create {name}: "))
        else:
            self.assertRegex(name, re.compile(r"\A[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z"))

    def test_dockerd_s_words(self) -> None:
        refused = self.assertRaises(InvalidParameter, check_name, "a")
        self.assertIn("volume name is too short", refused.message)
        for name in ("", "../x", "a/b", ".hidden", "é", "a b", "x\n", "n" * 256):
            self.assertRaises(InvalidParameter, check_name, name)

    def test_another_driver(self) -> None:
        check_driver("v", "")
        check_driver("v", "local")
        refused = self.assertRaises(NotFound, check_driver, "v", "nosuch")
        words = 'create v: error looking up volume plugin nosuch: plugin "nosuch" not found'
        self.assertEqual(refused.message, words)


class OptionTests(SynchronousTestCase):
    def test_what_the_driver_has(self) -> None:
        check_options("v", {})
        check_options("v", {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"})
        check_options("v", {"type": "", "device": ""})
        check_options("v", {"size": "0"})

    def test_what_it_has_not(self) -> None:
        for options, words in (
            ({"foo": "bar"}, 'invalid option: "foo"'),
            ({"type": "tmpfs"}, 'missing required option: "device"'),
            ({"device": "x"}, 'missing required option: "type"'),
            ({"size": "10m"}, "quota size requested but no quota support"),
            ({"type": "none", "device": "/x\0y"}, "an option holds a zero byte"),
        ):
            refused = self.assertRaises(InvalidParameter, check_options, "v", options)
            self.assertEqual(refused.message, f"create v: {words}")
        refused = self.assertRaises(EngineError, check_options, "v", {"size": "xx"})
        self.assertEqual(refused.message, "create v: invalid size: 'xx'")

    @given(st.lists(st.sampled_from(("ro", "rw", "bind", "size=1m", "uid=3", "nosuid", "x"))))
    def test_flags_and_the_file_system_s_own(self, words: list[str]) -> None:
        flags, data = parse_options(",".join(words))
        own = [word for word in words if "=" in word or word == "x"]
        self.assertEqual(data, ",".join(own))
        self.assertEqual(bool(flags & MountFlag.BIND), "bind" in words)
        access = [word for word in words if word in ("ro", "rw")]
        self.assertEqual(bool(flags & MountFlag.RDONLY), access[-1:] == ["ro"])

    def test_read_only(self) -> None:
        self.assertTrue(is_read_only(Volume("v", 0, options={"o": "bind,ro"})))
        self.assertFalse(is_read_only(Volume("v", 0, options={"o": "bind"})))
        self.assertFalse(is_read_only(Volume("v", 0)))
