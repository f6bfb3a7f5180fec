"""What may stand in a mount that a client asks for, in both of its forms.

Source: dockerd's rules and texts, of `Mounts` and of the modes of `Binds`. Rule: pure functions.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.mounts.point import PROPAGATIONS
from dockerapi.model.containers import BindOptions, Mount

_ACCESS = frozenset({"ro", "rw"})
_KINDS = (
    _ACCESS,
    frozenset({"z", "Z"}),
    frozenset({"consistent", "cached", "delegated"}),
    PROPAGATIONS,
    frozenset({"nocopy"}),
)
#: Which options no version takes for which other kind of mount.
_ALWAYS_REFUSED = {("BindOptions", "volume"), ("BindOptions", "tmpfs"), ("VolumeOptions", "bind")}
_OPTIONS = {
    "bind": ("BindOptions",),
    "volume": ("VolumeOptions",),
    "tmpfs": ("TmpfsOptions",),
    "image": ("ImageOptions",),
}


def check_mode(mode: str) -> list[str]:
    """Return the words of the mode of one of ``Binds``; each kind may occur once.

    Raises `EngineError`, which dockerd's status is.
    """
    words = mode.split(",") if mode else []
    for word in words:
        kind = next((kind for kind in _KINDS if word in kind), None)
        if kind is None or sum(other in kind for other in words) > 1:
            raise EngineError(f"invalid mode: {mode}")
    return words


def parse_from(text: str) -> tuple[str, bool]:
    """Read one of ``VolumesFrom``: return the container that it names and whether it may write.

    Raises `InvalidParameter`.
    """
    if not text:
        raise InvalidParameter("volumes-from specification cannot be an empty string")
    reference, _, mode = text.partition(":")
    try:
        words = check_mode(mode)
    except EngineError as error:
        raise InvalidParameter(error.message) from None
    if "nocopy" in words or PROPAGATIONS.intersection(words):
        raise InvalidParameter(f"invalid mode: {mode}")
    return reference, "ro" not in words


def check_target(target: str) -> None:
    """Raise `InvalidParameter` for a path that nothing can be mounted on."""
    if not target:
        raise InvalidParameter("field Target must not be empty")
    if "\0" in target:
        raise InvalidParameter("invalid mount path: it holds a zero byte")
    if target.startswith("/") and clean(target) == "/":
        raise InvalidParameter("invalid specification: destination can't be '/'")
    if not target.startswith("/"):
        raise InvalidParameter(f"invalid mount path: '{target}' mount path must be absolute")


def check_mount(mount: Mount, *, strict: bool) -> None:
    """Raise `InvalidParameter` for one of ``Mounts`` that can never be.

    `strict` tells whether options of other kinds of mounts are refused altogether.
    """
    try:
        if mount.type not in _OPTIONS:
            raise InvalidParameter("mount type unknown")
        check_target(mount.target)
        problem = next(_problems(mount, strict=strict), None)
        if problem is not None:
            raise InvalidParameter(problem)
    except InvalidParameter as error:
        raise InvalidParameter(
            f'invalid mount config for type "{mount.type}": {error.message}'
        ) from None


def _problems(mount: Mount, *, strict: bool) -> Iterator[str]:
    if mount.type in ("bind", "image") and not mount.source:
        yield "field Source must not be empty"
    if mount.type == "tmpfs" and mount.source:
        yield "field Source must not be specified"
    given = {
        "BindOptions": mount.bind_options,
        "VolumeOptions": mount.volume_options,
        "TmpfsOptions": mount.tmpfs_options,
        "ImageOptions": mount.image_options,
    }
    for name, options in given.items():
        refused = strict or (name, mount.type) in _ALWAYS_REFUSED
        if options is not None and name not in _OPTIONS[mount.type] and refused:
            yield f"field {name} must not be specified"
    if mount.type == "bind":
        yield from _bind_problems(mount)
    if mount.type == "volume":
        yield from _volume_problems(mount)
    image = mount.image_options
    if image is not None and image.subpath and not is_local(image.subpath):
        yield "subpath must be a relative path within the volume"


def _bind_problems(mount: Mount) -> Iterator[str]:
    if not mount.source.startswith("/"):
        yield f"invalid mount path: '{mount.source}' mount path must be absolute"
    options = mount.bind_options or BindOptions()
    if options.propagation and options.propagation not in PROPAGATIONS:
        yield f"invalid propagation mode: {options.propagation}"
    if options.read_only_non_recursive and options.read_only_force_recursive:
        yield (
            "mount options conflict: BindOptions.ReadOnlyNonRecursive && "
            "BindOptions.ReadOnlyForceRecursive"
        )
    for name, value in (
        ("ReadOnlyNonRecursive", options.read_only_non_recursive),
        ("ReadOnlyForceRecursive", options.read_only_force_recursive),
    ):
        if value and not mount.read_only:
            yield f"mount options conflict: !ReadOnly && BindOptions.{name}"


def _volume_problems(mount: Mount) -> Iterator[str]:
    options = mount.volume_options
    subpath = options.subpath if options is not None else ""
    if not mount.source and mount.read_only:
        yield "must not set ReadOnly mode when using anonymous volumes"
    if not mount.source and subpath:
        yield "must not set Subpath when using anonymous volumes"
    if subpath and not is_local(subpath):
        yield "subpath must be a relative path within the volume"


def clean(path: str) -> str:
    """Return the shortest form of a path, which begins with one slash."""
    # Two slashes at the beginning would stay.
    return posixpath.normpath("/" + path.lstrip("/"))


def is_local(path: str) -> bool:
    """Tell whether a relative path stays where it begins (Go's ``filepath.IsLocal``)."""
    short = posixpath.normpath(path)
    return bool(path) and not path.startswith("/") and short != ".." and not short.startswith("../")
