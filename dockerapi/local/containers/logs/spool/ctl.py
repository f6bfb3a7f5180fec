"""Lines on conmon's control pipe.

Source: conmon(8): ``1 HEIGHT WIDTH`` resizes the terminal, ``2 0 0`` opens the log again. Rule: a
monitor that has ended is an answer, and no error.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from pathlib import Path


def say(path: Path, line: bytes) -> bool:
    """Write `line` to the pipe; return False where the monitor has ended.

    Raises OSError for anything else.
    """
    descriptor = _opened(path)
    if descriptor is None:
        return False
    try:
        os.write(descriptor, line)
    except BrokenPipeError:
        return False
    finally:
        os.close(descriptor)
    return True


def said(path: Path) -> bool:
    """Tell whether the pipe has something that the monitor has not read yet."""
    descriptor = _opened(path)
    if descriptor is None:
        return False
    try:
        unread = fcntl.ioctl(descriptor, termios.FIONREAD, struct.pack("i", 0))
    finally:
        os.close(descriptor)
    return bool(struct.unpack("i", unread)[0])


def _opened(path: Path) -> int | None:
    """Return a descriptor of the pipe's writable end, or None where nobody reads it."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO):
            return None
        raise
