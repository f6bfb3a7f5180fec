"""docker cp, diff, export, commit, save and load, on ours and on a dockerd side by side."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration import dockerd, server
from tests.integration.dockerd import Dockerd
from tests.integration.server import Server, busybox_archive, wait_until
from tests.unixhttp import UnixConnection

#: What containers make of their root before they are compared.
SCRIPT = """
mkdir -p /d/sub /d/$(printf %0120d 0); echo hi > /d/f; ln /d/f /d/hard; ln -s f /d/sym
ln -s /etc /d/abs; ln -s nowhere /d/dangling; ln -s ../../../etc/passwd /d/up; mkfifo /d/pipe
mknod /d/null c 1 3; touch "/d/$(printf 'a\\nb')" "/d/$(printf 'inv\\377')"; chmod 4755 /d/f
chmod 1777 /d/sub; chown 1000:1001 /d/sub; rm /etc/group; rm -rf /home; mkdir /home
sleep 1000
"""
PATHS = (
    *("/d", "/d/", "/d/.", "/d/f", "/d/sym", "/d/abs", "/d/abs/", "/d/abs/.", "/d/dangling"),
    *(
        "/d/up",
        "/d/pipe",
        "/d/null",
        "/",
        ".",
        "d/sub",
        "/d/../d/f",
        "/no",
        "/d/dangling/",
        "/d/f/",
    ),
)


def ask(side: Dockerd, method: str, path: str) -> tuple[int, Any, bytes]:
    """Return status, what the header says of the path, and the body."""
    connection = UnixConnection(side.socket)
    try:
        connection.request(method, f"/v1.41{path}")
        answer = connection.getresponse()
        header = answer.getheader("X-Docker-Container-Path-Stat")
        stat = json.loads(base64.b64decode(header)) if header else None
        return answer.status, stat, answer.read()
    finally:
        connection.close()


def listed(data: bytes) -> list[tuple[Any, ...]]:
    """Return what counts of an archive's members."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [
            (one.name, one.type, one.mode & 0o7777, one.uid, one.gid, one.size, one.linkname)
            for one in tar
        ]


class SideBySideTests(SynchronousTestCase):
    """One container on each."""

    skip = server.missing() or dockerd.missing() or None

    def setUp(self) -> None:
        self.sides: list[Dockerd] = [Dockerd(), Server()]
        archive = busybox_archive()
        for side in self.sides:
            self.addCleanup(side.remove)
            side.start()
            side.docker("import", "-", "busybox", stdin=archive)
            self.addCleanup(side.docker, "rm", "-fv", "cc")
            run = ("run", "-d", "--net", "none", "--name", "cc", "busybox", "sh", "-c", SCRIPT)
            side.docker(*run)
            ready = lambda side=side: b"sleep" in side.docker("top", "cc")  # noqa: E731
            self.assertTrue(wait_until(ready))
        self.directory = Path(tempfile.mkdtemp(prefix="dockerapi-cp-"))
        self.addCleanup(rmtree, self.directory)

    def both(self, *arguments: str, stdin: bytes = b"") -> list[tuple[int, bytes, bytes]]:
        found = []
        for side in self.sides:
            command = ("docker", "-H", side.host, *arguments)
            done = subprocess.run(command, input=stdin, capture_output=True, check=False)
            found.append((done.returncode, done.stdout, done.stderr))
        return found

    def test_what_is_told_and_copied(self) -> None:
        for path in PATHS:
            theirs, ours = (
                ask(side, "HEAD", f"/containers/cc/archive?path={path}") for side in self.sides
            )
            self.assertEqual(theirs[0], ours[0], path)
            for found in (theirs[1], ours[1]):
                if found is not None:
                    del found["mtime"]
            self.assertEqual(theirs[1], ours[1], path)
        for path in ("/d", "/d/.", "/d/sym", "/d/f"):
            theirs, ours = (
                ask(side, "GET", f"/containers/cc/archive?path={path}") for side in self.sides
            )
            self.assertEqual(listed(theirs[2]), listed(ours[2]), path)

    def test_changes_export_and_commit(self) -> None:
        theirs, ours = (
            sorted((one["Path"], one["Kind"]) for one in json.loads(body))
            for _, _, body in (ask(side, "GET", "/containers/cc/changes") for side in self.sides)
        )
        self.assertEqual(theirs, ours)
        exported = [
            {one for one in listed(side.docker("export", "cc")) if one[0].startswith(("d/", "bin"))}
            for side in self.sides
        ]
        self.assertEqual(*exported)
        for side in self.sides:
            side.docker("commit", "-c", 'ENTRYPOINT ["ls"]', "-a", "me", "cc", "made:1")
        form = "{{json .Config.Entrypoint}} {{json .Config.Cmd}} {{.Author}} {{len .RootFS.Layers}}"
        inspected = [side.docker("inspect", "-f", form, "made:1") for side in self.sides]
        self.assertEqual(*inspected)
        run = ("run", "--rm", "--net", "none", "made:1", "-1", "/d", "/etc/group", "/home")
        first, second = self.both(*run)
        self.assertEqual(first, second)

    def test_images_of_the_other(self) -> None:
        for side in self.sides:
            side.docker("commit", "cc", "made:1")
        saved = [side.docker("save", "made:1") for side in self.sides]
        ids = [side.docker("inspect", "-f", "{{.Id}}", "made:1") for side in self.sides]
        for side, data, identity in zip(self.sides, reversed(saved), reversed(ids), strict=True):
            side.docker("rmi", "made:1")
            self.assertIn(b"Loaded image: made:1", side.docker("load", stdin=data))
            self.assertEqual(side.docker("inspect", "-f", "{{.Id}}", "made:1"), identity)
            run = ("run", "--rm", "--net", "none", "made:1", "cat", "/d/f")
            self.assertEqual(side.docker(*run), b"hi\n")

    def test_what_the_cli_says(self) -> None:
        (self.directory / "f").write_text("f")
        file = str(self.directory / "f")
        for arguments in (
            ("cp", file, "cc:/no/such/"),
            ("cp", "cc:/no", "-"),
            ("cp", str(self.directory), "cc:/d/f"),
            ("cp", file, "cc:/d/sub"),
            ("cp", file, "nono:/"),
            ("cp", "-a", file, "cc:/d/copied"),
            ("diff", "nono"),
            ("export", "nono"),
            ("save", "nono"),
            ("commit", "nono"),
            ("commit", "-c", "FOO x", "cc"),
        ):
            theirs, ours = self.both(*arguments)
            self.assertEqual(theirs[0], ours[0], arguments)
            # This one's words have changed since: it wrote commands in small letters.
            if arguments[0] != "save" and "-c" not in arguments:
                self.assertEqual(_refusals(theirs[2]), _refusals(ours[2]), arguments)


class OwnTests(SynchronousTestCase):
    """What dockerd need not be asked about."""

    skip = server.missing() or None

    def setUp(self) -> None:
        self.server = Server()
        self.addCleanup(self.server.remove)
        self.server.start()
        self.server.import_busybox()
        self.addCleanup(self.server.remove_containers)
        self.directory = Path(tempfile.mkdtemp(prefix="dockerapi-cp-"))
        self.addCleanup(rmtree, self.directory)
        run = ("run", "-d", "--net", "none", "--name", "cc", "busybox", "sleep", "1000")
        self.server.docker(*run)

    def test_much_is_streamed(self) -> None:
        size = 200 * 1024 * 1024
        big = self.directory / "big"
        with big.open("wb") as file:
            for _ in range(size // (1 << 20)):
                file.write(os.urandom(1 << 20))
        ours = self.server
        ours.docker("cp", str(big), "cc:/big")
        ours.docker("cp", "cc:/big", str(self.directory / "back"))
        compared = subprocess.run(("cmp", big, self.directory / "back"), check=False)
        self.assertEqual(compared.returncode, 0)
        status = Path(f"/proc/{ours.pid}/status").read_text()
        (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
        self.assertLess(int(peak.split()[1]) * 1024, size)

    def test_a_server_that_is_killed_leaves_nothing_mounted(self) -> None:
        ours = self.server
        ours.docker("stop", "-t", "0", "cc")
        command = ("docker", "-H", ours.host, "export", "cc")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as export:
            assert export.stdout is not None
            export.stdout.read(1)
            ours.kill()
            export.kill()
        ours.start()
        self.assertEqual([one for one in ours.leftovers() if one.endswith("/merged")], [])
        ours.docker("start", "cc")


def _refusals(errors: bytes) -> list[bytes]:
    """Return the server's words among what the CLI says, which depends on its timing."""
    return [line for line in errors.splitlines() if line.startswith(b"Error response")]
