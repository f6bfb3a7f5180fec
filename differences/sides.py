"""The two servers that are compared, each in a directory and a network of its own.

Rule: both have the same images, the same addresses and an empty working directory; a case finds
nothing that an earlier one left.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from benchmarks import servers
from benchmarks.load import Connection, get
from benchmarks.rootfs import busybox

#: An image that configures what an image can.
_RICH = (
    'CMD ["echo","of the image"]',
    'ENTRYPOINT ["env"]',
    "ENV COLOUR=blue",
    "EXPOSE 80/tcp 53/udp",
    'HEALTHCHECK --interval=1h CMD ["true"]',
    "LABEL kind=rich",
    "USER nobody",
    "VOLUME /tmp/store",
    "WORKDIR /tmp",
)

#: The network of both default bridges; each is in a namespace of its own.
_BRIDGE = "10.213.7.1/24"

#: How long one command may take, in seconds.
TIMEOUT = 30.0


class Result(msgspec.Struct, frozen=True):
    """What a command did.

    :ivar status: its exit status; 124 when it took too long.
    """

    command: str
    output: str
    errors: str
    status: int


class Side:
    """A server and the place where commands for it run; a context manager.

    :ivar name: `dockerd` or `ours`.
    :ivar version: the API version that commands use, unless they are to use the newest.
    """

    def __init__(self, server: servers.Server, version: str = "") -> None:
        self.name = server.name
        self.version = version
        self.server = server
        self.work = server.directory / "w"

    def __enter__(self) -> Self:
        self.server.start()
        try:
            archive = busybox()
            changes = [word for change in _RICH for word in ("--change", change)]
            self.server.docker("import", "-", "busybox:latest", stdin=archive)
            self.server.docker("import", *changes, "-", "rich:latest", stdin=archive)
        except BaseException:
            self.server.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.clean()
        self.server.stop()

    @property
    def newest(self) -> str:
        """The newest API version that the server speaks."""
        return str(self.ask("/version")["ApiVersion"])

    def run(self, command: str, *, newest: bool = False) -> Result:
        """Run a shell's line in the working directory, with `docker` talking to this server."""
        self.work.mkdir(exist_ok=True)
        environment = {
            **self.server.environment,
            "DOCKER_CONFIG": str(self.server.directory / "client"),
            "ROOT": str(self.server.directory),
            "TERM": "dumb",
        }
        if self.version and not newest:
            environment["DOCKER_API_VERSION"] = self.version
        with (
            (self.work.parent / "out").open("w+b") as out,
            (self.work.parent / "err").open("w+b") as err,
        ):
            # Files, not pipes: whoever goes on in the background holds nobody up.
            status = subprocess.run(
                ("timeout", "-k", "2", str(TIMEOUT), "sh", "-c", command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.work,
                env=environment,
                check=False,
            ).returncode
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        return Result(command, texts[0], texts[1], status)

    def ask(self, path: str) -> Any:
        """Return the JSON that a GET answers, at the side's API version."""
        version = f"/v{self.version}" if self.version and path != "/version" else ""
        with closing(Connection(self.server.socket)) as connection:
            connection.send(get(version + path))
            answer = connection.receive()
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head.lower():
            body = _dechunked(body)
        return json.loads(body)

    def clean(self) -> None:
        """Remove what a case left: containers, volumes, networks, images, files."""
        containers = [entry["Id"] for entry in self.ask("/containers/json?all=1")]
        if containers:
            self._remove("docker rm -f -v", containers)
        volumes = [entry["Name"] for entry in self._volumes()]
        if volumes:
            self._remove("docker volume rm -f", volumes)
        networks = [
            entry["Id"]
            for entry in self.ask("/networks")
            if entry["Name"] not in ("bridge", "host", "none")
        ]
        if networks:
            self._remove("docker network rm", networks)
        images = [
            entry["Id"]
            for entry in self.ask("/images/json")
            if not {"busybox:latest", "rich:latest"} & set(entry.get("RepoTags") or ())
        ]
        if images:
            self._remove("docker rmi -f", images)
        shutil.rmtree(self.work, ignore_errors=True)

    def _volumes(self) -> list[dict[str, Any]]:
        answer = self.ask("/volumes")
        return answer.get("Volumes") or []

    def _remove(self, command: str, names: list[str]) -> None:
        subprocess.run(
            (*command.split(), *names),
            env=self.server.environment,
            capture_output=True,
            check=False,
        )


def dockerd(directory: Path) -> Side:
    """The dockerd that is installed, with its own newest version."""
    return Side(servers.dockerd(directory))


def ours(directory: Path) -> Side:
    """Our server, as it comes."""
    return Side(servers.ours(directory, "ours", "--bip", _BRIDGE))


def missing() -> str:
    """Say why nothing can be compared here; empty when it can."""
    if os.geteuid() != 0:
        return "containers need root"
    for program in ("docker", "dockerd", "conmon", "busybox", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return ""


def remove_cgroups() -> None:
    """Remove the cgroups that `--cgroup-parent /differences` made; servers leave them."""
    # Not by a pattern: others' cgroups come and go while this looks for its own.
    for parent, names, _ in os.walk("/sys/fs/cgroup"):
        if "differences" in names:
            directory = Path(parent, "differences")
            # Nobody runs in them any more; those of version 1 have one for each controller.
            for path in (*directory.glob("*/"), directory):
                with suppress(OSError):
                    path.rmdir()


def _dechunked(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(body[:length])
        body = body[length + 2 :]
    return b"".join(parts)
