# SPDX-License-Identifier: Apache-2.0
"""What the test cluster itself is good for: Ganeti does on it what it does on real machines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.ganeti.providers import LOCAL

if TYPE_CHECKING:
    from tests.ganeti.cluster import Cluster
    from tests.ganeti.nodes import Node

SHAREDFILE = "-t sharedfile --disk 0:size=8"
PROVIDER = f"{LOCAL}/some"
DISKS = "/srv/ganeti/shared-file-storage"


def test_ganeti_finds_nothing_wrong(cluster: Cluster) -> None:
    nodes = cluster.gnt("gnt-node list --no-headers -o name,offline").stdout.split()
    assert nodes == ["node1.example.test", "N", "node2.example.test", "N", "node3.example.test", "N"]
    assert "ERROR" not in cluster.verify().stdout


def test_diagnose_wants_a_provider_on_all_nodes(cluster: Cluster) -> None:
    assert diagnosed(cluster) == ""
    one, two, three = cluster.nodes
    for node in (one, two):
        install_provider(node)
    assert diagnosed(cluster) == "invalid"
    install_provider(three)
    assert diagnosed(cluster) == "valid"
    cluster.on_all(lambda node: node.run(f"rm -r {PROVIDER} && rmdir --ignore-fail-on-non-empty {LOCAL}"))


def install_provider(node: Node) -> None:
    """Give a node the provider ``some``, which can do nothing."""
    node.put(f"{PROVIDER}/parameters.list", "")
    for script in ("create", "attach", "detach", "remove", "grow", "setinfo", "verify"):
        node.put(f"{PROVIDER}/{script}", "#!/bin/sh\n", mode=0o755)


def diagnosed(cluster: Cluster) -> str:
    """What Ganeti says of the provider; empty if it has never heard of it."""
    listing = cluster.gnt("gnt-storage diagnose", check=False).stdout  # fails if there is no provider at all
    found = re.search("^Provider: some$.*?--> (.*?)$", listing, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def test_an_instance_moves_between_nodes_and_goes(cluster: Cluster) -> None:
    one, two, _ = cluster.nodes
    cluster.add_instance("web", SHAREDFILE, one)
    assert cluster.instance("web", "pnode", "status") == [one.name, "running"]
    assert first_blocks(two, "web").startswith("minimal: disk 0 of web\n")
    cluster.gnt(f"gnt-instance migrate -f -n {two.name} web")
    assert cluster.instance("web", "pnode", "status") == [two.name, "running"]
    cluster.gnt("gnt-instance remove -f web")
    assert cluster.gnt("gnt-instance list --no-headers").stdout == ""
    assert two.run(f"ls {DISKS}").stdout == ""


def first_blocks(node: Node, instance: str) -> str:
    """The beginning of an instance's disk, as ``node`` sees it."""
    return node.run(f"head -c 1024 {DISKS}/{instance}/*").stdout


def test_a_machine_runs_under_emulation_and_migrates_live(cluster: Cluster) -> None:
    one, two, _ = cluster.nodes
    cluster.add_instance("vm", SHAREDFILE, one, hypervisor="kvm")
    (machine,) = machines(one)
    assert "-name vm" in machine
    assert "-enable-kvm" not in machine
    cluster.gnt("gnt-instance shutdown --timeout=0 vm")
    assert (machines(one), cluster.instance("vm", "status")) == ([], ["ADMIN_down"])
    cluster.gnt("gnt-instance startup vm")
    migrated = cluster.gnt(f"gnt-instance migrate -f -n {two.name} vm").stdout
    assert "memory transfer complete" in migrated
    assert cluster.instance("vm", "pnode", "status") == [two.name, "running"]
    assert (len(machines(one)), len(machines(two))) == (0, 1)


def machines(node: Node) -> list[str]:
    """The command lines of the virtual machines on a node."""
    return node.run("pgrep -a -f '^/usr/bin/kvm '", check=False).stdout.splitlines()


def test_a_backup_comes_back_on_another_node(cluster: Cluster) -> None:
    one, two, three = cluster.nodes
    cluster.add_instance("db", SHAREDFILE, one)
    one.run(f"echo precious | dd of=$(echo {DISKS}/db/*) bs=1M seek=7 conv=notrunc")
    cluster.gnt(f"gnt-backup export --long-sleep -n {three.name} db")
    cluster.gnt("gnt-instance remove -f db")
    cluster.gnt(
        f"gnt-backup import --src-node={three.name} --src-dir=/var/lib/ganeti/export/db -t sharedfile"
        f" -n {two.name} --no-nics --no-name-check --no-ip-check copy"
    )
    assert cluster.instance("copy", "pnode", "status") == [two.name, "ADMIN_down"]
    blocks = [block.strip("\n\0") for block in first_blocks(one, "copy").split("\n\0")]
    assert blocks[:2] == ["minimal: disk 0 of db", "minimal: now of copy"]
    assert one.run(f"tail -c +7340033 {DISKS}/copy/* | head -n 1").stdout == "precious\n"
    cluster.gnt("gnt-backup remove db")


def test_a_crashed_node_is_replaced_and_comes_back(cluster: Cluster) -> None:
    _, two, _ = cluster.nodes
    cluster.add_instance("mail", SHAREDFILE, two)
    two.run("touch /var/lib/kept /run/lost")
    two.crash()
    assert not two.running
    assert cluster.instance("mail", "status") == ["ERROR_nodedown"]
    cluster.set_offline(two)
    cluster.gnt("gnt-instance failover -f mail")
    assert cluster.instance("mail", "status") == ["running"]
    assert cluster.instance("mail", "pnode") != [two.name]
    two.restart()
    cluster.set_online(two)
    assert two.run("ls /var/lib/kept /run/lost", check=False).stdout == "/var/lib/kept\n"
    cluster.gnt(f"gnt-instance migrate -f -n {two.name} mail")
    assert cluster.instance("mail", "pnode", "status") == [two.name, "running"]
    cluster.verify()


def test_the_master_restarts(cluster: Cluster) -> None:
    cluster.add_instance("app", SHAREDFILE, cluster.nodes[1])
    cluster.master.crash()
    cluster.master.restart()
    assert cluster.instance("app", "status") == ["running"]
    cluster.verify()
