"""The `filters` of list operations: names with sets of wanted values.

Source: the parameter `filters` of the specification; both encodings (a list of values, and the
older object with `true` for each value). Rule: syntax is checked here; which names and values there
are is the operation's to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping

from dockerapi.model.malformed import Malformed


class Filters:
    """Wanted values by filter name; a name that is absent lets everything pass."""

    def __init__(self, values: Mapping[str, Collection[str]] | None = None) -> None:
        self._values: dict[str, tuple[str, ...]] = {
            name: tuple(wanted) for name, wanted in (values or {}).items()
        }

    @classmethod
    def parse(cls, text: str, allowed: Collection[str] | None) -> Filters:
        """Read a `filters` parameter; empty text is no filter.

        Raises `Malformed` for what is not such JSON, and for a name that is not in `allowed`; None
        lets all in.
        """
        if not text:
            return cls()
        try:
            decoded = json.loads(text)
        except (ValueError, RecursionError):
            raise Malformed("invalid filter") from None
        if not isinstance(decoded, dict):
            raise Malformed("invalid filter")
        values: dict[str, list[str]] = {}
        for name, wanted in decoded.items():
            if allowed is not None and name not in allowed:
                raise Malformed(f"invalid filter '{name}'")
            if isinstance(wanted, list) and all(isinstance(item, str) for item in wanted):
                values[name] = wanted
            elif isinstance(wanted, dict):
                values[name] = [key for key, on in wanted.items() if on]
            else:
                raise Malformed(f"invalid filter: the values of '{name}' are no list of strings")
        return cls(values)

    def __bool__(self) -> bool:
        return any(self._values.values())

    def __iter__(self) -> Iterator[str]:
        return (name for name, wanted in self._values.items() if wanted)

    def get(self, name: str) -> tuple[str, ...]:
        """Return the wanted values of `name`, perhaps none."""
        return self._values.get(name, ())

    def exact(self, name: str, *values: str) -> bool:
        """Tell whether `name` is unset or wants one of `values`."""
        wanted = self.get(name)
        return not wanted or any(value in wanted for value in values)

    def pattern(self, name: str, *values: str) -> bool:
        """Tell whether `name` is unset, or one of its regular expressions is found in `values`.

        A text that is no regular expression is compared as it is, as dockerd does; and so is one
        that could take Python's engine long (Go's never does).
        """
        wanted = self.get(name)
        if not wanted:
            return True
        for text in wanted:
            found = safe_search(text)
            if found is None:
                if text in values:
                    return True
            elif any(found(value) for value in values):
                return True
        return False

    def labels(self, labels: Mapping[str, str], name: str = "label") -> bool:
        """Tell whether `labels` has every wanted `key` or `key=value`."""
        for text in self.get(name):
            key, equals, value = text.partition("=")
            if key not in labels or (equals and labels[key] != value):
                return False
        return True

    def labelled(self, labels: Mapping[str, str]) -> bool:
        """Tell whether `labels` has all that ``label`` wants, and not all that ``label!`` names."""
        return self.labels(labels) and not (self.get("label!") and self.labels(labels, "label!"))

    def truth(self, name: str, default: bool) -> bool:
        """Return the truth value that `name` wants; raise `Malformed` where it is none."""
        wanted = self.get(name)
        if not wanted:
            return default
        values = {value.lower() for value in wanted}
        if values <= {"1", "true", "t"}:
            return True
        if values <= {"0", "false", "f"}:
            return False
        raise Malformed(f"invalid filter '{name}=[{' '.join(wanted)}]'")


#: The longest regular expression, and the most choices in one (repetitions and groups): with
#: none inside another, the time is at most the length of a name to that power.
_PATTERN_LIMIT = 256
_CHOICES = 3
_ESCAPED = re.compile(r"\\[^0-9]")
_GROUP = re.compile(r"\(\?(?:P<\w+>|:)")
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_BEYOND_GO = re.compile(r"\(\?|\\[0-9]")


def safe_search(text: str) -> Callable[[str], object] | None:
    """Return what finds the regular expression `text`; None where it is none that is safe.

    Python's take exponential time for some that a client may send, and the whole server waits.
    """
    plain = _GROUP.sub("(", _ESCAPED.sub("", text))
    if (
        len(text) > _PATTERN_LIMIT
        or sum(map(plain.count, "*+?{(")) > _CHOICES
        or _REPEATED_GROUP.search(plain)
        or _BEYOND_GO.search(plain)
    ):
        return None
    try:
        return re.compile(text).search
    except (re.error, OverflowError, RecursionError):
        return None
