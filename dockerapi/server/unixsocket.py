"""Binding a unix socket: stale ones replaced, live ones refused, nobody let in too early.

Rule: the socket has its group and mode before it listens, and until then it is open to nobody.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from twisted.logger import Logger

from dockerapi.server.hosts import BadHost

MODE = 0o660
#: The group that is allowed to be missing, as in the source.
DEFAULT_GROUP = "docker"
_PATIENCE = 1.0

log = Logger()


def group_id(text: str, group: str) -> int | None:
    """Return the id of `group`, a name or a number; None for an empty one.

    A missing group ``docker`` is logged and None; any other missing one raises `BadHost`.
    """
    if not group:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        if group.isascii() and group.isdigit():
            return int(group)
        if group != DEFAULT_GROUP:
            raise BadHost(text, f"group {group} not found") from None
        log.warn("Warning: could not chgrp the socket: group {group} not found", group=group)
        return None


class BoundSocket:
    """A listening unix socket and its file.

    :ivar socket: non-blocking, listening.
    """

    def __init__(self, text: str, path: str, gid: int | None, backlog: int) -> None:
        """Bind and listen; raises `BadHost`, and leaves nothing behind then."""
        self.path = path
        try:
            with _directory_locked(Path(path).parent):
                _remove_stale(text, path)
                self.socket, self._identity = _bind(path, gid, backlog)
        except OSError as error:
            raise BadHost(text, (error.strerror or str(error)).lower()) from None

    def remove(self) -> None:
        """Remove the file, unless it is another server's by now."""
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._identity:
                os.unlink(self.path)


def _bind(path: str, gid: int | None, backlog: int) -> tuple[socket.socket, tuple[int, int]]:
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    bound = socket.socket(socket.AF_UNIX, kind)
    try:
        # The file takes over the mode of the unbound socket: no umask, which all threads share.
        os.fchmod(bound.fileno(), 0)
        bound.bind(path)
        try:
            if gid is not None:
                os.chown(path, -1, gid, follow_symlinks=False)
            os.chmod(path, MODE)
            bound.listen(backlog)
            return bound, _identity(path)
        except BaseException:
            os.unlink(path)
            raise
    except BaseException:
        bound.close()
        raise


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _remove_stale(text: str, path: str) -> None:
    """Unlink a socket on which nobody listens; raise `BadHost` for anything else that is there."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise BadHost(text, "the file exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        refusal = probe.connect_ex(path)
    if refusal == errno.ECONNREFUSED:
        os.unlink(path)
    elif refusal in (0, errno.EAGAIN):  # EAGAIN: its queue is full.
        raise BadHost(text, "address already in use: another server listens on it")
    elif refusal != errno.ENOENT:
        raise OSError(refusal, os.strerror(refusal))


@contextlib.contextmanager
def _directory_locked(directory: Path) -> Iterator[None]:
    """Keep other servers of ours from binding here meanwhile.

    Anybody who can read the directory can lock it, so that a lock which is held is waited for only
    a little while.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)
