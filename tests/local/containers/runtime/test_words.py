"""What runtimes of several versions say of a command that cannot be run, in dockerd's words."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import EngineError
from dockerapi.local.containers.runtime.runtime import StartFailed, plain, start_error

#: What crun 1.8 and 1.21 write, what is made of it, and the exit code that the CLI ends with.
ROWS = (
    (
        ("executable file `true` not found in $PATH: No such file or directory",),
        'exec: "true": executable file not found in $PATH',
        127,
    ),
    (
        (
            "executable file `/nosuch` not found in $PATH: No such file or directory",
            "executable file `/nosuch` not found: No such file or directory",
        ),
        'exec: "/nosuch": stat /nosuch: no such file or directory',
        127,
    ),
    (
        (
            "the path `/etc` is not a regular file: Operation not permitted",
            "the path `/etc` exists but it is not executable: Permission denied",
        ),
        'exec: "/etc": permission denied',
        126,
    ),
    (("open executable: Permission denied",), "exec: permission denied", 126),
    (("cannot open `/a/b`: Not a directory",), 'exec: "/a/b": stat /a/b: not a directory', 126),
)


class WordsTests(SynchronousTestCase):
    def test_of_crun(self) -> None:
        for said, meant, code in ROWS:
            for line in said:
                words = f"crun: {line}\n"
                self.assertEqual(plain(words), f"unable to start container process: {meant}")
                error = start_error(words)
                assert isinstance(error, StartFailed), words
                self.assertEqual(error.exit_code, code)
                self.assertTrue(error.message.endswith(f"container init: {meant}: unknown"))

    def test_of_runc(self) -> None:
        words = (
            'time="2026-01-01T00:00:00Z" level=error msg="runc create failed: unable to start '
            'container process: exec: \\"nosuch\\": executable file not found in $PATH"\n'
        )
        error = start_error(words)
        assert isinstance(error, StartFailed)
        self.assertEqual(error.exit_code, 127)
        self.assertIn('error during container init: exec: "nosuch": ', error.message)

    def test_other_words_stay(self) -> None:
        for words in ("cannot open `/sys/fs/cgroup/a`: Device or resource busy", "mount `a`: no"):
            self.assertEqual(plain(f"crun: {words}"), words)
            self.assertIs(type(start_error(words)), EngineError)
