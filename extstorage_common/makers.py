# SPDX-License-Identifier: Apache-2.0
"""Who is making a volume: the mark on one that is half-made, and whether its maker still lives."""

from __future__ import annotations

import os
import time

from extstorage_common import paths
from extstorage_common.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.deadline import Deadline

TITLE = "maker 1"
CLOCK_SKEW = 60
"""Seconds by which the clocks of two nodes may differ when one judges the other's maker."""


def this_process(node: str, deadline: Deadline, *more: tuple[str, str]) -> Record:
    """The mark of this process, which will have ended at the deadline.

    ``more`` lines are for whoever cleans up after it.
    """
    lines = [
        ("node", node),
        ("boot", paths.boot_id()),
        ("process", str(os.getpid())),
        ("started", process_start(os.getpid())),
        ("begun", str(int(time.time()))),
        ("until", str(int(time.time() + deadline.left()))),
        *more,
    ]
    return Record(TITLE, lines)


def is_alive(maker: Record, node: str) -> bool:
    """Whether the maker may still be at work, as seen from ``node``; an unknown one (no lines) is not."""
    if not maker.lines:
        return False
    home = maker.get("node")
    if home == node:
        return maker.get("boot") == paths.boot_id() and maker.get("started") == process_start(
            int(maker.get("process"))
        )
    if home in paths.offline_nodes():
        return False
    return time.time() < int(maker.get("until")) + CLOCK_SKEW


def text(maker: Record) -> str:
    """The maker, for people."""
    if not maker.lines:
        return "a call that was killed"
    return f"process {maker.get('process')} on node {maker.get('node')}"


def process_start(pid: int) -> str:
    """When a process started, in the kernel's ticks since boot; ``""`` if there is none (proc(5)).

    One that ended is none, too, while nobody has waited for it: what a killed call leaves is init's to reap.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
        return "" if words[0] in b"ZX" else words[19].decode("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return ""
