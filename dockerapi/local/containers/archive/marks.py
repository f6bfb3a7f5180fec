"""The mark that a container is frozen for a commit: for the next server, where this is killed.

Rule: made before the container is frozen, and taken away when it was thawed.
"""

from __future__ import annotations

from pathlib import Path

from dockerapi.local.containers.runtime.rootfs import Directories


def mark_of(directories: Directories) -> Path:
    """Return the file whose being there is the mark of a container."""
    return directories.run / "committed"
