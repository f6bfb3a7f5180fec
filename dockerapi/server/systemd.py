"""What init passes to us and hears from us: LISTEN_FDS, LISTEN_FDNAMES and sd_notify.

Sources: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3). Rule: the variables are read once
and taken out of the environment, so that no container or other child believes they are its own.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from pathlib import Path

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from dockerapi.server.hosts import BadHost

#: The first descriptor that is passed (SD_LISTEN_FDS_START).
FIRST = 3
_LISTEN = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_NOTIFY = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)


def process_environment() -> dict[str, str]:
    """Return the environment with which this process was started (/proc/self/environ).

    Importing `twisted.internet.endpoints` deletes LISTEN_PID and LISTEN_FDS from `os.environ`.
    """
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in entries if b"=" in entry)
    return {name: value for name, _, value in pairs}


def take_variables(environ: MutableMapping[str, str], initial: Mapping[str, str]) -> dict[str, str]:
    """Remove init's variables from `environ` and return them.

    LISTEN_PID and LISTEN_FDS are looked up in `initial` where they have gone.
    """
    found = {name: initial[name] for name in _LISTEN if name in initial}
    for name in _LISTEN + _NOTIFY:
        if name in environ:
            found[name] = environ.pop(name)
    return found


@attrs.define
class InheritedSockets:
    """The listening sockets that were passed to this process; each can be taken once.

    :ivar names: the name of each descriptor; empty where it has none.
    """

    names: dict[int, str]
    _taken: set[int] = attrs.field(factory=set)

    @classmethod
    def from_variables(cls, variables: Mapping[str, str], pid: int) -> InheritedSockets:
        """Read LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; nothing is ours when the pid is not."""
        try:
            ours = int(variables.get("LISTEN_PID", "")) == pid
            count = int(variables.get("LISTEN_FDS", ""))
        except ValueError:
            return cls({})
        if not ours or not 0 < count <= 4096:
            return cls({})
        names = variables.get("LISTEN_FDNAMES", "").split(":")
        names += [""] * (count - len(names))
        return cls({FIRST + index: names[index] for index in range(count)})

    def select(self, text: str, selector: str) -> list[int]:
        """Return the descriptors that `selector` (``*``, a number, a name) means.

        Raises `BadHost` where there are none.
        """
        if not self.names:
            raise BadHost(text, "No sockets found: none were passed to this process (LISTEN_FDS)")
        if selector == "*":
            return list(self.names)
        if selector.isascii() and selector.isdigit():
            if int(selector) not in self.names:
                last = FIRST + len(self.names) - 1
                raise BadHost(
                    text, f"Too few socket activated files passed in: they are {FIRST} to {last}"
                )
            return [int(selector)]
        named = [descriptor for descriptor, name in self.names.items() if name == selector]
        if not named:
            known = ", ".join(sorted({name for name in self.names.values() if name})) or "none"
            raise BadHost(text, f"no socket of this name was passed (LISTEN_FDNAMES: {known})")
        return named

    def take(self, text: str, descriptor: int) -> socket.socket:
        """Return the socket of `descriptor`, which then belongs to the caller.

        Raises `BadHost` unless it is a listening stream socket of a family that we serve.
        """
        if descriptor in self._taken:
            raise BadHost(text, f"the socket {descriptor} serves another host already")
        try:
            inherited = socket.socket(fileno=descriptor)
        except OSError as error:
            raise BadHost(text, f"descriptor {descriptor} is no socket: {error.strerror}") from None
        try:
            _check_listening(text, inherited)
        except BadHost:
            inherited.detach()
            raise
        self._taken.add(descriptor)
        inherited.set_inheritable(False)
        inherited.setblocking(False)
        return inherited


def _check_listening(text: str, inherited: socket.socket) -> None:
    descriptor = inherited.fileno()
    if inherited.family not in _FAMILIES:
        raise BadHost(text, f"descriptor {descriptor} is a socket of another family")
    if inherited.type != socket.SOCK_STREAM:
        raise BadHost(text, f"descriptor {descriptor} is no stream socket")
    if not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise BadHost(text, f"descriptor {descriptor} is no listening socket")


class Init:
    """Our side of sd_notify: tells init how we are; silent where init does not listen.

    :param address: NOTIFY_SOCKET: a path, or ``@`` and an abstract name.
    :param watchdog: WATCHDOG_USEC in seconds, 0 for none.
    """

    log = Logger()

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = address
        self._watchdog = watchdog
        self._beat: LoopingCall | None = None

    @classmethod
    def from_variables(cls, variables: Mapping[str, str], pid: int) -> Init:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        usec = variables.get("WATCHDOG_USEC", "")
        ours = variables.get("WATCHDOG_PID", str(pid)) == str(pid)
        seconds = int(usec) / 1e6 if ours and usec.isascii() and usec.isdigit() else 0.0
        return cls(variables.get("NOTIFY_SOCKET", ""), seconds)

    def ready(self) -> None:
        """Say that we serve."""
        self._send("READY=1", "STATUS=Serving the Docker Engine API")

    def status(self, text: str) -> None:
        """Say in one line how we are."""
        self._send("STATUS=" + " ".join(text.split()))

    def reloading(self) -> None:
        """Say that the configuration is loaded again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that we end, and stop the watchdog's beat with it."""
        self._send("STOPPING=1", "STATUS=Shutting down")

    def start_watchdog(self, clock: IReactorTime) -> None:
        """Send WATCHDOG=1 at half of WATCHDOG_USEC from now on; the reactor's health is ours."""
        if self._watchdog > 0 and self._address and self._beat is None:
            self._beat = LoopingCall(self._send, "WATCHDOG=1")
            self._beat.clock = clock
            self._beat.start(self._watchdog / 2)

    def stop_watchdog(self) -> None:
        """Stop what `start_watchdog` began."""
        beat, self._beat = self._beat, None
        if beat is not None:
            beat.stop()

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        abstract = self._address.startswith("@")
        address = "\0" + self._address[1:] if abstract else self._address
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as notify:
                notify.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            self.log.warn("cannot notify init: {error}", error=error)
