# SPDX-License-Identifier: Apache-2.0
"""What the cluster of kernels itself is good for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.ganeti.lab.cluster import LabCluster

DISKLESS = "-t diskless"


def test_ganeti_finds_nothing_wrong(cluster: LabCluster) -> None:
    nodes = cluster.gnt("gnt-node list --no-headers -o name,offline").stdout.split()
    assert nodes == ["node1.example.test", "N", "node2.example.test", "N"]
    assert "ERROR" not in cluster.verify().stdout


def test_nodes_have_kernels_of_their_own(cluster: LabCluster) -> None:
    ask = "cat /proc/sys/kernel/random/boot_id"
    boots = {node.run(ask).stdout for node in cluster.nodes} | {cluster.storage.run(ask).stdout}
    assert len(boots) == 3


def test_a_machine_migrates_live(cluster: LabCluster) -> None:
    one, two = cluster.nodes
    cluster.add_instance("vm", DISKLESS, one, hypervisor="kvm")
    assert "memory transfer complete" in cluster.gnt("gnt-instance migrate -f vm").stdout
    assert cluster.instance("vm", "pnode", "status") == [two.name, "running"]
    assert one.run("pgrep -f '^/usr/bin/kvm '", check=False).stdout == ""


def test_nodes_that_lose_power_come_back(cluster: LabCluster) -> None:
    _, two = cluster.nodes
    cluster.add_instance("mail", DISKLESS, two)
    two.crash()
    assert cluster.instance("mail", "status") == ["ERROR_nodedown"]
    cluster.set_offline(two)
    cluster.gnt("gnt-instance failover -f mail")
    assert cluster.instance("mail", "pnode", "status") == [cluster.master.name, "running"]
    two.restart()
    cluster.set_online(two)
    cluster.gnt(f"gnt-instance migrate -f -n {two.name} mail")
    cluster.master.run("sync")  # a power cut takes what was written in the last half minute
    cluster.master.crash()
    cluster.master.restart()
    assert cluster.instance("mail", "pnode", "status") == [two.name, "running"]
    cluster.verify()
