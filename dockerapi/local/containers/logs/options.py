"""Options of the log drivers: what a container may say of its log, and what follows from it.

Source: dockerd's documentation of json-file and local; texts are dockerd's. Rule: names are checked
when a container is created, values when it is started, as dockerd does.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote_plus

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.logs.drivers.catalogue import KINDS
from dockerapi.local.containers.logs.drivers.message import Driver, Origin
from dockerapi.local.containers.logs.spool.rotation import Policy
from dockerapi.local.containers.logs.tag import log_tag
from dockerapi.local.containers.logs.values import boolean, number, parse_size
from dockerapi.model.containers import LogConfig
from dockerapi.model.filters import safe_search

if TYPE_CHECKING:
    from dockerapi.local.containers.container import Container

T = TypeVar("T")

#: The driver where neither a container nor the server's settings name one.
DEFAULT = "json-file"
_ROTATION = frozenset({"max-size", "max-file", "compress"})
#: The longest name that an expression is tried on.
_NAME_LIMIT = 256
_ATTRIBUTES = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
#: Of every driver. The cache is for drivers that cannot be read; here all read the same files.
_COMMON = frozenset(
    {"mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file"}
    | {"cache-compress"}
)
_OPTIONS: Mapping[str, frozenset[str]] = {
    "json-file": _ROTATION | _ATTRIBUTES,
    "local": _ROTATION,
}
_UNKNOWN = {
    "json-file": "unknown log opt '{}' for json-file log driver",
    "local": "unknown log opt '{}' for log driver local",
}
#: dockerd's defaults of the driver `local`.
_LOCAL = Policy(20 * 1024 * 1024, 5, True)


def with_default(config: LogConfig, default: LogConfig) -> LogConfig:
    """Return `config` with what it leaves open taken from `default`."""
    driver = config.type or default.type or DEFAULT
    inherited = (default.config or {}) if driver == (default.type or DEFAULT) else {}
    return LogConfig(driver, {**inherited, **(config.config or {})})


def check_options(config: LogConfig) -> None:
    """Raise `InvalidParameter` for a driver that is not there, and options that it has not."""
    driver = config.type or DEFAULT
    if driver == "none":
        return
    kind = KINDS.get(driver)
    known = _OPTIONS.get(driver) if kind is None else kind.options | _ATTRIBUTES
    if known is None:
        raise InvalidParameter(
            f'error looking up logging plugin {driver}: plugin "{driver}" not found'
        )
    options = config.config or {}
    _check_mode(options)
    unknown = _UNKNOWN[driver] if kind is None else kind.unknown
    for name in sorted(options):
        if name not in known | _COMMON:
            raise InvalidParameter(unknown.format(name))
    if kind is not None:
        try:
            _is_cached(options)
            kind.check(options)
        except ValueError as error:
            raise InvalidParameter(str(error)) from None


def _is_cached(options: Mapping[str, str]) -> bool:
    """Tell whether the log of a driver that sends elsewhere can be read; raises ValueError."""
    text = options.get("cache-disabled", "false")
    try:
        return not boolean(text)
    except ValueError:
        raise ValueError(f"invalid value for option cache-disabled: {text}") from None


def _check_mode(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidParameter(f"logger: logging mode not supported: {mode}")
    buffer = options.get("max-buffer-size")
    if buffer is None:
        return
    if mode != "non-blocking":
        raise InvalidParameter(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
        )
    try:
        parse_size(buffer)
    except ValueError as error:
        raise InvalidParameter(f"error parsing option max-buffer-size: {error}") from None


def can_be_read(config: LogConfig) -> bool:
    """Tell whether `docker logs` shows the log of a container with this driver."""
    return config.type != "none" and (config.type not in KINDS or _is_cached(config.config or {}))


def policy_of(config: LogConfig) -> Policy:
    """Return how the log of a container is rotated; raise `EngineError` for values that cannot be.

    What `check_options` has not let pass is not looked at.
    """
    options = config.config or {}
    try:
        if config.type in KINDS:
            return _local({name.removeprefix("cache-"): text for name, text in options.items()})
        return _local(options) if config.type == "local" else _json_file(options)
    except ValueError as error:
        raise EngineError(str(error)) from None


def _json_file(options: Mapping[str, str]) -> Policy:
    max_size, max_files, compress = None, 1, False
    if "max-size" in options:
        max_size = parse_size(options["max-size"])
        if max_size <= 0:
            raise ValueError("max-size must be a positive number")
    if "max-file" in options:
        max_files = number(options["max-file"])
        if max_files < 1:
            raise ValueError("max-file cannot be less than 1")
    if "compress" in options:
        compress = boolean(options["compress"])
        if compress and (max_files == 1 or max_size is None):
            raise ValueError(
                "compress cannot be true when max-file is less than 2 or max-size is not set"
            )
    return Policy(max_size, max_files, compress)


def _local(options: Mapping[str, str]) -> Policy:
    def value(name: str, read: Callable[[str], T], default: T, text: str) -> T:
        try:
            return read(options[name]) if name in options else default
        except ValueError as error:
            raise ValueError(f"{text}: {error}") from None

    size, files = options.get("max-size", ""), options.get("max-file", "")
    max_size = value("max-size", parse_size, _LOCAL.max_size, f"invalid value for max-size: {size}")
    max_files = value("max-file", number, _LOCAL.max_files, f"invalid value for max-file: {files}")
    compress = value("compress", boolean, _LOCAL.compress, "error reading compress log option")
    if max_files < 0:
        raise ValueError("max file count cannot be less than 0")
    if compress and max_files <= 1:
        raise ValueError("compression cannot be enabled when max file count is 1")
    return Policy(max_size or None, max(max_files, 1), compress)


def attributes(container: Container) -> dict[str, str]:
    """Return what of labels, environment and names a container's log options choose.

    Raises `EngineError` for expressions that are none.
    """
    options = container.host_config.log_config.config or {}
    labels = container.config.labels or {}
    pairs = (entry.partition("=") for entry in container.config.env or ())
    environment = {name: value for name, separator, value in pairs if separator}
    found: dict[str, str] = {}
    for option, values in (("labels", labels), ("env", environment)):
        wanted = options.get(option, "").split(",")
        found |= {name: values[name] for name in wanted if name in values}
        if expression := options.get(f"{option}-regex"):
            found |= {name: values[name] for name in _matching(expression, values)}
    return found


def make_driver(container: Container, reactor: object) -> Driver | None:
    """Return what sends the log of `container` elsewhere, if that is wanted.

    Raises `EngineError` in dockerd's words for what cannot be.
    """
    log = container.host_config.log_config
    kind = KINDS.get(log.type)
    if kind is None:
        return None
    options = log.config or {}
    origin = Origin(
        id=container.id,
        name=container.name,
        image=container.image,
        image_name=container.config.image,
        command=" ".join([container.path, *container.arguments]),
        created_at=container.created_at,
        hostname=socket.gethostname(),
        tag=log_tag(options.get("tag") or kind.tag, container),
        attributes=attributes(container),
    )
    try:
        return kind.make(options, origin, reactor)
    except ValueError as error:
        raise EngineError(str(error)) from None


def _matching(expression: str, names: Iterable[str]) -> Iterator[str]:
    search = safe_search(expression)
    if search is None:
        raise EngineError(f"error parsing regexp: invalid or too complex: `{expression}`")
    return (name for name in names if len(name) <= _NAME_LIMIT and search(name))


def details(container: Container) -> bytes:
    """Return what `docker logs --details` shows before each line; raises as `attributes`."""
    log = container.host_config.log_config
    if log.type not in ("", DEFAULT):
        # What other drivers keep for being read has none.
        return b""
    found = attributes(container)
    if tag := log_tag((log.config or {}).get("tag", ""), container):
        found["tag"] = tag
    pairs = sorted(found.items())
    quoted = (f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)
    return ",".join(quoted).encode()
