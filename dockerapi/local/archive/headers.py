"""Headers of members of a tar archive.

Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format"; where they leave
a choice, as Go's archive/tar writes them. Rule: bytes in, bytes out, nothing of the host is read.
"""

from __future__ import annotations

BLOCK = 512
#: What follows the last member.
END = bytes(2 * BLOCK)

FILE, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = (
    b"0",
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
)
_EXTENDED = b"x"
_NAME = 100
_LARGEST_SIZE = 0o77777777777
_LARGEST_ID = 0o7777777
_XATTR = b"SCHILY.xattr."
_MAGIC = b"ustar\x0000"


def header(
    name: bytes,
    kind: bytes,
    *,
    mode: int,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    attributes: dict[bytes, bytes] | None = None,
) -> bytes:
    """Return the header of one member, an extended one before it where something does not fit.

    `attributes` are extended attributes of the file; `device` is major and minor.
    """
    records = {_XATTR + key: value for key, value in (attributes or {}).items()}
    texts = {b"path": name, b"linkpath": link}
    records |= {key: text for key, text in texts.items() if _is_long(text)}
    numbers = ((b"uid", uid, _LARGEST_ID), (b"gid", gid, _LARGEST_ID), (b"size", size, None))
    for key, number, largest in (*numbers, (b"mtime", mtime, None)):
        if not 0 <= number <= (largest or _LARGEST_SIZE):
            records[key] = b"%d" % number
    block = _block(name, kind, mode, (uid, gid), size, mtime, link, device)
    return _extended(name, records) + block if records else block


def padding(size: int) -> bytes:
    """Return what follows a content of `size` bytes up to the next block."""
    return bytes(-size % BLOCK)


def _block(
    name: bytes,
    kind: bytes,
    mode: int,
    owner: tuple[int, int],
    size: int,
    mtime: int,
    link: bytes,
    device: tuple[int, int],
) -> bytes:
    before = b"".join(
        (
            _text(name),
            _octal(mode, 8),
            _octal(owner[0], 8),
            _octal(owner[1], 8),
            _octal(size, 12),
            _octal(mtime, 12),
        )
    )
    after = b"".join(
        (kind, _text(link), _MAGIC, bytes(64), _octal(device[0], 8), _octal(device[1], 8))
    ).ljust(BLOCK - len(before) - 8, b"\0")
    # The sum is taken with spaces in its own place.
    total = sum(before) + sum(after) + 8 * 0x20
    return b"%b%06o\0 %b" % (before, total, after)


def _is_long(text: bytes) -> bool:
    return len(text) > _NAME or not text.isascii()


def _text(text: bytes) -> bytes:
    """Return a field of text, cut where an extended header has the whole."""
    if not text.isascii():
        text = bytes(byte for byte in text if byte < 0x80)
    return text[:_NAME].ljust(_NAME, b"\0")


def _octal(number: int, width: int) -> bytes:
    """Return a field with a number; 0 where it does not fit and an extended header has it."""
    digits = b"%0*o" % (width - 1, number) if number >= 0 else b""
    return digits + b"\0" if len(digits) == width - 1 else _octal(0, width)


def _extended(name: bytes, records: dict[bytes, bytes]) -> bytes:
    content = b"".join(_record(key, records[key]) for key in sorted(records))
    directory, _, base = name.rstrip(b"/").rpartition(b"/")
    shown = b"/".join(part for part in (directory, b"PaxHeaders.0", base) if part)
    block = _block(shown[:_NAME], _EXTENDED, 0, (0, 0), len(content), 0, b"", (0, 0))
    return block + content + padding(len(content))


def _record(key: bytes, value: bytes) -> bytes:
    """Return one line, ``LENGTH KEY=VALUE``, whose length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(b"%d" % rest)
    if rest + len(b"%d" % length) != length:
        length += 1
    return b"%d %b=%b\n" % (length, key, value)
