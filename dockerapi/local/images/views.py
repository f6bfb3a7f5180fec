"""What the API tells of images, by version.

Source: the specification's ImageSummary, ImageInspect and HistoryResponseItem.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from dockerapi.local.images.image import Image, mapping
from dockerapi.local.layout import Layout
from dockerapi.model.moments import parse_time
from dockerapi.model.timestamps import NANOSECONDS, rfc3339
from dockerapi.model.versions import Version

_NO_NONE_NAMES = Version(1, 43)
_NO_VIRTUAL_SIZE = Version(1, 44)
_NO_CONTAINER_CONFIG = Version(1, 45)
_IMAGE_CONFIG = Version(1, 50)
_MAY_LACK_CREATED = Version(1, 44)
_SHORT_INSPECT = Version(1, 52)
_COUNTS_CONTAINERS = Version(1, 51)

#: The members of an image's configuration that containers have too, with their zero values.
_OF_IMAGES: dict[str, Any] = {
    "User": "",
    "Env": None,
    "Cmd": None,
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
_OF_CONTAINERS: dict[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Image": "",
}
#: What is told only where it is set.
_OPTIONAL = ("ExposedPorts", "Healthcheck", "ArgsEscaped", "StopSignal", "StopTimeout", "Shell")
_NO_CONFIG = {**_OF_CONTAINERS, **{k: v for k, v in _OF_IMAGES.items() if k != "OnBuild"}}
#: Below it, answers are those of dockerd 20.10.
_CURRENT = Version(1, 40)


def counts_containers(version: Version) -> bool:
    """Tell whether lists of `version` say how many containers use each image."""
    return version >= _COUNTS_CONTAINERS


def summary(
    image: Image, version: Version, *, shared: int = -1, containers: int = -1
) -> dict[str, Any]:
    """Return an entry of ImageList."""
    tags: list[str] | None = list(image.tags)
    digests: list[str] | None = list(image.digests)
    if version < _NO_NONE_NAMES:
        if not tags and not digests:
            tags, digests = ["<none>:<none>"], ["<none>@<none>"]
        tags, digests = tags or None, digests or None
    answer: dict[str, Any] = {
        "Containers": containers,
        "Created": image.created // NANOSECONDS,
        "Id": image.id,
        "Labels": dict(image.labels) or None,
        "ParentId": image.parent,
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": shared,
        "Size": image.size,
    }
    if version < _NO_VIRTUAL_SIZE:
        answer["VirtualSize"] = image.size
    return answer


def shared_sizes(images: Iterable[Image]) -> dict[str, int]:
    """Return for each image how many bytes of it are in layers that others have too."""
    known = tuple(images)
    uses = Counter(layer.chain_id for image in known for layer in image.layers)
    return {
        image.id: sum(layer.size for layer in image.layers if uses[layer.chain_id] > 1)
        for image in known
    }


def inspection(image: Image, version: Version, layout: Layout) -> dict[str, Any]:
    """Return the answer of ImageInspect."""
    config = image.config
    answer: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Parent": image.parent,
        "Comment": _comment(image),
        "Created": rfc3339(image.created) if image.created else _ZERO_TIME,
        "DockerVersion": config.get("docker_version", ""),
        "Author": config.get("author", ""),
        "Config": _config(image, version),
        "Architecture": config.get("architecture", ""),
        "Variant": config.get("variant", ""),
        "Os": config.get("os", ""),
        "OsVersion": config.get("os.version", ""),
        "Size": image.size,
        "GraphDriver": {"Data": _layers(image, layout), "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": [layer.diff_id for layer in image.layers]},
        "Metadata": {"LastTagTime": rfc3339(image.tagged) if image.tagged else _ZERO_TIME},
    }
    optional: tuple[str, ...] = ("Variant", "OsVersion")
    if version >= _SHORT_INSPECT:
        optional += ("Parent", "Comment", "DockerVersion", "Author")
    if version >= _MAY_LACK_CREATED and not image.created:
        del answer["Created"]
    for key in optional:
        if not answer[key]:
            del answer[key]
    if version < _NO_VIRTUAL_SIZE:
        answer["VirtualSize"] = image.size
    if version < _NO_CONTAINER_CONFIG:
        answer["Container"] = config.get("container", "")
        told = {**_NO_CONFIG, **mapping(config.get("container_config"))}
        triggers = told.pop("OnBuild", None)
        if triggers or version < _CURRENT:
            told["OnBuild"] = triggers
        answer["ContainerConfig"] = told
    return answer


def history(image: Image, parents: Iterable[Image] = ()) -> list[dict[str, Any]]:
    """Return the answer of ImageHistory, the newest step first.

    `parents` are the images that it was made of one after another, the nearest first.
    """
    given = image.config.get("history")
    steps = [mapping(step) for step in given] if isinstance(given, list) else []
    layers = iter(image.layers)
    answer = []
    for step in steps:
        layer = None if step.get("empty_layer") else next(layers, None)
        answer.append(
            {
                "Comment": step.get("comment", ""),
                "Created": parse_time(step.get("created")) // NANOSECONDS,
                "CreatedBy": step.get("created_by", ""),
                "Id": "<missing>",
                "Size": layer.size if layer is not None else 0,
                "Tags": None,
            }
        )
    answer.reverse()
    for told, made in zip(answer, (image, *parents), strict=False):
        told.update(Id=made.id, Tags=list(made.tags) or None)
    return answer


_ZERO_TIME = "0001-01-01T00:00:00Z"


def _comment(image: Image) -> str:
    """Return the comment of an image, which OCI keeps with the last step of its history."""
    given = image.config.get("comment")
    if given:
        return str(given)
    steps = image.config.get("history")
    last = mapping(steps[-1]) if isinstance(steps, list) and steps else {}
    return str(last.get("comment", ""))


def _config(image: Image, version: Version) -> dict[str, Any]:
    config = image.runtime_config
    optional = {key: config[key] for key in _OPTIONAL if config.get(key)}
    if version >= _SHORT_INSPECT:
        return {key: config[key] for key in _OF_IMAGES if config.get(key)} | optional
    full = {key: config.get(key, zero) for key, zero in _OF_IMAGES.items()}
    full["Labels"] = full["Labels"] or None
    if version < _IMAGE_CONFIG:
        # What a commit wrote of its container is in `ContainerConfig`.
        full |= _OF_CONTAINERS
    return full | optional


def _layers(image: Image, layout: Layout) -> dict[str, str]:
    """Return where its layers are; and, as dockerd, where a mount of them would be."""
    paths = [str(layout.layer(layer.chain_id)) for layer in reversed(image.layers)]
    if not paths:
        return {}
    lower = {"LowerDir": ":".join(paths[1:])} if paths[1:] else {}
    place = f"{layout.tmp}/{image.layers[-1].chain_id.removeprefix('sha256:')}"
    return {
        **lower,
        "MergedDir": f"{place}/merged",
        "UpperDir": paths[0],
        "WorkDir": f"{place}/work",
    }
