"""The owner, mode and extended attributes of what comes out of archives.

Source: PAX records SCHILY.xattr.NAME, as GNU tar and dockerd write them.
"""

from __future__ import annotations

import errno
import os
import tarfile

_RECORD = "SCHILY.xattr."
#: These steer overlayfs itself: no archive may set them.
OVERLAY = ("trusted.overlay.", "user.overlay.")


def set_attributes(
    handle: int,
    member: tarfile.TarInfo,
    owner: tuple[int, int],
    path: str | bytes,
    *,
    foreign: tuple[str, ...] = OVERLAY,
) -> None:
    """Give an open file its `owner` (user and group), and the mode and attributes of `member`.

    Attributes that begin with one of `foreign` are left out. Those that the file system has not, or
    that may not be set here, are lost, as in dockerd. Raises OSError with `path`, what to call it.
    """
    # In this order: a change of owner drops set-uid bits and capabilities.
    os.fchown(handle, *owner)
    os.fchmod(handle, member.mode & 0o7777)
    for key, value in member.pax_headers.items():
        name = key.removeprefix(_RECORD)
        if name == key or name.startswith(foreign):
            continue
        try:
            os.setxattr(handle, name, value.encode("utf-8", "surrogateescape"))
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise OSError(error.errno, f"{name}: {error.strerror}", path) from error
