"""Names for containers that were given none: an adjective and a computing pioneer.

Rule: a name is free when it is returned, and readable always.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

_ADJECTIVES = """
able amber ample apt bold brave breezy brief bright brisk calm candid careful cheerful clear clever
cosy crisp curious daring deft direct eager early earnest easy elegant epic exact fair fast fine
fluent fond frank fresh friendly gentle glad golden good graceful grand happy hardy helpful honest
humble ideal jolly keen kind large light lively loyal lucid lucky mellow merry mighty mild modest
neat nimble noble patient plain polite prompt proud quick quiet ready rich rapid robust rosy serene
sharp shiny silent simple sincere smart smooth snug solid sound spry steady still strong sunny sure
sweet swift tender tidy tough true trusty upbeat vivid warm wise witty young zesty
""".split()  # noqa: SIM905

_PIONEERS = """
aiken allen antonelli babbage bachman backus bartik bell berezin boole borg brooks carmack cerf
church clark codd conway corbato cray dahl dijkstra easley engelbart estrin fairchild feinler floyd
frege goldberg goldstine granville hamilton hamming hoare holberton holmes hopper hollerith huffman
iverson jennings johnson kahn karp kay keller kernighan kilby kleene knuth lamarr lamport leibniz
licklider liskov lovelace mauchly mccarthy metcalfe milner minsky moore napier naur neumann newell
noyce nygaard pascal perlis perlman postel rabin ritchie ross sammet scott shamir shannon shaw simon
spence stallman sutherland tarjan thompson torvalds turing ulam wiles wilkes wirth yao zuse
""".split()  # noqa: SIM905


def choose_name(taken: Callable[[str], bool]) -> str:
    """Return a name that is not `taken`; with a number behind it where names run short."""
    for _ in range(8):
        name = f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_PIONEERS)}"
        if not taken(name):
            return name
    while taken(name):
        name = (
            f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_PIONEERS)}{secrets.randbelow(10**6)}"
        )
    return name
