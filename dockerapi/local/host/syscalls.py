"""Linux system calls that the standard library of Python 3.11 does not have.

Rule: each function is one system call, lets go of the interpreter's lock, and raises OSError with
the path it was about. (`os.pidfd_open` and `signal.pidfd_send_signal` are in the library.)
"""

from __future__ import annotations

import ctypes
import os
from enum import IntFlag
from os import PathLike

StrPath = str | PathLike[str]

# CDLL, not PyDLL: its calls let go of the interpreter's lock.
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)

#: `openat2` has this number on every architecture (Linux 5.6).
_SYS_OPENAT2 = 437
#: And so have `open_tree`, `move_mount` and `fsopen` (Linux 5.2), and `mount_setattr` (Linux 5.12).
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_FSOPEN, _SYS_MOUNT_SETATTR = 428, 429, 430, 442
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _MOVE_MOUNT_FROM_EMPTY, _FSOPEN_CLOEXEC = 0x1, 0x4, 0x1
_PR_SET_CHILD_SUBREAPER = 36
#: What `mount` takes of its options: a page, with the zero byte at its end.
MOUNT_OPTIONS_LIMIT = 4095


class MountFlag(IntFlag):
    """Flags of mount(2)."""

    RDONLY = 0x1
    NOSUID = 0x2
    NODEV = 0x4
    NOEXEC = 0x8
    REMOUNT = 0x20
    NOATIME = 0x400
    BIND = 0x1000
    REC = 0x4000
    UNBINDABLE = 0x20000
    PRIVATE = 0x40000
    SLAVE = 0x80000
    SHARED = 0x100000
    RELATIME = 0x200000


class UnmountFlag(IntFlag):
    """Flags of umount2(2)."""

    NONE = 0
    DETACH = 0x2
    NOFOLLOW = 0x8


class Resolve(IntFlag):
    """How `openat2` walks a path."""

    NONE = 0
    NO_XDEV = 0x01
    NO_MAGICLINKS = 0x02
    NO_SYMLINKS = 0x04
    BENEATH = 0x08
    IN_ROOT = 0x10


class Namespace(IntFlag):
    """What a thread can have of its own, for `unshare` and `setns`: namespaces, mostly."""

    TIME = 0x80
    FILES = 0x200  # CLONE_FS: no namespace, but unshared alike (the working directory, the umask)
    MOUNT = 0x20000
    CGROUP = 0x2000000
    UTS = 0x4000000
    IPC = 0x8000000
    USER = 0x10000000
    PID = 0x20000000
    NET = 0x40000000


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def mount(
    source: StrPath,
    target: StrPath,
    kind: str = "",
    flags: MountFlag | int = 0,
    options: str = "",
) -> None:
    """Mount `source` on `target` (mount(2)); `options` is the file system's own text.

    Raises ValueError for options that the kernel would cut off in silence.
    """
    data = os.fsencode(options)
    if len(data) > MOUNT_OPTIONS_LIMIT:
        raise ValueError(f"mount options of {len(data)} bytes: the kernel takes a page at most")
    if _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() or None,
        int(flags),
        data or None,
    ):
        raise _error(target)


def umount(target: StrPath, flags: UnmountFlag = UnmountFlag.NONE) -> None:
    """Take away the mount at `target` (umount2(2))."""
    if _libc.umount2(os.fsencode(target), int(flags)):
        raise _error(target)


def openat2(
    directory: int,
    path: StrPath | bytes,
    flags: int,
    mode: int = 0,
    resolve: Resolve = Resolve.NONE,
) -> int:
    """Open `path` as seen from the descriptor `directory` (openat2(2)); close-on-exec is added.

    Returns a descriptor. Raises OSError: ELOOP where a forbidden kind of link is met, EXDEV where
    the path leaves what `resolve` allows.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, int(resolve))
    descriptor: int = _libc.syscall(
        ctypes.c_long(_SYS_OPENAT2),
        ctypes.c_int(directory),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if descriptor < 0:
        raise _error(path)
    return descriptor


def clone_tree(handle: int, *, recursive: bool = True) -> int:
    """Return a descriptor of a copy, mounted nowhere, of what `handle` refers to (open_tree(2)).

    With `recursive` what is mounted inside it is part of the copy.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    descriptor: int = _libc.syscall(
        ctypes.c_long(_SYS_OPEN_TREE),
        ctypes.c_int(handle),
        ctypes.c_char_p(b""),
        ctypes.c_int(flags),
    )
    if descriptor < 0:
        raise _error(f"fd {handle}")
    return descriptor


def set_propagation(tree: int, propagation: MountFlag) -> None:
    """Give a copy by `clone_tree` one of the kinds of propagation, all of it (mount_setattr(2))."""
    attributes = _MountAttributes(propagation=int(propagation))
    if _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(tree),
        ctypes.c_char_p(b""),
        ctypes.c_int(_AT_EMPTY_PATH | _AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    ):
        raise _error(f"fd {tree}")


def mount_tree(tree: int, target: StrPath) -> None:
    """Mount a copy by `clone_tree` at `target` (move_mount(2))."""
    if _libc.syscall(
        ctypes.c_long(_SYS_MOVE_MOUNT),
        ctypes.c_int(tree),
        ctypes.c_char_p(b""),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_int(_MOVE_MOUNT_FROM_EMPTY),
    ):
        raise _error(target)


def check_file_system(kind: str) -> None:
    """Raise OSError where the kernel has no file systems of `kind`, as a module either (fsopen(2)).

    A module is loaded. Only root may ask.
    """
    context: int = _libc.syscall(
        ctypes.c_long(_SYS_FSOPEN),
        ctypes.c_char_p(os.fsencode(kind)),
        ctypes.c_uint(_FSOPEN_CLOEXEC),
    )
    if context < 0:
        raise _error(kind)
    os.close(context)


def setns(descriptor: int, kind: Namespace) -> None:
    """Move the calling thread into the namespace that `descriptor` refers to (setns(2))."""
    if _libc.setns(ctypes.c_int(descriptor), ctypes.c_int(int(kind))):
        raise _error(f"fd {descriptor}")


def unshare(kinds: Namespace) -> None:
    """Give the calling thread new namespaces of `kinds` (unshare(2))."""
    if _libc.unshare(ctypes.c_int(int(kinds))):
        raise _error(str(kinds))


def become_subreaper() -> None:
    """Have descendants of this process whose parents ended become its children (prctl(2))."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise _error("subreaper")


def _error(subject: StrPath | bytes) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), os.fspath(subject))
