"""The texts of a container's /etc/hosts, /etc/resolv.conf and /etc/hostname, as dockerd's.

Rule: pure functions; whoever owns the files writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

_LOCAL_HOSTS = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::0", "ip6-localnet"),
    ("ff00::0", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)
#: Where the host names no server that a container could reach.
_FALLBACK_SERVERS = ("8.8.8.8", "8.8.4.4")


def hostname_text(hostname: str) -> str:
    """Return the content of /etc/hostname."""
    return f"{hostname}\n"


def hosts_text(
    hostname: str,
    domainname: str = "",
    addresses: Iterable[str] = (),
    extra: Iterable[str] = (),
    gateway: str = "",
    links: Iterable[tuple[str, str]] = (),
) -> str:
    """Return the content of /etc/hosts.

    `addresses` are the container's own; `extra` are `ExtraHosts`, ``name:address``, where the
    address ``host-gateway`` stands for `gateway`; `links` are addresses and names of others.
    """
    lines = list(_LOCAL_HOSTS)
    for entry in extra:
        name, _, address = entry.partition(":")
        if address == "host-gateway":
            address = gateway
        lines.append((address.strip("[]"), name))
    lines += links
    # The name goes first with its domain, then alone.
    short = hostname.partition(".")[0]
    full = f"{hostname}.{domainname}" if domainname else hostname
    names = full if short == full else f"{full} {short}"
    lines += [(address, names) for address in addresses]
    return "".join(f"{address}\t{names}\n" for address, names in lines)


def resolv_text(
    host: str,
    *,
    servers: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    own_network: bool = True,
) -> str:
    """Return the content of /etc/resolv.conf for a container, made from the host's.

    `servers`, `search` and `options` (`Dns`, `DnsSearch`, `DnsOptions`) replace the host's; a
    search of ``.`` alone means none. In a network of its own a container cannot reach the host's
    servers on loopback: they are left out, and public ones stand in where none is left.
    """
    if not own_network and not (servers or search or options):
        return host
    given: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    for line in host.splitlines():
        name, *values = line.split()[:64] or [""]
        if name == "nameserver" and values:
            given[name].append(values[0])
        elif name in ("search", "domain"):
            given["search"] = values
        elif name == "options":
            given[name] += values
    found = list(servers) or given["nameserver"]
    if own_network and not servers:
        found = [server for server in found if _reachable(server)] or list(_FALLBACK_SERVERS)
    domains = list(search) or given["search"]
    chosen = list(options) or given["options"]
    lines = [f"nameserver {server}" for server in found]
    if domains and domains != ["."]:
        lines.append("search " + " ".join(domains))
    if chosen:
        lines.append("options " + " ".join(chosen))
    return "".join(f"{line}\n" for line in lines)


def is_stub(resolv: str) -> bool:
    """Tell whether a resolv.conf names nothing but systemd-resolved on the host's loopback."""
    servers = [
        words[1]
        for words in (line.split() for line in resolv.splitlines())
        if len(words) > 1 and words[0] == "nameserver"
    ]
    return servers == ["127.0.0.53"]


def _reachable(server: str) -> bool:
    """Tell whether a container with IPv4 of its own can reach `server`."""
    try:
        address = ip_address(server.partition("%")[0])
    except ValueError:
        return False
    return address.version == 4 and not address.is_loopback
