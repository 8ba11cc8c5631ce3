# SPDX-License-Identifier: Apache-2.0
"""Migrations that fail at each of their steps: what the administrator reads, what is left, the way out.

Ganeti's order: the target attaches and closes; the source, then the target open shared; the memory moves; the
source closes; the target opens exclusively; the source detaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.ganeti.instances import Instance
    from tests.ganeti.nodes import Node

SHARED = '[ "$VOL_OPEN_EXCLUSIVE" = False ]'
EXCLUSIVE = '[ "$VOL_OPEN_EXCLUSIVE" = True ]'
QEMU = "/usr/bin/kvm"
# A machine that waits for another one's memory, with less memory: it breaks off when the transfer begins.
SMALL = '#!/bin/sh\ncase "$*" in *-incoming*) set -- "$@" -m 32 ;; esac\nexec qemu-system-x86_64 "$@"\n'


def pair(instance: Instance) -> tuple[Node, Node]:
    """The node of the instance, the source, and another one, the target."""
    return instance.node, next(node for node in instance.cluster.nodes if node is not instance.node)


def fail(instance: Instance, node: Node, action: str, when: str = "true") -> None:
    """Migrate while a script fails on ``node``; the administrator reads what it says."""
    _, target = pair(instance)
    with instance.provider.failing(node, action, when):
        said = instance.fails(f"migrate -f -n {target.name}")
    assert f"{instance.provider.name}: {action} failed on purpose" in said


def is_at(instance: Instance, node: Node, holders: dict[str, str], attached: Sequence[Node]) -> None:
    """Check where Ganeti says that it runs, who holds its volume, and where that is attached."""
    assert instance.status() == [node.name, "running"]
    instance.holds(holders)
    assert instance.provider.attached() == {one.name: instance.volumes() for one in attached}


@pytest.mark.parametrize("action", ["attach", "close"])
def test_on_the_target_at_first(web: Instance, action: str) -> None:
    """migrate while attach or close fails on the target: runs on, untouched; migrate again."""
    source, target = pair(web)
    fail(web, target, action)
    # What the failing close leaves attached on the target, the next migration finds and uses.
    is_at(web, source, {source.name: "exclusive"}, [source, target] if action == "close" else [source])
    web.migrate(target)
    web.runs()


@pytest.mark.parametrize("place", ["source", "target"])
def test_shared_open(web: Instance, place: str) -> None:
    """migrate while open fails on the source or on the target before the memory moves: migrate --cleanup."""
    source, target = pair(web)
    fail(web, source if place == "source" else target, "open", SHARED)
    mode = "exclusive" if place == "source" else "shared"
    is_at(web, source, {source.name: mode}, [source, target])
    clean_up(web)
    web.runs()


def clean_up(instance: Instance) -> None:
    """``migrate --cleanup``; it attaches the volume on a node that the allocator picks, and leaves it so."""
    instance.gnt("migrate -f --cleanup")
    instance.holds({instance.node.name: "exclusive"})
    for node in instance.cluster.nodes:
        if node is not instance.node:
            instance.release(node)


def test_memory(machine: Instance) -> None:
    """migrate under KVM whose memory transfer fails: goes on at the source; migrate --cleanup."""
    _, target = pair(machine)
    target.run(f"mv {QEMU} {QEMU}.away")
    target.put(QEMU, SMALL, mode=0o755)
    said = machine.fails(f"migrate -f -n {target.name}")
    target.run(f"mv {QEMU}.away {QEMU}")
    assert "* starting memory transfer" in said
    assert "Could not migrate instance vm" in said
    # Ganeti itself has put everything back; the cleanup finds nothing to do, and attaches on the target.
    machine.runs()
    clean_up(machine)
    machine.runs()
    machine.migrate(target)
    machine.runs()


def test_close_on_the_source(web: Instance) -> None:
    """migrate whose close fails on the source, after the memory: detach there, then migrate --cleanup."""
    source, target = pair(web)
    fail(web, source, "close")
    is_at(web, target, {source.name: "shared", target.name: "shared"}, [source, target])
    web.node = target
    # The source holds it still, so that the target can't have it alone.
    assert f"node {source.name} has the volume open (shared)" in web.fails("activate-disks")
    web.release(source)
    clean_up(web)
    web.runs()


def test_exclusive_open(web: Instance) -> None:
    """migrate whose open fails on the target, after the memory: activate-disks, and detach at the source."""
    source, target = pair(web)
    fail(web, target, "open", EXCLUSIVE)
    is_at(web, target, {target.name: "shared"}, [source, target])
    web.node = target
    web.gnt("activate-disks")
    web.release(source)
    web.runs()


def test_detach_on_the_source(web: Instance) -> None:
    """migrate whose detach fails on the source, at last: it has succeeded; detach there."""
    source, target = pair(web)
    with web.provider.failing(source, "detach"):
        web.migrate(target)
    is_at(web, target, {target.name: "exclusive"}, [source, target])
    assert (
        f"{web.provider.name}: detach failed on purpose"
        in source.run("cat /var/log/ganeti/node-daemon.log").stdout
    )
    web.release(source)
    web.runs()


def test_failover_close(web: Instance) -> None:
    """failover whose close fails on the source: stopped there, and not lost; failover again."""
    source, target = pair(web)
    failover = f"failover -f --shutdown-timeout=0 -n {target.name}"
    with web.provider.failing(source, "close"):
        said = web.fails(failover)
    assert f"{web.provider.name}: close failed on purpose" in said
    assert web.status() == [source.name, "ERROR_down"]
    web.holds({source.name: "exclusive"})
    web.gnt("startup")
    web.runs()
    web.gnt(failover)
    web.node = target
    web.runs()


def test_failover_detach(web: Instance) -> None:
    """failover whose detach fails on the source: succeeds with a warning; detach there."""
    source, target = pair(web)
    with web.provider.failing(source, "detach"):
        said = web.gnt(f"failover -f --shutdown-timeout=0 -n {target.name}")
    assert f"{web.provider.name}: detach failed on purpose" in said
    is_at(web, target, {target.name: "exclusive"}, [source, target])
    web.node = target
    web.release(source)
    web.runs()
