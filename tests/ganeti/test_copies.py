# SPDX-License-Identifier: Apache-2.0
"""Backups and conversions: the contents of our volumes go elsewhere and come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ganeti.instances import NO_NET, SIZE, Disk, is_empty

EXPORTS = "/var/lib/ganeti/export"
FILES = "/srv/ganeti/shared-file-storage"

if TYPE_CHECKING:
    from tests.ganeti.cluster import Cluster
    from tests.ganeti.instances import Instance
    from tests.ganeti.nodes import Node


def export(instance: Instance, node: Node, options: str = "") -> None:
    """``gnt-backup export``; all data must be in the file on ``node``."""
    instance.cluster.gnt(f"gnt-backup export -n {node.name} {options} {instance.name}")
    dump = f"$(ls -d {EXPORTS}/{instance.name}/* | grep -v config.ini)"
    checksum = node.run(f"tail -c +{(1 << 20) + 1} {dump} | sha256sum | cut -c -64").stdout.strip()
    assert checksum == instance.disks[0].checksum()


def restore(instance: Instance, backup: Node, node: Node) -> None:
    """``gnt-backup import``, and a start."""
    instance.cluster.gnt(
        f"gnt-backup import --src-node={backup.name} --src-dir={EXPORTS}/{instance.name}"
        f" -t ext --disk 0:{instance.spec(instance.disks[0].size)} -n {node.name} {NO_NET} {instance.name}"
    )
    instance.node = node
    instance.gnt("startup")


def test_backup(web: Instance, cluster: Cluster) -> None:
    """backup export --noshutdown, backup import."""
    target, backups = cluster.nodes[1], cluster.nodes[-1]
    export(web, backups, "--noshutdown")
    web.runs()
    web.remove()
    restore(web, backups, target)
    web.runs()


def test_backup_with_a_stop(web: Instance, cluster: Cluster) -> None:
    """backup export with a stop, of a stopped instance."""
    backups = cluster.nodes[-1]
    export(web, backups, "--shutdown-timeout=0")
    web.runs()
    web.stop()
    web.is_down()
    export(web, backups)
    web.is_down()
    web.gnt("startup")


def test_backup_under_kvm(machine: Instance, cluster: Cluster) -> None:
    """backup export --noshutdown under KVM: refused where the file system can't clone; goes on running."""
    said = cluster.fails(f"gnt-backup export --noshutdown -n {cluster.nodes[-1].name} {machine.name}")
    assert "Not all disks could be snapshotted" in said
    sentence = "this filesystem can't clone files, so a copy would be inconsistent; stop the instance first"
    assert sentence in machine.node.run("cat /var/log/ganeti-extstorage/*.log").stdout
    machine.runs()


def test_conversion(new: Instance, cluster: Cluster) -> None:
    """modify -t: file to ext, to ext of another provider, back, to sharedfile."""
    provider = new.provider
    cluster.add_instance(new.name, f"-t file --disk 0:size={SIZE}", new.node)
    new.stop()
    new.gnt(f"modify -t ext --ext-params provider={provider.name}")
    new.disks = [Disk(first="minimal: disk 0 of new")]
    start_and_write(new)
    new.gnt(f"modify -t ext --ext-params provider={provider.other}")
    assert (provider.volumes(), provider.volumes(provider.other)) == ([], new.volumes())
    new.gnt(f"modify -t ext --ext-params provider={provider.name}")
    assert provider.volumes(provider.other) == []
    start_and_write(new)
    new.gnt("modify -t sharedfile")
    is_empty(provider)
    checksum = new.node.run(f"tail -c +{(1 << 20) + 1} {FILES}/new/* | sha256sum | cut -c -64").stdout.strip()
    assert checksum == new.disks[0].checksum()
    new.remove()


def start_and_write(instance: Instance) -> None:
    """Start a converted instance, find all data, give it new data, and stop it."""
    instance.gnt("startup")
    instance.runs()
    instance.write()
    instance.stop()
    instance.is_down()
