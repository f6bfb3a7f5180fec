"""What outlives a killed engine: its monitors, and the containers that no monitor watches any more.

Rule: a process belongs to a directory when its command names the directory, or its root lies in it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
#: How long the kernel may take to end what was killed, in seconds.
_TIMEOUT = 10.0


def strays(directory: Path) -> dict[int, str]:
    """Return the processes that belong to `directory`, without this one: number to command."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if f"{directory}/" in command or _has_root_in(entry, directory):
                found[int(entry.name)] = command
        except OSError:
            continue  # It has ended meanwhile.
    return found


def end_strays(directory: Path) -> None:
    """Kill what belongs to `directory`, and remove the cgroups of its containers.

    Raises AssertionError when something does not end.
    """
    end = time.monotonic() + _TIMEOUT
    cgroups: set[Path] = set()
    while found := strays(directory):
        assert time.monotonic() < end, f"does not end: {found}"
        for number in found:
            cgroups.update(_cgroups_of(number))
        for cgroup in cgroups:
            _thaw(cgroup)
        for number in found:
            _kill(number)
        time.sleep(0.02)
    for cgroup in cgroups:
        _remove(cgroup)


def _has_root_in(process: Path, directory: Path) -> bool:
    """Tell whether the root of a process is a mount made of what lies in `directory`."""
    for line in (process / "mountinfo").read_text(errors="replace").splitlines():
        if line.split(" ", 5)[4] == "/":
            return f"{directory}/" in line
    return False


def _cgroups_of(number: int) -> Iterator[Path]:
    """Return the directories of a container's cgroups, in every hierarchy; none of a monitor."""
    try:
        lines = Path(f"/proc/{number}/cgroup").read_text().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if path.startswith(("/dockerapi/", "/docker/")):
            top = _CGROUPS / controllers.removeprefix("name=") if controllers else _CGROUPS
            yield top / path.lstrip("/")


def _thaw(cgroup: Path) -> None:
    """Let a paused container run, which a signal would not end."""
    for name, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        if (cgroup / name).exists():
            (cgroup / name).write_text(word)


def _kill(number: int) -> None:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return


def _remove(cgroup: Path) -> None:
    """Remove a cgroup with those beneath it, where the runtime has not done so."""
    for directory, _, _ in os.walk(cgroup, topdown=False):
        os.rmdir(directory)
