"""The removal of trees that containers have made."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it, however deep; nothing happens where none is.

    Blocks. Raises OSError for what cannot be removed.
    """
    with suppress(FileNotFoundError):
        try:
            shutil.rmtree(path)
        except (OSError, RecursionError):
            # Without the start of a program almost always; `rm` knows no depth that is too deep.
            os.lstat(path)
            command = ("rm", "-rf", "--one-file-system", "--", path)
            completed = subprocess.run(command, capture_output=True, check=False)
            if completed.returncode:
                text = completed.stderr.decode(errors="replace").strip()
                raise OSError(errno.EIO, text, str(path)) from None
