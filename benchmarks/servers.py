"""Servers to measure, each started on a unix socket in a directory and a network of its own.

Rule: each runs in a network namespace that ends with it, so that no server's bridge or rules meet
another's or the host's; whatever else it leaves is removed by `stop`, also after Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from benchmarks import processes
from benchmarks.isolation import OWN_NETWORK
from benchmarks.load import Connection, get

#: How long a server is left alone before its memory is measured, in seconds.
SETTLE = 10.0


class Server:
    """A server under test: started in `directory`, listening on `socket`.

    :ivar name: its column in the table.
    :ivar first_answer: seconds from its start to its first answer to `/_ping`.
    """

    def __init__(self, name: str, directory: Path, command: Iterable[str]) -> None:
        self.name = name
        self.directory = directory
        directory.mkdir(parents=True)
        self.socket = str(directory / "s")
        self._command = [part.format(d=directory, s=self.socket) for part in command]
        self._log = (directory / "log").open("wb")
        self.first_answer = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which a client finds this server."""
        return {**os.environ, "DOCKER_HOST": f"unix://{self.socket}"}

    def start(self) -> None:
        """Start it and wait for its first answer."""
        before = time.perf_counter()
        # In a session of its own: Ctrl-C is for the benchmark, which ends its servers itself.
        self.process = subprocess.Popen(
            [*OWN_NETWORK, *self._command],
            stdout=self._log,
            stderr=self._log,
            cwd=Path(__file__).parent.parent,
            start_new_session=True,
        )
        while not self._answers():
            if self.process.poll() is not None or time.perf_counter() - before > 60:
                text = (self.directory / "log").read_text(errors="replace")
                raise RuntimeError(f"{self.name} did not start:\n{text[-2000:]}") from None
            time.sleep(0.002)
        self.first_answer = time.perf_counter() - before

    def _answers(self) -> bool:
        try:
            client = Connection(self.socket)
            client.send(get("/_ping"))
            client.receive()
            client.close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Remove its containers, end it, and unmount and remove what it left."""
        if self.process is not None and self.process.poll() is None:
            with suppress(RuntimeError, OSError, subprocess.TimeoutExpired):
                self.remove_containers()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        processes.end(self.directory)
        self._log.close()
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed(mounts):
            if mount.startswith(f"{self.directory}/"):
                subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def docker(self, *args: str, stdin: bytes = b"") -> bytes:
        """Run the docker CLI against this server and return its output; it must succeed."""
        done = subprocess.run(
            ["docker", *args],
            input=stdin,
            capture_output=True,
            env=self.environment,
            check=False,
            timeout=300,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: docker {args}: {done.stderr.decode()}")
        return done.stdout

    def containers(self, *, running: bool = False) -> list[str]:
        """Return the ids of all its containers, or only of those that run."""
        return self.docker("ps", "-q" if running else "-aq", "--no-trunc").decode().split()

    def remove_containers(self) -> None:
        """Remove every container."""
        ids = self.containers()
        for at in range(0, len(ids), 200):
            self.docker("rm", "-f", *ids[at : at + 200])

    def memory(self) -> int:
        """Return the PSS in bytes of the server and of everything that it runs for containers.

        It has a while before, in which it may give back what the work until then took.
        """
        assert self.process is not None
        time.sleep(SETTLE)
        return processes.memory(self.process.pid, self.directory)


def dockerd(directory: Path) -> Server:
    """Debian's dockerd with a data root of its own."""
    return Server(
        "dockerd",
        directory / "dockerd",
        [
            "dockerd",
            *("--data-root", "{d}/data", "--exec-root", "{d}/exec", "-p", "{d}/pid"),
            *("-H", "unix://{s}", "--bip", "10.213.7.1/24", "-l", "warn"),
        ],
    )


def ours(directory: Path, name: str = "dockerapi", *options: str) -> Server:
    """Our server on its embedded engine, or with `--engine` before another."""
    return Server(
        name,
        directory / name,
        [
            *(sys.executable, "-m", "dockerapi", "--host", "unix://{s}"),
            *("--data-root", "{d}/data", "--exec-root", "{d}/run"),
            *options,
        ],
    )


def podman(directory: Path) -> Server:
    """Debian's podman, as a service with roots of its own."""
    home = directory / "podman"
    server = Server(
        "podman",
        home,
        [
            "podman",
            *("--root", "{d}/data", "--runroot", "{d}/run", "--log-level", "error"),
            *("system", "service", "-t", "0", "unix://{s}"),
        ],
    )
    configuration = home / "containers.conf"
    # Its API takes a default's soft limit for the hard one and the other way round: equal ones.
    configuration.write_text(
        "[engine]\n"
        'runtime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
    )
    os.environ["CONTAINERS_CONF"] = str(configuration)
    return server
