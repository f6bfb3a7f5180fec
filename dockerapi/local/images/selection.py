"""Which images a list or a prune is about: the meaning of their filters.

Rule: pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Set
from fnmatch import translate

from msgspec import structs

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.images.image import Image
from dockerapi.local.images.index import Index
from dockerapi.model.filters import Filters
from dockerapi.model.malformed import Malformed
from dockerapi.model.moments import parse_until
from dockerapi.model.references import Reference


def selected(index: Index, filters: Filters, *, every: bool = False) -> list[Image]:
    """Return the images that pass `filters`, newest first; with those names that they ask for.

    What has no name and others were made of is left out, unless `every`.

    Raises `NotFound` for an image in `before` or `since` that is not there, `InvalidParameter`
    for a time that is none.
    """
    bounds = _bounds(index, filters)
    dangling = filters.truth("dangling", False) if filters.get("dangling") else None
    patterns = [_pattern(text) for text in filters.get("reference")]
    parents = index.parents()
    chosen = [
        image
        for image in index
        if (every or not is_between(image, parents))
        and all(bound(image) for bound in bounds)
        and (dangling is None or dangling == is_dangling(image, parents))
        and filters.labelled(image.labels)
    ]
    if patterns:
        chosen = [named for image in chosen if (named := _named(image, patterns)).references]
    return sorted(chosen, key=lambda image: image.created, reverse=True)


def is_dangling(image: Image, parents: Set[str]) -> bool:
    """Tell whether an image has no tag, and is none of `parents`, of which others were made."""
    return not image.tags and image.id not in parents


def is_between(image: Image, parents: Set[str]) -> bool:
    """Tell whether an image has no name, and is one of `parents`, of which others were made."""
    return not image.references and image.id in parents


def until(filters: Filters) -> list[int]:
    """Return the times before which an image must have been made; raise `InvalidParameter`."""
    try:
        return [parse_until(text) for text in filters.get("until")]
    except Malformed as malformed:
        raise InvalidParameter(malformed.message) from malformed


def _bounds(index: Index, filters: Filters) -> list[Callable[[Image], bool]]:
    before = [index.find(text).created for text in filters.get("before")]
    before += until(filters)
    since = [index.find(text).created for text in filters.get("since")]
    bounds: list[Callable[[Image], bool]] = []
    if before:
        bounds.append(lambda image: image.created < min(before))
    if since:
        bounds.append(lambda image: image.created > max(since))
    return bounds


def _pattern(text: str) -> re.Pattern[str]:
    # Go's path.Match: a star stops at a slash.
    return re.compile(translate(text).replace(".*", "[^/]*"))


def _named(image: Image, patterns: Sequence[re.Pattern[str]]) -> Image:
    """Return `image` with those of its names alone that one of `patterns` matches."""
    wanted = tuple(
        reference
        for reference in image.references
        if any(pattern.fullmatch(form) for pattern in patterns for form in _forms(reference))
    )
    return structs.replace(image, references=wanted)


def _forms(reference: Reference) -> tuple[str, ...]:
    return (reference.familiar, reference.familiar_name, str(reference), reference.name)
