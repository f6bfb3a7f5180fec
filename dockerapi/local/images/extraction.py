"""Members of a layer's archive, made as files beneath one directory for overlayfs.

Rule: the kernel resolves every parent beneath the directory (openat2), last components are never
followed, and what stands in the way is replaced.
Source: OCI image-spec, layer.md; the kernel's overlayfs.rst for what whiteouts become.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
from typing import Self

from dockerapi.local.archive.attributes import OVERLAY, set_attributes
from dockerapi.local.archive.tarstream import CHUNK, Damaged, Refused
from dockerapi.local.archive.times import set_times
from dockerapi.local.host.beneath import make_directories, open_beneath
from dockerapi.local.host.trees import remove_at

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
#: Everything else with this beginning was AUFS's own.
_AUFS = ".wh..wh."
_OPAQUE_ATTRIBUTE = "trusted.overlay.opaque"
#: These steer overlayfs itself, or belong to the policy of another host.
_FOREIGN_ATTRIBUTES = (*OVERLAY, "security.selinux")
_PATH_LIMIT = 4096
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """The directory into which a layer is unpacked.

    :ivar size: the bytes of all files and links so far.
    """

    def __init__(self, directory: str) -> None:
        self._path = directory
        self._root = os.open(directory, _DIRECTORY | os.O_NOFOLLOW)
        self._parent: tuple[str, int] | None = None
        self._hidden: set[str] = set()
        self._times: list[tuple[str, float]] = []
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._forget_parent()
        os.close(self._root)

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Make `member`, whose content comes next in `archive`.

        Raises `Refused` and OSError.
        """
        path = _clean(member.name)
        if not path:
            if not member.isdir():
                raise Refused(f"invalid path {member.name!r} in the layer")
            self._set_attributes(".", self._root, member)
            self._times.append((".", member.mtime))
            return
        parent, _, name = path.rpartition("/")
        directory = self._open_parent(parent)
        if name.startswith(_WHITEOUT):
            self._whiteout(directory, path, name)
            return
        self._clear(directory, name, keep_directory=member.isdir())
        self._make(archive, member, directory, path, name)

    def finish(self) -> None:
        """Set the times of directories, which later members have changed."""
        self._forget_parent()
        for path, mtime in reversed(self._times):
            try:
                handle = open_beneath(self._root, path, _DIRECTORY | os.O_NOFOLLOW)
            except OSError:
                continue  # Replaced by a later member.
            try:
                set_times(handle, mtime)
            finally:
                os.close(handle)

    def _make(
        self,
        archive: tarfile.TarFile,
        member: tarfile.TarInfo,
        directory: int,
        path: str,
        name: str,
    ) -> None:
        if member.isdir():
            self._make_directory(member, directory, path, name)
        elif member.islnk():
            self._make_link(member, directory, name)
        elif member.issym():
            os.symlink(member.linkname, name, dir_fd=directory)
            os.chown(name, member.uid, member.gid, dir_fd=directory, follow_symlinks=False)
            set_times(name, member.mtime, directory=directory)
            self.size += len(os.fsencode(member.linkname))
        elif member.ischr() or member.isblk() or member.isfifo():
            self._make_node(member, directory, name)
        elif member.isreg():
            self._make_file(archive, member, directory, name)
        else:
            raise Refused(f"unknown kind {member.type!r} of {member.name!r} in the layer")

    def _make_directory(
        self, member: tarfile.TarInfo, directory: int, path: str, name: str
    ) -> None:
        # What exists is a directory that `_clear` left.
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=directory)
        handle = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        try:
            self._set_attributes(name, handle, member)
            if path in self._hidden:
                os.setxattr(handle, _OPAQUE_ATTRIBUTE, b"y")
        finally:
            os.close(handle)
        self._times.append((path, member.mtime))

    def _make_link(self, member: tarfile.TarInfo, directory: int, name: str) -> None:
        target = _clean(member.linkname)
        parent, _, last = target.rpartition("/")
        try:
            source = open_beneath(self._root, parent or ".", os.O_PATH | os.O_DIRECTORY)
            try:
                os.link(
                    last or ".",
                    name,
                    src_dir_fd=source,
                    dst_dir_fd=directory,
                    follow_symlinks=False,
                )
            finally:
                os.close(source)
        except OSError as error:
            raise Refused(
                f"cannot link {member.name!r} to {member.linkname!r}: {error.strerror}"
            ) from error

    def _make_node(self, member: tarfile.TarInfo, directory: int, name: str) -> None:
        device = 0
        if member.isfifo():
            kind = stat.S_IFIFO
        else:
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            device = os.makedev(member.devmajor, member.devminor)
        os.mknod(name, kind | 0o600, device, dir_fd=directory)
        os.chown(name, member.uid, member.gid, dir_fd=directory, follow_symlinks=False)
        # fchmodat follows links; what was made just now is none, and nobody else is here.
        os.chmod(name, member.mode & 0o7777, dir_fd=directory)
        set_times(name, member.mtime, directory=directory)

    def _make_file(
        self, archive: tarfile.TarFile, member: tarfile.TarInfo, directory: int, name: str
    ) -> None:
        handle = os.open(name, _NEW_FILE, 0o600, dir_fd=directory)
        try:
            _copy(archive, member, handle)
            self._set_attributes(name, handle, member)
            set_times(handle, member.mtime)
        finally:
            os.close(handle)
        self.size += member.size

    @staticmethod
    def _set_attributes(name: str, handle: int, member: tarfile.TarInfo) -> None:
        set_attributes(handle, member, (member.uid, member.gid), name, foreign=_FOREIGN_ATTRIBUTES)

    def _whiteout(self, directory: int, path: str, name: str) -> None:
        """Hide what lower layers have of this name, or of this directory."""
        if name == _OPAQUE:
            # The parent is open for its path only, which fsetxattr refuses.
            os.setxattr(f"/proc/self/fd/{directory}", _OPAQUE_ATTRIBUTE, b"y")
            return
        if name.startswith(_AUFS):
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise Refused(f"invalid whiteout {path!r} in the layer")
        self._hidden.add(path[: len(path) - len(name)] + hidden)
        try:
            found = os.stat(hidden, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=directory)
            return
        # The layer itself has it, which hides files below; a directory would be merged.
        if stat.S_ISDIR(found.st_mode):
            handle = os.open(hidden, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            try:
                os.setxattr(handle, _OPAQUE_ATTRIBUTE, b"y")
            finally:
                os.close(handle)

    @staticmethod
    def _clear(directory: int, name: str, *, keep_directory: bool) -> None:
        """Remove what is in the way of a new member."""
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=directory)
        elif not keep_directory:
            remove_at(directory, name)

    def _open_parent(self, path: str) -> int:
        """Return a descriptor of the directory `path`, made with its parents where missing."""
        if self._parent is not None:
            if self._parent[0] == path:
                return self._parent[1]
            self._forget_parent()
        flags = os.O_PATH | os.O_DIRECTORY
        try:
            handle = open_beneath(self._root, path or ".", flags)
        except (FileNotFoundError, NotADirectoryError):
            self._make_parents(path)
            handle = open_beneath(self._root, path or ".", flags)
        self._parent = (path, handle)
        return handle

    def _make_parents(self, path: str) -> None:
        """Make the directory `path`; where this layer hides a part of it, in the hiding's place."""
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            above = "/".join(parts[:depth])
            if above in self._hidden:
                parent, _, name = above.rpartition("/")
                handle = open_beneath(self._root, parent or ".", os.O_PATH | os.O_DIRECTORY)
                try:
                    self._replace_hiding(handle, name)
                finally:
                    os.close(handle)
        make_directories(self._path, path)

    @staticmethod
    def _replace_hiding(parent: int, name: str) -> None:
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o755, dir_fd=parent)
            handle = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            try:
                os.setxattr(handle, _OPAQUE_ATTRIBUTE, b"y")
            finally:
                os.close(handle)

    def _forget_parent(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None


def _clean(name: str) -> str:
    """Return a path of an archive without leading slashes and dots; empty for the root.

    Raises `Refused` for one that leads out, is too long, or holds a zero byte.
    """
    if len(os.fsencode(name)) >= _PATH_LIMIT or "\0" in name:
        raise Refused(f"invalid path {name[:64]!r} in the layer")
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise Refused(f"invalid path {name!r} in the layer: it leads out of the root")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, handle: int) -> None:
    """Write the content of `member`; where it is sparse, with its holes."""
    content = archive.extractfile(member)
    if content is None:
        raise Refused(f"no content of {member.name!r} in the layer")
    pieces = getattr(member, "sparse", None) or [(0, member.size)]
    for offset, size in pieces:
        content.seek(offset)
        os.lseek(handle, offset, os.SEEK_SET)
        left = size
        while left:
            data = content.read(min(CHUNK, left))
            if not data:
                raise Damaged("it ends in the middle of a file")
            left -= len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
    os.ftruncate(handle, member.size)
