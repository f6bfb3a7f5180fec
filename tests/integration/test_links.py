"""Links between containers, as the CLI makes and shows them."""

from __future__ import annotations

from tests.integration.test_cli import EmbeddedCase

SCRIPT = "cat /etc/hosts; env"


class LinkTests(EmbeddedCase):
    def setUp(self) -> None:
        super().setUp()
        self.ok(
            *("run", "-d", "--name", "db", "--expose", "80", "--expose", "53/udp"),
            *("-e", "FOO=bar", "busybox", "sleep", "1000"),
        )
        self.address = self.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db").strip()
        self.hostname = self.ok("inspect", "-f", "{{.Config.Hostname}}", "db").strip()

    def test_names_and_variables(self) -> None:
        told = self.ok(
            *("run", "--rm", "--name", "web", "--link", "db:store", "--link", "db", "busybox"),
            *("sh", "-c", SCRIPT),
        ).splitlines()
        self.assertIn(f"{self.address}\tstore {self.hostname} db", told)
        self.assertIn(f"{self.address}\tdb {self.hostname}", told)
        for entry in (
            f"STORE_PORT=udp://{self.address}:53",
            f"STORE_PORT_80_TCP=tcp://{self.address}:80",
            f"STORE_PORT_80_TCP_ADDR={self.address}",
            "STORE_PORT_53_UDP_PROTO=udp",
            "STORE_NAME=/web/store",
            "STORE_ENV_FOO=bar",
        ):
            self.assertIn(entry, told)

    def test_it_is_shown_by_names_and_removed_by_its_own(self) -> None:
        self.ok("create", "--name", "web", "--link", "db:store", "busybox", "true")
        self.assertEqual(self.links("web"), "[/db:/web/store]")
        self.ok("rename", "db", "database")
        self.assertEqual(self.links("web"), "[/database:/web/store]")
        self.ok("rm", "--link", "/web/store")
        self.assertEqual(self.links("web"), "[]")
        done = self.server.run("rm", "--link", "/web/store")
        self.assertIn(b"No such container: web/store", done.stderr)

    def test_a_container_is_found_and_listed_by_links_to_it(self) -> None:
        self.ok("create", "--name", "web", "--link", "db:store", "busybox", "true")
        self.ok("rename", "web", "site")
        for name in ("site/store", "/site/store"):
            self.assertEqual(self.ok("inspect", "-f", "{{.Name}}", name).strip(), "/db")
        listed = self.ok("ps", "--no-trunc", "--format", "{{.Names}}").strip()
        self.assertEqual(listed, "db,site/store")
        self.assertIn(b"No such container", self.server.run("kill", "site/other").stderr)
        self.ok("rm", "site")
        self.assertEqual(self.ok("ps", "--no-trunc", "--format", "{{.Names}}").strip(), "db")

    def test_an_address_that_changes(self) -> None:
        self.ok("run", "-d", "--name", "web", "--link", "db", "busybox", "sleep", "1000")
        self.ok("kill", "db")
        # Somebody else takes the address before it comes back.
        self.ok("run", "-d", "--name", "other", "busybox", "sleep", "1000")
        self.ok("start", "db")
        address = self.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db").strip()
        self.assertIn(
            f"{address}\tdb {self.hostname}\n", self.ok("exec", "web", "cat", "/etc/hosts")
        )
        self.server.kill()
        self.server.start()
        self.assertIn(f"DB_PORT_80_TCP_ADDR={address}\n", self.ok("exec", "web", "env"))

    def test_no_link_to_one_in_the_hosts_network(self) -> None:
        self.ok("run", "-d", "--name", "open", "--net", "host", "busybox", "sleep", "1000")
        done = self.server.run("run", "--rm", "--link", "open:x", "busybox", "true")
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"host type networking can't be used with links", done.stderr)

    def test_what_cannot_be_linked(self) -> None:
        for link, text in (
            ("nosuch:x", b"could not get container for nosuch: No such container: nosuch"),
            ("db:a:b", b"bad format for links: db:a:b"),
        ):
            done = self.server.run("create", "--link", link, "busybox", "true")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(text, done.stderr)
        self.ok("create", "--name", "web", "--link", "db:store", "busybox", "true")
        self.ok("kill", "db")
        done = self.server.run("start", "web")
        self.assertIn(b"Cannot link to a non running container: /db AS /web/store", done.stderr)

    def links(self, name: str) -> str:
        return self.ok("inspect", "-f", "{{.HostConfig.Links}}", name).strip()


class NetworkFilterTests(EmbeddedCase):
    def test_a_network_is_asked_for_by_a_beginning_of_its_id(self) -> None:
        self.ok("run", "-d", "--name", "on", "busybox", "sleep", "1000")
        self.ok("run", "-d", "--name", "off", "--net", "none", "busybox", "sleep", "1000")
        identity = self.ok("network", "inspect", "-f", "{{.Id}}", "bridge").strip()
        for wanted, names in (
            ("bridge", "on"),
            (identity, "on"),
            (identity[:6], "on"),
            ("none", "off"),
            ("bri", ""),
        ):
            told = self.ok("ps", "--format", "{{.Names}}", "--filter", f"network={wanted}")
            self.assertEqual(told.strip(), names, wanted)
