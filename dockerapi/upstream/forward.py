"""A job made into a request, and an exchange made into the job's answer.

Rule: only what belongs to one connection is changed (RFC 9110 §7.6.1): Host, the body's framing,
`Expect`, and the upgrade of those operations that have one.
"""

from __future__ import annotations

from dockerapi.engine.answers import Answer, Hijack, Response
from dockerapi.engine.job import Job
from dockerapi.upstream.exchange import Exchange, Request
from dockerapi.upstream.relay import BodyRelay, HijackRelay
from dockerapi.wire.httpbody import BadBody, parse_length
from dockerapi.wire.httphead import AnswerHead, end_to_end, tokens, upgrades_to

#: Operations whose answers may be raw streams.
HIJACKING = frozenset(
    {"ContainerAttach", "ContainerAttachWebsocket", "ExecStart", "Grpc", "Session"}
)

_REPLACED = frozenset((b"host", b"content-length", b"expect"))


def request_of(job: Job, authority: bytes) -> Request:
    """Return the request that passes `job` on to the upstream whose Host is `authority`.

    It goes to the version that the client speaks. A client that names none speaks the newest
    version of the engine, which is what the upstream would take it for, too.
    """
    envelope = job.envelope
    target = f"/v{job.version}{envelope.path}"
    if envelope.query:
        target = f"{target}?{envelope.query}"
    headers = [(b"Host", authority)]
    headers += [pair for pair in end_to_end(envelope.headers) if pair[0].lower() not in _REPLACED]
    hijacks = job.name in HIJACKING
    protocol = upgrades_to(envelope.headers) if hijacks else None
    if protocol is not None:
        headers += [(b"Connection", b"Upgrade"), (b"Upgrade", protocol)]
    expects = envelope.length != 0 and b"100-continue" in tokens(
        value for name, value in envelope.headers if name.lower() == b"expect"
    )
    return Request(
        method=envelope.method.encode("latin-1"),
        target=target.encode("latin-1"),
        headers=tuple(headers),
        body=envelope.body,
        length=envelope.length,
        hijacks=hijacks,
        expects=expects,
    )


def answer_of(exchange: Exchange, request: Request) -> Answer:
    """Return the answer of an exchange whose head has come."""
    head = exchange.head
    assert head is not None
    reason = head.reason.decode("latin-1")
    headers = end_to_end(head.headers)
    if exchange.raw:
        protocol = upgrades_to(head.headers)
        if protocol is not None:
            headers += [(b"Connection", b"Upgrade"), (b"Upgrade", protocol)]
        return Hijack(HijackRelay(exchange), status=head.status, reason=reason, headers=headers)
    headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
    if exchange.complete:
        body = exchange.take()
        length = _length(head) if request.method == b"HEAD" else None
        return Response(head.status, headers, body, reason=reason, length=length)
    return Response(head.status, headers, BodyRelay(exchange), reason=reason, length=_length(head))


def _length(head: AnswerHead) -> int | None:
    """Return the length that the head announces, or None."""
    values = head.values(b"content-length")
    if not values:
        return None
    try:
        return parse_length(values)
    except BadBody:
        return None
