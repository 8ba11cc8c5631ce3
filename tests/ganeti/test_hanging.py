# SPDX-License-Identifier: Apache-2.0
"""Storage that neither answers nor fails: Ganeti's commands end, with our sentence, and others go on."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.ganeti.instances import Instance

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 5
TIMED_OUT = f"no answer within {SECONDS} s while asking pool 'gold'; look at the storage, then try again"
LATELY = "is left alone for a moment; try again soon"
# Ganeti itself would wait 900 s. Its own part of these jobs takes a few seconds on a busy machine.
BOUND = 120


@pytest.fixture
def hanging(web: Instance) -> Iterator[Instance]:
    """An instance that runs, while its storage hangs; the configured time limit is short."""
    web.provider.configure(f"timeout = {SECONDS}")
    web.provider.hang()
    yield web
    web.provider.bring_back()
    web.provider.configure()


def in_time(command: str, instance: Instance) -> str:
    """Run a command of ``gnt-instance``; what it says, within the time that it may take."""
    started = time.monotonic()
    said = instance.gnt(command, check=False)
    assert time.monotonic() - started < BOUND
    return said


def test_hanging_storage(hanging: Instance) -> None:
    """info, grow-disk, migrate, shutdown, startup while the storage hangs: bounded; all is well later."""
    # What is attached is answered for without the storage.
    assert "State: configured to be up, actual state is up" in in_time("info", hanging)
    said = hanging.cluster.fails(f"gnt-instance grow-disk {hanging.name} 0 8m")
    assert TIMED_OUT in said
    target = next(node for node in hanging.cluster.nodes if node is not hanging.node)
    assert TIMED_OUT in in_time(f"migrate -f -n {target.name}", hanging)
    assert hanging.status() == [hanging.node.name, "running"]
    said = in_time("shutdown --timeout=0", hanging)
    assert "WARNING: Could not shutdown block device disk/0" in said
    assert LATELY in said or TIMED_OUT in said
    said = in_time("startup", hanging)
    assert LATELY in said or TIMED_OUT in said
    hanging.provider.bring_back()
    hanging.gnt("startup")
    hanging.runs()


def test_others_meanwhile(hanging: Instance) -> None:
    """add, migrate, remove of another instance, in another pool, while commands wait for hanging storage."""
    other = Instance(hanging.provider, "other", hanging.cluster.nodes[1])
    target = next(node for node in hanging.cluster.nodes if node is not hanging.node)
    add = other.command().replace(f"provider={hanging.provider.name}", f"provider={hanging.provider.other}")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(in_time, f"migrate -f -n {target.name}", hanging)
        other.gnt(add)
        other.gnt("migrate -f")
        assert other.status()[1] == "running"
        other.gnt("remove -f --shutdown-timeout=0")
    assert TIMED_OUT in waiting.result()
    hanging.provider.bring_back()
    hanging.release(target)
    hanging.runs()
