"""System calls: what they do, and the errors that they raise."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dockerapi.local.host.overlay import mount_overlay
from dockerapi.local.host.syscalls import (
    MOUNT_OPTIONS_LIMIT,
    MountFlag,
    Namespace,
    Resolve,
    UnmountFlag,
    check_file_system,
    mount,
    openat2,
    setns,
    umount,
    unshare,
)
from dockerapi.local.networks.namespaces import in_own_thread


class Rooted(SynchronousTestCase):
    def setUp(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("mounts and namespaces need root")
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()

    def unmount_later(self, target: Path) -> None:
        self.addCleanup(umount, target, UnmountFlag.DETACH)


class MountTests(Rooted):
    def test_bind(self) -> None:
        source, target = self.base / "source", self.base / "target"
        source.mkdir()
        target.mkdir()
        (source / "file").touch()
        mount(source, target, flags=MountFlag.BIND)
        self.assertTrue((target / "file").exists())
        umount(target)
        self.assertFalse((target / "file").exists())

    def test_options(self) -> None:
        mount("tmpfs", self.base, "tmpfs", MountFlag.NOSUID | MountFlag.NODEV, "mode=700,size=64k")
        self.unmount_later(self.base)
        self.assertEqual(self.base.stat().st_mode & 0o777, 0o700)
        self.assertEqual(os.statvfs(self.base).f_blocks * os.statvfs(self.base).f_frsize, 65536)

    def test_errors_name_the_path(self) -> None:
        error = self.assertRaises(FileNotFoundError, mount, "x", self.base / "no")
        self.assertEqual(error.filename, str(self.base / "no"))
        error = self.assertRaises(OSError, umount, self.base)
        self.assertEqual((error.errno, error.filename), (errno.EINVAL, str(self.base)))

    def test_options_are_never_cut_off(self) -> None:
        text = "x" * (MOUNT_OPTIONS_LIMIT + 1)
        self.assertRaises(ValueError, mount, "tmpfs", self.base, "tmpfs", 0, text)


class FileSystemTests(Rooted):
    def test_what_the_kernel_has(self) -> None:
        check_file_system("tmpfs")
        error = self.assertRaises(OSError, check_file_system, "nosuchfs")
        self.assertEqual((error.errno, error.filename), (errno.ENODEV, "nosuchfs"))


class OverlayTests(Rooted):
    def layers(self, number: int, stem: str) -> list[Path]:
        made = []
        for index in range(number):
            layer = self.base / f"{stem}{index}"
            layer.mkdir()
            (layer / f"file{index}").touch()
            (layer / "all").write_text(str(index))
            made.append(layer)
        return made

    def mounted(self, lower: list[Path]) -> Path:
        upper, work, merged = (self.base / name for name in ("upper", "work", "merged"))
        for path in (upper, work, merged):
            path.mkdir()
        mount_overlay(merged, lower, upper, work, volatile=True)
        self.unmount_later(merged)
        return merged

    def test_topmost_first(self) -> None:
        merged = self.mounted(self.layers(3, "layer"))
        self.assertEqual((merged / "all").read_text(), "0")
        (merged / "new").touch()
        self.assertTrue((self.base / "upper" / "new").exists())

    def test_more_names_than_fit_into_a_page(self) -> None:
        merged = self.mounted(self.layers(100, "layer-with-a-long-name-" + "x" * 100))
        self.assertEqual(len(os.listdir(merged)), 101)

    def test_special_characters(self) -> None:
        merged = self.mounted(self.layers(2, "a:b,c\\d"))
        self.assertEqual(sorted(os.listdir(merged)), ["all", "file0", "file1"])

    def test_read_only(self) -> None:
        merged = self.base / "merged"
        merged.mkdir()
        mount_overlay(merged, self.layers(2, "layer"))
        self.unmount_later(merged)
        error = self.assertRaises(OSError, (merged / "new").touch)
        self.assertEqual(error.errno, errno.EROFS)


class OpenTests(SynchronousTestCase):
    def test_resolve(self) -> None:
        root = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
        self.addCleanup(os.close, root)
        os.close(openat2(root, "status", os.O_RDONLY, 0, Resolve.IN_ROOT))
        for path, resolve, number in (
            ("root/etc", Resolve.NO_MAGICLINKS, errno.ELOOP),
            ("..", Resolve.BENEATH, errno.EXDEV),
            ("no", Resolve.NONE, errno.ENOENT),
        ):
            error = self.assertRaises(OSError, openat2, root, path, os.O_PATH, 0, resolve)
            self.assertEqual((error.errno, error.filename), (number, path))

    def test_closed_at_exec(self) -> None:
        descriptor = openat2(-100, "/", os.O_PATH)
        self.addCleanup(os.close, descriptor)
        self.assertFalse(os.get_inheritable(descriptor))


class NamespaceTests(Rooted):
    def test_belongs_to_the_thread(self) -> None:
        here = os.readlink("/proc/thread-self/ns/net")

        def enter() -> tuple[str, str]:
            old = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            unshare(Namespace.NET)
            inside = os.readlink("/proc/thread-self/ns/net")
            setns(old, Namespace.NET)
            os.close(old)
            return inside, os.readlink("/proc/thread-self/ns/net")

        inside, after = in_own_thread(enter)
        self.assertNotEqual(inside, here)
        self.assertEqual(after, here)
        self.assertEqual(os.readlink("/proc/thread-self/ns/net"), here)

    def test_not_a_namespace(self) -> None:
        descriptor = os.open("/dev/null", os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        error = self.assertRaises(OSError, setns, descriptor, Namespace.NET)
        self.assertEqual(error.errno, errno.EINVAL)


class LockTests(SynchronousTestCase):
    def test_a_call_that_waits_lets_others_run(self) -> None:
        pipe = Path(self.mktemp())
        os.mkfifo(pipe)
        thread = threading.Thread(target=lambda: os.close(openat2(-100, pipe, os.O_RDONLY)))
        thread.start()
        time.sleep(0.05)
        # Reached at all only where the waiting call let go of the interpreter's lock.
        os.close(os.open(pipe, os.O_WRONLY))
        thread.join(10)
        self.assertFalse(thread.is_alive())
