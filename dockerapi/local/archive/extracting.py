"""Putting the members of an archive into a directory of the root that this process is confined to.

Rule: the archive is hostile and the tree may change meanwhile: every parent is resolved by the
kernel beneath the root, last components are never followed, names may not leave the directory.
Source: dockerd's rules and texts for what is replaced, and what is refused.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
import tarfile

from dockerapi.local.archive.attributes import set_attributes
from dockerapi.local.archive.input import Input
from dockerapi.local.archive.tarstream import Refused
from dockerapi.local.archive.times import set_times
from dockerapi.local.host.beneath import open_beneath
from dockerapi.local.host.trees import remove_at

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Extraction:
    """One archive on its way into a directory."""

    def __init__(
        self,
        root: int,
        directory: bytes,
        *,
        keep_kinds: bool = False,
        owner: tuple[int, int] | None = None,
    ) -> None:
        """Put into `directory`, a path without links in it.

        With `keep_kinds` no directory takes the place of something else, or the other way round.
        All that is put belongs to `owner`, else to whom the archive says.
        """
        self._root = root
        self._directory = directory
        self._keep_kinds = keep_kinds
        self._owner = owner
        self._times: list[tuple[bytes, float]] = []
        self._parent: tuple[bytes, int] | None = None

    def run(self, source: Input) -> None:
        """Put all members of the archive; raises `Refused`, OSError and `tarfile.TarError`."""
        for archive, member in source.members():
            self._put(source, archive, member)
        self._forget_parent()
        for path, mtime in reversed(self._times):
            try:
                handle = open_beneath(self._root, path, _DIRECTORY)
            except OSError:
                continue  # Replaced by a later member, or by somebody else.
            try:
                set_times(handle, mtime)
            finally:
                os.close(handle)

    def _put(self, source: Input, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = posixpath.normpath(os.fsencode(member.name) or b".")
        path = self._inside(name)
        if path is None:
            raise Refused(f"{_quoted(name)} is outside of {_quoted(self._directory)}")
        if path == self._directory:
            if not member.isdir():
                raise Refused(f"cannot overwrite directory {_quoted(path)} with non-directory")
            return
        directory, _, base = path.rpartition(b"/")
        place = (self._open_parent(directory or b"/"), base, path)
        if not member.isreg():
            self._clear(place, is_directory=member.isdir())
        self._make(source, archive, member, place)

    def _inside(self, name: bytes) -> bytes | None:
        """Return where in the root `name` of the directory is; None where it is not in there."""
        path = posixpath.normpath(b"/".join((self._directory, name)))
        path = b"/" + path.lstrip(b"/")
        prefix = self._directory.rstrip(b"/") + b"/"
        escapes = name == b".." or name.startswith(b"../")
        if escapes or not (path == self._directory or path.startswith(prefix)):
            return None
        return path

    def _create(self, place: tuple[int, bytes, bytes]) -> int:
        """Return a descriptor of a new file, in the place of what is in its way."""
        parent, name, _ = place
        # Mostly nothing is, and looking costs as much as trying.
        with contextlib.suppress(FileExistsError):
            return os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        self._clear(place, is_directory=False)
        return os.open(name, _NEW_FILE, 0o600, dir_fd=parent)

    def _clear(self, place: tuple[int, bytes, bytes], *, is_directory: bool) -> None:
        """Take away what is in the way of a member; a directory may stay for a directory."""
        parent, name, path = place
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        was_directory = stat.S_ISDIR(found.st_mode)
        if self._keep_kinds and was_directory != is_directory:
            old, new = ("directory", "non-directory") if was_directory else _NEW_DIRECTORY
            into = _quoted(self._directory)
            raise Refused(f"cannot overwrite {old} {_quoted(path)} with {new} {into}")
        if not was_directory:
            os.unlink(name, dir_fd=parent)
        elif not is_directory:
            remove_at(parent, name)

    def _make(
        self,
        source: Input,
        archive: tarfile.TarFile,
        member: tarfile.TarInfo,
        place: tuple[int, bytes, bytes],
    ) -> None:
        parent, name, path = place
        if member.isdir():
            self._make_directory(member, place)
        elif member.isreg():
            handle = self._create(place)
            try:
                source.copy(archive, member, handle)
                set_attributes(handle, member, self._owner_of(member), path)
                set_times(handle, member.mtime)
            finally:
                os.close(handle)
        elif member.islnk():
            self._make_link(member, place)
        elif member.issym():
            target = os.fsencode(member.linkname)
            if self._inside(_relative(self._directory, path, target)) is None:
                raise Refused(f"invalid symlink {_quoted(path)} -> {_quoted(target)}")
            os.symlink(target, name, dir_fd=parent)
            self._give(member, parent, name)
            set_times(name, member.mtime, directory=parent)
        elif member.ischr() or member.isblk() or member.isfifo():
            _make_node(member, parent, name)
            self._give(member, parent, name)
            set_times(name, member.mtime, directory=parent)
        else:
            raise Refused(f"unhandled tar header type {member.type[0]}")

    def _make_directory(self, member: tarfile.TarInfo, place: tuple[int, bytes, bytes]) -> None:
        parent, name, path = place
        # What exists is a directory that `_clear` left.
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        handle = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            set_attributes(handle, member, self._owner_of(member), path)
        finally:
            os.close(handle)
        self._times.append((path, member.mtime))

    def _make_link(self, member: tarfile.TarInfo, place: tuple[int, bytes, bytes]) -> None:
        parent, name, path = place
        link = os.fsencode(member.linkname)
        target = self._inside(posixpath.normpath(link.lstrip(b"/") or b"."))
        if target is None:
            shown = posixpath.normpath(self._directory + b"/" + link)
            raise Refused(f"invalid hardlink {_quoted(shown)} -> {_quoted(link)}")
        directory, _, base = target.rpartition(b"/")
        try:
            source = open_beneath(self._root, directory or b"/", os.O_PATH | os.O_DIRECTORY)
            try:
                os.link(base, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(source)
        except OSError as error:
            reason = (error.strerror or "").lower()
            shown_paths = f"{_shown(target)} {_shown(path)}"
            raise Refused(f"link {shown_paths}: {reason}") from error

    def _give(self, member: tarfile.TarInfo, parent: int, name: bytes) -> None:
        os.chown(name, *self._owner_of(member), dir_fd=parent, follow_symlinks=False)

    def _owner_of(self, member: tarfile.TarInfo) -> tuple[int, int]:
        return self._owner or (member.uid, member.gid)

    def _open_parent(self, path: bytes) -> int:
        """Return a descriptor of the directory `path`, made with its parents where missing."""
        if self._parent is not None:
            if self._parent[0] == path:
                return self._parent[1]
            self._forget_parent()
        flags = os.O_PATH | os.O_DIRECTORY
        try:
            handle = open_beneath(self._root, path, flags)
        except FileNotFoundError:
            handle = self._make_parents(path)
        self._parent = (path, handle)
        return handle

    def _make_parents(self, path: bytes) -> int:
        """Make what is missing of the directory `path`; return a descriptor of it."""
        flags = os.O_PATH | os.O_DIRECTORY
        missing: list[bytes] = []
        while True:
            try:
                handle = open_beneath(self._root, path or b"/", flags)
                break
            except FileNotFoundError:
                path, _, name = path.rpartition(b"/")
                missing.append(name)
        for name in reversed(missing):
            try:
                # What exists is a link that leads nowhere: opening says so.
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=handle)
            finally:
                os.close(handle)
            path += b"/" + name
            handle = open_beneath(self._root, path, flags)
        return handle

    def _forget_parent(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None


_NEW_DIRECTORY = ("non-directory", "directory")


def _make_node(member: tarfile.TarInfo, parent: int, name: bytes) -> None:
    """Make a pipe or device with its mode: changing that later would follow a link put there."""
    if member.isfifo():
        kind, device = stat.S_IFIFO, 0
    else:
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        device = os.makedev(member.devmajor, member.devminor)
    os.mknod(name, kind | member.mode & 0o7777, device, dir_fd=parent)


def _relative(directory: bytes, path: bytes, target: bytes) -> bytes:
    """Return where a link at `path` leads, as a name in `directory`, taken as dockerd takes it."""
    joined = posixpath.normpath(path.rpartition(b"/")[0] + b"/" + target.lstrip(b"/"))
    return posixpath.relpath(b"/" + joined.lstrip(b"/"), directory)


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "replace")


def _quoted(path: bytes) -> str:
    """Return a path in quotation marks, with escapes, as Go's %q."""
    text = _shown(path).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\n", "\\n").replace("\t", "\\t") + '"'
