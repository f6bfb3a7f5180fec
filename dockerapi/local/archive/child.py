"""The child that reads and writes trees: ``... child.main()``, started isolated by `process`.

Rule: everything it needs is imported before it enters a root that may be hostile; after that
nothing can be imported, and what it says are lines and archives on its output, one line of error
on its standard error, and an exit status with a meaning.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
import sys

from dockerapi.local.archive.resolving import (
    Found,
    base_name,
    cleaned,
    followed,
    open_plain,
)
from dockerapi.local.archive.statuses import FAILED, NOT_DIRECTORY, NOT_FOUND
from dockerapi.local.archive.walk import Entry, Files, walk
from dockerapi.local.archive.writing import Length, Pipe, TarWriter
from dockerapi.local.host.beneath import open_beneath
from dockerapi.local.host.syscalls import MountFlag, Namespace, mount, unshare

#: Not typing's, whose import takes a child longer than all else that it does.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: The most memory that it may take, in bytes: an archive's headers name sizes.
_MEMORY = 1 << 30
_OUTPUT = 1


class Failed(Exception):
    """It cannot be done; `status` says why, with a text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def main() -> None:
    """Do what the arguments say, and exit."""
    os.umask(0)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    arguments = [os.fsencode(argument) for argument in sys.argv[1:]]
    status, text = FAILED, ""
    try:
        _OPERATIONS[arguments[0]](arguments[1:])
        status = 0
    except Failed as failed:
        status, text = failed.status, str(failed)
    except MemoryError:
        text = "it needs too much memory"
    except OSError as error:
        text = _said(error)
    except Exception as error:
        # The rest is damage that libraries find, in words of theirs.
        text = f"{type(error).__name__}: {error}"
    line = text.encode("utf-8", "backslashreplace").replace(b"\n", b"\\n")
    os.write(2, line[:4096])
    # Without the interpreter's clean-up, which might import.
    os._exit(status)


def _enter(arguments: Sequence[bytes]) -> tuple[int, Sequence[bytes]]:
    """Confine this process to the root that `arguments` begin with; return it, and the rest.

    They are ``fd:NUMBER``, or a path, then how many mounts come, and for each source, path in it,
    destination and ``ro`` or ``rw``: those are made in a namespace that ends with this process.
    """
    place, count = arguments[0], int(arguments[1])
    mounts, rest = arguments[2 : 2 + 4 * count], arguments[2 + 4 * count :]
    if place.startswith(b"fd:"):
        root = int(place[3:])
    else:
        unshare(Namespace.MOUNT)
        mount("none", "/", "", MountFlag.REC | MountFlag.PRIVATE)
        root = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for number in range(0, len(mounts), 4):
            _bind(root, *(os.fsdecode(word) for word in mounts[number : number + 4]))
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    os.fchdir(root)
    os.chroot(".")
    os.close(root)
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), rest


def _bind(root: int, source: str, subpath: str, destination: str, access: str) -> None:
    mounted = os.open(source, os.O_PATH | os.O_CLOEXEC)
    if subpath:
        # What is in a volume its containers have written.
        whole, mounted = mounted, open_beneath(mounted, subpath, os.O_PATH)
        os.close(whole)
    _mount_on(root, destination, f"/proc/self/fd/{mounted}", MountFlag.BIND | MountFlag.REC)
    os.close(mounted)
    if access == "ro":
        flags = MountFlag.REMOUNT | MountFlag.BIND | MountFlag.RDONLY
        _mount_on(root, destination, "none", flags)


def _mount_on(root: int, destination: str, source: str, flags: MountFlag) -> None:
    target = open_beneath(root, destination, os.O_PATH)
    try:
        mount(source, f"/proc/self/fd/{target}", "", flags)
    finally:
        os.close(target)


def _find(root: int, path: bytes) -> Found:
    try:
        return Found(root, path)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise Failed(NOT_FOUND, "") from error
        reason = os.strerror(error.errno or 0).lower()
        raise Failed(FAILED, f"lstat {os.fsdecode(path)}: {reason}") from error


def _tell(found: Found) -> None:
    """Write a line that says what a path names, with texts in hexadecimal digits."""
    status = found.status
    words = (
        *(b"%d" % number for number in (status.st_mode, status.st_size, status.st_mtime_ns)),
        *(b"x" + text.hex().encode() for text in (base_name(found.path), found.target)),
    )
    os.write(_OUTPUT, b" ".join(words) + b"\n")


def _stat(arguments: Sequence[bytes]) -> None:
    """Tell what a path names."""
    root, (path,) = _enter(arguments)
    _tell(_find(root, path))


def _get(arguments: Sequence[bytes]) -> None:
    """Tell what a path names, then write it as an archive.

    After the path come those on which something is mounted whose content is wanted too: of /proc,
    say, it is not.
    """
    files = Files()
    root, (path, *mounted) = _enter(arguments)
    found = _find(root, path)
    _tell(found)
    output = Pipe(_OUTPUT)
    writer = TarWriter(output, files)
    name = base_name(found.path)
    parent = open_beneath(root, found.directory, os.O_RDONLY | os.O_DIRECTORY)
    if found.is_directory:
        # Members of the root are told with a slash before them, as dockerd does.
        prefix = name if name == b"/" else name + b"/"
        base = found.name or b"."
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        directory = os.open(base, flags, dir_fd=parent)
        writer.add(Entry(parent, base, name, found.status), prefix)
        start = followed(root, found.path).rstrip(b"/") + b"/"
        wanted = frozenset(mounted)
        _write_tree(writer, directory, prefix, lambda inner: start + inner in wanted)
    else:
        writer.add(Entry(parent, found.name, name, found.status), name)
    writer.end()
    output.flush()


def _write_tree(
    writer: TarWriter,
    directory: int,
    prefix: bytes,
    enters: Callable[[bytes], bool] | None = None,
) -> None:
    for entry in walk(directory, enters):
        slash = b"/" if stat.S_ISDIR(entry.status.st_mode) else b""
        writer.add(entry, prefix + entry.path + slash)


def _export(arguments: Sequence[bytes]) -> None:
    """Write all of a root as an archive."""
    files = Files()
    _enter(arguments)
    output = Pipe(_OUTPUT)
    writer = TarWriter(output, files)
    _write_tree(writer, os.open("/", os.O_RDONLY | os.O_DIRECTORY), b"")
    writer.end()
    output.flush()


def _put(arguments: Sequence[bytes]) -> None:
    """Tell where a directory really is, then put the archive that comes on the input into it.

    The arguments after the root: the path, ``1`` where kinds stay, the owner's numbers or ``-``
    twice, and how many bytes are taken or ``-``.
    """
    from tarfile import TarError

    from dockerapi.local.archive.extracting import Extraction
    from dockerapi.local.archive.input import Input
    from dockerapi.local.archive.tarstream import Refused

    root, (path, keep_kinds, uid, gid, limit) = _enter(arguments)
    directory = _directory(root, path)
    os.write(_OUTPUT, b"x" + directory.hex().encode() + b"\n")
    owner = None if uid == b"-" else (int(uid), int(gid))
    try:
        extraction = Extraction(root, directory, keep_kinds=keep_kinds == b"1", owner=owner)
        extraction.run(Input(0, None if limit == b"-" else int(limit)))
    except Refused as refused:
        raise Failed(FAILED, str(refused)) from refused
    except (OverflowError, ValueError, TarError) as error:
        # A number that the system or `tarfile` cannot take, as that of an owner.
        raise Failed(FAILED, "archive/tar: invalid tar header") from error
    except EOFError as error:
        raise Failed(FAILED, "unexpected EOF") from error


def _directory(root: int, path: bytes) -> bytes:
    """Return the directory that `path` leads to, without links in it."""
    directory = followed(root, cleaned(path))
    try:
        handle = open_plain(root, directory, os.O_PATH)
    except FileNotFoundError as error:
        raise Failed(NOT_FOUND, "") from error
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise Failed(NOT_DIRECTORY, "extraction point is not a directory")
    finally:
        os.close(handle)
    return directory


def _changes(arguments: Sequence[bytes]) -> None:
    """Write the changes of an upper directory above layers: kind, path and a zero byte each."""
    from dockerapi.local.archive.diffing import Comparison

    output = Pipe(_OUTPUT)
    upper, layers = arguments[0], arguments[1:]
    Comparison(upper, layers, lambda kind, path: output.write(b"%d%b\0" % (kind, path))).run()
    output.flush()


def _layer(arguments: Sequence[bytes]) -> None:
    """Make a layer of an upper directory in an empty one, and tell its digest and its size."""
    from dockerapi.local.archive.layering import make_layer

    diff_id, size = make_layer(arguments[0], arguments[1])
    os.write(_OUTPUT, f"{diff_id} {size}\n".encode())


def _archive(arguments: Sequence[bytes]) -> None:
    """Write the archive of a layer that `_layer` made."""
    from dockerapi.local.archive.layering import write_layer

    output = Pipe(_OUTPUT)
    write_layer(arguments[0], output)
    output.flush()


def _measure(arguments: Sequence[bytes]) -> None:
    """Tell how long the archive is that `_archive` writes."""
    from dockerapi.local.archive.layering import write_layer

    output = Length()
    write_layer(arguments[0], output)
    os.write(_OUTPUT, b"%d\n" % output.length)


_OPERATIONS: dict[bytes, Callable[[Sequence[bytes]], None]] = {
    b"stat": _stat,
    b"get": _get,
    b"put": _put,
    b"export": _export,
    b"changes": _changes,
    b"layer": _layer,
    b"archive": _archive,
    b"measure": _measure,
}


def _said(error: OSError) -> str:
    reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
    name = error.filename
    if name is None:
        return reason
    return f"{os.fsdecode(name) if isinstance(name, bytes) else name}: {reason}"
