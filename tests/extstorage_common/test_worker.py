# SPDX-License-Identifier: Apache-2.0
"""Children that do the work of a long command."""

from __future__ import annotations

import os
import time
from pathlib import Path

from extstorage_common import worker


def children() -> list[str]:
    """The states of this process's children."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids]


def work(lines: list[str]) -> list[str]:
    """Let a child say these lines."""
    return worker.run(lambda deadline, asking: lines, "file", 60, lambda pool: None)


def test_children_that_have_ended_are_buried_by_the_next() -> None:
    before = len(children())
    for _ in range(5):
        assert work(["done"]) == ["done"]
    until = time.monotonic() + 60
    while children().count("Z") < len(children()) - before and time.monotonic() < until:
        time.sleep(0.01)
    work([])
    assert len(children()) <= before + 1
