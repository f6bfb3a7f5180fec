"""Some of what `differences/run` tries, so that the script itself is known to work."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from differences import sides
from differences.cases import Case
from differences.compare import Difference, differences, play_both
from differences.reasons import load, sort


class DifferencesTests(SynchronousTestCase):
    skip = sides.missing() or None
    maxDiff = None

    def setUp(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="da-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        self.sides = (sides.dockerd(directory), sides.ours(directory))
        for side in self.sides:
            side.__enter__()
            self.addCleanup(side.__exit__, None, None, None)
            side.version = self.sides[0].newest

    def unexplained(self, *steps: str, inspect: tuple[str, ...] = ()) -> list[Difference]:
        case = Case(covers=("x",), steps=steps, inspect=inspect)
        found = differences(case, *play_both(case, *self.sides))
        return sort(found, load()).unknown

    def test_what_does_not_differ_and_what_does(self) -> None:
        run = "docker run --name cc --memory 64m -e A=b busybox sh -c 'echo out; exit 3'"
        for steps in (
            (run, "docker logs cc", "docker ps -a", "docker rm cc"),
            ("docker run --rm --memory 1k busybox true", "docker run --rm busybox nosuch"),
            ("docker container inspect nosuch", "docker container rm nosuch"),
        ):
            self.assertEqual(self.unexplained(*steps), [])
        # The reasons are for what Debian 12's dockerd shows.
        inspect = ("container cc",) if self.sides[0].version == "1.41" else ()
        goes_on = "docker run -d --name cc --memory 64m -e A=b busybox sleep 100"
        self.assertEqual(self.unexplained(goes_on, inspect=inspect), [])
        (found,) = self.unexplained("echo $DOCKER_HOST | grep -o ours", "docker ps")
        self.assertEqual(
            (found.place, found.dockerd, found.ours), ("command", "exit 1", "ours\nexit 0")
        )
        for side in self.sides:
            self.assertEqual(side.ask("/containers/json?all=1"), [])
            self.assertFalse(side.work.exists())
