# SPDX-License-Identifier: Apache-2.0
"""The shortest way through everything that matters, for providers whose other ways are tried elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.ganeti.cluster import Cluster
    from tests.ganeti.instances import Instance


def test_golden(new: Instance, cluster: Cluster) -> None:
    """add, grow-disk, migrate; the node dies, is marked offline and fenced: failover, its return; remove."""
    master, dead = cluster.nodes
    new.node = master
    new.add()
    new.write()
    new.grow(0, 32)
    new.migrate(dead)
    new.runs()
    new.write()
    dead.crash()
    cluster.set_offline(dead)
    new.gnt("failover -f")
    new.node = master
    new.holds({master.name: "exclusive"})
    new.provider.is_fenced(dead, new.volume())
    new.write()
    dead.restart()
    cluster.set_online(dead)
    new.runs()
    new.migrate(dead)
    new.runs()
    new.remove()
