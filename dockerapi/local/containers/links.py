"""Links: the old way in which a container on the default bridge knows others by name.

Source: `HostConfig.Links`; forms, texts and the variables are dockerd's. Rule: a link is kept by
the id of the other container, so that it outlives renames; what is shown are names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import structs

from dockerapi.engine.errors import EngineError, InvalidParameter, NotFound
from dockerapi.local.containers.container import Container, Linked
from dockerapi.local.containers.registry import Registry
from dockerapi.model.containers import HostConfig

_PORT = re.compile(r"(\d+)(?:/(\w+))?")


class Link(msgspec.Struct, frozen=True):
    """A container that another one knows as `alias`."""

    target: Container
    alias: str

    @property
    def address(self) -> str:
        """The address of the target; empty where it has none."""
        sandbox = self.target.sandbox
        return sandbox.address if sandbox is not None else ""

    @property
    def names(self) -> str:
        """The names of the target in /etc/hosts."""
        target = self.target
        names = (self.alias, target.config.hostname, target.name)
        return " ".join(dict.fromkeys(names))


def resolve_links(host: HostConfig, registry: Registry) -> None:
    """Write the ids of the containers that links of `host` name; raise in dockerd's words."""
    found = []
    for text in host.links or ():
        if not text:
            raise EngineError("empty string specified for links")
        reference, _, alias = text.partition(":")
        if ":" in alias:
            raise EngineError(f"bad format for links: {text}")
        try:
            target = registry.get(reference)
        except NotFound as missing:
            message = f"could not get container for {reference}: {missing.message}"
            raise InvalidParameter(message) from None
        if target.host_config.network_mode == "host":
            raise InvalidParameter(
                "conflicting options: host type networking can't be used with links. "
                "This would result in undefined behavior"
            )
        alias = alias.rpartition("/")[2] if alias.startswith("/") else alias
        if ":" not in text:
            alias = reference.removeprefix("/")
        if re.search(r"[\s\x00-\x1f\x7f]", alias):
            raise InvalidParameter(f"invalid alias of a link: {alias!r}")
        if alias:
            found.append(f"{target.id}:{alias}")
    host.links = found or None


def links_of(container: Container, registry: Registry) -> Iterator[Link]:
    """Give the links of `container` to containers that there are."""
    for text in container.host_config.links or ():
        identity, _, alias = text.partition(":")
        if identity in registry:
            yield Link(registry.get(identity), alias)


def running_links(container: Container, registry: Registry) -> list[Link]:
    """Return the links of `container`; raise `EngineError` for one to what does not run."""
    found = list(links_of(container, registry))
    for link in found:
        if not link.target.state.running:
            raise EngineError(
                f"Cannot link to a non running container: /{link.target.name} "
                f"AS /{container.name}/{link.alias}"
            )
    return found


def shown(container: Container, registry: Registry) -> list[str] | None:
    """Return the links of `container` as inspect shows them."""
    found = [
        f"/{link.target.name}:/{container.name}/{link.alias}"
        for link in links_of(container, registry)
    ]
    return found or None


def names_by_links(registry: Registry) -> dict[str, list[str]]:
    """Return the names that containers have by the links of others, by id."""
    found: dict[str, list[str]] = {}
    for one in registry:
        for text in one.host_config.links or ():
            identity, _, alias = text.partition(":")
            found.setdefault(identity, []).append(f"/{one.name}/{alias}")
    return found


def linked(container: Container, links: Iterable[Link]) -> Linked:
    """Return what `container` is told of `links`."""
    found = [link for link in links if link.address]
    return Linked(
        tuple((link.address, link.names) for link in found),
        tuple(entry for link in found for entry in _variables(container, link)),
    )


def followers(target: Container, registry: Registry) -> list[Container]:
    """Return the containers that run and have a link to `target`."""
    return [
        one
        for one in registry
        if one.state.running
        and any(text.partition(":")[0] == target.id for text in one.host_config.links or ())
    ]


def without(host: HostConfig, alias: str) -> HostConfig:
    """Return `host` without its link `alias`; `host` itself where it has none."""
    kept = [text for text in host.links or () if text.partition(":")[2] != alias]
    if len(kept) == len(host.links or ()):
        return host
    return structs.replace(host, links=kept or None)


def _variables(container: Container, link: Link) -> Iterator[str]:
    prefix = re.sub(r"[^A-Z0-9]", "_", link.alias.upper())
    config = link.target.config
    ports = sorted(
        (int(match[1]), match[2] or "tcp")
        for port in config.exposed_ports or ()
        if (match := _PORT.fullmatch(port))
    )
    for number, protocol in ports[:1]:
        yield f"{prefix}_PORT={protocol}://{link.address}:{number}"
    for number, protocol in ports:
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        yield f"{name}={protocol}://{link.address}:{number}"
        yield f"{name}_ADDR={link.address}"
        yield f"{name}_PORT={number}"
        yield f"{name}_PROTO={protocol}"
    yield f"{prefix}_NAME=/{container.name}/{link.alias}"
    for entry in config.env or ():
        name, _, value = entry.partition("=")
        if name not in ("HOME", "PATH"):
            yield f"{prefix}_ENV_{name}={value}"
