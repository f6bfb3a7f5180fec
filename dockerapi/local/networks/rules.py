"""The firewall rules of a bridge, as texts for nft and iptables.

Rule: what is ours stands in a table of our own (nft) or carries our comment (iptables); nobody
else's rules are read into ours, changed or removed.
"""

from __future__ import annotations

import shlex
from ipaddress import IPv4Network, ip_address
from itertools import pairwise
from typing import NamedTuple

import msgspec

#: Bridges of other engines: what comes from ours goes there only by a port published on them.
_FOREIGN_BRIDGES = ("docker*", "br-*", "podman*", "cni*")
#: The tables of iptables that rules of ours are in.
TABLES = ("raw", "filter", "nat")
#: The maps of the nft table: ports of one address of the host, and of all of them.
PUBLISHED, EVERYWHERE = "published", "everywhere"
_LOOPBACK = "127.0.0.0/8"


class Forward(msgspec.Struct, frozen=True):
    """A port of the host that the kernel leads to a container.

    :ivar address: the host's, ``0.0.0.0`` for all of them, and `number` its port.
    :ivar target: the container's address, and `target_port` its port.
    """

    protocol: str
    address: str
    number: int
    target: str
    target_port: int

    @property
    def everywhere(self) -> bool:
        """Whether it is for all addresses of the host."""
        return self.address == "0.0.0.0"

    @property
    def map(self) -> str:
        """The name of the nft map that it is an element of."""
        return EVERYWHERE if self.everywhere else PUBLISHED


class BridgeRules(msgspec.Struct, frozen=True):
    """What the rules of one bridge follow from.

    :ivar bridge: the name of the link.
    :ivar subnet: the network of its containers.
    :ivar masquerade: whether they reach the outside by the host's address.
    :ivar communicate: whether they reach each other (dockerd's ``icc``).
    :ivar forwards: the ports of the host that lead to them.
    """

    bridge: str
    subnet: IPv4Network
    masquerade: bool = True
    communicate: bool = True
    forwards: tuple[Forward, ...] = ()

    @property
    def comment(self) -> str:
        """The comment by which iptables rules are known as ours."""
        return f"dockerapi:{self.bridge}"


class IptablesRule(NamedTuple):
    """A rule of iptables: in which table and chain, and the rest as arguments."""

    table: str
    chain: str
    arguments: tuple[str, ...]


def nft_script(rules: BridgeRules) -> str:
    """Return the input for ``nft -f -`` that makes the table anew, in one transaction.

    The table has the bridge's name. Outside starts nothing towards containers but what a published
    port has sent there (``ct status dnat``). The host's loopback reaches published ports too, and
    nobody else reaches it: what is for 127/8 and comes by a link is never led anywhere, and is
    dropped where the bridge (which has route_localnet) brings it. What comes from a container and
    goes back to the bridge must return by the host, hence the masquerade.
    """
    bridge = _quoted(rules.bridge)
    masquerade = f"ip saddr {rules.subnet} oifname != {bridge} masquerade"
    return f"""{nft_removal(rules.bridge)}
table ip {rules.bridge} {{
  map {PUBLISHED} {{
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
    {_elements(rules, PUBLISHED)}
  }}
  map {EVERYWHERE} {{
    type inet_proto . inet_service : ipv4_addr . inet_service
    {_elements(rules, EVERYWHERE)}
  }}
  chain lead {{
    dnat ip to ip daddr . ip protocol . th dport map @{PUBLISHED}
    dnat ip to ip protocol . th dport map @{EVERYWHERE}
  }}
  chain loopback {{
    type filter hook prerouting priority -300; policy accept;
    iifname {bridge} ip daddr {_LOOPBACK} drop
  }}
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
    ip daddr != {_LOOPBACK} fib daddr type local jump lead
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump lead
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr {_LOOPBACK} oifname {bridge} masquerade
    ip saddr {rules.subnet} oifname {bridge} ct status dnat masquerade
    {masquerade if rules.masquerade else ""}
  }}
  {_forward_chain(rules)}
}}
"""


def _forward_chain(rules: BridgeRules) -> str:
    """Return the chain that says what goes through the host."""
    bridge = _quoted(rules.bridge)
    foreign = "\n".join(
        f"    iifname {bridge} oifname {_quoted(name)} oifname != {bridge} drop"
        for name in _FOREIGN_BRIDGES
    )
    between = "" if rules.communicate else f"    iifname {bridge} oifname {bridge} drop\n"
    return f"""chain forward {{
    type filter hook forward priority 0; policy accept;
    ct state established,related accept
    ct status dnat accept
{between}    oifname {bridge} iifname != {bridge} drop
{foreign}
  }}"""


def nft_removal(bridge: str) -> str:
    """Return the input for ``nft -f -`` that removes the table, where it is and where it is not."""
    return f"table ip {bridge}\ndelete table ip {bridge}\n"


def _elements(rules: BridgeRules, name: str) -> str:
    """Return the elements of a map as nft writes them; empty without any."""
    elements = [
        f"{'' if one.everywhere else one.address + ' . '}{one.protocol} . {one.number}"
        f" : {one.target} . {one.target_port}"
        for one in rules.forwards
        if one.map == name
    ]
    return f"elements = {{ {', '.join(elements)} }}" if elements else ""


def accepting(rules: BridgeRules, chain: str) -> list[IptablesRule]:
    """Return the rules, in order, that let the bridge's traffic past iptables's own policy."""
    return [
        _rule(rules, "filter", chain, f"-i {rules.bridge} -j ACCEPT"),
        _rule(
            rules,
            "filter",
            chain,
            f"-o {rules.bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
        ),
    ]


def without_nft(rules: BridgeRules, chain: str) -> list[IptablesRule]:
    """Return the rules, in order, that do in iptables alone what `nft_script` does."""
    bridge = rules.bridge
    established = "-m conntrack --ctstate RELATED,ESTABLISHED"
    led = "-m conntrack --ctstate DNAT"
    made = [
        _rule(rules, "raw", "PREROUTING", f"-i {bridge} -d {_LOOPBACK} -j DROP"),
        _rule(rules, "nat", "POSTROUTING", f"-s {_LOOPBACK} -o {bridge} -j MASQUERADE"),
        _rule(rules, "nat", "POSTROUTING", f"-s {rules.subnet} -o {bridge} {led} -j MASQUERADE"),
        _rule(rules, "filter", chain, f"-o {bridge} {established} -j ACCEPT"),
        _rule(rules, "filter", chain, f"-o {bridge} {led} -j ACCEPT"),
    ]
    if not rules.communicate:
        made.append(_rule(rules, "filter", chain, f"-i {bridge} -o {bridge} -j DROP"))
    made.append(
        _rule(
            rules,
            "filter",
            chain,
            f"-o {bridge} ! -i {bridge} -m conntrack ! --ctstate DNAT -j DROP",
        )
    )
    for name in _FOREIGN_BRIDGES:
        pattern = name.replace("*", "+")
        if not bridge.startswith(name.rstrip("*")):
            made.append(
                _rule(
                    rules,
                    "filter",
                    chain,
                    f"-i {bridge} -o {pattern} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT "
                    "-j DROP",
                )
            )
    made.append(_rule(rules, "filter", chain, f"-i {bridge} -j ACCEPT"))
    if rules.masquerade:
        made.append(
            _rule(rules, "nat", "POSTROUTING", f"-s {rules.subnet} ! -o {bridge} -j MASQUERADE")
        )
    return made + [rule for one in rules.forwards for rule in leading(rules, one)]


def leading(rules: BridgeRules, forward: Forward) -> list[IptablesRule]:
    """Return the rules that lead one port to its container, in iptables alone."""
    here = f"-p {forward.protocol} --dport {forward.number} -m addrtype --dst-type LOCAL"
    target = f"-j DNAT --to-destination {forward.target}:{forward.target_port}"
    one = "" if forward.everywhere else f"-d {forward.address} "
    made = [_rule(rules, "nat", "OUTPUT", f"{one}{here} {target}")]
    if not ip_address(forward.address).is_loopback:
        made.append(
            _rule(rules, "nat", "PREROUTING", f"{one or f'! -d {_LOOPBACK} '}{here} {target}")
        )
    return made


def iptables_script(inserted: list[IptablesRule], deleted: list[IptablesRule]) -> str:
    """Return the input for ``iptables-restore --noflush``: deletes, then inserts in order."""
    lines: list[str] = []
    for table in TABLES:
        changes = [
            *(("-D", rule.chain, rule) for rule in deleted if rule.table == table),
            # Each goes to the top, so the first of them must be inserted last.
            *(("-I", rule.chain, rule) for rule in reversed(inserted) if rule.table == table),
        ]
        if changes:
            lines.append(f"*{table}")
            lines += [
                # None of our arguments needs quotes (and iptables knows no single ones).
                f"{verb} {chain} {' '.join(rule.arguments)}"
                for verb, chain, rule in changes
            ]
            lines.append("COMMIT")
    return "".join(f"{line}\n" for line in lines)


def ours(table: str, listing: str, comment: str) -> list[IptablesRule]:
    """Return the rules with our `comment` in what ``iptables -t TABLE -S`` printed."""
    found = []
    for line in listing.splitlines():
        words = shlex.split(line)
        if words[:1] == ["-A"] and ("--comment", comment) in pairwise(words):
            found.append(IptablesRule(table, words[1], tuple(words[2:])))
    return found


def forward_chain(listing: str) -> str | None:
    """Return the chain of the filter table in which forwarding must be accepted, if it must.

    dockerd keeps DOCKER-USER for others, and its users' rules; without it a FORWARD whose policy
    is to drop is the place.
    """
    lines = listing.splitlines()
    if "-N DOCKER-USER" in lines:
        return "DOCKER-USER"
    return "FORWARD" if "-P FORWARD DROP" in lines else None


def _rule(rules: BridgeRules, table: str, chain: str, text: str) -> IptablesRule:
    arguments, _, target = text.rpartition(" -j ")
    return IptablesRule(
        table,
        chain,
        (*arguments.split(), "-m", "comment", "--comment", rules.comment, "-j", target),
    )


def _quoted(name: str) -> str:
    return f'"{name}"'
