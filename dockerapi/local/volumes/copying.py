"""What an image has at a volume's place, copied into the volume: owners, modes, times, links.

Source: dockerd's rules: only into an empty volume, the directory's own owner and mode too. Rule:
every name is opened relative to its directory and never followed, so that nothing outside is read
or written, whoever changes the volume meanwhile; functions here block for each file.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

import attrs

from dockerapi.local.host.beneath import open_beneath, opened_root
from dockerapi.local.host.syscalls import Resolve, openat2

_CHUNK = 1 << 24
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: The deepest tree that is copied: a descriptor of each directory on the way is open.
_DEEPEST = 256
_PRIVATE = "trusted.overlay."


class NotADirectory(Exception):
    """What the image has at the volume's place is no directory."""


def is_empty(directory: Path) -> bool:
    """Tell whether nothing is in a directory."""
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def exists_in(root: Path, path: str) -> bool:
    """Tell whether `path` is a directory inside `root`, whatever links lead there.

    Raises `NotADirectory` for anything else that is there.
    """
    try:
        with opened_root(root) as directory:
            handle = open_beneath(directory, path, os.O_PATH)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise NotADirectory(path)
    finally:
        os.close(handle)
    return True


def copy_up(root: Path, path: str, target: Path) -> None:
    """Copy what the directory `path` inside `root` holds into the directory `target`.

    Nothing happens where something is in `target`. Raises OSError.
    """
    if not is_empty(target):
        return
    with opened_root(root) as directory, opened_root(target) as destination:
        source = open_beneath(directory, path, _DIRECTORY & ~os.O_NOFOLLOW)
        try:
            into = os.open(".", _DIRECTORY, dir_fd=destination)
            try:
                _Copy(into).directory(source, into, "", 0)
            finally:
                os.close(into)
        finally:
            os.close(source)


@attrs.define
class _Copy:
    """One copying.

    :ivar root: a descriptor of the directory that is copied to.
    :ivar linked: where files that have several names were copied to, by device and inode.
    """

    root: int
    linked: dict[tuple[int, int], str] = attrs.field(factory=dict)

    def directory(self, source: int, target: int, path: str, depth: int) -> None:
        """Copy what a directory holds, then what it is; `path` is where, below the root.

        Raises OSError, ELOOP where directories are too deep inside each other.
        """
        if depth > _DEEPEST:
            raise OSError(errno.ELOOP, "too many directories inside each other", path)
        with os.scandir(source) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            self._entry(source, target, name, f"{path}{name}", depth)
        _copy_attributes(source, target)

    def _entry(self, source: int, target: int, name: str, path: str, depth: int) -> None:
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            self._subdirectory(source, target, name, path, depth)
            return
        if status.st_nlink > 1 and self._link(status, target, name):
            return
        if stat.S_ISREG(status.st_mode):
            _copy_file(source, target, name)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            _copy_names(status, target, name)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
            _copy_names(status, target, name)
        if status.st_nlink > 1:
            self.linked[status.st_dev, status.st_ino] = path

    def _subdirectory(self, source: int, target: int, name: str, path: str, depth: int) -> None:
        os.mkdir(name, 0o700, dir_fd=target)
        inner = os.open(name, _DIRECTORY, dir_fd=source)
        try:
            into = os.open(name, _DIRECTORY, dir_fd=target)
            try:
                self.directory(inner, into, f"{path}/", depth + 1)
            finally:
                os.close(into)
        finally:
            os.close(inner)

    def _link(self, status: os.stat_result, target: int, name: str) -> bool:
        """Give a file that was copied before another name; return whether it was."""
        known = self.linked.get((status.st_dev, status.st_ino))
        if known is None:
            return False
        resolve = Resolve.BENEATH | Resolve.NO_SYMLINKS
        handle = openat2(self.root, known, os.O_PATH | os.O_NOFOLLOW, 0, resolve)
        try:
            os.link(f"/proc/self/fd/{handle}", name, dst_dir_fd=target, follow_symlinks=True)
        finally:
            os.close(handle)
        return True


def _copy_file(source: int, target: int, name: str) -> None:
    old = os.open(name, _FILE, dir_fd=source)
    try:
        new = os.open(name, _NEW, 0o600, dir_fd=target)
        try:
            _copy_content(old, new)
            _copy_attributes(old, new)
        finally:
            os.close(new)
    finally:
        os.close(old)


def _copy_content(old: int, new: int) -> None:
    copy = _copy_range
    while True:
        try:
            copied = copy(old, new)
        except OSError as error:
            if copy is _send or error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP):
                raise
            copy = _send
            continue
        if not copied:
            return


def _copy_range(old: int, new: int) -> int:
    return os.copy_file_range(old, new, _CHUNK)


def _send(old: int, new: int) -> int:
    return os.sendfile(new, old, None, _CHUNK)


def _copy_attributes(old: int, new: int) -> None:
    """Give an open file or directory what another one is: owner, attributes, mode, times."""
    status = os.fstat(old)
    os.fchown(new, status.st_uid, status.st_gid)
    for name in os.listxattr(old):
        if not name.startswith(_PRIVATE):
            # Some file systems have fewer kinds of them than others.
            with suppress(PermissionError, _Unsupported):
                _copy_xattr(old, new, name)
    # A change of the owner takes bits of the mode away.
    os.fchmod(new, stat.S_IMODE(status.st_mode))
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))


class _Unsupported(OSError):
    """A file system that does not have such an attribute."""


def _copy_xattr(old: int, new: int, name: str) -> None:
    try:
        os.setxattr(new, name, os.getxattr(old, name))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENODATA):
            raise _Unsupported(*error.args) from error
        raise


def _copy_names(status: os.stat_result, target: int, name: str) -> None:
    """Give what cannot be opened its owner, mode and times."""
    os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target)
        try:
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(status.st_mode))
        finally:
            os.close(handle)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)
