"""The layout: paths from ids, and from nothing else."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.layout import Layout


class LayoutTests(SynchronousTestCase):
    def test_only_ids_make_paths(self) -> None:
        layout = Layout(Path("/d"), Path("/r"))
        good = "a" * 64
        self.assertEqual(layout.container(good), Path("/d/containers") / good)
        self.assertEqual(layout.blob(f"sha256:{good}").name, good)
        self.assertEqual(layout.layer(f"sha256:{good}").name, good)
        for bad in ("", "..", "A" * 64, "a" * 63, good + "\n", "../" + "a" * 61):
            self.assertRaises(ValueError, layout.container, bad)
            self.assertRaises(ValueError, layout.container_run, bad)
            self.assertRaises(ValueError, layout.blob, f"sha256:{bad}")
            self.assertRaises(ValueError, layout.layer, f"sha256:{bad}")
        self.assertRaises(ValueError, layout.blob, f"md5:{good}")

    def test_an_attach_socket_has_room(self) -> None:
        layout = Layout(Path("/var/lib/dockerapi"), Path("/run/dockerapi"))
        # sun_path holds 108 bytes with its zero byte.
        self.assertLess(len(str(layout.container_run("a" * 64) / "attach")), 108)

    def test_others_cannot_enter(self) -> None:
        base = Path(self.mktemp())
        layout = Layout(base / "data", base / "run")
        layout.make()
        layout.make()
        for path in (layout.root, layout.run):
            self.assertEqual(path.stat().st_mode & 0o007, 0)
        self.assertTrue((layout.blobs / "sha256").is_dir())
