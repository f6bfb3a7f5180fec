"""From a create request to a container: merged with its image, checked, its defaults set.

Source: ContainerCreate of the specification; rules and texts are dockerd's. Rule: what is not
honoured is named in a warning, never dropped in silence.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from socket import gethostname
from typing import Any

from msgspec import structs

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.creation.endpoints import (
    checked_mac,
    endpoint_warnings,
    stored_endpoints,
)
from dockerapi.local.containers.creation.networking import (
    check_networking,
    exposed_with_bindings,
    network_warnings,
)
from dockerapi.local.containers.health.health import inherited
from dockerapi.local.containers.life.restarting import check_policy
from dockerapi.local.containers.logs.options import check_options
from dockerapi.local.containers.mounts.parsing import parse_mounts
from dockerapi.local.containers.mounts.rules import clean
from dockerapi.local.containers.needs import Image
from dockerapi.local.containers.runtime.namespaces import check_modes
from dockerapi.local.containers.runtime.resources import (
    CgroupSupport,
    adapt_resources,
    check_resources,
)
from dockerapi.local.containers.runtime.spec import (
    granted_capabilities,
    masked_paths,
    readonly_paths,
)
from dockerapi.local.containers.security.devices import device_rules
from dockerapi.local.containers.security.options import SecurityOptions
from dockerapi.local.containers.security.profiles import parse_profile
from dockerapi.local.containers.security.workdir import check_workdir
from dockerapi.local.containers.security.zeros import refuse_zero_bytes
from dockerapi.local.containers.signals import parse_signal
from dockerapi.model.container_requests import CreateRequest
from dockerapi.model.containers import (
    ContainerConfig,
    CreateBody,
    Healthcheck,
    HostConfig,
    LogConfig,
    RestartPolicy,
    as_words,
)
from dockerapi.model.versions import NEWEST, Version

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
#: Blanks and control characters, which would be lines and words of their own in /etc/hosts.
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_MILLISECOND = 1_000_000
_HEALTH_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
}


def new_container(
    request: CreateRequest,
    image: Image,
    name: str,
    owner: str,
    support: CgroupSupport,
    version: Version = NEWEST,
) -> tuple[Container, list[str]]:
    """Return the container that `request` asks for, and warnings.

    `name` was checked by `check_name`, the body by `check_body`. Raises `InvalidParameter` in
    dockerd's words for what can never be.
    """
    identity = secrets.token_hex(32)
    config = merge_config(request.body, image.config)
    if not config.words():
        raise InvalidParameter("no command specified")
    if config.working_dir:
        check_workdir(config.working_dir, config.working_dir)
    host, warnings = adapt_host(request.body.host_config or HostConfig(), support)
    config.exposed_ports = exposed_with_bindings(config, host)
    config.mac_address = checked_mac(request.body, version)
    if not config.hostname:
        config.hostname = gethostname() if host.network_mode == "host" else identity[:12]
    container = Container(
        id=identity,
        name=name,
        created_at=time.time_ns(),
        owner=owner,
        image=image.id,
        body=request.received,
        config=config,
        host_config=host,
        endpoints=stored_endpoints(request.received),
    )
    return container, warnings + list(_ignored(container, request.body))


def adapt_host(host: HostConfig, support: CgroupSupport) -> tuple[HostConfig, list[str]]:
    """Return what a container keeps of a host configuration, and warnings."""
    host, warnings = adapt_resources(host, support)
    host = _with_defaults(host, support)
    host.console_size = [*host.console_size, 0, 0][:2]
    for field in ("cap_add", "cap_drop"):
        words = getattr(host, field)
        setattr(host, field, words if words is None else as_words(words))
    return host, warnings


def check_name(name: str) -> str:
    """Return `name` without the slash that old clients write; raise `InvalidParameter`."""
    bare = name.removeprefix("/")
    if _NAME.fullmatch(bare) is None:
        raise InvalidParameter(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return bare


def merge_config(body: CreateBody, image: Mapping[str, Any]) -> ContainerConfig:
    """Return the body's config with what its image adds; `image` is an OCI image configuration."""
    config = body.container_config()
    defaults: Mapping[str, Any] = image.get("config") or {}
    entrypoint, command = as_words(config.entrypoint), as_words(config.cmd)
    reset = entrypoint == [""]
    if not entrypoint:
        command = command or list(defaults.get("Cmd") or ())
        if config.entrypoint is None:
            config.entrypoint = list(defaults.get("Entrypoint") or ()) or None
    if entrypoint:
        # A text is shown as a list of one.
        config.entrypoint = entrypoint
    if reset:
        config.entrypoint = None
    config.cmd = command or None
    config.user = config.user or defaults.get("User") or ""
    workdir = config.working_dir or defaults.get("WorkingDir") or ""
    config.working_dir = clean(workdir) if workdir else ""
    config.stop_signal = config.stop_signal or defaults.get("StopSignal") or ""
    config.healthcheck = inherited(config.healthcheck, defaults.get("Healthcheck"))
    own = {entry.partition("=")[0] for entry in config.env or ()}
    inherited_env = [
        entry for entry in defaults.get("Env") or () if entry.partition("=")[0] not in own
    ]
    config.env = [*(config.env or ()), *inherited_env] or None
    config.labels = {**(defaults.get("Labels") or {}), **(config.labels or {})}
    for field, theirs in (("exposed_ports", "ExposedPorts"), ("volumes", "Volumes")):
        merged = {**(defaults.get(theirs) or {}), **(getattr(config, field) or {})}
        setattr(config, field, merged or None)
    return config


def check_body(config: ContainerConfig, host: HostConfig, version: Version = NEWEST) -> None:
    """Raise `InvalidParameter` for what can never be, `NotSupported` for what cannot be yet."""
    refuse_zero_bytes(config, host)
    _check_config(config)
    _check_policy(host)
    check_resources(host)
    granted_capabilities(host)
    options = SecurityOptions.parse(host.security_opt or ())
    if options.seccomp_profile:
        parse_profile(options.seccomp_profile)
    device_rules((), host.device_cgroup_rules or (), host.privileged)
    parse_mounts(host, version)
    check_networking(config, host)
    check_modes(host)
    _check_refused(host)


def _check_refused(host: HostConfig) -> None:
    """Raise for what dockerd has and this engine cannot do."""
    if host.storage_opt:
        raise InvalidParameter(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
        )


def _check_config(config: ContainerConfig) -> None:
    for title, text in (("hostname", config.hostname), ("domainname", config.domainname)):
        if _BLANK.search(text):
            raise InvalidParameter(f"invalid {title} format: {text!r}")
    if config.working_dir:
        if not config.working_dir.startswith("/"):
            raise InvalidParameter(
                f"the working directory '{config.working_dir}' is invalid, "
                "it needs to be an absolute path"
            )
        check_workdir(config.working_dir, config.working_dir)
    if config.stop_signal:
        parse_signal(config.stop_signal)
    for entry in config.env or ():
        if not entry.partition("=")[0]:
            raise InvalidParameter(f"invalid environment variable: {entry}")
    if config.healthcheck is not None:
        _check_health(config.healthcheck)


def _check_health(health: Healthcheck) -> None:
    for name, title in _HEALTH_TIMES.items():
        if 0 < getattr(health, name) < _MILLISECOND or getattr(health, name) < 0:
            raise InvalidParameter(f"{title} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")


def _check_policy(host: HostConfig) -> None:
    check_policy(host.restart_policy)
    for part in host.console_size:
        if part < 0:
            raise InvalidParameter(
                f"invalid JSON: json: cannot unmarshal number {part} into "
                ".HostConfig.ConsoleSize of type uint"
            )
    if host.auto_remove and host.restart_policy.name not in ("", "no"):
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")
    check_options(host.log_config)
    if "" in (host.annotations or ()):
        raise InvalidParameter(
            "invalid Annotations: the empty string is not permitted as an annotation key"
        )
    if host.isolation not in ("", "default"):
        raise InvalidParameter(
            f"invalid isolation ({host.isolation}): linux only supports 'default'"
        )


def _with_defaults(host: HostConfig, support: CgroupSupport) -> HostConfig:
    """Return `host` with what dockerd shows where a client said nothing."""
    log, policy = host.log_config, host.restart_policy
    return structs.replace(
        host,
        network_mode="bridge" if host.network_mode in ("", "default") else host.network_mode,
        port_bindings=host.port_bindings or {},
        ipc_mode=host.ipc_mode or "private",
        cgroupns_mode=host.cgroupns_mode or ("private" if support.unified else "host"),
        shm_size=host.shm_size or 64 * 1024 * 1024,
        runtime=host.runtime or "runc",
        log_config=LogConfig(log.type or "json-file", log.config or {}),
        restart_policy=RestartPolicy(policy.name or "no", policy.maximum_retry_count),
        oom_kill_disable=bool(host.oom_kill_disable),
        security_opt=_security_options(host),
        masked_paths=None if host.privileged else masked_paths(host),
        readonly_paths=None if host.privileged else readonly_paths(host),
    )


def _security_options(host: HostConfig) -> list[str] | None:
    """Return the options given, or what dockerd says of a container that shares the host's."""
    shares = host.privileged or "host" in (host.ipc_mode, host.pid_mode)
    return ["label=disable"] if shares and host.security_opt is None else host.security_opt


def _ignored(container: Container, body: CreateBody) -> Iterator[str]:
    """Give a warning for everything that has no effect yet."""
    host = container.host_config
    yield from network_warnings(host)
    yield from endpoint_warnings(body)
