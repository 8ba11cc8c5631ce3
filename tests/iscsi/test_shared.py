# SPDX-License-Identifier: Apache-2.0
"""A target with several disks, as arrays have it: a session belongs to all, and ends with the last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.iscsi.conftest import Disk, Initiator
from tests.iscsi.test_bad_days import LOGIN_SECONDS
from tests.lab.lab import Lab
from tests.machines import wait_until

ADD = """
import os, sys
base, initiator, lun, name, device, serial = sys.argv[1:]
core = f"/sys/kernel/config/target/core/iblock_7473/{name}"
os.mkdir(core)
for file, text in (("control", f"udev_path={device}"), ("wwn/vpd_unit_serial", serial), ("enable", "1")):
    with open(f"{core}/{file}", "w") as attribute:
        attribute.write(text)
group = f"/sys/kernel/config/target/iscsi/{base}/tpgt_1"
os.mkdir(f"{group}/lun/lun_{lun}")
os.symlink(core, f"{group}/lun/lun_{lun}/{name}")
os.mkdir(f"{group}/acls/{initiator}/lun_{lun}")
os.symlink(f"{group}/lun/lun_{lun}", f"{group}/acls/{initiator}/lun_{lun}/{name}")
"""
REMOVE = """
import os, sys
base, initiator, lun, name = sys.argv[1:]
group = f"/sys/kernel/config/target/iscsi/{base}/tpgt_1"
os.unlink(f"{group}/acls/{initiator}/lun_{lun}/{name}")
os.rmdir(f"{group}/acls/{initiator}/lun_{lun}")
os.unlink(f"{group}/lun/lun_{lun}/{name}")
os.rmdir(f"{group}/lun/lun_{lun}")
os.rmdir(f"/sys/kernel/config/target/core/iblock_7473/{name}")
"""


@pytest.fixture
def pair(lab: Lab, node: Initiator, disk: Disk) -> Iterator[list[dict[str, Any]]]:
    """The connections of two disks of one target: number 0, and number 1, which is twice as large."""
    first = disk.let_in(node.node)
    other = Disk(lab.storage, "second", 32, disk.portals)
    arguments = [disk.iqn, node.node.initiator, "1", other.name]
    lab.storage.python(ADD, *arguments, f"/dev/vg/{other.name}", other.serial)
    second = {**first, "target_lun": 1, "target_luns": [1], "size": other.size, "serial": other.serial}
    second["wwn"] = "naa.6001405" + other.serial.replace("-", "")[:25]
    yield [first, second]
    lab.storage.python(REMOVE, *arguments)
    other.destroy()


def test_the_session_ends_with_the_last_disk(node: Initiator, pair: list[dict[str, Any]]) -> None:
    first, second = pair
    device = node.connect(first)
    assert len(node.node.run("ls -d /sys/block/sd*").stdout.split()) == 1
    other = node.connect(second)
    assert device != other
    node.disconnect(first, device)
    assert node.session_state() == "LOGGED_IN"
    assert node.call("is_connected", second, other)
    node.disconnect(second, other)


def test_a_number_that_has_become_another_disk(node: Initiator, pair: list[dict[str, Any]]) -> None:
    """What is under our number is not our disk: it is refused, and what is somebody's stays."""
    first, second = pair
    device = node.connect(first)
    wrong = {**second, "target_lun": 0, "target_luns": [0]}
    node.node.run(f"sleep 1000 <{device} >/dev/null 2>&1 & echo $! >/tmp/sleeper")
    assert "is not this volume" in node.fails(12, "connect_volume", wrong)
    node.cleanup(wrong)
    assert node.call("is_connected", first, device)
    node.node.run("kill $(cat /tmp/sleeper)")
    node.disconnect(first, device)


def test_one_goes_while_the_storage_is_away(lab: Lab, node: Initiator, pair: list[dict[str, Any]]) -> None:
    """The kernel removes the disk when the storage is back; the other waits, and works then."""
    first, second = pair
    device, other = node.connect(first), node.connect(second)
    lab.storage.unplug(1)
    try:
        wait_until(lambda: node.session_state() != "LOGGED_IN")
        kept = node.call("kept", first)
        assert "does not answer" in node.fails(8, "cleanup_connection", kept)
        assert node.seconds < LOGIN_SECONDS
        assert "does not answer" in node.fails(8, "connect_volume", first)
    finally:
        lab.storage.plug(1)
    wait_until(lambda: node.session_state() == "LOGGED_IN")
    wait_until(lambda: device not in node.node.run("ls /dev/sd*").stdout)
    node.cleanup(first)
    assert node.call("is_connected", second, other)
    node.disconnect(second, other)
