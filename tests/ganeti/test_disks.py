# SPDX-License-Identifier: Apache-2.0
"""Disks of an instance: grown, added, named, removed, plugged while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ganeti.instances import Disk

if TYPE_CHECKING:
    from tests.ganeti.instances import Instance
    from tests.ganeti.nodes import Node

SCSI = ":disk_type=scsi-hd,scsi_controller_type=virtio-scsi-pci"


def test_grow(web: Instance) -> None:
    """grow-disk, grow-disk --absolute; running and stopped."""
    web.cluster.gnt(f"gnt-instance grow-disk {web.name} 0 8m")
    web.disks[0].size += 8
    web.runs()
    web.stop()
    web.grow(0, web.disks[0].size + 16)
    web.is_down()
    web.gnt("startup")
    web.runs()
    web.write()


def test_disks(web: Instance) -> None:
    """modify --disk add, name, detach, remove; running and stopped."""
    web.gnt(f"modify --disk add:{web.spec(8)},name=second")
    web.disks.append(Disk(8))
    web.write(1)
    web.gnt("modify --disk 1:modify,name=other")
    web.cluster.gnt(f"gnt-instance reboot --shutdown-timeout=0 {web.name}")
    web.runs()
    web.stop()
    web.is_down()
    detached = web.volume(1)
    web.gnt("modify --disk other:detach")
    del web.disks[1]
    assert web.provider.volumes() == sorted([web.volume(), detached])
    assert web.provider.attached() == {}
    # Ganeti 3.0.2 can't attach a disk of an ext instance again: without a provider it misses one, with
    # one it says that only a name is allowed. The volume stays, and gnt-storage removes it.
    assert "Missing provider" in web.fails("modify --disk 1:attach,name=other")
    web.node.run(web.provider.by_hand("remove", detached))
    web.is_down()
    web.gnt(f"modify --disk add:{web.spec(8)}")
    web.disks.append(Disk(8))
    web.gnt("startup")
    web.write(1)
    web.runs()
    web.stop()
    web.is_down()
    web.gnt("modify --disk 1:remove")
    del web.disks[1]
    web.is_down()
    web.gnt("startup")


def test_two_disks(new: Instance) -> None:
    """add with two disks that have names; their removal with the instance."""
    new.add(disks=(",name=root", ",name=data"))
    new.write(0)
    new.write(1)
    new.runs()
    assert new.cluster.instance(new.name, "disk.name/0", "disk.name/1") == ["root", "data"]
    new.migrate(new.cluster.nodes[-1])
    new.runs()
    new.stop()
    new.is_down()
    new.remove()


def test_hotplug_by_userspace_access(new: Instance) -> None:
    """modify --hotplug --disk add, remove under KVM, of disks with access=userspace; then migrate."""
    one, two, _ = new.cluster.nodes
    new.hypervisor, new.node = "kvm", one
    new.add(disks=(",access=userspace",), hypervisor=SCSI)
    new.write()
    assert len(opened(new, one)) == 1
    # Not Ganeti's own tests for "hotplug:done": QEMU itself must have the volume open.
    assert "hotplug:done" in new.gnt(f"modify --hotplug --disk add:{new.spec(8)},access=userspace")
    new.disks.append(Disk(8))
    new.write(1)
    new.runs()
    assert opened(new, one) == sorted(new.volumes())
    new.migrate(two)
    new.runs()
    assert opened(new, two) == sorted(new.volumes())
    assert "hotplug:done" in new.gnt("modify --hotplug --disk 1:remove")
    del new.disks[1]
    new.runs()
    assert opened(new, two) == new.volumes()
    new.stop()
    new.is_down()
    new.remove()


def opened(instance: Instance, node: Node) -> list[str]:
    """The volumes of an instance that QEMU has open on a node, past their devices."""
    files = node.run("ls -l /proc/$(pgrep -f '^/usr/bin/kvm ')/fd").stdout
    return sorted(volume for volume in instance.volumes() if volume in files)


def test_hotplug_of_a_block_device(machine: Instance) -> None:
    """modify --hotplug --disk add under KVM, of a block device: QEMU 7.2 refuses; there at the next start."""
    said = machine.gnt(f"modify --hotplug --disk add:{machine.spec(8)}")
    assert "hotplug:failed" in said
    assert "can't find value 'disk-" in said
    machine.disks.append(Disk(8))
    machine.write(1)
    # QEMU has not got it, so Ganeti has made no link: attached and held it is.
    told = machine.told()
    machine.is_only_here(told)
    machine.holds({machine.node.name: "exclusive"})
    machine.gnt("reboot --shutdown-timeout=0")
    machine.runs()
    machine.stop()
    machine.gnt("modify --disk 1:remove")
    del machine.disks[1]
    machine.is_down()
    machine.gnt("startup")
