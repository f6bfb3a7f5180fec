"""References: the grammar, full and familiar forms, and dockerd's texts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.model.malformed import Malformed
from dockerapi.model.references import Reference, is_digest

DIGEST = "sha256:" + "a" * 64

component = st.from_regex(r"[a-z0-9]+(?:(?:\.|_|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True)
domain = st.sampled_from(["docker.io", "localhost", "localhost:5000", "a.b", "A.b:1", "[::1]:5000"])
tags = st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True))
references = st.builds(
    Reference,
    domain,
    st.lists(component, min_size=1, max_size=3).map("/".join),
    tags,
    st.sampled_from(["", DIGEST]),
)


class ReferenceTests(SynchronousTestCase):
    def test_full_and_familiar_forms(self) -> None:
        for text, full, familiar in (
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("busybox:1", "docker.io/library/busybox:1", "busybox:1"),
            ("a/b", "docker.io/a/b", "a/b"),
            ("library/x", "docker.io/library/x", "x"),
            ("docker.io/x", "docker.io/library/x", "x"),
            ("index.docker.io/a/x", "docker.io/a/x", "a/x"),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("host:5000/x:t", "host:5000/x:t", "host:5000/x:t"),
            ("host.tld/x/y", "host.tld/x/y", "host.tld/x/y"),
            (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
            (f"x:t@{DIGEST}", f"docker.io/library/x:t@{DIGEST}", f"x:t@{DIGEST}"),
            ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
            ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ):
            parsed = Reference.parse(text)
            self.assertEqual((str(parsed), parsed.familiar), (full, familiar))

    def test_texts_of_refusals(self) -> None:
        invalid = "invalid reference format"
        for text, message in (
            ("UPPER", f"{invalid}: repository name (library/UPPER) must be lowercase"),
            ("a/UP:t", f"{invalid}: repository name (a/UP) must be lowercase"),
            ("", invalid),
            (":", invalid),
            ("a:", invalid),
            ("a b", invalid),
            ("a:t\n", invalid),
            ("a//b", invalid),
            ("-a", invalid),
            ("a:" + "t" * 129, invalid),
            ("a@sha256:abc", invalid),
            ("a" * 300, "repository name must not be more than 255 characters"),
            (f"a@md5:{'a' * 32}", "unsupported digest algorithm"),
            (f"a@sha256:{'a' * 63}", "invalid checksum digest length"),
            (f"a@sha256:{'A' * 64}", "invalid checksum digest format"),
            (
                "a" * 64,
                f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings",
            ),
        ):
            error = self.assertRaises(Malformed, Reference.parse, text)
            self.assertEqual(error.message, message)

    def test_tags(self) -> None:
        name = Reference.parse("x")
        self.assertEqual(name.with_default_tag().familiar, "x:latest")
        self.assertEqual(name.with_tag("t").with_default_tag().familiar, "x:t")
        self.assertEqual(name.with_digest(DIGEST).with_default_tag().familiar, f"x@{DIGEST}")
        for bad in ("", "a/b", "-x", "x\n", "t" * 129):
            self.assertEqual(
                self.assertRaises(Malformed, name.with_tag, bad).message, "invalid tag format"
            )

    @given(references)
    def test_every_form_means_the_same(self, reference: Reference) -> None:
        full = Reference.parse(str(reference))
        self.assertEqual(Reference.parse(str(full)), full)
        # A repository of Docker Hub whose first part looks like a host has no short form that
        # says so, in dockerd neither.
        first, slash, _ = full.path.partition("/")
        if full.domain != "docker.io" or not (slash and ("." in first or first == "localhost")):
            self.assertEqual(Reference.parse(full.familiar), full)

    @given(st.text(max_size=80))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        try:
            parsed = Reference.parse(text)
        except Malformed:
            return
        self.assertEqual(Reference.parse(parsed.familiar), parsed)
        self.assertTrue(parsed.path.islower() or not any(c.isalpha() for c in parsed.path))

    def test_digests(self) -> None:
        self.assertTrue(is_digest(DIGEST))
        self.assertFalse(is_digest(DIGEST + "\n"))
        self.assertFalse(is_digest("sha256:../../" + "a" * 58))
