"""The options of a tmpfs in a container.

Source: the specification's `Tmpfs` and `TmpfsOptions`; texts as dockerd's. Rule: pure functions.
"""

from __future__ import annotations

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.containers.mounts.point import TMPFS_PROPAGATIONS
from dockerapi.model.containers import TmpfsOptions

#: Options of a tmpfs that stand for themselves, and what each takes the place of.
_FLAGS = {
    "exec": "noexec",
    "suid": "nosuid",
    "dev": "nodev",
    "rw": "ro",
    "atime": "noatime",
    "noexec": "exec",
    "nosuid": "suid",
    "nodev": "dev",
    "ro": "rw",
    "noatime": "atime",
    "sync": "async",
    "async": "sync",
    "diratime": "nodiratime",
    "nodiratime": "diratime",
    "relatime": "norelatime",
    "norelatime": "relatime",
    "strictatime": "nostrictatime",
}
_VALUES = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})


def tmpfs_options(text: str) -> tuple[str, ...]:
    """Return the options of a tmpfs: dockerd's own, and those of `text`, which go first.

    Raises `InvalidParameter` for an option that is not a tmpfs's.
    """
    given = [word for word in text.split(",") if word]
    for word in given:
        name, equals, _ = word.partition("=")
        if not (name in _VALUES if equals else name in _FLAGS or name in TMPFS_PROPAGATIONS):
            # dockerd shows the list of its parts.
            parts = " ".join(f'"{part}"' for part in word.split("=", 1))
            raise InvalidParameter(f"invalid tmpfs option [{parts}]")
    own = [flag for flag in ("noexec", "nosuid", "nodev") if _FLAGS[flag] not in given]
    return (*own, *given)


def as_text(options: TmpfsOptions | None) -> str:
    """Return what `options` say as the text of a ``Tmpfs``; raise `InvalidParameter`."""
    if options is None:
        return ""
    words = []
    if options.size_bytes > 0:
        words.append(f"size={options.size_bytes}")
    if options.mode:
        words.append(f"mode={options.mode:o}")
    for option in options.options or ():
        if len(option) not in (1, 2):
            raise InvalidParameter("invalid option array length")
        words.append("=".join(option))
    return ",".join(words)
