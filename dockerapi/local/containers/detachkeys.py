r"""The keys that leave a terminal without ending what runs in it.

Source: `detachKeys` of `ContainerAttach`: letters, or ``ctrl-`` and one of ``a-z@[\\]^_``.
"""

from __future__ import annotations

from dockerapi.engine.errors import InvalidParameter

#: Ctrl-P, Ctrl-Q.
DEFAULT = b"\x10\x11"


def parse_detach_keys(text: str) -> bytes:
    """Return the bytes of the keys in ``ctrl-p,ctrl-q``; the default for an empty text.

    Raises `InvalidParameter` for what is no such list.
    """
    if not text:
        return DEFAULT
    keys = bytearray()
    for key in text.split(","):
        if key.startswith("ctrl-") and len(key) == 6:
            character = key[5].lower()
            if "a" <= character <= "z" or character in "@[\\]^_":
                keys.append(ord(character.upper()) - 64)
                continue
        elif len(key) == 1 and key.isascii() and key.isprintable():
            keys.append(ord(key))
            continue
        raise InvalidParameter(f"invalid detach keys ({text}): unknown character: '{key}'")
    return bytes(keys)


class DetachFilter:
    """Watches input for the keys.

    What may be the keys' beginning is held back until it is known.

    :ivar detached: whether the keys came.
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0
        self.detached = False

    def feed(self, data: bytes) -> bytes:
        """Return what of `data` (and of what was held back) goes to the process."""
        if not self._matched and self._keys[0] not in data:
            return data
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self.detached = True
                    break
                continue
            passed += self._keys[: self._matched]
            self._matched = 1 if byte == self._keys[0] else 0
            if not self._matched:
                passed.append(byte)
            elif len(self._keys) == 1:
                self.detached = True
                break
        return bytes(passed)

    def rest(self) -> bytes:
        """Return what is still held back, at the input's end."""
        return b"" if self.detached else self._keys[: self._matched]
