"""What is read of a request as it came."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from dockerapi.model.container_requests import StartRequest, UpdateRequest
from dockerapi.model.envelope import Envelope
from dockerapi.model.execs import ExecCreateRequest, ExecStartRequest
from dockerapi.model.malformed import Malformed
from dockerapi.model.versions import NEWEST, Version
from dockerapi.model.volumes import VolumeCreateRequest
from tests.streams import Bytes


def envelope(body: bytes, kind: bytes | None = None) -> Envelope:
    """Return a request with a body of the media type `kind`."""
    headers = () if kind is None else ((b"Content-Type", kind),)
    return Envelope("POST", "/", "", headers, Bytes(body), len(body))


class JsonTests(TestCase):
    async def test_the_media_type(self) -> None:
        for kind in (None, b"application/json", b"Application/JSON; charset=utf-8"):
            self.assertEqual(await envelope(b"{}", kind).read_json(), b"{}")
        with self.assertRaises(Malformed) as caught:
            await envelope(b"{}", b"text/plain").read_json()
        text = "unsupported Content-Type header (text/plain): must be 'application/json'"
        self.assertEqual(caught.exception.message, text)

    async def test_what_has_no_media_type(self) -> None:
        host = ((b"Host", b"docker"),)
        for headers in (host, (*host, (b"Content-Type", b""))):
            for length in (2, None):
                with self.assertRaises(Malformed) as caught:
                    await Envelope("POST", "/", "", headers, Bytes(b"{}"), length).read_json()
                text = "malformed Content-Type header (): mime: no media type"
                self.assertEqual(caught.exception.message, text)
            empty = Envelope("POST", "/", "", headers, Bytes(b""), 0)
            self.assertEqual(await empty.read_json(), b"")

    async def test_every_operation_looks_at_it(self) -> None:
        for request in (ExecCreateRequest, ExecStartRequest, UpdateRequest, VolumeCreateRequest):
            with self.assertRaises(Malformed) as caught:
                await request.decode(envelope(b"{}", b"text/plain"), ["cc"], NEWEST)
            self.assertIn("unsupported Content-Type", caught.exception.message)

    async def test_early_starts_of_execs_tell_no_media_type(self) -> None:
        body = envelope(b'{"Detach":true}', b"text/plain")
        request = await ExecStartRequest.decode(body, ["xx"], Version(1, 21))
        self.assertTrue(request.detach)
        with self.assertRaises(Malformed):
            body = envelope(b'{"Detach":true}', b"text/plain")
            await ExecStartRequest.decode(body, ["xx"], Version(1, 22))

    async def test_a_start_takes_no_configuration(self) -> None:
        for body in (b"", b"null", b"{}"):
            await StartRequest.decode(envelope(body), ["cc"], NEWEST)
        body = b'{"Binds":["/a:/b"]}'
        with self.assertRaises(Malformed):
            await StartRequest.decode(envelope(body), ["cc"], NEWEST)
        chunked = Envelope("POST", body=Bytes(b"{}"), length=None)
        with self.assertRaises(Malformed):
            await StartRequest.decode(chunked, ["cc"], NEWEST)
        await StartRequest.decode(envelope(body), ["cc"], Version(1, 23))

    async def test_no_body_is_an_empty_one(self) -> None:
        request = await VolumeCreateRequest.decode(envelope(b""), [], NEWEST)
        self.assertEqual(request.body.name, "")
