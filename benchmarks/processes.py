"""The processes of a server: what they weigh, and their end.

Rule: a server's processes are its descendants and whoever names its directory on the command line
(shims and monitors leave their parents); what runs inside containers is not the server's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

#: Whose children are containers.
_MONITORS = ("conmon", "containerd-shim")


def memory(server: int, directory: Path) -> int:
    """Return the PSS in bytes of the server `server`, its helpers, and its monitors."""
    total = 0
    for process in _of(server, directory):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total


def end(directory: Path) -> None:
    """Kill what names `directory` on its command line, with everything below it."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if _names(process, directory):
                found += [process, *process.children(recursive=True)]
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, 10)


def _of(server: int, directory: Path) -> Iterator[psutil.Process]:
    seen: set[int] = set()
    waiting = [psutil.Process(server)]
    waiting += [process for process in psutil.process_iter() if _names(process, directory)]
    while waiting:
        process = waiting.pop()
        if process.pid in seen:
            continue
        seen.add(process.pid)
        with suppress(psutil.NoSuchProcess):
            if not process.name().startswith(_MONITORS):
                waiting += process.children()
            yield process


def _names(process: psutil.Process, directory: Path) -> bool:
    try:
        # The first word is the program; a path in it (/proc/self/exe of a container) says nothing.
        return any(f"{directory}/" in word for word in process.cmdline()[1:])
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False
