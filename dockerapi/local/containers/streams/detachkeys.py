r"""The keys that leave a terminal without ending what runs in it.

Source: `detachKeys` of `ContainerAttach`: letters, or ``ctrl-`` and one of ``a-z@[\\]^_``; ``DEL``.
Rule: pure.
"""

from __future__ import annotations

from dockerapi.engine.errors import InvalidParameter

#: Ctrl-P, Ctrl-Q.
DEFAULT = b"\x10\x11"
_CONTROL = "abcdefghijklmnopqrstuvwxyz@[\\]^_"


def parse_detach_keys(text: str) -> bytes:
    """Return the bytes of the keys in ``ctrl-p,ctrl-q``; the default for an empty text.

    Raises `InvalidParameter` for what is no such list.
    """
    if not text:
        return DEFAULT
    keys = bytearray()
    for key in text.split(","):
        if key == "DEL":
            keys.append(127)
        elif len(key) == 1 and key.isascii():
            keys.append(ord(key))
        elif len(key) == 6 and key.startswith("ctrl-") and key[5] in _CONTROL:
            keys.append(ord(key[5].upper()) - 64)
        else:
            raise InvalidParameter(f"Invalid detach keys ({text}) provided")
    return bytes(keys)


class DetachFilter:
    """Watches input for the keys.

    What may be the keys' beginning is held back until it is known. Keys that come right after a
    beginning that was none are not seen, as in dockerd: ``ctrl-p,ctrl-p,ctrl-q`` goes through.

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
            self._matched = 0
            passed.append(byte)
        return bytes(passed)

    def rest(self) -> bytes:
        """Return what is still held back, at the input's end."""
        return b"" if self.detached else self._keys[: self._matched]
