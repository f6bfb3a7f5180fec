"""Less memory: modules loaded without their docstrings, as with the interpreter's option -OO.

Rule: the compiled files are those of everybody; what is left out is left out after they are read.
Only who owns the process calls this.
"""

from __future__ import annotations

import opcode
import sys
from collections.abc import Iterator
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from types import CodeType

#: What makes a command's help text of its docstrings.
_READ = ("dockerapi.tap", "twisted.python.usage")
#: Instructions are two bytes, the operation and the last eight bits of its argument.
_EXTENDED_ARG, _LOAD_CONST, _STORE_NAME = (
    opcode.opmap[name] for name in ("EXTENDED_ARG", "LOAD_CONST", "STORE_NAME")
)


def load_without_docstrings() -> None:
    """Have the modules that are imported from now on loaded without docstrings: 2.5 MB less (PSS).

    Unlike with -OO assertions stay, and nothing is compiled again. Costs 50 ms in all at the start.
    """
    if _hook not in sys.path_hooks:
        sys.path_hooks.insert(0, _hook)
        sys.path_importer_cache.clear()


def without_docstrings(code: CodeType) -> CodeType:
    """Return `code`, of a module, class or function, and all in it without docstrings.

    A text that is used otherwise, too, stays.
    """
    constants = [
        without_docstrings(constant) if isinstance(constant, CodeType) else constant
        for constant in code.co_consts
    ]
    for index in _docstrings(code):
        constants[index] = ""
    return code.replace(co_consts=tuple(constants))


class _Loader(SourceFileLoader):
    """Loads as others do, and leaves out docstrings."""

    def get_code(self, fullname: str) -> CodeType | None:
        code = super().get_code(fullname)
        return code if code is None or fullname in _READ else without_docstrings(code)


def _docstrings(code: CodeType) -> Iterator[int]:
    """Yield where in the constants of `code` there are texts that are docstrings and no more."""
    constants, instructions = code.co_consts, code.co_code
    # A function's is its first constant, which no instruction loads.
    if constants and isinstance(constants[0], str) and not _loads(instructions, 0):
        yield 0
    # Modules and classes assign theirs.
    if "__doc__" in (names := code.co_names[:256]):
        for at in _places(instructions, _STORE_NAME, names.index("__doc__")):
            load, index = instructions[at - 2 : at]
            extended = at >= 4 and instructions[at - 4] == _EXTENDED_ARG
            if load == _LOAD_CONST and not extended and _loads(instructions, index) == 1:
                yield index


def _loads(instructions: bytes, index: int) -> int:
    """Return how often the constant at `index` is used, or at most."""
    return sum(1 for operation in opcode.hasconst for _ in _places(instructions, operation, index))


def _places(instructions: bytes, operation: int, argument: int) -> Iterator[int]:
    wanted = bytes((operation, argument))
    at = instructions.find(wanted)
    while at >= 0:
        if at % 2 == 0:
            yield at
        at = instructions.find(wanted, at + 1)


#: As the interpreter's own, but for sources.
_hook = FileFinder.path_hook(
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (_Loader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)
