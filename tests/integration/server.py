"""Our server as a child process, on the embedded engine, with roots of its own.

Rule: what it leaves is removed, and what it should not have left is told by `leftovers`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from dockerapi.local.backend import bridge_name
from tests.integration.dockerd import Dockerd
from tests.strays import strays

#: How long it may take to start, and to stop, in seconds.
TIMEOUT = 60.0


def missing() -> str:
    """Say why the embedded engine cannot run containers here; empty when it can."""
    if os.geteuid() != 0:
        return "containers need root"
    for programs in (("conmon",), ("runc", "crun"), ("busybox",), ("docker",)):
        if not any(shutil.which(program) for program in programs):
            return f"{' or '.join(programs)} is not installed"
    return ""


class Server(Dockerd):
    """`python -m dockerapi` in a temporary directory; a context manager, see `Dockerd`."""

    def __init__(
        self,
        *options: str,
        hosts: tuple[str, ...] = (),
        prefix: tuple[str, ...] = (),
        directory: Path | None = None,
    ) -> None:
        """Take further options and hosts; `prefix` is a command that starts ours.

        `directory` is that of an earlier server, else a new one.
        """
        self.directory = directory or Path(tempfile.mkdtemp(prefix="da-"))
        self.socket = str(self.directory / "s")
        self.host = f"unix://{self.socket}"
        listen = hosts or (self.host,)
        self._command = (
            *prefix,
            *(sys.executable, "-m", "dockerapi"),
            *(argument for host in listen for argument in ("--host", host)),
            *("--data-root", str(self.directory / "data")),
            *("--exec-root", str(self.directory / "run")),
            *options,
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process number."""
        assert self._process is not None
        return self._process.pid

    def wait(self) -> int:
        """Wait until it has ended by itself; return its exit status."""
        process, self._process = self._process, None
        assert process is not None
        return process.wait(TIMEOUT)

    def kill(self) -> None:
        """End it as a crash does."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        process.wait()

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        host: str | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the docker CLI against it; whatever its exit status."""
        return subprocess.run(
            ("docker", "-H", host or self.host, *arguments),
            input=stdin,
            capture_output=True,
            timeout=60,
            env={**os.environ, **(env or {})},
            check=False,
        )

    def import_busybox(self) -> None:
        """Give it the image busybox:latest, of the distribution's busybox-static."""
        self.docker("import", "-", "busybox:latest", stdin=busybox_archive())

    def remove(self) -> None:
        """End it, and remove what it has; its bridge too, where it could not do that itself."""
        super().remove()
        bridge = bridge_name(str(self.directory / "data"))
        subprocess.run(("ip", "link", "delete", bridge), capture_output=True, check=False)
        subprocess.run(("nft", "delete", "table", "ip", bridge), capture_output=True, check=False)

    def remove_containers(self) -> None:
        """Remove every container."""
        ids = self.docker("ps", "-aq").split()
        if ids:
            self.docker("rm", "-f", *(identity.decode() for identity in ids))

    def leftovers(self) -> list[str]:
        """Return the processes and mounts that belong to its directory, without itself."""
        own = self._process and self.pid
        return [
            *(
                line.split()[1]
                for line in Path("/proc/self/mounts").read_text().splitlines()
                if line.split()[1].startswith(f"{self.directory}/")
            ),
            *(line for number, line in strays(self.directory).items() if number != own),
        ]


def wait_until(true: object, seconds: float = 60.0) -> bool:
    """Call `true` until its answer is true; return whether it was in time."""
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def busybox_archive() -> bytes:
    """Return a root file system of busybox-static as a tar archive."""
    from benchmarks.rootfs import busybox

    return busybox()


def interrupt(process: subprocess.Popen[bytes]) -> int:
    """Send Ctrl-C and return the exit status."""
    process.send_signal(signal.SIGINT)
    return process.wait(TIMEOUT)
