"""docker-py against the embedded engine: what programs that use Docker ask of it."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound
from docker.models.containers import Container
from twisted.trial.unittest import SynchronousTestCase

from tests.integration import server
from tests.integration.server import Server, busybox_archive, wait_until


class DockerPyCase(SynchronousTestCase):
    """Each test has a server of its own, and a client."""

    skip = server.missing() or None

    def setUp(self) -> None:
        self.server = Server()
        self.addCleanup(self.server.remove)
        self.server.start()
        self.addCleanup(self.server.remove_containers)
        self.client = docker.DockerClient(base_url=self.server.host, version="auto", timeout=30)
        self.addCleanup(self.client.close)
        self.client.api.import_image_from_data(busybox_archive(), "busybox", "latest")

    def run_detached(self, command: str | list[str] = "sleep 100", **options: Any) -> Container:
        # Nothing here needs a network, and none is the quickest to set up.
        options.setdefault("network_mode", "none")
        return self.client.containers.run("busybox", command, detach=True, **options)

    def refused(self, status: int, call: Any, *arguments: Any, **options: Any) -> str:
        """Return dockerd's words for a call that has to fail with `status`."""
        error = self.assertRaises(APIError, call, *arguments, **options)
        self.assertEqual(error.status_code, status)
        return str(error.explanation)


class SystemTests(DockerPyCase):
    def test_ping_version_and_info(self) -> None:
        self.assertTrue(self.client.ping())
        version = self.client.version()
        self.assertEqual(version["ApiVersion"], self.client.api.api_version)
        self.assertEqual(version["Components"][0]["Name"], "Engine")
        self.run_detached()
        info = self.client.info()
        self.assertEqual((info["Containers"], info["ContainersRunning"]), (1, 1))
        self.assertEqual((info["Images"], info["OSType"]), (1, "linux"))

    def test_events_and_their_filters(self) -> None:
        container = self.run_detached(name="ev")
        self.run_detached(name="other")
        filters = {"container": "ev", "event": ["start", "die", "destroy"]}
        events = self.client.events(decode=True, filters=filters, since=1)
        self.assertEqual(next(events)["Action"], "start")
        container.remove(force=True)
        died = next(events)
        self.assertEqual((died["Action"], died["Actor"]["ID"]), ("die", container.id))
        self.assertEqual(died["Actor"]["Attributes"]["exitCode"], "137")
        self.assertEqual(next(events)["Action"], "destroy")
        events.close()


class ImageTests(DockerPyCase):
    def test_tags_listing_and_removal(self) -> None:
        image = self.client.images.get("busybox")
        self.assertTrue(image.tag("local/box", "two"))
        image.reload()
        self.assertEqual(sorted(image.tags), ["busybox:latest", "local/box:two"])
        self.assertEqual([one.id for one in self.client.images.list(name="local/*")], [image.id])
        self.assertEqual(self.client.images.list(filters={"dangling": True}), [])
        self.assertEqual(len(image.history()), 1)
        self.client.images.remove("local/box:two")
        self.assertRaises(ImageNotFound, self.client.images.get, "local/box:two")
        self.client.images.remove("busybox")
        self.assertEqual(self.client.images.list(), [])

    def test_an_image_in_use_is_kept(self) -> None:
        self.run_detached()
        identity = self.client.images.get("busybox").id
        words = self.refused(409, self.client.images.remove, identity, force=True)
        self.assertIn("cannot be forced", words)

    def test_what_is_not_there(self) -> None:
        self.assertRaises(ImageNotFound, self.client.images.get, "nosuch")
        self.assertRaises(ImageNotFound, self.client.containers.create, "nosuch", "true")


class ContainerTests(DockerPyCase):
    def test_output_of_a_run(self) -> None:
        run = self.client.containers.run
        self.assertEqual(run("busybox", "echo hi", remove=True), b"hi\n")
        script = ["sh", "-c", "echo out; echo err >&2; exit 3"]
        error = self.assertRaises(ContainerError, run, "busybox", script, remove=True)
        self.assertEqual((error.exit_status, error.stderr), (3, b"err\n"))
        self.assertEqual(self.client.containers.list(all=True), [])

    def test_a_life(self) -> None:
        container = self.run_detached(name="life")
        self.assertIn("already in use", self.refused(409, self.run_detached, name="life"))
        container.rename("renamed")
        self.assertRaises(NotFound, self.client.containers.get, "life")
        container.pause()
        container.reload()
        self.assertEqual((container.name, container.status), ("renamed", "paused"))
        self.refused(409, container.exec_run, "true")
        container.unpause()
        self.assertIn("sleep", container.top()["Processes"][0][-1])
        self.refused(409, container.remove)
        container.stop(timeout=0)
        self.assertEqual(container.wait()["StatusCode"], 137)
        self.refused(409, container.kill)
        container.restart(timeout=0)
        container.kill(signal="KILL")
        self.assertEqual(container.wait(condition="not-running")["StatusCode"], 137)
        container.remove()
        self.refused(404, container.reload)

    def test_listing_with_filters(self) -> None:
        self.run_detached(name="web", labels={"tier": "front"})
        done = self.run_detached("sh -c 'exit 4'", name="done")
        done.wait()
        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({}, ["done", "web"]),
            ({"status": "running"}, ["web"]),
            ({"status": ["running", "exited"]}, ["done", "web"]),
            ({"name": "^/?web$"}, ["web"]),
            ({"label": "tier=front"}, ["web"]),
            ({"exited": 4}, ["done"]),
            ({"ancestor": "busybox"}, ["done", "web"]),
            ({"since": "web"}, ["done"]),
            ({"network": "bridge"}, []),
        ]
        for filters, expected in cases:
            found = self.client.containers.list(all=True, filters=filters)
            self.assertEqual(sorted(one.name for one in found), expected, filters)
        self.assertEqual([one.name for one in self.client.containers.list()], ["web"])
        self.refused(400, self.client.containers.list, filters={"nosuch": "x"})

    def test_networks(self) -> None:
        names = sorted(str(network.name) for network in self.client.networks.list())
        self.assertEqual(names, ["bridge", "host", "none"])
        container = self.run_detached(network_mode="bridge")
        bridge = self.client.networks.get("bridge")
        self.assertEqual([one.id for one in bridge.containers], [container.id])
        self.assertRaises(NotFound, self.client.networks.get, "nosuch")

    def test_volumes(self) -> None:
        volume = self.client.volumes.create("vol", labels={"a": "b"})
        self.assertEqual([one.id for one in self.client.volumes.list()], ["vol"])
        container = self.run_detached(volumes={"vol": {"bind": "/v", "mode": "ro"}})
        (mount,) = container.attrs["Mounts"]
        self.assertEqual((mount["Name"], mount["RW"], mount["Mode"]), ("vol", False, "ro"))
        self.refused(409, volume.remove)
        container.remove(force=True)
        volume.remove()


class StreamTests(DockerPyCase):
    def test_logs_all_and_followed(self) -> None:
        script = ["sh", "-c", "echo one; sleep 0.3; echo two >&2; sleep 0.3; echo three"]
        container = self.run_detached(script)
        followed = b"".join(container.logs(stream=True, follow=True))
        self.assertEqual(followed, b"one\ntwo\nthree\n")
        self.assertEqual(container.logs(stderr=False), b"one\nthree\n")
        self.assertEqual(container.logs(tail=1), b"three\n")
        self.assertRegex(container.logs(timestamps=True), rb"^\d{4}-\d\d-\d\dT[\d:.]+Z one\n")

    def test_attach_streams_what_comes(self) -> None:
        container = self.run_detached(["sh", "-c", "echo early; sleep 1; echo out; echo err >&2"])
        # What is written during the attaching itself may come twice.
        self.assertTrue(wait_until(lambda: container.logs() == b"early\n"))
        told = list(container.attach(stream=True, logs=True, demux=True))
        streams = zip(*told, strict=True)
        out, err = (b"".join(part for part in parts if part) for parts in streams)
        self.assertEqual((out, err), (b"early\nout\n", b"err\n"))

    def test_exec_in_its_ways(self) -> None:
        container = self.run_detached()
        script = ["sh", "-c", "echo out; echo err >&2; exit 4"]
        self.assertEqual(container.exec_run(script, demux=True), (4, (b"out\n", b"err\n")))
        code, output = container.exec_run("tty", tty=True)
        self.assertEqual((code, output), (0, b"/dev/pts/0\r\n"))
        _, parts = container.exec_run(script, stream=True)
        assert not isinstance(parts, bytes)
        self.assertEqual(sorted(b"".join(parts).split()), [b"err", b"out"])
        told = container.exec_run(
            ["sh", "-c", "echo $A; pwd; id -u"], environment={"A": "b"}, workdir="/tmp", user="7"
        )
        self.assertEqual(told.output.split(), [b"b", b"/tmp", b"7"])
        container.exec_run("touch /detached", detach=True)
        self.assertTrue(wait_until(lambda: container.exec_run("ls /detached").exit_code == 0))

    def test_exec_by_its_socket(self) -> None:
        container = self.run_detached()
        text = os.urandom(300_000).hex().encode()
        execution = self.client.api.exec_create(container.id, "cat", stdin=True)["Id"]
        opened = self.client.api.exec_start(execution, socket=True)
        self.addCleanup(opened.close)
        output = self.exchange(opened._sock, text)
        self.assertEqual(output, text)
        self.assertTrue(wait_until(lambda: not self.client.api.exec_inspect(execution)["Running"]))
        self.assertEqual(self.client.api.exec_inspect(execution)["ExitCode"], 0)

    def test_attach_by_its_socket(self) -> None:
        container = self.client.containers.create(
            "busybox", "tr a-z A-Z", stdin_open=True, network_mode="none"
        )
        opened = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
        self.addCleanup(opened.close)
        container.start()
        self.assertEqual(self.exchange(opened._sock, b"some text\n"), b"SOME TEXT\n")

    def exchange(self, connection: socket.socket, text: bytes) -> bytes:
        """Send text, end the input, and return what came of stdout."""
        connection.settimeout(30)

        def send() -> None:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = b""
        while read := connection.recv(65536):
            received += read
        sender.join()
        output = b""
        while received:
            stream, size = received[0], int.from_bytes(received[4:8], "big")
            self.assertEqual(stream, 1)
            output, received = output + received[8 : 8 + size], received[8 + size :]
        return output
