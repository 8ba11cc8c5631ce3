# SPDX-License-Identifier: Apache-2.0
"""A disk comes, grows and goes, by one portal."""

from __future__ import annotations

from tests.iscsi.conftest import Disk, Initiator


def test_it_comes_and_goes(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    device = node.connect(data)
    sysfs = f"/sys/block/{device.removeprefix('/dev/')}"
    assert node.node.run(f"cat {sysfs}/device/wwid").stdout.strip() == data["wwn"]
    assert node.node.run(f"blockdev --getsize64 {device}").stdout.strip() == str(disk.size)
    assert node.call("is_connected", data, device)
    assert node.connect(data) == device
    assert node.call("identity", device) == [[f"{sysfs}/device/wwid", data["wwn"]]]
    node.disconnect(data, device)
    assert node.leftovers() == []
    node.disconnect(data, device)


def test_what_one_node_writes_the_other_reads(node: Initiator, other: Initiator, disk: Disk) -> None:
    mine, theirs = disk.let_in(node.node), disk.let_in(other.node)
    device, their_device = node.connect(mine), other.connect(theirs)
    node.node.run(f"printf hello | dd of={device} bs=512 conv=sync oflag=direct status=none")
    assert (
        other.node.run(f"dd if={their_device} bs=512 count=1 iflag=direct status=none | head -c 5").stdout
        == "hello"
    )
    node.disconnect(mine, device)
    other.disconnect(theirs, their_device)
    assert other.leftovers() == []


def test_it_grows(node: Initiator, disk: Disk) -> None:
    device = node.connect(disk.let_in(node.node))
    disk.extend(32)
    data = disk.connection(node.node)
    node.call("extend_volume", data, device)
    assert node.node.run(f"blockdev --getsize64 {device}").stdout.strip() == str(32 << 20)
    assert node.call("is_connected", data, device)
    node.disconnect(data, device)
