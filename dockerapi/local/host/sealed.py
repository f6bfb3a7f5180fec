"""A program as a sealed memory file, which nobody can write to, whoever runs it.

Source: memfd_create(2). OCI runtimes copy themselves before each start, so that a container cannot
overwrite them (CVE-2019-5736), unless they see that they are such a copy already. Rule: the file
is reached by a symbolic link with the program's name, and both go with this process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path

from dockerapi.local.host.syscalls import StrPath

_ALL_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class SealedProgram:
    """A sealed copy of a program.

    :ivar path: where it can be run from, until `close`.
    """

    def __init__(self, program: StrPath, directory: Path) -> None:
        """Copy `program` and make its link in `directory`; blocks. Raises OSError."""
        self.path = directory / os.path.basename(program)
        self._descriptor = _seal(program)
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        # An earlier server's link leads nowhere by now.
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(f"/proc/{os.getpid()}/fd/{self._descriptor}")

    def close(self) -> None:
        """Let go of the copy; what runs of it runs on."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            # Not empty where others have links there too.
            self.path.parent.rmdir()
        os.close(self._descriptor)


def _seal(program: StrPath) -> int:
    """Return a descriptor, for reading alone, of a sealed copy of `program`."""
    written = os.memfd_create(os.path.basename(program), os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(program, "rb") as source, open(written, "wb", closefd=False) as copy:
            shutil.copyfileobj(source, copy)
        os.fchmod(written, 0o555)
        fcntl.fcntl(written, fcntl.F_ADD_SEALS, _ALL_SEALS)
        return os.open(f"/proc/self/fd/{written}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(written)
