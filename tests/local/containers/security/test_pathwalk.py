"""Following paths name by name: as the kernel does it inside a root."""

from __future__ import annotations

import os
import posixpath
import shutil
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.containers.security.pathwalk import TooManySteps, leads_to, link_of
from dockerapi.local.host.beneath import open_beneath, opened_root

NAMES = ("a", "b", "c")
PATHS = st.builds(
    lambda root, names: root + "/".join(names),
    st.sampled_from(("", "/")),
    st.lists(st.sampled_from((*NAMES, "..", ".", "")), min_size=1, max_size=6),
).filter(bool)


class LeadsToTests(SynchronousTestCase):
    def test_the_walk_ends_where_it_is_told(self) -> None:
        links = {"/a": "/proc", "/proc/self": "1"}
        seen: list[str] = []

        def link_at(path: str) -> str | None:
            seen.append(path)
            return links.get(path)

        reached = leads_to("a/self/../x", link_at, lambda path: path.startswith("/proc/"))
        self.assertEqual(reached, "/proc/self/../x")
        self.assertEqual(seen, ["/a", "/proc"])

    def test_a_link_that_grows_or_turns_is_not_followed_for_ever(self) -> None:
        for target in ("/a", "a/a", "../a", "b/../a/" + "b/" * 1000):
            links = {"/a": target}
            self.assertRaises(TooManySteps, leads_to, "/a", links.get)

    @settings(max_examples=200, deadline=None)
    @given(st.dictionaries(PATHS, PATHS, max_size=4), PATHS)
    def test_as_the_kernel(self, links: dict[str, str], path: str) -> None:
        root = os.path.realpath(tempfile.mkdtemp(prefix="dockerapi-pathwalk-"))
        self.addCleanup(shutil.rmtree, root, ignore_errors=True)
        for first in NAMES:
            for second in NAMES:
                os.makedirs(f"{root}/{first}/{second}")
        for place, target in links.items():
            where = root + posixpath.normpath("/" + place)
            if where.count("/") == root.count("/") + 3 and not os.path.lexists(where):
                os.symlink(target, where)
        with opened_root(root) as directory:

            def link_at(place: str) -> str | None:
                found = open_beneath(directory, place, os.O_PATH | os.O_NOFOLLOW)
                try:
                    return link_of(found)
                finally:
                    os.close(found)

            try:
                found = open_beneath(directory, path, os.O_PATH)
            except OSError:
                # It is not there, or goes round.
                return
            try:
                inside = os.readlink(f"/proc/self/fd/{found}").removeprefix(root) or "/"
            finally:
                os.close(found)
            self.assertEqual(leads_to(path, link_at), inside)
