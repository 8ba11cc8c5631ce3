# SPDX-License-Identifier: Apache-2.0
"""The short language in which calls are written down.

::

    n1: create attach open(X) setinfo  n2: attach open(X)!

``n1:`` says on which node the following calls are made. A call is the name of a script, and may carry

- in parentheses: how ``open`` opens, ``X`` exclusively (the default) or ``S`` shared;
- in brackets: which volume, ``[2]`` for the second one of the case, ``[snap]`` for the snapshot;
- ``!``: the call must fail. ``?``: the provider may refuse, and that ends the row as *refused*;
- ``*4``: all this four times.

Three words look at the volume instead of calling anything; they need the device of the last attach:

- ``write`` writes a new mark into the volume's first and last block;
- ``read`` checks that the last mark is still there;
- ``size`` checks that the device is at least as large as Ganeti thinks.

``create`` makes a volume of the suite's size, ``grow`` adds half of that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

SCRIPTS = ("create", "attach", "detach", "remove", "grow", "setinfo", "snapshot", "open", "close")
LOOKS = ("write", "read", "size")

FIRST, SECOND, SNAPSHOT = "1", "2", "snap"

_NODE = re.compile(r"n([1-9]):")
_CALL = re.compile(
    r"(?P<word>[a-z]+)(?:\((?P<mode>[XS])\))?(?:\[(?P<volume>2|snap)\])?"
    r"(?P<end>[!?]?)(?:\*(?P<times>[0-9]+))?"
)


class NotationError(ValueError):
    """The text is not in this language."""


@dataclass(frozen=True)
class Step:
    """One call, or one look at the volume.

    ``node`` counts from 1; ``volume`` is ``"1"``, ``"2"`` or ``"snap"``.
    """

    node: int
    word: str
    volume: str = FIRST
    exclusive: bool = True
    must_fail: bool = False
    may_refuse: bool = False


@cache
def parse(text: str) -> tuple[Step, ...]:
    """The steps of ``text``, with repetitions written out. Raises NotationError."""
    steps: list[Step] = []
    node = 0
    for token in text.split():
        if match := _NODE.fullmatch(token):
            node = int(match[1])
            continue
        if node == 0:
            raise NotationError(f"'{text}' does not begin with a node, such as n1:")
        match = _CALL.fullmatch(token)
        if match is None or match["word"] not in SCRIPTS + LOOKS:
            raise NotationError(f"'{token}' is no call")
        word = match["word"]
        if (match["mode"] and word != "open") or (match["end"] and word in LOOKS):
            raise NotationError(f"'{token}' says something that '{word}' can't have")
        step = Step(
            node,
            word,
            volume=match["volume"] or FIRST,
            exclusive=match["mode"] != "S",
            must_fail=match["end"] == "!",
            may_refuse=match["end"] == "?",
        )
        steps.extend([step] * int(match["times"] or 1))
    return tuple(steps)


def nodes_needed(*texts: str) -> int:
    """How many nodes these texts speak of."""
    return max((step.node for text in texts for step in parse(text)), default=1)


def scripts_used(*texts: str) -> set[str]:
    """The scripts that these texts call."""
    return {step.word for text in texts for step in parse(text)} - set(LOOKS)
