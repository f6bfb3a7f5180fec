"""What containers get from the server's options, where nobody says otherwise."""

from __future__ import annotations

from tests.integration.server import Server
from tests.integration.test_cli import EmbeddedCase

SCRIPT = "ulimit -n; ulimit -Hn; df -k /dev/shm | tail -n 1; cat /proc/1/comm; true"


class DefaultsTests(EmbeddedCase):
    options = (
        *("--default-ulimit", "nofile=42:43", "--default-ulimit", "nproc=500"),
        *("--default-shm-size", "1m", "--default-ipc-mode", "shareable", "--init"),
    )

    def seen(self, *options: str) -> tuple[str, str, str, str]:
        """Return both limits of files, the size of /dev/shm, and the first process."""
        told = self.ok("run", "--rm", *options, "busybox", "sh", "-c", SCRIPT).splitlines()
        return told[0], told[1], told[2].split()[1], told[3]

    def test_what_a_container_has(self) -> None:
        soft, hard, shm, first = self.seen()
        self.assertEqual((soft, hard, shm), ("42", "43", "1024"))
        self.assertNotEqual(first, "sh")

    def test_what_a_container_says_itself_counts(self) -> None:
        found = self.seen("--ulimit", "nofile=50:60", "--shm-size", "2m", "--init=false")
        self.assertEqual(found, ("50", "60", "2048", "sh"))
        limits = self.ok("run", "--rm", "--ulimit", "nofile=50", "busybox", "cat", "/proc/1/limits")
        (processes,) = (line for line in limits.splitlines() if line.startswith("Max processes"))
        self.assertEqual(processes.split()[2:4], ["500", "500"])

    def test_what_is_shown_and_what_execs_have(self) -> None:
        self.ok("run", "-d", "--name", "cc", "busybox", "sleep", "1000")
        shown = "{{.HostConfig.IpcMode}} {{.HostConfig.ShmSize}} {{.HostConfig.Ulimits}}"
        self.assertEqual(
            self.ok("inspect", "-f", shown, "cc").strip(),
            "shareable 1048576 [nofile=42:43 nproc=500:500]",
        )
        self.ok("create", "--name", "dd", "--ulimit", "nofile=9:10", "busybox", "true")
        limits = self.ok("inspect", "-f", "{{.HostConfig.Ulimits}}", "dd").strip()
        self.assertEqual(limits, "[nofile=9:10 nproc=500:500]")
        self.assertEqual(self.ok("exec", "cc", "sh", "-c", "ulimit -n").strip(), "42")

    def test_they_count_at_each_start(self) -> None:
        self.ok("create", "--name", "cc", "busybox", "sh", "-c", "ulimit -n")
        self.assertEqual(self.ok("start", "-a", "cc").strip(), "42")
        self.server.stop()
        # The last of one name counts.
        options = ("--default-ulimit", "nofile=44")
        later = Server(*self.options, *options, directory=self.server.directory)
        later.start()
        self.addCleanup(self.server.start)
        self.addCleanup(later.stop)
        self.assertEqual(later.docker("start", "-a", "cc").strip(), b"44")
