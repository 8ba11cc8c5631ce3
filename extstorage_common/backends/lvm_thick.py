# SPDX-License-Identifier: Apache-2.0
"""Thick volumes: all their space is theirs from the beginning, and must be written full of zeros first."""

from __future__ import annotations

import fcntl
import os
import struct

from extstorage_common import files
from extstorage_common.backends.lvm_commands import GROWTH_SUFFIX, MADE, Lvm, Row, maker_tag, remove_half_made
from extstorage_common.crash import crash_point
from extstorage_common.errors import NoSpace, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BLKZEROOUT = 0x127F
"""linux/fs.h: write zeros to a range of a block device, or let it do so itself."""
STEP = 256 << 20


def wipe(row: Row) -> str:
    """When a volume is written full of zeros, as it was made with: ``create`` or ``remove``."""
    return row.tags.get(MADE, "").rpartition("-")[2] or "create"


def make(lvm: Lvm, lv: str, tags: Sequence[str], size: int, node: str) -> None:
    """Make a volume of ``size`` bytes and fill it with zeros; it is marked with its maker until then."""
    maker = maker_tag(node)
    reserve(lvm, lv, [*tags, maker], size)
    try:
        crash_point("lvm.making")
        zero(lvm, lv)
        crash_point("lvm.zeroed")
        lvm.change("lvchange", "--deltag", maker, "--", lvm.path(lv))
    except TimedOut:
        raise  # nor is there time to remove it; it stays marked, for the next call
    except BaseException:
        lvm.remove(lv)
        raise


def reserve(lvm: Lvm, lv: str, tags: Sequence[str], size: int) -> None:
    """Make a volume of ``size`` bytes with what is on the disks there."""
    lvm.create_thick(lv, tags, size, "-Wn", "-Zn", "-L", f"{size}b", lvm.group)


def clear(lvm: Lvm, row: Row) -> None:
    """Write all that a volume lies on full of zeros, before it is removed; it is exported no more.

    Of a snapshot this is not what can be read in it, but what it keeps, and LVM's notes of that.
    """
    if row.is_cow_snapshot:
        lvm.change("lvconvert", "--yes", "--splitsnapshot", "--", lvm.path(row.lv))
    lvm.change("lvchange", "-ay", "-K", "--", lvm.path(row.lv))
    zero(lvm, row.lv)


def extend(lvm: Lvm, rows: Mapping[str, Row], row: Row, size: int, node: str) -> None:
    """Grow to ``size`` bytes by space that is full of zeros *before* anybody can read it there.

    The space is a logical volume of its own while it is written; then the volume takes over that very
    space. If somebody takes a part of it in between, it is done again with other.
    """
    growth = row.lv + GROWTH_SUFFIX
    if growth in rows:
        remove_half_made(lvm, rows[growth])
    extents = -(-(size - row.size) // row.extent)
    while True:
        where = _zeroed_space(lvm, growth, extents * row.extent, node)
        try:
            lvm.change("lvextend", "-l", f"+{extents}", "--", lvm.path(row.lv), *where)
            return
        except NoSpace:
            lvm.deadline.check("growing the volume")


def _zeroed_space(lvm: Lvm, growth: str, size: int, node: str) -> list[str]:
    """Free space that has just been written full of zeros: where it is."""
    reserve(lvm, growth, [maker_tag(node)], size)
    try:
        zero(lvm, growth)
        crash_point("lvm.growing")
        where = lvm.segments(growth)
    except TimedOut:
        raise
    except BaseException:
        lvm.remove(growth)
        raise
    lvm.remove(growth)
    return where


def zero(lvm: Lvm, lv: str) -> None:
    """Write a logical volume full of zeros. Raises TimedOut."""
    fd = os.open(lvm.device(lv), os.O_RDWR | os.O_CLOEXEC)
    try:
        start, end = 0, os.lseek(fd, 0, os.SEEK_END)
        while start < end:
            lvm.deadline.check("writing zeros, which copy_timeout bounds")
            step = min(STEP, end - start)
            with files.refusals(f"writing zeros to {lvm.path(lv)}"):
                fcntl.ioctl(fd, BLKZEROOUT, struct.pack("QQ", start, step))
            start += step
        os.fsync(fd)
    finally:
        os.close(fd)
