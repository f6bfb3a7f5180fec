"""Headers of archives, read back by Python's own tarfile."""

from __future__ import annotations

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.archive import headers

NAMES = st.binary(min_size=1, max_size=400).filter(
    lambda name: b"\0" not in name and not name.endswith(b"/")
)


def read_back(data: bytes) -> tarfile.TarInfo:
    """Return the one member of an archive."""
    file = io.BytesIO(data + headers.END)
    with tarfile.open(fileobj=file, encoding="utf-8", errors="surrogateescape") as tar:
        (member,) = tar.getmembers()
    return member


class HeaderTests(SynchronousTestCase):
    """Whatever a file is called and has, a reader gets it back."""

    @given(
        NAMES,
        st.integers(0, 0o7777),
        st.integers(0, 2**32 - 2),
        st.integers(-(2**33), 2**36),
        NAMES,
    )
    def test_symlink(self, name: bytes, mode: int, uid: int, mtime: int, link: bytes) -> None:
        data = headers.header(
            name, headers.SYMLINK, mode=mode, uid=uid, gid=uid, mtime=mtime, link=link
        )
        member = read_back(data)
        self.assertEqual(len(data) % headers.BLOCK, 0)
        self.assertEqual(member.name.encode("utf-8", "surrogateescape"), name)
        self.assertEqual(member.linkname.encode("utf-8", "surrogateescape"), link)
        self.assertEqual((member.mode, member.uid, member.gid), (mode, uid, uid))
        self.assertEqual((member.mtime, member.type), (mtime, tarfile.SYMTYPE))

    def test_sizes_past_eight_gigabytes(self) -> None:
        size = 9 * 1024**3
        data = headers.header(b"huge", headers.FILE, mode=0o644, size=size)
        with tarfile.open(fileobj=io.BytesIO(data + headers.END)) as tar:
            member = tar.firstmember  # type: ignore[attr-defined]
        self.assertEqual(member.size, size)

    @given(st.binary(max_size=300))
    def test_attributes(self, value: bytes) -> None:
        attributes = {b"user.x": value}
        data = headers.header(b"f", headers.FILE, mode=0o644, attributes=attributes)
        found = read_back(data).pax_headers["SCHILY.xattr.user.x"]
        self.assertEqual(found.encode("utf-8", "surrogateescape"), value)
