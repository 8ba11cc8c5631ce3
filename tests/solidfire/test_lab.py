# SPDX-License-Identifier: Apache-2.0
"""Two nodes with the provider, at the door: block devices over iSCSI, with data that survives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import MIB
from tests.solidfire.lab import SIZE, LabNode, Storage

LINK = "/dev/ganeti-extstorage/v1"


@pytest.fixture
def both(storage: Storage, nodes: list[LabNode]) -> Iterator[list[LabNode]]:
    """The nodes, with an empty pool; nothing of it is left then."""
    storage.begin()
    yield nodes
    for node in nodes:
        node.forget()


def test_a_volumes_life_on_two_nodes(both: list[LabNode], storage: Storage) -> None:
    n1, n2 = both
    n1.create()
    assert n1.attach() == LINK
    assert n1.size(LINK) == SIZE * MIB
    assert n1.read() == ""
    assert n1.write("hello")
    assert n1.grow(SIZE, SIZE + 8).status == 0
    assert n1.size(LINK) == (SIZE + 8) * MIB
    n1.ok("setinfo", VOL_METADATA="originstname+web")
    assert n1.snapshot().status == 0
    n1.ok("detach")
    assert n2.attach() == LINK
    assert (n2.read(), n2.size(LINK)) == ("hello", (SIZE + 8) * MIB)
    assert n2.write("bye")
    n2.attach("v1.snap")
    assert n2.read("v1.snap") == "hello"
    for name in ("v1.snap", "v1"):
        n2.ok("detach", name)
        n2.ok("remove", name)
    assert n1.left() == n2.left() == []
    assert storage.volumes() == []


def test_the_disk_is_the_clusters(both: list[LabNode], storage: Storage) -> None:
    """Identity, vendor and target are those of the array; the node has no other way to a volume."""
    n1, _ = both
    n1.create()
    n1.attach()
    told = storage.call("ListVolumes")["volumes"][0]
    device = n1.sh(f"basename $(readlink -f {LINK})")
    assert n1.sh(f"cat /sys/block/{device}/device/wwid") == "naa." + told["scsiNAADeviceID"]
    assert n1.sh(f"cat /sys/block/{device}/device/vendor") == "SolidFir"
    assert told["iqn"] in n1.sh("cat /sys/class/iscsi_session/*/targetname")


def test_attached_twice_and_lost(both: list[LabNode], storage: Storage) -> None:
    n1, _ = both
    n1.create()
    assert n1.attach() == n1.attach() == LINK
    n1.sh(f"rm {LINK}")
    assert n1.attach() == LINK
    assert n1.write("x")
    n1.ok("detach")
    n1.ok("detach")
    assert n1.left() == []
    n1.ok("remove")
    n1.ok("remove")
    n1.fails(4, "attach")
    assert storage.volumes() == []


def test_live_migration(both: list[LabNode]) -> None:
    n1, n2 = both
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    assert n1.write("before")
    n2.attach()
    n2.ok("close")
    refused = n2.open()
    assert refused.status == 7
    assert f"node {n1.name} has the volume open" in refused.stderr
    assert n1.open(exclusive=False).status == n2.open(exclusive=False).status == 0
    n1.ok("close")
    assert n2.open().status == 0
    assert n2.read() == "before"
    n1.ok("detach")
    assert n1.left() == []
    assert n2.write("after")


def test_one_detach_leaves_the_other(both: list[LabNode]) -> None:
    n1, n2 = both
    n1.create()
    for node in both:
        node.attach()
    assert n1.write("shared")
    n2.ok("detach")
    assert n1.read() == "shared"
    assert n1.write("still")


def test_a_fenced_node_writes_nothing_and_comes_back(both: list[LabNode]) -> None:
    """The other node takes the volume; a second volume of the fenced one goes on."""
    n1, n2 = both
    for name in ("v1", "v2"):
        n1.create(name)
        n1.attach(name)
        assert n1.open(name).status == 0
        assert n1.write("mine", name)
    n2.attach()
    n2.mark_offline(n1)
    assert n2.open().status == 0
    assert n2.write("taken")
    assert n1.write("mine", "v2")
    refused = n1.open()
    assert refused.status != 0
    n1.ok("detach")
    assert n2.read() == "taken"
    n1.attach()
    assert n1.read() == "taken"
    n1.ok("detach", "v2")


def test_a_node_that_crashed_is_noticed(both: list[LabNode]) -> None:
    n1, n2 = both
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    assert n1.write("before")
    n1.machine.crash()
    try:
        n2.attach()
        assert n2.open().status == 0
        assert n2.read() == "before"
    finally:
        n1.machine.boot()
        n1.configure()
    n1.attach()
    assert n1.read() == "before"


def test_an_export_that_was_lost_is_made_again(both: list[LabNode], storage: Storage) -> None:
    n1, _ = both
    n1.create()
    n1.attach()
    assert n1.write("kept")
    for group in storage.groups():
        storage.call("DeleteVolumeAccessGroup", volumeAccessGroupID=group)
    n1.ok("detach")
    assert n1.attach() == LINK
    assert n1.read() == "kept"


@pytest.mark.parametrize(
    "point",
    [
        *("attach.reserved", "solidfire.node_account", "solidfire.node_group", "solidfire.granted"),
        *("attach.exported", "iscsi.recorded", "iscsi.logged_in", "attach.connected", "attach.attached"),
    ],
)
def test_an_attach_that_dies_is_finished(both: list[LabNode], storage: Storage, point: str) -> None:
    n1, _ = both
    n1.create()
    assert n1.call("attach", EXTSTORAGE_CRASH_AT=point).status != 0
    assert n1.attach() == LINK
    assert n1.write("x")
    n1.ok("detach")
    assert n1.left() == []
    assert len(storage.groups()) == 2


@pytest.mark.parametrize(
    "point", ["detach.begun", "detach.disconnected", "detach.closed", "detach.terminated"]
)
def test_a_detach_that_dies_is_finished(both: list[LabNode], storage: Storage, point: str) -> None:
    n1, n2 = both
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    assert n1.call("detach", EXTSTORAGE_CRASH_AT=point).status != 0
    n1.ok("detach")
    assert n1.left() == []
    assert n2.open().status == 0


def test_the_cluster_is_away(both: list[LabNode], storage: Storage) -> None:
    """A detach is finished when it is back; nothing is taken for gone."""
    n1, _ = both
    n1.create()
    n1.attach()
    storage.machine.call("fault", kind="status", method="", value=503, times=0)
    n1.fails(8, "detach")
    n1.machine.run("rm -rf /run/ganeti-extstorage/timed-out")
    n1.fails(8, "attach")
    n1.fails(8, "remove")
    storage.machine.order(clear=True)
    n1.machine.run("rm -rf /run/ganeti-extstorage/timed-out")
    n1.ok("detach")
    assert n1.left() == []
    assert n1.attach() == LINK
