# SPDX-License-Identifier: Apache-2.0
"""Who has a volume open, in numbered files of its directory: an atomic compare-and-set by hard links.

``holders-7`` is the seventh state; the highest number counts. To change state 7 is to link a
finished file to the name ``holders-8``: the filesystem lets exactly one node do that. Nothing is
locked, so a node that dies in the middle leaves nothing to be broken open.

The state that counts is never deleted, only the ones below it. A node that read an old listing (a
network filesystem may cache one) may thus still succeed in linking a number below the highest one;
so it looks again after its own change of the directory, which makes every such cache ask the
server, and has lost if a higher number is there.
"""

from __future__ import annotations

import os

from extstorage_common import records
from extstorage_common.backends.base import Holder, Holders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TITLE = "holders 1"
PREFIX = "holders-"


def read(directory: str) -> Holders:
    """The holders that count; nobody's where nothing was ever written."""
    while True:
        number = max(_numbers(directory), default=0)
        if not number:
            return Holders(0, ())
        try:
            record = records.read(os.path.join(directory, f"{PREFIX}{number}"), TITLE)
        except FileNotFoundError:
            continue  # superseded since we looked
        return Holders(number, [Holder(*line.split(" ")) for line in record.all("holder")])


def replace(directory: str, old: Holders, new: Sequence[Holder]) -> bool:
    """Make ``new`` the holders if ``old`` still are; False if not."""
    assert isinstance(old.version, int)
    number = old.version + 1
    target = os.path.join(directory, f"{PREFIX}{number}")
    lines = [("holder", f"{one.node} {one.mode} {one.address} {one.since}") for one in new]
    temporary = records.write_beside(target, records.Record(TITLE, lines).dump())
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    numbers = _numbers(directory)
    if max(numbers) > number:
        os.unlink(target)
        return False
    records.sync_directory(directory)
    for lower in numbers:
        if lower < number:
            records.unlink_if_there(os.path.join(directory, f"{PREFIX}{lower}"))
    return True


def _numbers(directory: str) -> list[int]:
    names = os.listdir(directory)
    return [int(name.removeprefix(PREFIX)) for name in names if name.startswith(PREFIX)]
