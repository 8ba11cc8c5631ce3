# SPDX-License-Identifier: Apache-2.0
"""What the cluster of kernels itself is good for; the rest is seen with our providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.ganeti.lab.cluster import LabCluster


def test_nodes_have_kernels_of_their_own(cluster: LabCluster) -> None:
    ask = "cat /proc/sys/kernel/random/boot_id"
    boots = {node.run(ask).stdout for node in cluster.nodes} | {cluster.storage.run(ask).stdout}
    assert len(boots) == 3
    listed = cluster.gnt("gnt-node list --no-headers -o name,offline").stdout.split()
    assert listed == ["node1.example.test", "N", "node2.example.test", "N"]


def test_a_master_that_loses_power_comes_back(cluster: LabCluster) -> None:
    _, two = cluster.nodes
    cluster.add_instance("mail", "-t diskless", two)
    cluster.master.run("sync")  # a power cut takes what was written in the last half minute
    cluster.master.crash()
    cluster.master.restart()
    assert cluster.instance("mail", "pnode", "status") == [two.name, "running"]
    assert "ERROR" not in cluster.verify().stdout
