"""Platforms: what clients write, and what fits what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.model.malformed import Malformed
from dockerapi.model.platforms import Platform, host_platform


class PlatformTests(SynchronousTestCase):
    def refused(self, text: str) -> str:
        return str(self.assertRaises(Malformed, Platform.parse, text).message)

    def test_words_and_their_meaning(self) -> None:
        for text, meaning in (
            ("linux/amd64", "linux/amd64"),
            ("LINUX/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64/8", "linux/arm64"),
            ("linux/arm/7", "linux/arm/v7"),
            ("armhf", "linux/arm"),
            ("armel", "linux/arm/v6"),
            ("i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("windows(10.0.17763)/amd64", "windows/amd64"),
            ("linux/of-tomorrow", "linux/of-tomorrow"),
        ):
            self.assertEqual(str(Platform.parse(text)), meaning, text)

    def test_a_system_alone_is_for_this_architecture(self) -> None:
        self.assertEqual(Platform.parse("linux"), host_platform())
        self.assertEqual(Platform.parse("windows").architecture, host_platform().architecture)

    def test_what_is_none(self) -> None:
        self.assertEqual(
            self.refused("beos"),
            '"beos": unknown operating system or architecture: invalid argument',
        )
        self.assertIn('"a/b/c/d": cannot parse platform specifier', self.refused("a/b/c/d"))
        self.assertIn("wildcards", self.refused("linux/*"))
        self.assertIn('"" is an invalid OS component of "/": ', self.refused("/"))
        self.assertIn('"x!" is an invalid component of "linux/x!": ', self.refused("linux/x!"))

    def test_objects_of_queries(self) -> None:
        given = Platform.from_json('{"OS": "linux", "architecture": "aarch64", "more": 1}')
        self.assertEqual(str(given), "linux/arm64")
        for text, why in (
            ("linux", "failed to parse platform: invalid character 'l' looking for"),
            ('{"os": "linux"', "failed to parse platform: unexpected end of JSON input"),
            ('{"os": 1}', "cannot unmarshal number"),
            ('{"os": "linux"}', "both OS and Architecture must be provided"),
        ):
            error = self.assertRaises(Malformed, Platform.from_json, text)
            self.assertIn(why, error.message)

    def test_names_in_images(self) -> None:
        self.assertEqual(str(Platform.normal("Linux", "x86_64", "")), "linux/amd64")
        self.assertEqual(str(Platform.normal("linux", "arm64", "v8")), "linux/arm64")

    def test_what_runs_where(self) -> None:
        arm = Platform("linux", "arm", "v6")
        self.assertTrue(arm.fits(Platform("linux", "arm")))
        self.assertTrue(arm.fits(Platform("linux", "arm", "v7")))
        self.assertFalse(arm.fits(Platform("linux", "arm", "v5")))
        self.assertFalse(arm.fits(Platform("windows", "arm", "v6")))

    @given(st.text(max_size=30))
    def test_any_text_is_one_or_refused(self, text: str) -> None:
        try:
            found = Platform.parse(text)
        except Malformed:
            return
        self.assertEqual(Platform.parse(str(found)).os, found.os)
