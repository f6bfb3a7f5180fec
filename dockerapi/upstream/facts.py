"""What an upstream tells of itself, read into the engine's facts.

Rule: what it does not tell, or tells in a way that cannot be read, leaves a fact as it was.
"""

from __future__ import annotations

import msgspec

from dockerapi.engine.facts import Facts
from dockerapi.model.versions import Version
from dockerapi.wire.httphead import AnswerHead


class _Versions(msgspec.Struct):
    minimum: str = msgspec.field(name="MinAPIVersion", default="")


def learn_from_ping(head: AnswerHead, facts: Facts) -> bool:
    """Read the headers of an answer to ``/_ping``; tell whether it told its API version."""
    told = {name.lower(): value.decode("latin-1") for name, value in head.headers}
    newest = _version(told.get(b"api-version", ""))
    if newest is None:
        return False
    facts.newest = newest
    facts.os = told.get(b"ostype", facts.os)
    facts.experimental = told.get(b"docker-experimental", "false").lower() == "true"
    facts.builder = told.get(b"builder-version", "")
    facts.swarm = told.get(b"swarm", facts.swarm)
    return True


def learn_from_version(body: bytes, facts: Facts) -> None:
    """Read the body of an answer to ``/version``."""
    try:
        oldest = _version(msgspec.json.decode(body, type=_Versions).minimum)
    except msgspec.MsgspecError:
        return
    if oldest is not None:
        facts.oldest = oldest


def _version(text: str) -> Version | None:
    try:
        return Version.parse(text)
    except ValueError:
        return None
