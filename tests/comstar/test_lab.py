# SPDX-License-Identifier: Apache-2.0
"""Two nodes with the provider, at the door: block devices over iSCSI, with data that survives."""

from __future__ import annotations

import re

import pytest

from tests.comstar.lab import LAYOUTS, LabNode, Storage
from tests.conftest import CHECKOUT, MIB

LINK = "/dev/ganeti-extstorage/v1"


def choose(nodes: list[LabNode], layout: str) -> None:
    """Let the nodes use the pool of this layout."""
    for node in nodes:
        node.pool = layout


in_both_layouts = pytest.mark.parametrize("layout", LAYOUTS)


@in_both_layouts
def test_a_volumes_life_on_two_nodes(both: list[LabNode], storage: Storage, layout: str) -> None:
    choose(both, layout)
    n1, n2 = both
    n1.create()
    assert n1.attach() == LINK
    assert n1.size(LINK) == 16 * MIB
    assert n1.read() == ""
    assert n1.write("hello")
    assert n1.grow(16, 24).status == 0
    assert n1.size(LINK) == 24 * MIB
    n1.ok("setinfo", VOL_METADATA="originstname+web")
    assert n1.snapshot().status == 0
    n1.ok("detach")
    assert n2.attach() == LINK
    assert (n2.read(), n2.size(LINK)) == ("hello", 24 * MIB)
    assert n2.write("bye")
    n2.attach("v1.snap")
    assert n2.read("v1.snap") == "hello"
    for name in ("v1.snap", "v1"):
        n2.ok("detach", name)
        n2.ok("remove", name)
    assert n1.left() == n2.left() == []
    assert storage.datasets() == []


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
    assert storage.left() == []


def test_without_chap(both: list[LabNode]) -> None:
    n1, _ = both
    n1.pool = "open"
    n1.create()
    n1.attach()
    assert n1.write("open")
    n1.ok("detach")
    n1.attach()
    assert n1.read() == "open"
    n1.ok("detach")
    assert n1.left() == []


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


@in_both_layouts
def test_fenced_node_writes_nothing_and_comes_back(
    both: list[LabNode], storage: Storage, layout: str
) -> None:
    """The other node takes the volume; a second volume of the fenced one goes on."""
    choose(both, layout)
    n1, n2 = both
    for name in ("v1", "v2"):
        n1.create(name)
        n1.attach(name)
        assert n1.call("open", name, VOL_OPEN_EXCLUSIVE="True").status == 0
    n2.attach()
    assert n2.open().status == 7
    n2.mark_offline(n1)
    assert n2.open().status == 0
    assert n2.write("mine")
    assert not n1.write("stale")
    assert n1.write("goes on", "v2")
    assert n2.read() == "mine"
    for name in ("v1", "v2"):
        n1.ok("detach", name)
    assert n1.left() == []
    n2.mark_offline()
    assert n1.attach() == LINK
    assert n1.read() == "mine"
    assert n1.open().status == 7


def test_fenced_node_opens_again(both: list[LabNode]) -> None:
    """It has its old attachment, which ``open`` finds to be dead, and connects anew."""
    n1, n2 = both
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    n2.attach()
    n2.mark_offline(n1)
    assert n2.open().status == 0
    n2.ok("close")
    assert n1.open().status == 0
    assert n1.write("again")
    assert n2.read() == "again"


def test_dead_node_has_no_session(both: list[LabNode], storage: Storage) -> None:
    """It is taken from without the administrator's word, once its session is gone."""
    n1, n2 = both
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    n1.sh("iscsiadm -m node -u")
    n2.attach()
    assert n2.open().status == 0
    n1.ok("detach")


@pytest.mark.parametrize(
    "lost", ["itadm delete-target -f {iqn}", "stmfadm delete-lu {guid}", "stmfadm remove-view -l {guid} -a"]
)
def test_lost_export_is_the_same_disk_again(both: list[LabNode], storage: Storage, lost: str) -> None:
    n1, _ = both
    n1.create()
    n1.attach()
    assert n1.write("data")
    wwn = n1.sh(f"cat /sys/block/$(basename $(readlink {LINK}))/device/wwid").strip()
    assert wwn.startswith("naa.600144f")
    iqn = storage.run("itadm list-target").splitlines()[1].split()[0]
    storage.run(lost.format(guid=wwn.removeprefix("naa."), iqn=iqn))
    n1.ok("detach")
    n1.attach()
    assert n1.sh(f"cat /sys/block/$(basename $(readlink {LINK}))/device/wwid").strip() == wwn
    assert n1.read() == "data"


def test_management_away(both: list[LabNode], storage: Storage) -> None:
    """The disk goes on; ``detach`` disconnects, and says that the storage can't be told."""
    n1, _ = both
    n1.create()
    n1.attach()
    storage.machine.fault("drop", "zfs", times=0)
    assert n1.attach() == LINK
    assert n1.write("x")
    n1.fails(8, "detach")
    n1.fails(8, "remove")
    n1.fails(8, "attach", "v9")
    storage.machine.order(clear=True)
    n1.ok("detach")
    assert n1.left() == []
    n1.ok("remove")
    assert storage.datasets() == []


ATTACH = ["comstar.target", "comstar.unit", "comstar.secret", "comstar.registered"]
ATTACH += ["attach.reserved", "attach.exported", "attach.connected"]
DETACH = ["detach.begun", "detach.disconnected", "detach.closed", "detach.terminated"]
REMOVE = ["comstar.unit-deleted", "comstar.target-deleted", "comstar.unexported", "comstar.destroyed"]


OTHERS = {"comstar.container", "comstar.held", "comstar.resized", "comstar.snapshot"}


def test_every_point_is_covered() -> None:
    code = "".join(path.read_text() for path in (CHECKOUT / "extstorage_common").rglob("comstar*.py"))
    points = set(re.findall(r'crash_point\("([^"]+)"\)', code))
    assert points == {point for point in (*ATTACH, *REMOVE, *OTHERS) if point.startswith("comstar.")}


def dies(node: LabNode, point: str, action: str, volume: str = "v1", **variables: str) -> None:
    """Let a call be killed at a point."""
    result = node.call(action, volume, EXTSTORAGE_CRASH_AT=point, **variables)
    assert result.status == 6, result
    assert "signal 9" in result.stderr


def test_killed_calls_are_finished(both: list[LabNode], storage: Storage) -> None:
    n1, _ = both
    dies(n1, "comstar.container", "create", VOL_SIZE="16")
    assert "half-made" in n1.fails(4, "attach")
    n1.create()
    for point in ATTACH:
        dies(n1, point, "attach")
        n1.attach()
        if point == "comstar.registered":
            assert n1.write("data")
        n1.ok("detach")
        if point == "comstar.unit":
            # The node is registered once; the next point is on the way there.
            storage.run(f"stmfadm delete-hg ganeti-{n1.name}")
    n1.attach()
    dies(n1, "comstar.held", "open", VOL_OPEN_EXCLUSIVE="True")
    assert n1.open().status == 0
    dies(n1, "comstar.resized", "grow", VOL_SIZE="16", VOL_NEW_SIZE="24")
    assert n1.grow(16, 24).status == 0
    assert n1.size(LINK) == 24 * MIB
    dies(n1, "comstar.snapshot", "snapshot", VOL_SNAPSHOT_NAME="v1.snap", VOL_SNAPSHOT_SIZE="24")
    assert n1.snapshot().status == 0
    for point in DETACH:
        dies(n1, point, "detach")
        n1.attach()
        assert n1.read() == "data"
    n1.ok("detach")
    n1.ok("remove", "v1.snap")
    for point in REMOVE:
        n1.create("v2")
        n1.attach("v2")
        dies(n1, point, "remove", "v2")
        if point != "comstar.destroyed":
            n1.attach("v2")
        n1.ok("remove", "v2")
    n1.ok("remove")
    assert n1.left() == []
    assert storage.datasets() == []
