"""The operations of the tag System on the embedded engine: ping, version, info.

Rule: what does not change while the server runs is gathered once, at start; an answer never runs
a program or waits for a disk.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from twisted._version import __version__ as twisted_version

from dockerapi._version import __version__
from dockerapi.engine.answers import Answer, Encoded
from dockerapi.engine.engine import Engine
from dockerapi.engine.job import Job
from dockerapi.local.containers.cdi.specs import DIRECTORIES
from dockerapi.local.containers.security import apparmor
from dockerapi.local.host.probe import HostFacts, Tool, probe_host
from dockerapi.local.host.threads import in_thread
from dockerapi.model.timestamps import rfc3339
from dockerapi.model.versions import Version

#: From here on security options have settings.
_SECURITY_SETTINGS = Version(1, 25)
_INDEX = "https://index.docker.io/v1/"
#: The registries that are insecure without being named, as in dockerd.
_LOOPBACK = ("::1/128", "127.0.0.0/8")


class Counts(msgspec.Struct, frozen=True):
    """How many containers there are by state, and how many images."""

    running: int = 0
    paused: int = 0
    stopped: int = 0
    images: int = 0


class SystemSettings(msgspec.Struct, frozen=True):
    """What of the settings `/info` tells.

    :ivar runtimes: the further runtimes, programs by name.
    """

    data_root: str
    debug: bool = False
    log_driver: str = "json-file"
    labels: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    runtimes: Mapping[str, str] = msgspec.field(default_factory=dict)


class System:
    """Answers of the engine about itself and its host."""

    def __init__(
        self,
        engine: Engine,
        settings: SystemSettings,
        count: Callable[[], Counts],
        runtime: Callable[[], str],
        problems: Callable[[], Sequence[str]],
    ) -> None:
        """Take what `/info` asks of the other parts when it is asked.

        :param runtime: the name of the runtime in use.
        :param problems: why parts of this engine do not work here.
        """
        self._engine = engine
        self._settings = settings
        self._count = count
        self._runtime = runtime
        self._problems = problems
        self._name = socket.gethostname()
        self._version = Encoded(b"")
        self._constant: dict[str, Any] = {}
        self._warnings: Sequence[str] = ()

    async def start(self) -> None:
        """Look at the host, and make what does not change."""
        host = await probe_host(Path(self._settings.data_root))
        identity = await in_thread(_identity, Path(self._settings.data_root))
        self._version = Encoded(msgspec.json.encode(self._version_document(host)) + b"\n")
        self._constant = self._constant_document(host, identity)
        self._warnings = host.warnings

    def register(self, engine: Engine) -> None:
        """Register the handlers of this module."""
        engine.register("SystemPing", self.ping)
        engine.register("SystemPingHead", self.ping)
        engine.register("SystemVersion", self.version)
        engine.register("SystemInfo", self.info)

    async def ping(self, job: Job) -> Answer:
        """Answer SystemPing; the API writes its text and headers."""
        return None

    async def version(self, job: Job) -> Answer:
        """Answer SystemVersion from memory."""
        return self._version

    async def info(self, job: Job) -> Answer:
        """Answer SystemInfo: the constant part from memory, and what changes."""
        counts = self._count()
        warnings = [*self._warnings, *(f"WARNING: {problem}" for problem in self._problems())]
        answer = self._constant | {
            "Warnings": warnings or None,
            "DefaultRuntime": self._runtime(),
            "Containers": counts.running + counts.paused + counts.stopped,
            "ContainersRunning": counts.running,
            "ContainersPaused": counts.paused,
            "ContainersStopped": counts.stopped,
            "Images": counts.images,
            "NFd": len(os.listdir("/proc/self/fd")),
            "NGoroutines": len(self._engine.running),
            "NEventsListener": self._engine.events.listeners,
            "SystemTime": rfc3339(time.time_ns()),
        }
        if job.version < _SECURITY_SETTINGS:
            options = answer["SecurityOptions"]
            answer["SecurityOptions"] = [_security_name(option) for option in options]
        return answer

    def _version_document(self, host: HostFacts) -> dict[str, Any]:
        facts = self._engine.facts
        details = {
            "ApiVersion": str(facts.newest),
            "Arch": host.architecture,
            "BuildTime": "",
            "Experimental": "false",
            "GitCommit": "",
            "GoVersion": "",
            "KernelVersion": host.kernel,
            "MinAPIVersion": str(facts.oldest),
            "Os": "linux",
            "PythonVersion": _python_version(),
            "TwistedVersion": twisted_version.public(),
        }
        components: list[dict[str, Any]] = [
            {"Name": "Engine", "Version": __version__, "Details": details}
        ]
        for tool in host.tools.values():
            if tool.path is not None:
                commit = {"GitCommit": tool.commit}
                components.append({"Name": tool.name, "Version": tool.version, "Details": commit})
        return {
            "Platform": {"Name": "dockerapi"},
            "Version": __version__,
            "ApiVersion": str(facts.newest),
            "MinAPIVersion": str(facts.oldest),
            "Os": "linux",
            "Arch": host.architecture,
            "Components": components,
            "GitCommit": "",
            "GoVersion": "",
            "KernelVersion": host.kernel,
            "BuildTime": "",
        }

    def _constant_document(self, host: HostFacts, identity: str) -> dict[str, Any]:
        """Return the members of SystemInfo that stay as they are while the engine runs."""
        settings = self._settings
        return {
            **_ABSENT,
            **_host_document(host),
            **_tools_document(host.tools, settings.runtimes),
            "ID": identity,
            "Name": self._name,
            "ServerVersion": __version__,
            "Debug": settings.debug,
            "Driver": "overlay2",
            "DriverStatus": [["Backing Filesystem", host.filesystem], ["Supports d_type", "true"]],
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "null"],
                "Authorization": None,
                "Log": ["fluentd", "gelf", "journald", "json-file", "local", "syslog"],
            },
            "LoggingDriver": settings.log_driver,
            "CgroupDriver": "cgroupfs",
            "CDISpecDirs": [str(path) for path in DIRECTORIES],
            "IndexServerAddress": _INDEX,
            "RegistryConfig": self._registries(),
            "DockerRootDir": settings.data_root,
            "Labels": list(settings.labels),
            "LiveRestoreEnabled": True,
        }

    def _registries(self) -> Mapping[str, Any]:
        settings = self._settings
        mirrors = [url if url.endswith("/") else f"{url}/" for url in settings.registry_mirrors]
        index: dict[str, Any] = {
            "docker.io": {"Name": "docker.io", "Mirrors": mirrors, "Secure": True, "Official": True}
        }
        networks = list(_LOOPBACK)
        for name in settings.insecure_registries:
            if "/" in name:
                networks.append(name)
            else:
                index[name] = {"Name": name, "Mirrors": [], "Secure": False, "Official": False}
        return {
            "AllowNondistributableArtifactsCIDRs": None,
            "AllowNondistributableArtifactsHostnames": None,
            "InsecureRegistryCIDRs": networks,
            "IndexConfigs": index,
            "Mirrors": mirrors,
        }


#: Members of SystemInfo about what this engine does not have.
_ABSENT: Mapping[str, Any] = {
    "GenericResources": None,
    "BridgeNfIptables": False,
    "BridgeNfIp6tables": False,
    "KernelMemory": False,
    "KernelMemoryTCP": False,
    "ExecutionDriver": "<not supported>",
    "HttpProxy": "",
    "HttpsProxy": "",
    "NoProxy": "",
    "ExperimentalBuild": False,
    "Isolation": "",
    "Swarm": {
        "NodeID": "",
        "NodeAddr": "",
        "LocalNodeState": "inactive",
        "ControlAvailable": False,
        "Error": "",
        "RemoteManagers": None,
    },
}


def _host_document(host: HostFacts) -> dict[str, Any]:
    """Return the members of SystemInfo about the machine and its kernel."""
    return {
        **host.limits,
        "CgroupVersion": "2" if host.cgroup_mode == "v2" else "1",
        "KernelVersion": host.kernel,
        "OperatingSystem": host.operating_system,
        "OSVersion": host.os_version,
        "OSType": "linux",
        "Architecture": host.machine,
        "NCPU": host.cpus,
        "MemTotal": host.memory,
        "SecurityOptions": [
            *(["name=apparmor"] if apparmor.is_enabled() else []),
            *(["name=seccomp,profile=builtin"] if host.seccomp else []),
            # Where containers have a cgroup namespace of their own unless they ask otherwise.
            *(["name=cgroupns"] if host.cgroup_mode == "v2" else []),
        ],
    }


def _tools_document(tools: Mapping[str, Tool], runtimes: Mapping[str, str]) -> dict[str, Any]:
    """Return the members of SystemInfo about the programs that run containers."""
    init = tools["tini"] if tools["tini"].path is not None else tools["catatonit"]
    return {
        "Runtimes": {
            name: {"path": tools[name].path}
            for name in ("runc", "crun")
            if tools[name].path is not None
        }
        | {name: {"path": path} for name, path in runtimes.items()},
        "FirewallBackend": {"Driver": "iptables" if tools["nft"].path is None else "nftables"},
        "InitBinary": Path(init.path).name if init.path is not None else "",
        "ContainerdCommit": _commit(""),
        "RuncCommit": _commit(tools["runc"].commit),
        "InitCommit": _commit(init.commit),
    }


def _security_name(option: str) -> str:
    """Return what is on, without its settings, of ``name=seccomp,profile=builtin``."""
    return option.partition(",")[0].removeprefix("name=")


def _commit(identity: str) -> Mapping[str, str]:
    """Return a program's commit; what would be expected is nothing but what is there."""
    return {"ID": identity, "Expected": identity}


def _python_version() -> str:
    return ".".join(str(part) for part in sys.version_info[:3])


def _identity(root: Path) -> str:
    """Return the engine's identity, made once and kept in the data root."""
    path = root / "engine-id"
    try:
        return str(uuid.UUID(path.read_text().strip()))
    except (FileNotFoundError, ValueError):
        identity = str(uuid.uuid4())
        root.mkdir(parents=True, exist_ok=True)
        path.write_text(identity + "\n")
        return identity
