"""posix_spawn(3) without the interpreter's lock, for use in threads.

Source: the C library's <spawn.h>. Python's own keeps the lock until the child has executed its
program: some milliseconds on a busy machine, in which nothing else of this process runs. Rule: a
child starts with no signal blocked, in a session of its own.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping, Sequence

import msgspec

_libc = ctypes.CDLL(None)

#: More than the C libraries' structures take (glibc: 80, 336 and 128 bytes).
_ROOM = 1024
_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80


class Descriptors(msgspec.Struct, frozen=True):
    """What happens to a child's descriptors, in this order.

    :ivar close: those that are closed.
    :ivar null: those that are /dev/null, with the flags that it is opened with.
    :ivar duplicate: pairs of what is duplicated, and its new number. The same number twice clears
        close-on-exec.
    """

    close: Sequence[int] = ()
    null: Sequence[tuple[int, int]] = ()
    duplicate: Sequence[tuple[int, int]] = ()


def posix_spawn(
    program: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    descriptors: Descriptors,
    default_signals: Iterable[int],
) -> int:
    """Start `program` and return its process number; blocks until it has been executed.

    The signals `default_signals` are not ignored in it. Raises OSError where it cannot be executed,
    and ValueError for a null byte.
    """
    words = _words([os.fsencode(word) for word in argv])
    variables = _words([os.fsencode(f"{name}={value}") for name, value in env.items()])
    actions, attributes = _room(), _room()
    _check(_libc.posix_spawn_file_actions_init(actions), program)
    try:
        _check(_libc.posix_spawnattr_init(attributes), program)
        try:
            _set_descriptors(actions, descriptors, program)
            _set_attributes(attributes, default_signals, program)
            pid = ctypes.c_int()
            _check(
                _libc.posix_spawn(
                    ctypes.byref(pid), os.fsencode(program), actions, attributes, words, variables
                ),
                program,
            )
            return pid.value
        finally:
            _libc.posix_spawnattr_destroy(attributes)
    finally:
        _libc.posix_spawn_file_actions_destroy(actions)


def _room() -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(_ROOM)


def _words(words: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """Return an array of strings that ends with NULL."""
    if any(b"\0" in word for word in words):
        raise ValueError("embedded null byte")
    return (ctypes.c_char_p * (len(words) + 1))(*words, None)


def _set_descriptors(
    actions: ctypes.Array[ctypes.c_char], descriptors: Descriptors, program: str
) -> None:
    for number in descriptors.close:
        _check(_libc.posix_spawn_file_actions_addclose(actions, number), program)
    null = os.fsencode(os.devnull)
    for number, flags in descriptors.null:
        _check(
            _libc.posix_spawn_file_actions_addopen(actions, number, null, flags, 0),
            program,
        )
    for source, number in descriptors.duplicate:
        _check(_libc.posix_spawn_file_actions_adddup2(actions, source, number), program)


def _set_attributes(
    attributes: ctypes.Array[ctypes.c_char], default_signals: Iterable[int], program: str
) -> None:
    none, default = _room(), _room()
    _libc.sigemptyset(none)
    _libc.sigemptyset(default)
    for number in default_signals:
        _libc.sigaddset(default, number)
    _check(_libc.posix_spawnattr_setsigmask(attributes, none), program)
    _check(_libc.posix_spawnattr_setsigdefault(attributes, default), program)
    flags = ctypes.c_short(_SETSIGDEF | _SETSIGMASK | _SETSID)
    _check(_libc.posix_spawnattr_setflags(attributes, flags), program)


def _check(error: int, program: str) -> None:
    """Raise the OSError of an error number, which these functions return and do not set."""
    if error:
        raise OSError(error, os.strerror(error), program)
