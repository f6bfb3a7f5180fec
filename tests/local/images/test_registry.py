"""A registry that wants tokens, redirects and breaks off; and what it may refer to."""

from __future__ import annotations

import gzip
import json
from ipaddress import ip_address
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.error import DNSLookupError
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from dockerapi.engine.errors import EngineError, Forbidden, NotFound
from dockerapi.local.images import pulling
from dockerapi.local.images.progress import bar
from dockerapi.local.images.registry.addresses import CheckedEndpoint, is_insecure
from dockerapi.local.images.registry.client import Place, RegistryClient
from dockerapi.local.images.registry.manifests import (
    Manifest,
    ManifestIndex,
    choose,
    decode_manifest,
)
from dockerapi.local.images.registry.places import places
from dockerapi.model.malformed import Malformed
from dockerapi.model.platforms import Platform
from tests.local.images.registry import OCI_MANIFEST, digest
from tests.local.images.support import Archive, ImagesTestCase

LAYER = gzip.compress(Archive().add("x", bytes(range(256)) * 2000).bytes(), 0)


class Scripted(Resource):
    """Serves one image; `requests` are the paths and tokens that came."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str]] = []
        self.token_service = ""
        self.blobs_at = ""
        self.breaks = 0
        archive = gzip.decompress(LAYER)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [digest(archive)]},
            }
        ).encode()
        self.blobs = {digest(config): config, digest(LAYER): LAYER}
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": {"digest": digest(config), "size": len(config)},
                "layers": [{"digest": digest(LAYER), "size": len(LAYER)}],
            }
        ).encode()

    def render_GET(self, request: Request) -> Any:
        path = request.path.decode()
        token = request.getHeader("authorization") or ""
        self.requests.append((path, token))
        if path == "/token":
            return b'{"token": "secret"}'
        if self.token_service and token != "Bearer secret" and path.startswith("/v2/"):
            request.setResponseCode(401)
            challenge = f'Bearer realm="{self.token_service}/token",service="s"'
            request.setHeader("WWW-Authenticate", challenge)
            return b""
        if path == "/v2/":
            return b"{}"
        if "/manifests/" in path:
            request.setHeader("Content-Type", OCI_MANIFEST)
            return self.manifest
        if self.blobs_at and path.startswith("/v2/"):
            request.redirect(f"{self.blobs_at}{path.replace('/v2/', '/cdn/')}".encode())
            return b""
        return self._blob(request, self.blobs[path.rpartition("/")[2]])

    def _blob(self, request: Request, data: bytes) -> Any:
        start = 0
        if wanted := request.getHeader("range"):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            request.setResponseCode(206)
            request.setHeader("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if data is LAYER and self.breaks:
            self.breaks -= 1
            request.setHeader("Content-Length", str(len(data) - start))
            request.write(data[start : start + 100_000])
            reactor.callLater(0.05, request.transport.abortConnection)
            return NOT_DONE_YET
        return data[start:]


class RegistryTests(ImagesTestCase):
    async def setUp(self) -> None:
        self.main, self.other = Scripted(), Scripted()
        self.bases = []
        for resource in (self.main, self.other):
            port = cast(Any, reactor).listenTCP(0, Site(resource), interface="127.0.0.1")
            self.addCleanup(port.stopListening)
            self.bases.append(f"http://127.0.0.1:{port.getHost().port}")
        self.options = {"registry_mirrors": (self.bases[0] + "/",)}
        await super().setUp()

    def tokens(self, resource: Scripted, part: str) -> set[str]:
        return {token for path, token in resource.requests if part in path}

    async def pull(self, name: str = "busybox") -> None:
        self.lines = await self.run_job("ImageCreate", fromImage=name, tag="latest")

    async def test_a_mirror_serves_docker_hub(self) -> None:
        await self.pull()
        self.assertEqual(self.lines[0]["status"], "Pulling from library/busybox")
        image = await self.images.resolve("busybox")
        self.assertEqual(image.digests, (f"busybox@{digest(self.main.manifest)}",))

    async def test_a_token_goes_to_the_registry_only(self) -> None:
        self.main.token_service = self.main.blobs_at = self.bases[1]
        await self.pull()
        self.assertEqual(self.tokens(self.main, "/manifests/"), {"Bearer secret"})
        self.assertEqual(self.tokens(self.other, "/token"), {""})
        self.assertEqual(self.tokens(self.other, "/cdn/"), {""})

    async def test_a_broken_download_is_resumed(self) -> None:
        self.main.breaks = 2
        await self.pull()
        path = f"/v2/library/busybox/blobs/{digest(LAYER)}"
        self.assertEqual([p for p, _ in self.main.requests].count(path), 3)
        image = await self.images.resolve("busybox")
        self.assertEqual(image.size, 512_000)

    async def test_redirects_end(self) -> None:
        self.main.blobs_at = self.bases[0] + "/v2"
        with self.assertRaises(EngineError) as caught:
            await self.pull()
        self.assertIn("redirects", caught.exception.message)

    async def test_refused_access(self) -> None:
        # This server waits for ever for a client that begins with TLS.
        self.patch(pulling, "PROBE_PATIENCE", 0.3)
        host = self.bases[0].removeprefix("http://")
        self.main.token_service = "ftp://nowhere"
        with self.assertRaises(EngineError) as odd:
            await self.pull(f"{host}/private")
        self.assertIn('unsupported protocol scheme "ftp"', odd.exception.message)
        self.main.token_service = self.bases[1]
        self.other.render_GET = lambda request: b"no json"  # type: ignore[method-assign]
        with self.assertRaises(NotFound) as caught:
            await self.pull(f"{host}/private")
        self.assertIn(f"pull access denied for {host}/private", caught.exception.message)


class AddressTests(SynchronousTestCase):
    def allowed(self, base: str, address: str, **place: Any) -> tuple[bool, bool]:
        client = RegistryClient(reactor, Place(base, **place), "x")
        parsed = ip_address(address)
        return client._allows_own(parsed), client._allows_other(parsed)

    def test_what_registries_refer_to(self) -> None:
        for internal in ("169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "fd00:ec2::254"):
            self.assertEqual(self.allowed("https://r.example", internal), (False, False))
        for internal in (
            "100.100.100.200",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "::a9fe:a9fe",
        ):
            self.assertEqual(self.allowed("https://r.example", internal), (False, False))
        for own in ("64:ff9b::7f00:1", "2002:7f00:1::1", "::7f00:1", "::"):
            self.assertFalse(self.allowed("https://r.example", own)[1], own)
        for own in ("127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1"):
            self.assertFalse(self.allowed("https://r.example", own)[1])
            self.assertTrue(self.allowed("http://127.0.0.1:5000", own)[1])
        self.assertEqual(self.allowed("https://r.example", "93.184.216.34"), (True, True))
        self.assertEqual(
            self.allowed("http://169.254.1.1", "169.254.1.1", trusted=True), (True, False)
        )

    def test_insecure_registries(self) -> None:
        configured = ("r.example:5000", "10.0.0.0/8")
        for host, port in (("127.9.9.9", 1), ("::1", 1), ("localhost", 1), ("10.1.2.3", 80)):
            self.assertTrue(is_insecure(host, port, configured))
        self.assertTrue(is_insecure("r.example", 5000, configured))
        self.assertFalse(is_insecure("r.example", 443, configured))
        self.assertFalse(is_insecure("8.8.8.8", 80, configured))

    def test_places(self) -> None:
        def bases(domain: str) -> list[list[str]]:
            found = places(domain, ["r.example"], ["https://mirror.example/"])
            return [[place.base for place in ways] for ways in found]

        self.assertEqual(
            bases("docker.io"), [["https://mirror.example"], ["https://registry-1.docker.io"]]
        )
        self.assertEqual(bases("quay.io"), [["https://quay.io"]])
        self.assertEqual(bases("r.example"), [["https://r.example", "http://r.example"]])


class NameTests(TestCase):
    """Names, which are looked at when they are resolved."""

    timeout = 120

    async def test_names_that_lead_to_this_host(self) -> None:
        client = RegistryClient(reactor, Place("https://r.example"), "x")
        # As numbers the resolver takes some that are no addresses to look at.
        for host in ("localhost", "2130706433", "0x7f.1", "127.1", "0"):
            endpoint = CheckedEndpoint(reactor, host, 1, client._allows_other)
            await self.assertFailure(endpoint.connect(Factory()), Forbidden, DNSLookupError)
        await client.close()


class ManifestTests(SynchronousTestCase):
    def test_what_is_no_manifest(self) -> None:
        good = {"digest": "sha256:" + "a" * 64, "size": 1}
        for document in (
            b"",
            b"[]",
            b"[" * 100_000,
            b'{"schemaVersion": 1}',
            json.dumps({"mediaType": OCI_MANIFEST}).encode(),
            json.dumps({"config": good, "layers": {}}).encode(),
            json.dumps({"config": good, "layers": [{**good, "digest": "sha256:../x"}]}).encode(),
            json.dumps({"config": good, "layers": [{**good, "size": -1}]}).encode(),
            json.dumps({"config": good, "layers": [good] * 501}).encode(),
            json.dumps({"config": good, "layers": [], "manifests": []}).encode(),
        ):
            self.assertRaises(Malformed, decode_manifest, document, "application/json")

    def test_platforms(self) -> None:
        def entry(number: int, architecture: str, variant: str = "") -> dict[str, Any]:
            return {
                "digest": f"sha256:{number:064d}",
                "size": 1,
                "platform": {"os": "linux", "architecture": architecture, "variant": variant},
            }

        document = {
            "manifests": [
                entry(1, "amd64"),
                entry(2, "arm", "v6"),
                entry(3, "arm", "v7"),
                entry(4, "arm64", "v8"),
                entry(5, "unknown"),
            ]
        }
        index = decode_manifest(json.dumps(document).encode(), "")
        assert isinstance(index, ManifestIndex)
        for wanted, number in (
            ("linux/amd64", 1),
            ("linux/arm/v7", 3),
            ("linux/arm/v6", 2),
            ("linux/arm64", 4),
            ("aarch64", 4),
            ("linux/s390x", None),
            ("linux/arm/v5", None),
        ):
            chosen = choose(index, Platform.parse(wanted))
            self.assertEqual(chosen and int(chosen.digest[7:]), number)

    def test_a_bar(self) -> None:
        self.assertEqual(bar(1, 2), f"[{'=' * 25}>{' ' * 25}]       1B/2B")
        self.assertEqual(bar(1068986, 1068986), f"[{'=' * 50}>]  1.069MB/1.069MB")
        self.assertIsInstance(
            decode_manifest(
                json.dumps(
                    {"config": {"digest": "sha256:" + "a" * 64, "size": 1}, "layers": []}
                ).encode(),
                OCI_MANIFEST,
            ),
            Manifest,
        )
