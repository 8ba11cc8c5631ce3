# SPDX-License-Identifier: Apache-2.0
"""What is inside a guest's disk is never activated on the node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.iscsi.conftest import RULES, UDEV, Disk, Initiator


@pytest.fixture
def without_the_rule(node: Initiator) -> Iterator[None]:
    node.node.run(f"rm {RULES}; udevadm control --reload")
    yield
    node.node.run("vgchange -qq -an vg; true")
    node.node.put(RULES, UDEV.read_text())
    node.node.run("udevadm control --reload")


def make_group(node: Initiator, data: dict[str, Any]) -> None:
    """A guest makes a volume group, and calls it as the storage calls its own."""
    device = node.connect(data)
    script = (
        f"vgcreate -qq vg {device} && lvcreate -qq -y -Wn -Zn -n guest -l 100%FREE vg && vgchange -qq -an vg"
    )
    node.node.run(script)
    node.disconnect(data, device)


def active(node: Initiator) -> str:
    return node.node.run("udevadm settle; dmsetup ls").stdout


def test_volume_group(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    make_group(node, data)
    device = node.connect(data)
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
    assert "vg-guest" in active(node)
    node.node.run("vgchange -qq -an vg")
    node.disconnect(data, device)


def test_partitions(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    device = node.connect(data)
    node.node.run(f"printf 'label: gpt\\n,4M\\n,\\n' | sfdisk -q {device}; udevadm settle")
    node.disconnect(data, device)
    device = node.connect(data)
    name = device.removeprefix("/dev/")
    partitions = f"udevadm settle; ls -d /sys/block/{name}/{name}* 2>/dev/null; true"
    assert node.node.run(partitions).stdout == ""
    # Whoever opens it to write, and closes it, brings them not back.
    node.node.run(f"true >>{device}; udevadm settle")
    assert node.node.run(partitions).stdout == ""
    assert node.node.run(f"sfdisk -q -d {device} | grep -c start=").stdout.strip() == "2"
    node.disconnect(data, device)
