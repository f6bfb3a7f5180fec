"""The vocabulary of containers: what ContainerCreate asks for, typed.

Source: `ContainerCreate`, `ContainerConfig`, `HostConfig` and `Resources` of the specification.
Rule: names and defaults are the API's own, so that inspect can give back what create was told.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

#: A list of words that clients may also send as one text.
Words = list[str] | str | None


class Healthcheck(Struct, rename="pascal"):
    """A test of a container's health; times in nanoseconds."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    retries: int = 0
    start_period: int = 0
    start_interval: int = 0


class ContainerConfig(Struct, rename="pascal"):
    """The part of a container that is portable between hosts."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, dict[str, Any]] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: Words = None
    healthcheck: Healthcheck | None = None
    image: str = ""
    volumes: dict[str, dict[str, Any]] | None = None
    working_dir: str = ""
    entrypoint: Words = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: list[str] | None = None

    def words(self) -> list[str]:
        """Return the whole command: the entry point and what follows it."""
        return [*as_words(self.entrypoint), *as_words(self.cmd)]


def as_words(words: Words) -> list[str]:
    """Return `words` as a list; a text is a list of one."""
    if words is None:
        return []
    return [words] if isinstance(words, str) else words


class LogConfig(Struct, rename="pascal"):
    """Which log driver writes a container's log, and its options."""

    type: str = ""
    config: dict[str, str] | None = None


class PortBinding(Struct, rename="pascal"):
    """An address of the host that a port is published on."""

    host_ip: str = ""
    host_port: str = ""


class RestartPolicy(Struct, rename="pascal"):
    """When a container that ended is started again."""

    name: str = ""
    maximum_retry_count: int = 0


class Ulimit(Struct, rename="pascal"):
    """A resource limit of a container's processes (setrlimit(2)); -1 is no limit."""

    name: str = ""
    soft: int = 0
    hard: int = 0


class Device(Struct, rename="pascal"):
    """A device of the host given to a container."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Struct, rename="pascal"):
    """Devices that a driver is to find; `capabilities` are alternatives, each of several words."""

    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = field(default=None, name="DeviceIDs")
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class WeightDevice(Struct, rename="pascal"):
    """A device of the host and its weight for block I/O."""

    path: str = ""
    weight: int = 0


class ThrottleDevice(Struct, rename="pascal"):
    """A device of the host and what may be read or written in a second: bytes or operations."""

    path: str = ""
    rate: int = 0


class BindOptions(Struct, rename="pascal"):
    """How a directory of the host is mounted."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class DriverConfig(Struct, rename="pascal"):
    """The driver of a volume, and its options."""

    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(Struct, rename="pascal"):
    """What a volume is to be, where it is made for a container, and what of it is mounted."""

    no_copy: bool = False
    labels: dict[str, str] | None = None
    driver_config: DriverConfig | None = None
    subpath: str = ""


class ImageOptions(Struct, rename="pascal"):
    """What of an image is mounted."""

    subpath: str = ""


class TmpfsOptions(Struct, rename="pascal"):
    """Size in bytes and mode of a tmpfs."""

    size_bytes: int = 0
    mode: int = 0
    options: list[list[str]] | None = None


class Mount(Struct, rename="pascal"):
    """One mount of a container, in the API's newer form."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class HostConfig(Struct, rename="pascal"):
    """The part of a container that concerns its host, resources included.

    Memory in bytes; `nano_cpus` in billionths of a processor; `cpu_period` and `cpu_quota` in
    microseconds; 0 is unset.
    """

    binds: list[str] | None = None
    container_id_file: str = field(default="", name="ContainerIDFile")
    log_config: LogConfig = field(default_factory=LogConfig)
    network_mode: str = ""
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    console_size: list[int] = field(default_factory=lambda: [0, 0])
    annotations: dict[str, str] | None = None
    cap_add: Words = None
    cap_drop: Words = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | None = None
    tmpfs: dict[str, str] | None = None
    uts_mode: str = field(default="", name="UTSMode")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] | None = None
    runtime: str = ""
    isolation: str = ""
    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = field(
        default=None, name="BlkioDeviceReadIOps"
    )
    blkio_device_write_iops: list[ThrottleDevice] | None = field(
        default=None, name="BlkioDeviceWriteIOps"
    )
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[Device] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = field(default=0, name="IOMaximumIOps")
    io_maximum_bandwidth: int = field(default=0, name="IOMaximumBandwidth")
    mounts: list[Mount] | None = None
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    init: bool | None = None


class EndpointAddresses(Struct, rename="pascal"):
    """The addresses that a container is to have on one network (`EndpointIPAMConfig`)."""

    ipv4_address: str = field(default="", name="IPv4Address")
    ipv6_address: str = field(default="", name="IPv6Address")
    link_local_ips: list[str] | None = field(default=None, name="LinkLocalIPs")


class EndpointSettings(Struct, rename="pascal"):
    """What a container is to be on one network, as far as a client chooses it."""

    ipam_config: EndpointAddresses | None = field(default=None, name="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    driver_opts: dict[str, str] | None = None
    gw_priority: int = 0
    mac_address: str = ""


class NetworkingConfig(Struct, rename="pascal"):
    """The networks that a container is to be part of, by name."""

    endpoints_config: dict[str, EndpointSettings | None] | None = None


class CreateBody(ContainerConfig, rename="pascal"):
    """The body of ContainerCreate.

    :ivar runtime: the runtime where docker-py's ``create_container`` names it. It is no member of
        the specification, and may be anything.
    """

    host_config: HostConfig | None = None
    networking_config: NetworkingConfig | None = None
    runtime: Any = None

    def container_config(self) -> ContainerConfig:
        """Return the body's portable part alone."""
        return ContainerConfig(
            **{name: getattr(self, name) for name in ContainerConfig.__struct_fields__}
        )


def to_api(value: Struct) -> dict[str, Any]:
    """Return `value` as JSON-able data under the API's names."""
    document: dict[str, Any] = msgspec.to_builtins(value)
    return document
