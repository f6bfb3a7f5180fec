"""A registry's repository, read: manifests and blobs.

Source: OCI distribution-spec, "Pull"; Docker's token authentication, without credentials.
Rule: a token goes to the registry's own host only, and what the registry refers to (redirects,
token services) may not lead to this host or to link-local addresses unless the registry is there.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec
from twisted.internet.defer import TimeoutError as NoAnswer
from twisted.internet.error import ConnectError, DNSLookupError, TimeoutError
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from dockerapi.engine.errors import EngineError, NotFound
from dockerapi.local.images.image import DOCUMENT_LIMIT
from dockerapi.local.images.registry.addresses import (
    Address,
    is_internal,
    is_loopback,
    literal,
)
from dockerapi.local.images.registry.agent import make_agent
from dockerapi.local.images.registry.body import ResponseBody
from dockerapi.local.images.registry.manifests import ACCEPTED
from dockerapi.wire.duplex import StreamAborted

_REDIRECTS = (301, 302, 303, 307, 308)
_REDIRECTS_LIMIT = 5
_PATIENCE = 60.0
_TOKEN_LIMIT = 64 * 1024
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class Unreachable(EngineError):
    """A registry that does not answer; the text is in Go's words."""


class Place(msgspec.Struct, frozen=True):
    """Where a registry is.

    :ivar base: as in ``https://registry-1.docker.io``.
    :ivar verify: whether its certificate is verified.
    :ivar trusted: whether the operator named it, so that its address needs no check.
    """

    base: str
    verify: bool = True
    trusted: bool = False

    @property
    def host(self) -> str:
        """Its host, as in a URL, with the port."""
        return urlsplit(self.base).netloc


class RegistryClient:
    """Reads one repository at one place."""

    def __init__(self, reactor: Any, place: Place, repository: str) -> None:
        self._reactor = reactor
        self._place = place
        self._repository = repository
        self._token: str | None = None
        self._pool = HTTPConnectionPool(reactor)
        self._own = make_agent(reactor, self._pool, self._allows_own, verify=place.verify)
        self._other = make_agent(
            reactor,
            HTTPConnectionPool(reactor, persistent=False),
            self._allows_other,
            verify=place.verify,
        )

    @property
    def place(self) -> Place:
        """Where it reads."""
        return self._place

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._pool.closeCachedConnections()

    async def ping(self, patience: float = _PATIENCE) -> None:
        """Find out within `patience` seconds whether a registry is there; raise `Unreachable`."""
        response = await self._request(f"{self._place.base}/v2/", {}, patience)
        await self._authenticate(response)
        self._drop(response)

    async def manifest(self, reference: str) -> tuple[bytes, str]:
        """Return a manifest by tag or digest, and its media type.

        Raises `NotFound` and `EngineError`.
        """
        url = f"{self._place.base}/v2/{self._repository}/manifests/{reference}"
        response = await self._get(url, {"Accept": ", ".join(ACCEPTED)})
        kind = response.headers.getRawHeaders("content-type", [""])[0]
        if response.code != 200:
            raise await self._refusal(response)
        return await self._read(response, DOCUMENT_LIMIT), kind

    async def document(self, digest: str) -> bytes:
        """Return a small blob, such as a configuration; its digest is not checked."""
        response = await self._get(self._blob_url(digest), {})
        if response.code != 200:
            raise await self._refusal(response)
        return await self._read(response, DOCUMENT_LIMIT)

    async def blob(self, digest: str, start: int = 0) -> tuple[ResponseBody, int]:
        """Return the body of a blob, and the position in the blob where it begins.

        Raises `NotFound`, `EngineError`.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = await self._get(self._blob_url(digest), headers)
        if response.code == 206 and start:
            found = response.headers.getRawHeaders("content-range", [""])[0]
            if not found.startswith(f"bytes {start}-"):
                self._drop(response)
                raise EngineError("the registry sent another range than it was asked for")
            return ResponseBody(response, self._reactor, _PATIENCE), start
        if response.code != 200:
            raise await self._refusal(response)
        return ResponseBody(response, self._reactor, _PATIENCE), 0

    def _blob_url(self, digest: str) -> str:
        return f"{self._place.base}/v2/{self._repository}/blobs/{digest}"

    async def _get(self, url: str, headers: dict[str, str]) -> IResponse:
        """Get from the registry itself, with a token where it wants one, through redirects."""
        response = await self._request(url, headers)
        if response.code == 401:
            await self._authenticate(response)
            self._drop(response)
            response = await self._request(url, headers)
        for _ in range(_REDIRECTS_LIMIT):
            if response.code not in _REDIRECTS:
                return response
            target = response.headers.getRawHeaders("location", [""])[0]
            self._drop(response)
            url = urljoin(url, target)
            response = await self._request(url, headers)
        self._drop(response)
        raise EngineError(f'Get "{url}": stopped after {_REDIRECTS_LIMIT} redirects')

    async def _request(
        self, url: str, headers: dict[str, str], patience: float = _PATIENCE
    ) -> IResponse:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise EngineError(f'Get "{url}": unsupported protocol scheme "{parts.scheme}"')
        if parts.scheme == "http" and self._place.base.startswith("https://"):
            raise EngineError(f'Get "{url}": the registry refers to a place without TLS')
        own = f"{parts.scheme}://{parts.netloc}" == self._place.base
        agent: Agent = self._own if own else self._other
        sent = Headers({"User-Agent": ["dockerapi"]})
        for name, value in headers.items():
            sent.addRawHeader(name, value)
        if own and self._token is not None:
            sent.addRawHeader("Authorization", f"Bearer {self._token}")
        try:
            waiting = agent.request(b"GET", url.encode("ascii"), sent)
            response: IResponse = await waiting.addTimeout(patience, self._reactor)
        except (ConnectError, DNSLookupError, NoAnswer) as error:
            raise Unreachable(f'Get "{url}": {_describe(error, parts.netloc)}') from error
        except UnicodeEncodeError as error:
            raise EngineError(f"the registry refers to an invalid URL: {url!a}") from error
        except (ResponseFailed, ResponseNeverReceived) as error:
            causes = "; ".join(reason.getErrorMessage() for reason in error.reasons)
            raise Unreachable(f'Get "{url}": {causes or "EOF"}') from error
        return response

    async def _authenticate(self, response: IResponse) -> None:
        """Get a token from the service that a 401 names."""
        if response.code != 401:
            return
        challenge = response.headers.getRawHeaders("www-authenticate", [""])[0]
        scheme, _, rest = challenge.partition(" ")
        values = dict(_PARAMETER.findall(rest))
        realm = values.get("realm", "")
        if scheme.lower() != "bearer" or not realm:
            return
        scope = f"repository:{self._repository}:pull"
        query = {"scope": scope} | ({"service": values["service"]} if "service" in values else {})
        glue = "&" if urlsplit(realm).query else "?"
        answer = await self._request(realm + glue + urlencode(query), {})
        if answer.code != 200:
            self._drop(answer)
            return
        try:
            document = json.loads(await self._read(answer, _TOKEN_LIMIT))
            token = document.get("token") or document.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if isinstance(token, str) and token.isascii() and token.isprintable():
            self._token = token

    async def _refusal(self, response: IResponse) -> EngineError:
        """Return the error that an answer of the registry means."""
        try:
            document = json.loads(await self._read(response, _TOKEN_LIMIT))
            first = document["errors"][0]
            code, message = str(first.get("code", "")), str(first.get("message", ""))
        except (ValueError, LookupError, TypeError, AttributeError, EngineError, RecursionError):
            code, message = "", ""
        words = f"{code.replace('_', ' ').lower()}: {message}" if code else ""
        if response.code in (401, 403):
            return NotFound(words or "denied: requested access to the resource is denied")
        if response.code == 404:
            return NotFound(words or "not found")
        return EngineError(words or f"received unexpected HTTP status: {response.code}")

    async def _read(self, response: IResponse, limit: int) -> bytes:
        body = ResponseBody(response, self._reactor, _PATIENCE)
        parts: list[bytes] = []
        size = 0
        try:
            while data := await body.read():
                size += len(data)
                if size > limit:
                    raise EngineError(f"the registry's answer is larger than {limit} bytes")
                parts.append(data)
        except StreamAborted as error:
            raise EngineError(f"the registry's answer broke off: {error}") from error
        finally:
            body.abort("done")
        return b"".join(parts)

    def _drop(self, response: IResponse) -> None:
        """Let go of a body that nobody reads."""
        ResponseBody(response, self._reactor, _PATIENCE).abort("not wanted")

    def _allows_own(self, address: Address) -> bool:
        return self._place.trusted or not is_internal(address)

    def _allows_other(self, address: Address) -> bool:
        if is_internal(address):
            return False
        return not is_loopback(address) or self._is_here

    @property
    def _is_here(self) -> bool:
        """Whether the registry itself is on this host."""
        host = urlsplit(self._place.base).hostname or ""
        address = literal(host)
        return host == "localhost" or (address is not None and is_loopback(address))


def _describe(error: Exception, host: str) -> str:
    """Return Go's words for a failed connection."""
    text = str(error)
    if isinstance(error, DNSLookupError):
        return f"dial tcp: lookup {host.rpartition(':')[0] or host}: no such host"
    if "refused" in text:
        return f"dial tcp {host}: connect: connection refused"
    if isinstance(error, TimeoutError | NoAnswer):
        return f"dial tcp {host}: i/o timeout"
    return f"dial tcp {host}: {text}"
