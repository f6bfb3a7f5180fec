"""The OCI runtime configuration of a container.

Source: the OCI runtime specification 1.0.2 (config.md, config-linux.md); the choices are dockerd's.
Rule: a pure function of the container and of what was found out about its host and its root.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dockerapi.local.containers.container import Container
from dockerapi.local.containers.creation.endpoints import interface_sysctls
from dockerapi.local.containers.mounts.point import MountPoint
from dockerapi.local.containers.runtime.cgroups import cgroup_path
from dockerapi.local.containers.runtime.namespaces import Joined
from dockerapi.local.containers.runtime.resources import resources_spec, rlimits
from dockerapi.local.containers.runtime.users import User
from dockerapi.local.containers.security import capabilities, paths
from dockerapi.local.containers.security.apparmor import profile_of
from dockerapi.local.containers.security.devices import device_rules
from dockerapi.local.containers.security.options import SecurityOptions
from dockerapi.local.containers.security.profiles import custom_profile
from dockerapi.local.containers.security.seccomp import default_profile
from dockerapi.model.containers import HostConfig, Ulimit, as_words

#: `PATH` where neither image nor client say otherwise.
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Where the init program is seen inside a container.
INIT_PATH = "/sbin/docker-init"
#: Where cgroups are, on the host and in containers.
CGROUPS = "/sys/fs/cgroup"
_DEFAULT_SHM = 64 * 1024 * 1024


class Root(msgspec.Struct, frozen=True):
    """What was found out about a container's root and its host before a start.

    :ivar path: its root file system, mounted.
    :ivar user: who its process is.
    :ivar namespace: its network namespace; None for the host's.
    :ivar files: what is mounted over files of its root, by destination.
    :ivar mounts: its mounts.
    :ivar devices: devices of the host given to it, as `host_devices` returns them.
    :ivar init: the program on the host that becomes its first process, or None.
    :ivar unified: whether the host has cgroups v2 alone.
    :ivar joined: namespaces of other containers that it joins.
    :ivar ulimits: limits of its processes that it says nothing of itself.
    """

    path: Path
    user: User
    namespace: Path | None
    files: Mapping[str, Path]
    mounts: Sequence[MountPoint] = ()
    devices: Sequence[Mapping[str, Any]] = ()
    init: str | None = None
    unified: bool = False
    joined: Joined = msgspec.field(default_factory=Joined)
    ulimits: Sequence[Ulimit] = ()


def runtime_spec(container: Container, root: Root) -> dict[str, Any]:
    """Return ``config.json`` of `container`."""
    config, host = container.config, container.host_config
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": _process(container, root),
        "root": {"path": str(root.path), "readonly": host.readonly_rootfs},
        "mounts": _mounts(host, root),
        "linux": _linux(host, root, container.id),
        "annotations": dict(host.annotations or {}),
    }
    if container.sandbox is not None and container.sandbox.address:
        spec["linux"]["sysctl"] |= interface_sysctls(container.endpoints, "eth0")
    if host.uts_mode != "host":
        spec["hostname"] = config.hostname
        if config.domainname:
            spec["linux"]["sysctl"]["kernel.domainname"] = config.domainname
    return spec


def granted_capabilities(host: HostConfig) -> list[str]:
    """Return the capabilities that a container of `host` has."""
    return capabilities.granted(
        capabilities.normalize("CapAdd", as_words(host.cap_add)),
        capabilities.normalize("CapDrop", as_words(host.cap_drop)),
        host.privileged,
    )


def process_spec(
    host: HostConfig,
    user: User,
    arguments: Sequence[str],
    environment: Sequence[str],
    cwd: str,
    ulimits: Sequence[Ulimit],
) -> dict[str, Any]:
    """Return the OCI process that a container of `host`, or an exec in it, runs.

    `ulimits` are those that it has where `host` has none. The terminal is its caller's to add.
    """
    granted = granted_capabilities(host)
    # Others than root get theirs by execve(2) alone.
    held = granted if user.uid == 0 else []
    return {
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": list(arguments),
        "env": _with_home(environment, user),
        "cwd": cwd,
        "capabilities": {"bounding": granted, "effective": held, "permitted": held},
        "noNewPrivileges": SecurityOptions.parse(host.security_opt or ()).no_new_privileges,
        "oomScoreAdj": host.oom_score_adj,
        "rlimits": rlimits(host, ulimits),
        **({"apparmorProfile": profile} if (profile := profile_of(host)) else {}),
    }


def _with_home(environment: Sequence[str], user: User) -> list[str]:
    """Return `environment` with the user's HOME, where it has none or an empty one.

    Runtimes differ in what it is for users that have no entry (dockerd's is /), and in whether an
    empty one counts.
    """
    return merge_environment(
        [f"HOME={user.home}"], (entry for entry in environment if entry != "HOME=")
    )


def environment(container: Container, *, tty: bool) -> list[str]:
    """Return the environment of `container`: dockerd's own, and over it the container's.

    `tty` tells whether the process that is to have it has a terminal.
    """
    own = [DEFAULT_PATH, f"HOSTNAME={container.config.hostname}"]
    if tty:
        own.append("TERM=xterm")
    return merge_environment((*own, *container.linked.variables), container.config.env or ())


def merge_environment(base: Iterable[str], over: Iterable[str]) -> list[str]:
    """Return `base` with what `over` sets; ``NAME`` without a value takes it away."""
    merged: dict[str, str | None] = {}
    for entry in (*base, *over):
        name, equals, _ = entry.partition("=")
        merged[name] = entry if equals else None
    return [entry for entry in merged.values() if entry is not None]


def _process(container: Container, root: Root) -> dict[str, Any]:
    config, host = container.config, container.host_config
    arguments = [container.path, *container.arguments]
    if root.init is not None:
        arguments = [INIT_PATH, "--", *arguments]
    process = process_spec(
        host,
        root.user,
        arguments,
        environment(container, tty=config.tty),
        config.working_dir or "/",
        root.ulimits,
    )
    process["terminal"] = config.tty
    height, width = [*host.console_size, 0, 0][:2]
    if config.tty and height > 0 and width > 0:
        process["consoleSize"] = {"height": height, "width": width}
    return process


def _mounts(host: HostConfig, root: Root) -> list[dict[str, Any]]:
    access = [] if host.privileged else ["ro"]
    asked = SecurityOptions.parse(host.security_opt or ()).writable_cgroups
    writable = host.privileged if asked is None else asked
    mounts: list[dict[str, Any]] = [
        _mount("/proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts",
            "devpts",
            *("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", *access),
        _cgroups(host, root, *([] if writable else ["ro"]), "nosuid", "noexec", "nodev"),
        # Of the host's namespace where that is shared: the host itself need not have it mounted.
        _mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
    ]
    placed: list[dict[str, Any]] = []
    if host.ipc_mode == "host":
        placed.append(_bind(Path("/dev/shm"), "/dev/shm"))
    elif root.joined.shm is not None:
        placed.append(_bind(root.joined.shm, "/dev/shm"))
    elif host.ipc_mode != "none":
        size = f"size={host.shm_size or _DEFAULT_SHM}"
        shm = _mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", size)
        mounts.append({**shm, "source": "shm"})
    if root.init is not None:
        mounts.append(_bind(Path(root.init), INIT_PATH, "ro"))
    own = ["ro"] if host.readonly_rootfs else []
    placed += [_bind(path, destination, *own) for destination, path in root.files.items()]
    return _in_order(mounts, placed, [point.to_spec() for point in root.mounts])


def _cgroups(host: HostConfig, root: Root, *options: str) -> dict[str, Any]:
    """Return the mount of the cgroups that a container sees.

    In the host's namespace those of version 2 are not mounted anew: that would set their options
    on the whole host, which then loses systemd's (``nsdelegate``, ``memory_recursiveprot``).
    """
    if root.unified and host.cgroupns_mode != "private":
        return {**_bind(Path(CGROUPS), CGROUPS), "options": ["bind", "rprivate", *options]}
    return _mount(CGROUPS, "cgroup", *options)


def _in_order(
    defaults: list[dict[str, Any]], placed: list[dict[str, Any]], theirs: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return all mounts of a container in the order in which they are made.

    What a client mounts takes the place of what would be there, and a `/dev` of all beneath it;
    our own files go on top of a client's `/etc`.
    """
    taken = {mount["destination"] for mount in theirs}
    kept = [
        mount
        for mount in defaults
        if mount["destination"] not in taken
        and not ("/dev" in taken and mount["destination"].startswith("/dev/"))
    ]
    placed = [mount for mount in placed if mount["destination"] not in taken]
    return kept + sorted(theirs + placed, key=lambda mount: mount["destination"].count("/"))


def _mount(destination: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": list(options)}


def _bind(source: Path, destination: str, *options: str) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": "bind",
        "source": str(source),
        "options": ["rbind", "rprivate", *options],
    }


def _linux(host: HostConfig, root: Root, identity: str) -> dict[str, Any]:
    options = SecurityOptions.parse(host.security_opt or ())
    linux: dict[str, Any] = {
        "namespaces": _namespaces(host, root),
        "cgroupsPath": f"/{cgroup_path(identity, host)}",
        "resources": {
            **resources_spec(host),
            "devices": device_rules(root.devices, host.device_cgroup_rules or (), host.privileged),
        },
        "devices": [
            {name: value for name, value in device.items() if name != "access"}
            for device in root.devices
        ],
        "sysctl": _sysctls(host, root),
    }
    if not host.privileged:
        linux["maskedPaths"] = masked_paths(host)
        linux["readonlyPaths"] = readonly_paths(host)
    if options.seccomp_profile or not (host.privileged or options.seccomp_unconfined):
        # A profile of the client's own holds also where all else is allowed.
        linux["seccomp"] = _seccomp(options, granted_capabilities(host))
    if any(point.propagation in ("shared", "rshared", "slave", "rslave") for point in root.mounts):
        shared = any("shared" in point.propagation for point in root.mounts)
        linux["rootfsPropagation"] = "shared" if shared else "slave"
    return linux


def _seccomp(options: SecurityOptions, capabilities: Sequence[str]) -> dict[str, Any]:
    if options.seccomp_profile:
        return custom_profile(options.seccomp_profile, capabilities)
    return default_profile(capabilities)


def masked_paths(host: HostConfig) -> list[str]:
    """Return the paths that a container of `host` does not see."""
    return list(paths.masked() if host.masked_paths is None else host.masked_paths)


def readonly_paths(host: HostConfig) -> list[str]:
    """Return the paths that a container of `host` cannot write."""
    return list(paths.readonly() if host.readonly_paths is None else host.readonly_paths)


def _namespaces(host: HostConfig, root: Root) -> list[dict[str, str]]:
    namespaces = [{"type": "mount"}]
    if root.namespace is not None:
        namespaces.append({"type": "network", "path": os.fspath(root.namespace)})
    if host.uts_mode != "host":
        namespaces.append({"type": "uts"})
    if host.pid_mode != "host":
        namespaces.append(_namespace("pid", root.joined.pid))
    if host.ipc_mode != "host":
        namespaces.append(_namespace("ipc", root.joined.ipc))
    if host.cgroupns_mode == "private":
        namespaces.append({"type": "cgroup"})
    return namespaces


def _namespace(kind: str, path: Path | None) -> dict[str, str]:
    return {"type": kind} if path is None else {"type": kind, "path": os.fspath(path)}


def _sysctls(host: HostConfig, root: Root) -> dict[str, str]:
    own = {}
    if root.namespace is not None:
        own = {
            "net.ipv4.ip_unprivileged_port_start": "0",
            "net.ipv4.ping_group_range": "0 2147483647",
        }
    return {**own, **(host.sysctls or {})}
