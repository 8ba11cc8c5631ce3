# SPDX-License-Identifier: Apache-2.0
"""What is kept in the description of a volume on an array that has no other place for it.

One line of words separated by blanks, which a person at the array can read, too::

    gx1 thin v:3 x:node1.example.com c:cluster1.example.com i:originstname+instance1

===========  ==============================================================================
word         meaning
===========  ==============================================================================
``gx1``      the volume is this suite's; the form of the rest
``thin``     what it was made as: ``thin``, ``full``, ``clone``
``v:``       how often its holders changed
``x: s:``    a node that has it open, exclusively or shared
``m:``       it is half-made: node, boot, process, start, and when the call must have ended
``o:``       the volume that it is a snapshot of; ``+.snap``: its own name without that end
``n:``       its name, where the array has another; cut off if it ends in ``%``
``c:``       the Ganeti cluster
``i:``       Ganeti's text (setinfo); cut off if it ends in ``%``
===========  ==============================================================================

A description has little room, so the last three are shortened or left out, in the order ``i``, ``c``,
``n``. That the others fit is checked before anything is changed.
"""

from __future__ import annotations

import os
import time

from extstorage_common import makers, paths
from extstorage_common.backends.base import EXCLUSIVE, SHARED, Holder, Holders
from extstorage_common.errors import BeingMade, Refused

MARK = "gx1"
CUT = "%"
CLOCK_SKEW = 300
"""Seconds by which the clocks of two nodes may differ (Ganeti itself allows 150)."""
MODES = {"x": EXCLUSIVE, "s": SHARED}
KEYS = {mode: key for key, mode in MODES.items()}
SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:,/@+-")


class NoRoomForNote(Refused):
    template = (
        "what must be kept with the volume does not fit into its description ({needed} of {limit} "
        "characters); use shorter node names, or a larger description_length if the array allows it"
    )


class Maker:
    """The process that makes something: ``node/boot/process/start/until``."""

    def __init__(self, text: str) -> None:
        self.text = text
        words = text.split("/")
        self.node, self.boot, self.process, self.start, self.until = (words + [""] * 5)[:5]

    @classmethod
    def this(cls, node: str, seconds: float) -> Maker:
        """This process, which works for ``node`` and will have ended in so many seconds."""
        pid = os.getpid()
        until = int(time.time() + seconds)
        return cls("/".join((node, paths.boot_id()[:8], str(pid), makers.process_start(pid), str(until))))

    def is_alive(self, node: str) -> bool:
        """Whether it may still be at work, as far as a process for ``node`` can know."""
        if not (self.until.isdecimal() and self.process.isdecimal()):
            return True
        if self.boot == paths.boot_id()[:8]:
            return self.start == makers.process_start(int(self.process))
        if self.node == node:
            return False
        if self.node in paths.offline_nodes():
            return False
        return time.time() < int(self.until) + CLOCK_SKEW

    def refuse_living(self, node: str) -> None:
        """Raise BeingMade while it may still be at work."""
        if self.is_alive(node):
            raise BeingMade(maker=str(self))

    def __str__(self) -> str:
        return f"process {self.process} on node {self.node}"


class Note:
    """What a description says. ``name`` is the volume's full name, or the part that was kept of it."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        self.is_name_cut = False
        self.version = 0
        self.entries: list[Holder] = []
        self.maker: Maker | None = None
        self._origin = ""
        self.cluster = ""
        self.metadata = ""

    @property
    def holders(self) -> Holders:
        """Who has the volume open."""
        return Holders(self.version, self.entries)

    @property
    def origin(self) -> str:
        """The volume that this one is a snapshot of; ``""`` if it is none."""
        return self.name.removesuffix(self._origin[1:]) if self._origin.startswith("+") else self._origin

    @origin.setter
    def origin(self, name: str) -> None:
        is_short = name and self.name.startswith(name)
        self._origin = "+" + self.name.removeprefix(name) if is_short else name

    def is_of(self, name: str) -> bool:
        """Whether it can be that of the volume ``name``."""
        return name.startswith(self.name) if self.is_name_cut else name == self.name

    def dump(self, array_name: str, limit: int) -> str:
        """The description, of at most ``limit`` characters. Raises NoRoomForNote."""
        words = [MARK, self.kind, f"v:{self.version}"]
        words += [f"{KEYS[one.mode]}:{one.node}" for one in self.entries]
        if self.maker is not None:
            words.append(f"m:{self.maker.text}")
        if self._origin:
            words.append(f"o:{self._origin}")
        text = " ".join(words)
        renamed = self.name != array_name or self.is_name_cut
        least = len(text) + (len(" n:") + len(CUT) if renamed else 0)
        if least > limit:
            raise NoRoomForNote(needed=least, limit=limit)
        if renamed:
            text += _cut("n:", self.name, limit - len(text), self.is_name_cut)
        if self.cluster and len(text) + 3 + len(self.cluster) <= limit:
            text += f" c:{self.cluster}"
        if self.metadata:
            text += _cut("i:", encode(self.metadata), limit - len(text))
        return text


def load(text: str, array_name: str) -> Note | None:
    """What a description says of the volume that the array knows by this name; None if it is not ours."""
    words = text.split(" ")
    if len(words) < 2 or words[0] != MARK:
        return None
    note = Note(words[1], array_name)
    pairs = [(key, value) for key, colon, value in (word.partition(":") for word in words[2:]) if colon]
    told = dict(pairs)
    if "n" in told:
        note.is_name_cut = told["n"].endswith(CUT)
        note.name = told["n"].removesuffix(CUT)
    note.version = int(told["v"]) if told.get("v", "").isdecimal() else 0
    note.entries = [Holder(value, MODES[key]) for key, value in pairs if key in MODES]
    note.maker = Maker(told["m"]) if "m" in told else None
    note._origin = told.get("o", "")
    note.cluster = told.get("c", "")
    note.metadata = decode(told.get("i", "").removesuffix(CUT))
    return note


def _cut(key: str, value: str, room: int, is_cut: bool = False) -> str:
    """A word with as much of the value as there is room for; nothing if there is room for none of it."""
    room -= len(key) + 1
    if len(value) + len(CUT) * is_cut > room:
        is_cut, value = True, value[: max(0, room - len(CUT))]
        value = value if "%" not in value[-2:] else value[: value.rindex("%")]
    if room < len(CUT):
        return ""
    return f" {key}{value}{CUT if is_cut else ''}"


def encode(text: str) -> str:
    """Any text in characters that every array takes: others become ``%`` and two digits a byte."""
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if chr(byte) in SAFE else f"%{byte:02x}" for byte in data)


def decode(text: str) -> str:
    """What :func:`encode` was given; of a text that was cut off in a character, the characters before."""
    first, *rest = text.split("%")
    data = first.encode("ascii", "replace")
    for part in rest:
        try:
            data += bytes.fromhex(part[:2]) + part[2:].encode("ascii", "replace")
        except ValueError:
            data += b"%" + part.encode("ascii", "replace")
    return data.decode("utf-8", "ignore")
