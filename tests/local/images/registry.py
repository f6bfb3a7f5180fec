"""Debian's docker-registry on loopback, and content to put into it."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import URLError

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


class Registry:
    """A registry process of one test case."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="images-registry-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        (self.root / "config.yml").write_text(
            "version: 0.1\n"
            f"storage: {{filesystem: {{rootdirectory: {self.root}/data}}}}\n"
            f'http: {{addr: "{self.host}"}}\n'
        )
        program = shutil.which("docker-registry")
        assert program is not None
        self._process = subprocess.Popen(
            [program, "serve", str(self.root / "config.yml")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://{self.host}/v2/", timeout=60).close()
                break
            except URLError:
                time.sleep(0.05)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self.root)

    def blob_path(self, blob: str) -> Path:
        """The file in which the registry keeps a blob."""
        name = blob.removeprefix("sha256:")
        return self.root / f"data/docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"

    def push_blob(self, repository: str, data: bytes) -> dict[str, Any]:
        base = f"http://{self.host}/v2/{repository}/blobs/uploads/"
        with self._send("POST", base) as answer:
            place = answer.headers["Location"]
        glue = "&" if "?" in place else "?"
        self._send("PUT", f"{place}{glue}digest={digest(data)}", data).close()
        return {"digest": digest(data), "size": len(data)}

    def push_manifest(self, repository: str, name: str, document: dict[str, Any]) -> str:
        data = json.dumps(document).encode()
        url = f"http://{self.host}/v2/{repository}/manifests/{name}"
        self._send("PUT", url, data, document["mediaType"]).close()
        return digest(data)

    def push_image(
        self, repository: str, tag: str, layers: list[bytes], **config: Any
    ) -> dict[str, Any]:
        """Push an image of uncompressed archives; return its manifest."""
        document = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2020-01-02T03:04:05.6Z",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
            **config,
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": _CONFIG,
                **self.push_blob(repository, json.dumps(document).encode()),
            },
            "layers": [
                {"mediaType": _LAYER, **self.push_blob(repository, gzip.compress(layer))}
                for layer in layers
            ],
        }
        manifest_digest = self.push_manifest(repository, tag, manifest)
        return {**manifest, "digest": manifest_digest}

    @staticmethod
    def _send(
        method: str, url: str, data: bytes = b"", kind: str = "application/octet-stream"
    ) -> Any:
        request = urllib.request.Request(
            url, data=data, method=method, headers={"Content-Type": kind}
        )
        return urllib.request.urlopen(request, timeout=60)
