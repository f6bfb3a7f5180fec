"""Settings of the daemon: one immutable value, whose fields are the options.

Rule: every option is one field here; the command line, the configuration file and the table in
docs/configuration.md are read off the fields.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
import msgspec

from dockerapi.engine.errors import InvalidParameter
from dockerapi.model.defaults import ContainerDefaults
from dockerapi.model.malformed import Malformed
from dockerapi.model.versions import ANCIENT, NEWEST, OLDEST, Version
from dockerapi.server.hosts import DEFAULT_HOST


class Kind(Enum):
    """How an option is written."""

    FLAG = "flag"
    TEXT = "text"
    LIST = "list"
    PAIRS = "pairs"
    PROGRAMS = "programs"  # pairs on the command line; in daemon.json objects with a path
    LIMITS = "limits"  # pairs on the command line; in daemon.json objects with Soft and Hard
    NUMBER = "number"
    SECONDS = "seconds"
    VERSION = "version"


#: What may be given more than once.
MANY = (Kind.LIST, Kind.PAIRS, Kind.PROGRAMS, Kind.LIMITS)


class Option(msgspec.Struct, frozen=True):
    """An option: a field of `Settings` with its names.

    :ivar field: the field's name.
    :ivar name: its long name on the command line, without the dashes.
    :ivar short: its one-letter name, or None.
    :ivar key: its key in daemon.json (dockerd's where dockerd has it), or None.
    :ivar negation: whether ``--no-NAME`` exists.
    :ivar metavar: what stands for its value in a usage text.
    """

    field: str
    name: str
    short: str | None
    key: str | None
    kind: Kind
    help: str
    default: Any
    negation: bool
    metavar: str


def _option(
    kind: Kind,
    name: str,
    help: str,
    *,
    default: Any = None,
    factory: Any = None,
    short: str | None = None,
    key: str | None = "",
    negation: bool = False,
    metavar: str = "",
) -> Any:
    """Declare a field with its option; `key` is the option's name unless it is given."""
    metadata = {
        "option": {
            "kind": kind,
            "name": name,
            "help": help,
            "short": short,
            "key": name if key == "" else key,
            "negation": negation,
            "metavar": metavar or kind.value.upper(),
        }
    }
    if kind in MANY:
        return attrs.field(default=(), converter=tuple, metadata=metadata)
    if factory is not None:
        return attrs.field(factory=factory, metadata=metadata)
    return attrs.field(default=default, metadata=metadata)


def certificate_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where TLS files lie by default: DOCKER_CERT_PATH, else ~/.docker."""
    given = environ.get("DOCKER_CERT_PATH")
    return Path(given) if given else Path("~/.docker").expanduser()


def _certificate_file(name: str) -> Any:
    return lambda: str(certificate_directory() / name)


def _debug_asked_for() -> bool:
    return bool(os.environ.get("DEBUG"))


@attrs.frozen(kw_only=True)
class Settings:
    """How the daemon serves; every field has dockerd's default where dockerd has the option."""

    hosts: tuple[str, ...] = _option(
        Kind.LIST,
        "host",
        f"Where to listen: tcp://, unix://, ssl:// or fd:// (default {DEFAULT_HOST})",
        short="H",
        key="hosts",
        metavar="HOST",
    )
    endpoints: tuple[str, ...] = _option(
        Kind.LIST,
        "endpoint",
        "Where to listen, as an endpoint description of Twisted's",
        key="endpoints",
        metavar="DESCRIPTION",
    )
    group: str = _option(
        Kind.TEXT, "group", "Group of unix sockets", default="docker", short="G", metavar="GROUP"
    )
    backlog: int = _option(
        Kind.NUMBER, "backlog", "How many clients can wait on a port", default=4096
    )
    buffer_requests: bool = _option(
        Kind.FLAG,
        "buffer-requests",
        "Let clients wait until the engine has started",
        default=True,
        negation=True,
    )
    tls: bool = _option(Kind.FLAG, "tls", "Serve TCP with TLS; implied by --tlsverify")
    tlsverify: bool = _option(
        Kind.FLAG, "tlsverify", "Serve TCP with TLS and let in only clients with a certificate"
    )
    tlscacert: str = _option(
        Kind.TEXT,
        "tlscacert",
        "Trust client certificates of these authorities only (default ~/.docker/ca.pem)",
        factory=_certificate_file("ca.pem"),
        metavar="FILE",
    )
    tlscert: str = _option(
        Kind.TEXT,
        "tlscert",
        "The server's certificate (default ~/.docker/cert.pem)",
        factory=_certificate_file("cert.pem"),
        metavar="FILE",
    )
    tlskey: str = _option(
        Kind.TEXT,
        "tlskey",
        "The key of the server's certificate (default ~/.docker/key.pem)",
        factory=_certificate_file("key.pem"),
        metavar="FILE",
    )
    insecure_tcp: bool = _option(
        Kind.FLAG,
        "insecure-tcp",
        "Let other machines use TCP hosts without a client certificate: they are root here then",
    )
    engine: str = _option(
        Kind.TEXT,
        "engine",
        "Forward to the engine at unix:///PATH or tcp://HOST:PORT instead of running containers",
        default="embedded",
        metavar="ENGINE",
    )
    data_root: str = _option(
        Kind.TEXT,
        "data-root",
        "Where images, containers and volumes are kept",
        default="/var/lib/dockerapi",
        metavar="DIRECTORY",
    )
    exec_root: str = _option(
        Kind.TEXT,
        "exec-root",
        "Where what lasts until the next boot is kept",
        default="/run/dockerapi",
        metavar="DIRECTORY",
    )
    default_runtime: str = _option(
        Kind.TEXT,
        "default-runtime",
        "OCI runtime of containers: runc, crun or a path (default: the best that is found)",
        default="",
        metavar="RUNTIME",
    )
    runtimes: tuple[str, ...] = _option(
        Kind.PROGRAMS,
        "add-runtime",
        "A further OCI runtime that containers can choose",
        key="runtimes",
        metavar="NAME=PATH",
    )
    log_driver: str = _option(
        Kind.TEXT,
        "log-driver",
        "Log driver of containers that choose none",
        default="json-file",
        metavar="DRIVER",
    )
    log_opts: tuple[str, ...] = _option(
        Kind.PAIRS,
        "log-opt",
        "Option of the log driver, for containers that use this one",
        key="log-opts",
        metavar="NAME=VALUE",
    )
    default_ulimits: tuple[str, ...] = _option(
        Kind.LIMITS,
        "default-ulimit",
        "Limit of containers that have none of this name",
        key="default-ulimits",
        metavar="NAME=SOFT[:HARD]",
    )
    default_shm_size: str = _option(
        Kind.TEXT,
        "default-shm-size",
        "Size of /dev/shm in containers that say none",
        default="64M",
        metavar="SIZE",
    )
    default_ipc_mode: str = _option(
        Kind.TEXT,
        "default-ipc-mode",
        "IPC mode of containers that choose none: private or shareable",
        default="private",
        metavar="MODE",
    )
    init: bool = _option(
        Kind.FLAG, "init", "Run an init program in containers that do not say whether"
    )
    insecure_registries: tuple[str, ...] = _option(
        Kind.LIST,
        "insecure-registry",
        "Speak to this registry without TLS or without verifying it",
        key="insecure-registries",
        metavar="HOST[:PORT]",
    )
    registry_mirrors: tuple[str, ...] = _option(
        Kind.LIST,
        "registry-mirror",
        "Pull images of Docker Hub from this mirror first",
        key="registry-mirrors",
        metavar="URL",
    )
    bip: str = _option(
        Kind.TEXT, "bip", "Address and network of the default bridge", default="", metavar="CIDR"
    )
    dns: tuple[str, ...] = _option(Kind.LIST, "dns", "DNS server of containers", metavar="ADDRESS")
    dns_opts: tuple[str, ...] = _option(
        Kind.LIST, "dns-opt", "DNS option of containers", key="dns-opts", metavar="OPTION"
    )
    dns_search: tuple[str, ...] = _option(
        Kind.LIST, "dns-search", "DNS search domain of containers", metavar="DOMAIN"
    )
    labels: tuple[str, ...] = _option(
        Kind.LIST, "label", "Label of this engine, as shown by info", key="labels", metavar="K=V"
    )
    events_history: int = _option(
        Kind.NUMBER,
        "events-history",
        "How many events of the past are kept, across restarts; 0: the latest, in memory only",
        default=10_000,
    )
    api_enable_cors: bool = _option(
        Kind.FLAG, "api-enable-cors", "Let browser pages of every origin use the API"
    )
    api_cors_header: str = _option(
        Kind.TEXT,
        "api-cors-header",
        "Let browser pages of these origins use the API",
        default="",
        metavar="ORIGIN[,ORIGIN]",
    )
    allowed_hosts: tuple[str, ...] = _option(
        Kind.LIST,
        "allowed-host",
        "Name by which clients may call this server over TCP, besides its own",
        key="allowed-hosts",
        metavar="NAME",
    )
    min_api_version: Version = _option(  # noqa: RUF009
        Kind.VERSION,
        "min-api-version",
        f"Oldest API version that is served, down to {ANCIENT}",
        default=OLDEST,
    )
    debug: bool = _option(
        Kind.FLAG,
        "debug",
        "Serve /debug on unix sockets and verified TLS (default: whether DEBUG is set)",
        factory=_debug_asked_for,
        short="D",
    )
    shutdown_timeout: float = _option(
        Kind.SECONDS,
        "shutdown-timeout",
        "How long running requests may take at the end",
        default=15.0,
    )
    stop_containers: bool = _option(
        Kind.FLAG, "stop-containers", "Stop all containers at the end; else they run on"
    )
    idle_exit: float = _option(
        Kind.SECONDS,
        "idle-exit",
        "End a socket-activated server after so long without use; 0 never",
        default=0.0,
    )

    raise_priority: bool = _option(
        Kind.FLAG,
        "raise-priority",
        "Answer before other processes of this machine get on, where the kernel allows it",
        default=True,
        negation=True,
    )

    def __attrs_post_init__(self) -> None:
        """Check what no single value shows; raises `InvalidParameter`."""
        try:
            ContainerDefaults.parse(
                self.default_ulimits,
                self.default_shm_size,
                self.default_ipc_mode,
                init=self.init,
            )
        except Malformed as malformed:
            raise InvalidParameter(malformed.message) from malformed
        if not 0 < self.backlog <= 2**31 - 1:
            raise InvalidParameter(f"invalid backlog {self.backlog}: want 1 or more")
        if not 0 <= self.events_history <= 10_000_000:
            raise InvalidParameter(f"invalid events-history {self.events_history}: want 0 or more")
        for name in ("shutdown_timeout", "idle_exit"):
            if not 0 <= getattr(self, name) < 1e9:
                raise InvalidParameter(f"invalid {name.replace('_', '-')}: want seconds, 0 or more")
        if not ANCIENT <= self.min_api_version <= NEWEST:
            raise InvalidParameter(
                f"invalid minimum API version {self.min_api_version}: want {ANCIENT} to {NEWEST}"
            )
        if self.engine != "embedded" and not self.engine.startswith(("unix://", "tcp://")):
            raise InvalidParameter(
                f"invalid engine {self.engine}: want unix:///PATH or tcp://HOST:PORT"
            )

    @property
    def listen_on(self) -> tuple[str, ...]:
        """The arguments of the job `serveapi`: the hosts, and the endpoints as such."""
        described = tuple(f"endpoint://{description}" for description in self.endpoints)
        return self.hosts + described or (DEFAULT_HOST,)

    @property
    def cors_origins(self) -> tuple[str, ...]:
        """The origins of `api_cors_header`, or ``*`` for all; empty when CORS is off."""
        origins = (origin.strip() for origin in self.api_cors_header.split(","))
        given = tuple(origin for origin in origins if origin)
        return given or (("*",) if self.api_enable_cors else ())


_DEFAULTS = Settings()


def options() -> Iterator[Option]:
    """Give the options in the order of the fields."""
    for field in attrs.fields(Settings):
        default = getattr(_DEFAULTS, field.name)
        yield Option(field=field.name, default=default, **field.metadata["option"])


def convert(option: Option, value: str) -> Any:
    """Read a value as it is written on the command line; raises ValueError."""
    match option.kind:
        case Kind.NUMBER:
            return int(value)
        case Kind.SECONDS:
            return float(value)
        case Kind.VERSION:
            return Version.parse(value)
    return value
