# SPDX-License-Identifier: Apache-2.0
"""What is inside a guest's disk is never activated on the node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from extstorage_common.errors import DeviceBusy
from tests.iscsi.conftest import RULES, UDEV, Disk, Initiator
from tests.machines import wait_until


@pytest.fixture
def without_the_rule(node: Initiator) -> Iterator[None]:
    node.node.run(f"rm {RULES}; udevadm control --reload")
    yield
    node.node.run("vgchange -qq -an vg; mdadm --quiet --stop --scan; true")
    node.node.put(RULES, UDEV.read_text())
    node.node.run("udevadm control --reload")


def make_group(node: Initiator, data: dict[str, Any]) -> None:
    """A guest makes a volume group, and calls it as the storage calls its own."""
    device = node.connect(data)
    node.wait_for_udev(device)
    node.node.run(f"vgcreate -qq vg {device} && lvcreate -qq -y -Wn -Zn -n guest -l 100%FREE vg")
    # Whatever udev makes of that comes before.
    node.node.run("udevadm settle; vgchange -qq -an vg")
    node.disconnect(data, device)


def active(node: Initiator) -> str:
    return node.node.run("udevadm settle; dmsetup ls").stdout


def test_volume_group(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    make_group(node, data)
    device = node.connect(data)
    node.wait_for_udev(device)
    assert "vg-guest" not in active(node)
    properties = node.node.run(f"udevadm info --query=property {device}").stdout
    assert "ID_FS_TYPE" not in properties
    assert f"scsi-3{data['wwn'].removeprefix('naa.')}" in properties
    # A change, as after a writer, makes no difference.
    node.node.run(f"udevadm trigger --action=change --settle {device}")
    assert "vg-guest" not in active(node)
    node.disconnect(data, device)


def test_volume_group_without_the_rule(node: Initiator, disk: Disk, without_the_rule: None) -> None:
    """It would be activated, and the disk could not be detached."""
    data = disk.let_in(node.node)
    make_group(node, data)
    device = node.connect(data)
    wait_until(lambda: "vg-guest" in active(node))
    node.node.run("vgchange -qq -an vg")
    node.disconnect(data, device)


def make_array(node: Initiator, data: dict[str, Any], metadata: str) -> None:
    """A guest makes a RAID array of its disk, which is complete with it."""
    device = node.connect(data)
    node.wait_for_udev(device)
    kind = f"--level=1 --raid-devices=1 --metadata={metadata}"
    node.node.run(f"mdadm --quiet --create /dev/md/guest --run --force {kind} {device}")
    node.node.run("udevadm settle; mdadm --quiet --stop /dev/md/guest")
    node.disconnect(data, device)


def arrays(node: Initiator) -> str:
    return node.node.run("udevadm settle; grep ^md /proc/mdstat; true").stdout


@pytest.mark.parametrize("metadata", ["1.2", "1.0"])
def test_raid_array(node: Initiator, disk: Disk, metadata: str) -> None:
    """What says that it is one stands at the disk's beginning, or at its end."""
    data = disk.let_in(node.node)
    make_array(node, data, metadata)
    device = node.connect(data)
    node.wait_for_udev(device)
    assert node.node.run(f"mdadm --examine --brief {device}").stdout.startswith("ARRAY ")
    assert arrays(node) == ""
    # A change, as after a writer, makes no difference.
    node.node.run(f"udevadm trigger --action=change --settle {device}")
    assert arrays(node) == ""
    node.disconnect(data, device)


def test_raid_array_without_the_rule(node: Initiator, disk: Disk, without_the_rule: None) -> None:
    """It would be assembled, and the disk could not be detached."""
    data = disk.let_in(node.node)
    make_array(node, data, "1.2")
    device = node.connect(data)
    wait_until(lambda: device.removeprefix("/dev/") in arrays(node))
    assert "md" in node.fails(DeviceBusy.status, "disconnect_volume", node.call("kept", data), device, [])
    node.node.run("mdadm --quiet --stop --scan; udevadm settle")
    node.disconnect(data, device)


def test_partitions(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    device = node.connect(data)
    node.wait_for_udev(device)
    node.node.run(f"printf 'label: gpt\\n,4M\\n,\\n' | sfdisk -q {device}; udevadm settle")
    node.disconnect(data, device)
    device = node.connect(data)
    name = device.removeprefix("/dev/")
    partitions = f"udevadm settle; ls -d /sys/block/{name}/{name}* 2>/dev/null; true"
    # The kernel looks for them before it tells udev of the disk.
    node.wait_for_udev(device)
    wait_until(lambda: node.node.run(partitions).stdout == "")
    # Whoever opens it to write, and closes it, brings them not back.
    node.node.run(f"true >>{device}; udevadm settle")
    assert node.node.run(partitions).stdout == ""
    assert node.node.run(f"sfdisk -q -d {device} | grep -c start=").stdout.strip() == "2"
    node.disconnect(data, device)
