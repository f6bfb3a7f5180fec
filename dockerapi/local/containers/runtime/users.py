"""Who a container's process is: users and groups as the container's own files tell them.

Source: passwd(5) and group(5); the rules are dockerd's. Rule: the files are read beneath the
container's root, regular and bounded; their lines are data of strangers.
"""

from __future__ import annotations

import io
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.containers.mounts.point import MountPoint
from dockerapi.local.host.beneath import read_beneath

#: The longest passwd or group file that is read, in bytes.
FILE_LIMIT = 4 * 1024 * 1024
_HIGHEST = 2**31 - 1


class User(msgspec.Struct, frozen=True):
    """Numbers that a process runs under; `groups` has `gid` too; `home` is its directory."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str = "/"


def check_bound_files(points: Iterable[MountPoint]) -> None:
    """Raise `InvalidParameter` where binds put something in the place of passwd or group.

    Runtimes read both inside the container, and would wait for ever at a pipe. Blocks for a few
    system calls.
    """
    for point in points:
        for path in ("/etc/passwd", "/etc/group"):
            inside = posixpath.relpath(path, point.destination)
            if point.type != "bind" or inside.startswith(".."):
                continue
            try:
                mode = os.lstat(posixpath.normpath(posixpath.join(point.source, inside))).st_mode
            except OSError:
                continue
            if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                raise InvalidParameter(f"cannot read {path} of the container: not a regular file")


def resolve_user(root: Path, user: str, more_groups: Sequence[str] = ()) -> User:
    """Return who ``USER[:GROUP]`` is inside `root`, names or numbers; root where it is empty.

    Raises `InvalidParameter` in dockerd's words. Blocks for two small files.
    """
    name, _, group = user.partition(":")
    login, uid, gid, home = _find_user(_lines(root, "/etc/passwd", 4), name)
    wanted = [*([group] if group else []), *more_groups]
    numbers, memberships = _find_groups(_lines(root, "/etc/group", 3), login, wanted)
    supplementary: list[int] = []
    if group:
        gid = numbers[group]
    else:
        supplementary += memberships
    supplementary += [numbers[extra] for extra in more_groups]
    if gid not in supplementary:
        supplementary.insert(0, gid)
    return User(uid, gid, tuple(dict.fromkeys(supplementary)), home)


def _find_user(passwd: Iterable[list[str]], name: str) -> tuple[str, int, int, str]:
    """Return login name (empty where there is no entry), uid, gid and home directory."""
    wanted = _number(name or "0")
    for fields in passwd:
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None and (fields[0] == name or uid == wanted):
            home = fields[5] if len(fields) > 5 and "\0" not in fields[5] else ""
            return fields[0], uid, gid, home or "/"
    if wanted is None:
        raise _unknown("user", name, "passwd")
    return "", wanted, 0, "/"


def _find_groups(
    groups: Iterable[list[str]], login: str, wanted: Sequence[str]
) -> tuple[dict[str, int], list[int]]:
    """Return the numbers of the groups that are `wanted`, and of those that `login` is in.

    One pass over the lines, of which there may be very many.
    """
    found: dict[str, int] = {}
    names = set(wanted)
    memberships = []
    for fields in groups:
        gid = _number(fields[2])
        if gid is None:
            continue
        if fields[0] in names:
            found.setdefault(fields[0], gid)
        if login and len(fields) > 3 and login in fields[3].split(","):
            memberships.append(gid)
    for name in wanted:
        number = found.get(name, _number(name))
        if number is None:
            raise _unknown("group", name, "group")
        found[name] = number
    return found, memberships


def _unknown(kind: str, name: str, file: str) -> InvalidParameter:
    if name.isascii() and name.removeprefix("-").isdecimal():
        return InvalidParameter("uids and gids must be in range 0-2147483647")
    return InvalidParameter(f"unable to find {kind} {name}: no matching entries in {file} file")


def _number(text: str) -> int | None:
    if not text.isascii() or not text.isdecimal() or len(text) > 10:
        return None
    number = int(text)
    return number if number <= _HIGHEST else None


def _lines(root: Path, path: str, fields: int) -> Iterator[list[str]]:
    """Give the lines of a file of fields between colons that have at least `fields` of them."""
    try:
        content = read_beneath(root, path, FILE_LIMIT)
    except FileNotFoundError:
        return
    except OSError as error:
        reason = error.strerror or os.strerror(error.errno or 0)
        raise InvalidParameter(f"cannot read {path} of the container: {reason}") from None
    # Line by line: as lists of fields they would take fifty times the file's size.
    for line in io.BytesIO(content):
        parts = line.decode("utf-8", "surrogateescape").strip().split(":")
        if len(parts) >= fields and not line.startswith(b"#"):
            yield parts
