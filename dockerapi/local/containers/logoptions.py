"""Options of the log drivers: what a container may say of its log, and what follows from it.

Source: dockerd's documentation of json-file and local; texts are dockerd's. Rule: names are checked
when a container is created, values when it is started, as dockerd does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote_plus

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.logtag import log_tag
from dockerapi.local.containers.spool.rotation import Policy
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
_SUFFIXES = "kmgtp"
_SIZE = re.compile(r"([\d. ]*\d\.?) ?([^\d. ]*)", re.ASCII)


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
    known = _OPTIONS.get(driver)
    if known is None:
        raise InvalidParameter(
            f'error looking up logging plugin {driver}: plugin "{driver}" not found'
        )
    options = config.config or {}
    _check_mode(options)
    for name in sorted(options):
        if name not in known | _COMMON:
            raise InvalidParameter(_UNKNOWN[driver].format(name))


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


def policy_of(config: LogConfig) -> Policy:
    """Return how the log of a container is rotated; raise `EngineError` for values that cannot be.

    What `check_options` has not let pass is not looked at.
    """
    options = config.config or {}
    try:
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
        max_files = _number(options["max-file"])
        if max_files < 1:
            raise ValueError("max-file cannot be less than 1")
    if "compress" in options:
        compress = _boolean(options["compress"])
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
    max_files = value("max-file", _number, _LOCAL.max_files, f"invalid value for max-file: {files}")
    compress = value("compress", _boolean, _LOCAL.compress, "error reading compress log option")
    if max_files < 0:
        raise ValueError("max file count cannot be less than 0")
    if compress and max_files <= 1:
        raise ValueError("compression cannot be enabled when max file count is 1")
    return Policy(max_size or None, max(max_files, 1), compress)


def parse_size(text: str) -> int:
    """Read ``10m`` (10,000,000) as bytes; raise ValueError in the words of Docker's go-units."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid size: '{text}'")
    suffix = match[2].lower()
    try:
        number = float(match[1])
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{match[1]}": invalid syntax') from None
    if suffix in ("", "b"):
        return int(number)
    if suffix[0] not in _SUFFIXES or suffix[1:] not in ("", "b", "ib"):
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(number * 1000 ** (_SUFFIXES.index(suffix[0]) + 1))


def _number(text: str) -> int:
    if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII) is None:
        raise ValueError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _boolean(text: str) -> bool:
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


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
    if tag := log_tag(options.get("tag", ""), container):
        found["tag"] = tag
    return found


def _matching(expression: str, names: Iterable[str]) -> Iterator[str]:
    search = safe_search(expression)
    if search is None:
        raise EngineError(f"error parsing regexp: invalid or too complex: `{expression}`")
    return (name for name in names if len(name) <= _NAME_LIMIT and search(name))


def details(container: Container) -> bytes:
    """Return what `docker logs --details` shows before each line; raises as `attributes`."""
    if container.host_config.log_config.type == "local":
        # The driver keeps none.
        return b""
    pairs = sorted(attributes(container).items())
    quoted = (f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)
    return ",".join(quoted).encode()
