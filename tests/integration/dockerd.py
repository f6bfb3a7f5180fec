"""A dockerd of one's own for tests and benchmarks: started in a temporary directory, and removed.

Rule: it touches neither the host's network nor anything outside its directory.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.strays import end_strays

#: How long it may take to start, and to stop, in seconds.
TIMEOUT = 60.0


def missing() -> str:
    """Say why no dockerd can run here; empty when one can."""
    if os.geteuid() != 0:
        return "dockerd needs root"
    if shutil.which("dockerd") is None:
        return "dockerd is not installed"
    return ""


class Dockerd:
    """Debian's dockerd with roots of its own; a context manager.

    :ivar directory: everything that it has; with a short name, for its sockets.
    :ivar socket: the path of its unix socket, and `host` the same for `DOCKER_HOST`.
    """

    def __init__(self, *options: str, bridge: bool = False) -> None:
        """Take further `options` of dockerd; with `bridge` it makes its own bridge docker0."""
        self.directory = Path(tempfile.mkdtemp(prefix="dockerapi-d-"))
        self.socket = str(self.directory / "s")
        self.host = f"unix://{self.socket}"
        network = () if bridge else ("--bridge=none", "--iptables=false", "--ip6tables=false")
        self._command = (
            "dockerd",
            *("--data-root", str(self.directory / "data")),
            *("--exec-root", str(self.directory / "exec")),
            *("-p", str(self.directory / "pid")),
            *("-H", self.host, "-l", "warn"),
            *network,
            *options,
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.directory / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and wait for its answer; raises RuntimeError with its log if there is none."""
        self.launch()
        assert self._process is not None
        end = time.monotonic() + TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                text = self.log
                self.remove()
                raise RuntimeError(f"dockerd did not start:\n{text[-3000:]}")
            time.sleep(0.02)

    def launch(self) -> None:
        """Start it without waiting for anything."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def stop(self) -> None:
        """End it, as a service manager would; what it stores stays for another `start`."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def remove(self) -> None:
        """End it, and remove its processes, mounts and files."""
        self.stop()
        end_strays(self.directory)
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        for mount in reversed([line.split()[1] for line in mounts]):
            if mount.startswith(f"{self.directory}/"):
                subprocess.run(("umount", "-l", mount), check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def docker(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run the docker CLI against it and return its output; raises CalledProcessError."""
        return subprocess.run(
            ("docker", "-H", self.host, *arguments), input=stdin, capture_output=True, check=True
        ).stdout

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            try:
                client.connect(self.socket)
                client.sendall(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return client.recv(12) == b"HTTP/1.1 200"
            except OSError:
                return False
