"""Where the images of a domain are looked for: mirrors first, then the registry itself.

Rule: pure; nothing unverified or plain but for registries that are insecure by the operator's word,
or on this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from dockerapi.local.images.registry.addresses import is_insecure
from dockerapi.local.images.registry.client import Place
from dockerapi.model.references import DEFAULT_DOMAIN

_HUB = "registry-1.docker.io"


def places(domain: str, insecure: Sequence[str], mirrors: Sequence[str]) -> list[list[Place]]:
    """Return the registries to try, in order, each with the ways to reach it, in order."""
    found = []
    if domain == DEFAULT_DOMAIN:
        for mirror in mirrors:
            base = mirror.rstrip("/")
            parts = urlsplit(base)
            verify = not is_insecure(parts.hostname or "", parts.port, insecure)
            found.append([Place(base, verify=verify, trusted=True)])
        return [*found, [Place(f"https://{_HUB}")]]
    parts = urlsplit(f"//{domain}")
    if is_insecure(parts.hostname or "", parts.port, insecure):
        trusted = domain in insecure or (parts.hostname or "") in insecure
        return [
            [
                Place(f"https://{domain}", verify=False, trusted=trusted),
                Place(f"http://{domain}", trusted=trusted),
            ]
        ]
    return [[Place(f"https://{domain}")]]
