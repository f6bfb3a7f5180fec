"""Options of a tmpfs: what they become, and dockerd's words for those that are none."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.containers.mounts.parsing import parse_mounts
from dockerapi.local.containers.mounts.point import TMPFS_PROPAGATIONS
from dockerapi.local.containers.mounts.tmpfs import tmpfs_options
from dockerapi.model.containers import HostConfig


class TmpfsOptionsTests(SynchronousTestCase):
    def test_what_is_given_takes_the_place_of_what_is_usual(self) -> None:
        self.assertEqual(tmpfs_options(""), ("noexec", "nosuid", "nodev"))
        self.assertEqual(tmpfs_options("exec,size=1m"), ("nosuid", "nodev", "exec", "size=1m"))

    def test_where_mounts_beneath_it_are_seen(self) -> None:
        for text, propagation in (
            ("", "rprivate"),
            ("shared", "shared"),
            ("ro,rslave", "rslave"),
            ("unbindable", "unbindable"),
        ):
            (request,) = parse_mounts(HostConfig(tmpfs={"/tmp": text}))
            options = request.point.to_spec()["options"]
            self.assertEqual([one for one in options if one in TMPFS_PROPAGATIONS], [propagation])

    def test_what_is_none_is_shown_in_its_parts(self) -> None:
        for text, shown in (("1m", '["1m"]'), ("a=b=c", '["a" "b=c"]'), ("size", '["size"]')):
            error = self.assertRaises(InvalidParameter, tmpfs_options, f"ro,{text}")
            self.assertEqual(error.message, f"invalid tmpfs option {shown}")

    def test_where_one_cannot_be(self) -> None:
        for path, words in (
            ("relative", "invalid mount path: 'relative' mount path must be absolute"),
            ("/", "invalid specification: destination can't be '/'"),
        ):
            host = HostConfig(tmpfs={path: ""})
            error = self.assertRaises(InvalidParameter, parse_mounts, host)
            self.assertEqual(error.message, words)
