"""The request that handlers get."""

from __future__ import annotations

from dockerapi.http.exchange import HTTPExchange


class Request(HTTPExchange):
    """An `Exchange`."""

    __slots__ = ()
