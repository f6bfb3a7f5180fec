"""Changes of an image's configuration, written as instructions of a Dockerfile.

Source: the parameter `changes` of ImageCreate and ImageCommit; dockerd's texts. Rule: pure; an
instruction that an image cannot have is refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from dockerapi.local.images.words import expand, split
from dockerapi.model.malformed import Malformed

Config = dict[str, Any]

_SHELL = ["/bin/sh", "-c"]
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)


def apply_changes(config: Config, changes: Sequence[str]) -> Config:
    """Return `config` with the instructions carried out, in order.

    Raises `Malformed` for an instruction that cannot be a change, or is malformed.
    """
    result = dict(config)
    has_command = False
    for text in changes:
        for line in re.sub(r"\\[ \t]*\n", "", text).splitlines():
            stripped = line.strip()
            if stripped and not stripped.startswith("#"):
                word = stripped.split(None, 1)[0].lower()
                _apply(result, stripped)
                has_command = has_command or word == "cmd"
                if word == "entrypoint" and not has_command:
                    # What was there before were the arguments of another program.
                    result["Cmd"] = None
    return result


def _apply(config: Config, line: str) -> None:
    word, *rest = line.split(None, 1)
    name = word.lower()
    instruction = _INSTRUCTIONS.get(name)
    if instruction is None:
        raise Malformed(f"{word} is not a valid change command")
    if not rest:
        number = "exactly" if name in ("user", "workdir", "stopsignal") else "at least"
        raise Malformed(f"{name.upper()} requires {number} one argument")
    instruction(config, rest[0])


def _command(config: Config, text: str) -> list[str]:
    return _json_list(text) or [*(config.get("Shell") or _SHELL), text]


def _cmd(config: Config, text: str) -> None:
    config["Cmd"] = _command(config, text)


def _entrypoint(config: Config, text: str) -> None:
    config["Entrypoint"] = _command(config, text)


def _env(config: Config, text: str) -> None:
    values = _variables(config)
    values.update(_pairs(config, "ENV", text))
    config["Env"] = [f"{key}={value}" for key, value in values.items()]


def _label(config: Config, text: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(config, "LABEL", text))}


def _expose(config: Config, text: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in (_filled(config, word) for word in split(text)):
        match = _PORT.fullmatch(word)
        if match is None:
            raise Malformed(f"Invalid containerPort: {word}")
        first = int(match[1])
        last = int(match[2] or first)
        if not first <= last <= 65535:
            raise Malformed(f"Invalid containerPort: {word}")
        ports.update({f"{n}/{(match[3] or 'tcp').lower()}": {} for n in range(first, last + 1)})
    config["ExposedPorts"] = ports


def _user(config: Config, text: str) -> None:
    config["User"] = _filled(config, text)


def _workdir(config: Config, text: str) -> None:
    text = _filled(config, text)
    joined = text if text.startswith("/") else f"{config.get('WorkingDir') or ''}/{text}"
    parts: list[str] = []
    for part in joined.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    config["WorkingDir"] = "/" + "/".join(parts)


def _volume(config: Config, text: str) -> None:
    paths = _json_list(text)
    if paths is None:
        paths = split(text)
    paths = [_filled(config, path) for path in paths]
    if not paths:
        raise Malformed("VOLUME requires at least one argument")
    if not all(path.strip() for path in paths):
        raise Malformed("VOLUME specified can not be an empty string")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in paths}}


def _stopsignal(config: Config, text: str) -> None:
    config["StopSignal"] = _filled(config, text)


def _onbuild(config: Config, text: str) -> None:
    first = text.split(None, 1)[0].upper()
    if first == "ONBUILD":
        raise Malformed("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if first in ("MAINTAINER", "FROM"):
        raise Malformed(f"{first} isn't allowed as an ONBUILD trigger")
    config["OnBuild"] = [*(config.get("OnBuild") or []), text]


def _healthcheck(config: Config, text: str) -> None:
    words = text.split(None, 1)
    if words[0].upper() == "NONE":
        if len(words) > 1:
            raise Malformed("HEALTHCHECK NONE takes no arguments")
        config["Healthcheck"] = {"Test": ["NONE"]}
        return
    check: dict[str, Any] = {}
    while words and (match := re.fullmatch(r"--([a-z-]+)=(\S+)", words[0])):
        key = _HEALTH_OPTIONS.get(match[1])
        if key is None:
            raise Malformed(f"Unknown flag: {match[1]}")
        check[key] = int(match[2]) if key == "Retries" and match[2].isdigit() else _duration(match)
        words = words[1].split(None, 1) if len(words) > 1 else []
    kind = words[0].upper() if words else ""
    if kind != "CMD":
        raise Malformed(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)')
    if len(words) < 2:
        raise Malformed("Missing command after HEALTHCHECK CMD")
    listed = _json_list(words[1])
    check["Test"] = ["CMD", *listed] if listed else ["CMD-SHELL", words[1]]
    config["Healthcheck"] = check


def _duration(match: re.Match[str]) -> int:
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|ns)", match[2])
    if re.fullmatch(r"\d+(\.\d*)?", match[2]) and match[2] != "0":
        raise Malformed(f'time: missing unit in duration "{match[2]}"')
    if "".join(number + unit for number, unit in parts) != match[2]:
        raise Malformed(f'time: invalid duration "{match[2]}"')
    return sum(int(float(number) * _UNITS[unit]) for number, unit in parts)


_UNITS = {
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
_HEALTH_OPTIONS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
    "retries": "Retries",
}
_INSTRUCTIONS: dict[str, Callable[[Config, str], None]] = {
    "cmd": _cmd,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "healthcheck": _healthcheck,
    "label": _label,
    "onbuild": _onbuild,
    "stopsignal": _stopsignal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}


def _json_list(text: str) -> list[str] | None:
    """Return the strings of an instruction's JSON form, or None where it is none."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(s, str) for s in value) else None


def _pairs(config: Config, instruction: str, text: str) -> list[tuple[str, str]]:
    """Read ``KEY=VALUE ...``, or the older ``KEY VALUE``."""
    variables = _variables(config)
    words = split(text)
    if "=" not in words[0]:
        name, *rest = text.split(None, 1)
        if not rest:
            raise Malformed(f"{instruction} must have two arguments")
        return [(expand(name, variables), expand(rest[0].strip(), variables))]
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise Malformed(
                f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value'
            )
        if not key:
            raise Malformed(f"{instruction} names can not be blank")
        pairs.append((expand(key, variables), expand(value, variables)))
    return pairs


def _variables(config: Config) -> dict[str, str]:
    """Return the environment, which instructions may name."""
    return dict(item.partition("=")[::2] for item in config.get("Env") or [])


def _filled(config: Config, text: str) -> str:
    """Return the only argument of an instruction, unquoted and with its variables."""
    return expand(text, _variables(config))
