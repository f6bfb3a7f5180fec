"""A container's root on disk: mounted before a start, taken away after its end.

Rule: functions here block for system calls and run in a thread; what they undo may be undone twice.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from dockerapi.engine.errors import EngineError
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.mounts.point import TMPFS, MountPoint
from dockerapi.local.containers.mounts.staging import unstage
from dockerapi.local.containers.runtime.namespaces import Joined, shares_ipc
from dockerapi.local.containers.runtime.spec import Root
from dockerapi.local.containers.runtime.users import check_bound_files, resolve_user
from dockerapi.local.containers.security.devices import all_devices, host_devices
from dockerapi.local.containers.security.procmounts import check_proc
from dockerapi.local.containers.security.workdir import make_workdir
from dockerapi.local.host.beneath import make_directories, opened_root
from dockerapi.local.host.overlay import mount_overlay
from dockerapi.local.host.syscalls import MountFlag, UnmountFlag, mount, umount
from dockerapi.local.host.trees import remove_tree
from dockerapi.local.layout import Layout
from dockerapi.local.networks.files import hostname_text, hosts_text, is_stub, resolv_text
from dockerapi.local.networks.sandbox import Sandbox
from dockerapi.model.containers import HostConfig
from dockerapi.model.defaults import ContainerDefaults

_RESOLV_CONF = Path("/etc/resolv.conf")
#: Where systemd-resolved writes the servers that it asks.
_RESOLVED = Path("/run/systemd/resolve/resolv.conf")
_HOSTS = Path("/etc/hosts")


class Directories(msgspec.Struct, frozen=True):
    """Where a container's parts are.

    :ivar home: under the data root: its own layer and its log.
    :ivar run: under the run root: bundle, sockets, exit files.
    """

    home: Path
    run: Path

    @classmethod
    def of(cls, layout: Layout, identity: str) -> Directories:
        """Return the directories of the container `identity`."""
        return cls(layout.container(identity), layout.container_run(identity))

    def of_other(self, identity: str) -> Directories:
        """Return the directories of another container; for paths to show."""
        return Directories(self.home.parent / identity, self.run.parent / identity)

    @property
    def upper(self) -> Path:
        """What the container wrote."""
        return self.home / "upper"

    @property
    def work(self) -> Path:
        """The overlay file system's own."""
        return self.home / "work"

    @property
    def merged(self) -> Path:
        """The root file system, while it is mounted."""
        return self.home / "merged"

    @property
    def shm(self) -> Path:
        """Its /dev/shm, where other containers may join it."""
        return self.home / "shm"

    @property
    def mounts(self) -> Path:
        """What is mounted on the host to be bound from there."""
        return self.home / "mounts"

    @property
    def log(self) -> Path:
        """The log that conmon writes."""
        return self.home / "container.log"

    @property
    def hosts(self) -> Path:
        """What the container sees as /etc/hosts."""
        return self.run / "hosts"

    @property
    def hostname(self) -> Path:
        """What the container sees as /etc/hostname."""
        return self.run / "hostname"

    @property
    def resolv_conf(self) -> Path:
        """What the container sees as /etc/resolv.conf."""
        return self.run / "resolv.conf"


class Dns(msgspec.Struct, frozen=True):
    """Lines of resolv.conf; what is empty is as on the host."""

    servers: Sequence[str] = ()
    search: Sequence[str] = ()
    options: Sequence[str] = ()


class Host(msgspec.Struct, frozen=True):
    """What of the host a start needs to know: init program, kind of cgroups, names' servers.

    :ivar defaults: what containers have that do not say otherwise.
    """

    init: str | None
    unified: bool
    dns: Dns = msgspec.field(default_factory=Dns)
    defaults: ContainerDefaults = msgspec.field(default_factory=ContainerDefaults)


def mount_root(directories: Directories, layers: Sequence[Path], *, volatile: bool) -> None:
    """Mount a container's root where it is not mounted yet."""
    directories.home.mkdir(mode=0o710, exist_ok=True)
    for path in (directories.upper, directories.work, directories.merged):
        path.mkdir(mode=0o711 if path is directories.merged else 0o755, parents=True, exist_ok=True)
    if os.path.ismount(directories.merged):
        return
    if volatile:
        # The kernel refuses to mount again what was volatile, unless told that nothing was lost.
        shutil.rmtree(directories.work / "work" / "incompat", ignore_errors=True)
    try:
        mount_overlay(
            directories.merged, layers, directories.upper, directories.work, volatile=volatile
        )
    except FileNotFoundError as error:
        gone = ", ".join(path.name for path in layers if not path.is_dir())
        raise EngineError(
            f"error creating overlay mount to {directories.merged}: {error.strerror}: "
            f"the image's layer {gone} is gone"
        ) from error


def prepare(
    container: Container,
    layers: Sequence[Path],
    layout: Layout,
    sandbox: Sandbox,
    namespace: Path | None,
    joined: Joined,
    host: Host,
) -> Root:
    """Make everything that a start needs on disk, and return what was found out.

    `namespace` is the name under which the runtime finds the network namespace of `sandbox`;
    `joined` names other namespaces that are not its own.

    Raises `InvalidParameter` for what the client got wrong, `EngineError` and OSError for the
    rest. What was made stays: `unmount_root` and `remove` take it away.
    """
    config, options = container.config, container.host_config
    directories = Directories.of(layout, container.id)
    directories.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    mount_root(directories, layers, volatile=options.auto_remove)
    _make_system_directories(directories.merged)
    check_bound_files(container.staged)
    user = resolve_user(directories.merged, config.user, options.group_add or ())
    if config.working_dir:
        make_workdir(directories.merged, config.working_dir)
    if shares_ipc(options):
        _mount_shm(directories.shm, options.shm_size)
    check_proc(directories.merged, container.staged)
    _make_destinations(directories.merged, container.staged)
    devices = host_devices(options.devices or ())
    init = None
    if host.defaults.init if options.init is None else options.init:
        if host.init is None:
            raise EngineError("no init program is installed: install tini or catatonit")
        init = host.init
    return Root(
        path=directories.merged,
        user=user,
        namespace=namespace,
        files=_write_files(container, layout, sandbox, host.dns),
        mounts=container.staged,
        devices=all_devices() + devices if options.privileged else devices,
        init=init,
        unified=host.unified,
        joined=joined,
        ulimits=host.defaults.ulimits,
    )


def _make_system_directories(root: Path) -> None:
    """Make /dev, /proc and /sys plain directories of `root`, whatever the image has there.

    Where /dev is a link out of its root, runc 1.1 makes and removes names where it leads.
    """
    with opened_root(root) as directory:
        for name in ("dev", "proc", "sys"):
            kind = _kind(directory, name)
            if kind == stat.S_IFDIR:
                continue
            if kind:
                os.unlink(name, dir_fd=directory)
            os.mkdir(name, 0o755, dir_fd=directory)


def _kind(directory: int, name: str) -> int:
    """Return the kind of what is called `name` in a directory, as of `stat.S_IFMT`; 0 for none."""
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return 0


def _make_destinations(root: Path, points: Sequence[MountPoint]) -> None:
    """Make what binds and tmpfs are mounted on, beneath `root`, also where links lead nowhere.

    What cannot be made the runtime says itself, which also makes files.
    """
    for point in points:
        path = point.destination
        if point.type != TMPFS and not os.path.isdir(point.source):
            path = posixpath.dirname(path)
        # Those are mounts of the runtime's own.
        if path.split("/")[1] not in ("proc", "sys", "dev"):
            with suppress(OSError):
                make_directories(root, path)


def _write_files(
    container: Container, layout: Layout, sandbox: Sandbox, dns: Dns
) -> dict[str, Path]:
    """Write hosts, hostname and resolv.conf, and return them by where they are seen.

    A container that joined the network of another has that one's.
    """
    files = Directories.of(layout, sandbox.container)
    paths = {
        "/etc/resolv.conf": files.resolv_conf,
        "/etc/hostname": files.hostname,
        "/etc/hosts": files.hosts,
    }
    if sandbox.container == container.id:
        texts = (
            _resolv_conf(container.host_config, dns, sandbox),
            hostname_text(container.config.hostname),
            _hosts(container, sandbox),
        )
        for path, text in zip(paths.values(), texts, strict=True):
            path.write_text(text)
            path.chmod(0o644)
    return paths


def _resolv_conf(host: HostConfig, dns: Dns, sandbox: Sandbox) -> str:
    resolv = _text(_RESOLV_CONF)
    if sandbox.path is not None and is_stub(resolv):
        # Nobody but the host's own processes reaches it: its servers stand here.
        resolv = _text(_RESOLVED) or resolv
    return resolv_text(
        resolv,
        servers=host.dns or dns.servers,
        search=host.dns_search or dns.search,
        options=host.dns_options or dns.options,
        own_network=bool(sandbox.address),
    )


def _hosts(container: Container, sandbox: Sandbox) -> str:
    config, extra = container.config, container.host_config.extra_hosts or ()
    own = _text(_HOSTS) if sandbox.path is None and not extra else ""
    addresses = [endpoint.ip for endpoint in sandbox.endpoints if endpoint.ip]
    return own or hosts_text(
        config.hostname,
        config.domainname,
        addresses,
        extra,
        sandbox.host,
        container.linked.hosts,
    )


def update_hosts(container: Container, layout: Layout) -> None:
    """Write the /etc/hosts of a container that runs again, for links that changed; blocks."""
    sandbox = container.sandbox
    if sandbox is not None and sandbox.container == container.id:
        # In place: what the container has mounted is this very file.
        with suppress(OSError):
            Directories.of(layout, container.id).hosts.write_text(_hosts(container, sandbox))


def _text(path: Path) -> str:
    """Return what a file of the host holds; nothing where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _mount_shm(path: Path, size: int) -> None:
    """Mount a /dev/shm that other containers can join, where there is none yet."""
    path.mkdir(mode=0o700, exist_ok=True)
    if not os.path.ismount(path):
        flags = MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC
        mount("shm", path, "tmpfs", flags, f"mode=1777,size={size}")


def unmount_root(directories: Directories) -> None:
    """Take the mounts of a container away; nothing happens where there are none."""
    with suppress(OSError):
        unstage(directories.mounts)
    for path in (directories.merged, directories.shm):
        with suppress(FileNotFoundError, OSError):
            umount(path, UnmountFlag.DETACH)


def remove(directories: Directories) -> None:
    """Remove everything of a container from disk."""
    unmount_root(directories)
    # Raises where a volume is mounted still: what is in it stays.
    unstage(directories.mounts)
    for path in (directories.run, directories.home):
        remove_tree(path)
