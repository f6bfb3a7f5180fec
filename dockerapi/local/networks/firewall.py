"""Puts the firewall rules of a bridge in place and takes them away again.

Rule: one transaction for each tool; what is not ours stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dockerapi.engine.errors import EngineError
from dockerapi.local.host.spawn import MissingProgram, find_program, run
from dockerapi.local.networks.rules import (
    TABLES,
    BridgeRules,
    Forward,
    IptablesRule,
    accepting,
    forward_chain,
    iptables_script,
    leading,
    nft_removal,
    nft_script,
    ours,
    without_nft,
)

#: Seconds that a tool may take: another one may hold the lock of the rules.
_PATIENCE = 10.0


class Firewall:
    """The rules of one bridge, by nft, and by iptables as far as needed beside others.

    nft's own table cannot accept what iptables drops (each hook must accept), so where dockerd or
    an administrator made FORWARD drop, two rules of ours are put there as well. Without nft all of
    it is done by iptables.
    """

    def __init__(self, nft: str | None, iptables: str | None) -> None:
        self._nft = nft
        self._iptables = iptables

    @classmethod
    def find(cls) -> Firewall:
        """Return a firewall that uses what is installed; raise `EngineError` for neither."""
        nft, iptables = _program("nft"), _program("iptables")
        if nft is None and iptables is None:
            raise EngineError("bridge networks need nft or iptables: install the package nftables")
        return cls(nft, iptables)

    @property
    def leads(self) -> bool:
        """Whether published ports are led to their containers in the kernel."""
        return True

    @property
    def has_maps(self) -> bool:
        """Whether it is by elements of maps, which are changed without this class."""
        return self._nft is not None

    async def apply(self, rules: BridgeRules) -> None:
        """Make the rules anew; raise `EngineError` with the tool's own words."""
        if self._nft is not None:
            await self._run([self._nft, "-f", "-"], nft_script(rules))
        if self._iptables is not None:
            stale, listing = await self._present(self._iptables, rules.comment)
            chain = forward_chain(listing)
            if self._nft is None:
                wanted = without_nft(rules, chain or "FORWARD")
            else:
                wanted = accepting(rules, chain) if chain is not None else []
            await self._change(wanted, stale)

    async def change(
        self, rules: BridgeRules, added: Sequence[Forward], removed: Sequence[Forward]
    ) -> None:
        """Lead more ports to containers, and others no longer; for iptables without maps."""
        inserted = [rule for one in added for rule in leading(rules, one)]
        await self._change(inserted, [rule for one in removed for rule in leading(rules, one)])

    async def remove(self, rules: BridgeRules) -> None:
        """Take the rules away; nothing happens where there are none."""
        if self._nft is not None:
            await self._run([self._nft, "-f", "-"], nft_removal(rules.bridge))
        if self._iptables is not None:
            stale, _ = await self._present(self._iptables, rules.comment)
            await self._change([], stale)

    async def _present(self, iptables: str, comment: str) -> tuple[list[IptablesRule], str]:
        """Return our rules that are in place, and the listing of the filter table."""
        listing = await self._run([iptables, "-w", "5", "-S"])
        found = ours("filter", listing, comment)
        for table in TABLES:
            if self._nft is None and table != "filter":
                other = await self._run([iptables, "-w", "5", "-t", table, "-S"])
                found += ours(table, other, comment)
        return found, listing

    async def _change(self, inserted: list[IptablesRule], deleted: list[IptablesRule]) -> None:
        if not inserted and not deleted:
            return
        restore = find_program("iptables-restore")
        script = iptables_script(inserted, deleted)
        await self._run([restore, "--noflush", "-w", "5"], script)

    async def _run(self, argv: list[str], script: str = "") -> str:
        ended = await run(argv, stdin=script.encode(), timeout=_PATIENCE)
        if ended.status:
            words = ended.stderr.decode(errors="replace").strip()
            raise EngineError(f"{argv[0]} failed (status {ended.status}): {words}")
        return ended.stdout.decode(errors="replace")


class NoFirewall(msgspec.Struct, frozen=True):
    """Leaves the rules to others (dockerd's ``iptables: false``)."""

    leads = False
    has_maps = False

    async def change(
        self, rules: BridgeRules, added: Sequence[Forward], removed: Sequence[Forward]
    ) -> None:
        """Do nothing."""

    async def apply(self, rules: BridgeRules) -> None:
        """Do nothing."""

    async def remove(self, rules: BridgeRules) -> None:
        """Do nothing."""


def _program(name: str) -> str | None:
    try:
        return find_program(name)
    except MissingProgram:
        return None
