"""What an earlier server left on this host: processes that make or watch containers, and traces.

Rule: it only looks, and kills what it is told to; a process is known by the options that it was
started with, which name the run root, whatever its program is.
"""

from __future__ import annotations

import itertools
import os
import re
import select
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from dockerapi.local.layout import Layout

_ID = re.compile(r"[0-9a-f]{64}")
#: How long what was killed may take to end, in seconds.
_PATIENCE = 5.0


class Helper(msgspec.Struct, frozen=True):
    """A monitor or a runtime that runs without the server that started it.

    :ivar exec_id: of the exec that it is for; empty for the container itself.
    """

    pid: int
    container_id: str
    exec_id: str = ""


def find_helpers(layout: Layout) -> Mapping[str, list[Helper]]:
    """Return the helpers of this run root by the id of their container; blocks for milliseconds."""
    found: dict[str, list[Helper]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            helper = _helper(int(entry), layout)
            if helper is not None:
                found.setdefault(helper.container_id, []).append(helper)
    return found


def _helper(pid: int, layout: Layout) -> Helper | None:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = os.fsdecode(file.read(65536)).split("\0")
    except OSError:
        return None
    bundles, states = f"{layout.containers_run}/", f"--root={layout.run}/"
    for option, word in itertools.pairwise(words):
        if option == "--bundle" and word.startswith(bundles):
            container, _, rest = word.removeprefix(bundles).partition("/")
            exec_id = rest.removeprefix("execs/").partition("/")[0]
            if _ID.fullmatch(container):
                return Helper(pid, container, exec_id if _ID.fullmatch(exec_id) else "")
    if any(word.startswith(states) for word in words):
        for word in reversed(words):
            if _ID.fullmatch(word):
                return Helper(pid, word)
    return None


def kill(helpers: Iterable[Helper], layout: Layout) -> None:
    """Kill helpers and wait for their end; blocks."""
    for helper in helpers:
        with _descriptor(helper) as pidfd:
            # With the descriptor held the number cannot become another process's.
            if pidfd is not None and _helper(helper.pid, layout) == helper:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                _wait(pidfd, _PATIENCE)


def wait_for(helpers: Iterable[Helper], seconds: float) -> None:
    """Wait up to `seconds` for the end of helpers that have only to finish; blocks."""
    end = time.monotonic() + seconds
    for helper in helpers:
        with _descriptor(helper) as pidfd:
            if pidfd is not None:
                _wait(pidfd, max(0.0, end - time.monotonic()))


@contextmanager
def _descriptor(helper: Helper) -> Iterator[int | None]:
    """Give a descriptor of the helper's process; None where it has ended."""
    try:
        pidfd = os.pidfd_open(helper.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _wait(pidfd: int, seconds: float) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(seconds * 1000)


def traces(layout: Layout) -> set[str]:
    """Return the ids of containers that left files or states of a runtime."""
    found = {entry.name for entry in os.scandir(layout.containers)}
    for folder in os.scandir(layout.run):
        if folder.is_dir(follow_symlinks=False):
            found.update(os.listdir(folder.path))
    return {name for name in found if _ID.fullmatch(name)}
