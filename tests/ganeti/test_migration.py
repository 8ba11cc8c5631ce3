# SPDX-License-Identifier: Apache-2.0
"""Instances that change nodes: migrated, failed over, evacuated, saved from a dead node."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.ganeti.cluster import Cluster
    from tests.ganeti.instances import Instance
    from tests.ganeti.nodes import Node


def moved(instance: Instance) -> Node:
    """The node that Ganeti has chosen; another one than before."""
    name = instance.status()[0]
    assert name != instance.node.name
    return next(node for node in instance.cluster.nodes if node.name == name)


def others(instance: Instance) -> list[Node]:
    """The nodes that it is not on."""
    return [node for node in instance.cluster.nodes if node is not instance.node]


def migrate_around(instance: Instance) -> None:
    """Migrate to each node, writing on each."""
    start = instance.node
    targets = others(instance)
    for node, options in ((targets[0], ""), (start, ""), (targets[-1], "--non-live")):
        instance.migrate(node, options)
        instance.runs()
        instance.write()


def test_migration(web: Instance) -> None:
    """migrate (live, --non-live), there and back, under the fake hypervisor."""
    migrate_around(web)


def test_failover(web: Instance) -> None:
    """failover of a running and of a stopped instance."""
    target = others(web)[0]
    web.gnt(f"failover -f --shutdown-timeout=0 -n {target.name}")
    web.node = target
    web.runs()
    web.stop()
    target = others(web)[-1]
    web.gnt(f"failover -f -n {target.name}")
    web.node = target
    web.is_down()
    web.gnt("startup")
    web.runs()


def test_whole_nodes(web: Instance, cluster: Cluster) -> None:
    """node migrate, node failover, node evacuate."""
    for command in ("migrate -f", "failover -f", "evacuate -f -p"):
        cluster.gnt(f"gnt-node {command} {web.node.name}")
        web.node = moved(web)
        web.runs()


def test_dead_node(web: Instance, cluster: Cluster) -> None:
    """failover from a node that is dead and marked offline, and fenced where that can be; its return."""
    # The first node is the master: another one has to die.
    dead = cluster.nodes[1]
    if web.node is not dead:
        web.migrate(dead)
    dead.crash()
    cluster.set_offline(dead)
    web.gnt("failover -f")
    web.node = moved(web)
    web.holds({web.node.name: "exclusive"})
    web.provider.is_fenced(dead, web.volume())
    web.write()
    dead.restart()
    cluster.set_online(dead)
    web.runs()
    web.migrate(dead)
    web.runs()


def test_migration_of_a_machine(machine: Instance) -> None:
    """migrate (live, --non-live), there and back, under KVM; failover."""
    migrate_around(machine)
    target = others(machine)[0]
    machine.gnt(f"failover -f --shutdown-timeout=0 -n {target.name}")
    machine.node = target
    machine.runs()
