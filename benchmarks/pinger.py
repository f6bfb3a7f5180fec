"""A process that asks `/_ping` on new connections until its input ends: `python -m ... SOCKET`.

Rule: it is a process of its own, with a real-time priority where it may have one, so that the
times that it prints are the server's and not its own waiting for a processor.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import suppress

from benchmarks.load import Connection, get

#: Seconds between an answer and the next connection.
PAUSE = 0.005


def ping(server: str) -> float:
    """Return the seconds from connecting to the whole answer."""
    before = time.perf_counter()
    client = Connection(server)
    client.send(get("/_ping"))
    assert client.receive().startswith(b"HTTP/1.1 200")
    spent = time.perf_counter() - before
    client.close()
    return spent


def main() -> None:
    """Print the time of every answer, in seconds, one a line, when standard input has ended."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    times = [ping(sys.argv[1])]
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        times.append(ping(sys.argv[1]))
    print(*times, sep="\n")


if __name__ == "__main__":
    main()
