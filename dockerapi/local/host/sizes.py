"""How many bytes the files beneath a directory have, as dockerd counts them.

Rule: it blocks for a system call for each file, so it runs in a thread; what disappears or cannot
be reached meanwhile does not count.
"""

from __future__ import annotations

import os


def tree_size(path: str | os.PathLike[str]) -> int:
    """Return the bytes of all that lies beneath `path` but directories; hard links count once."""
    total = 0
    linked: set[tuple[int, int]] = set()
    pending = [os.fspath(path)]
    while pending:
        try:
            entries = os.scandir(pending.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                        continue
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if status.st_nlink > 1:
                    file = (status.st_dev, status.st_ino)
                    if file in linked:
                        continue
                    linked.add(file)
                total += status.st_size
    return total
