# SPDX-License-Identifier: Apache-2.0
"""Real disks: the model exports them by the kernel of the lab's storage node, nodes attach them."""

from __future__ import annotations

import re

import pytest

from tests.conftest import CHECKOUT
from tests.lefthand.lab.nodes import LabSite, LefthandNode

MIB = 1 << 20


def test_a_life(site: LabSite, n1: LefthandNode, n2: LefthandNode) -> None:
    """Attach ends with the array's own disk; data survives detach, growth, snapshot, the other node."""
    n1.create("v1", 64)
    device = n1.attach()
    assert device == "/dev/ganeti-extstorage/v1"
    assert n1.size(device) == 64 * MIB
    disk = n1.sh(f"basename $(readlink -f {device})")
    block = f"/sys/block/{disk}/device"
    assert n1.sh(f"cat {block}/vendor {block}/model").split() == ["LEFTHAND", "iSCSIDisk"]
    assert n1.sh(f"cat {block}/wwid").startswith("naa.6000eb3")
    assert n1.get(device) == ""
    assert n1.put(device, "before")
    assert n1.snapshot().status == 0
    assert n1.put(device, "after")
    assert n1.grow(64, 96).status == 0
    assert n1.size(device) == 96 * MIB
    assert n1.get(device, 20000) == ""
    n1.ok("detach")
    assert n1.left() == []
    assert site.sessions() == []
    assert n2.get(n2.attach()) == "after"
    assert n2.size(n2.attach()) == 96 * MIB
    assert n2.get(n2.attach("v1.snap")) == "before"
    assert n2.size(n2.attach("v1.snap")) == 64 * MIB
    n2.ok("detach", "v1.snap")
    n2.ok("remove", "v1.snap")
    n2.ok("remove")
    assert n2.left() == []
    assert site.state()["volumes"] == site.state()["snapshots"] == {}


DOCUMENTED = re.compile(r"^   \* - (?P<action>``.*)\n     - (?P<count>\d+)$", re.MULTILINE)


def test_what_it_costs(site: LabSite, n1: LefthandNode) -> None:
    """As many commands as the documentation says, all of an action over one connection."""
    text = (CHECKOUT / "docs/lefthand.rst").read_text()
    documented = {found["action"]: int(found["count"]) for found in DOCUMENTED.finditer(text)}
    counted = {}

    def count(name: str) -> None:
        asked, connections = site.asked(), site.array.order(connections=True)
        counted[name] = len(asked)
        assert connections == (1 if asked else 0), name
        assert "getVolumeInfo" in asked or not asked

    site.asked(), site.array.order(connections=True)
    n1.create()
    count("``create``")
    n1.attach()
    count("``attach``, a node's first")
    n1.attach()
    count("``attach``, warm")
    assert n1.open().status == 0
    count("``open``")
    assert n1.grow(16, 32).status == 0
    count("``grow``, attached")
    n1.ok("setinfo", VOL_METADATA="x")
    count("``setinfo``")
    assert n1.snapshot().status == 0
    count("``snapshot``")
    n1.ok("close")
    count("``close``")
    n1.ok("detach")
    count("``detach``, closed before")
    n1.attach()
    count("``attach``, cold")
    n1.ok("detach")
    site.asked(), site.array.order(connections=True)
    n1.ok("remove", "v1.snap")
    count("``remove``, of a snapshot")
    n1.ok("remove")
    count("``remove``")
    assert counted == documented


def test_a_migration(site: LabSite, n1: LefthandNode, n2: LefthandNode) -> None:
    """In Ganeti's order; one node's detach leaves the other its disk."""
    n1.create()
    device = n1.attach()
    assert n1.open().status == 0
    n2.attach()
    n2.ok("close")
    for node in (n1, n2):
        assert node.open(exclusive=False).status == 0
    assert n1.put(device, "moved")
    n1.ok("close")
    assert n2.open().status == 0
    n1.ok("detach")
    assert n1.left() == []
    assert n2.get(device) == "moved"
    assert n2.put(device, "written")
    assert "has the volume open" in n1.call("open", VOL_OPEN_EXCLUSIVE="True").stderr
    n1.ok("detach")
    n2.ok("detach")
    n2.ok("remove")


def test_a_node_that_is_taken_from(site: LabSite, n1: LefthandNode, n2: LefthandNode) -> None:
    """Only from one that is marked offline; what it still had is gone, and it comes back like any other."""
    n1.create()
    device = n1.attach()
    assert n1.open().status == 0
    n2.attach()
    assert n2.open().status == 7
    n2.offline(n1)
    assert n2.open().status == 0
    assert [initiator for _, initiator in site.sessions()] == [n2.initiator]
    assert n2.put(device, "theirs")
    n1.ok("detach")
    assert n1.left() == []
    assert n1.get(n1.attach()) == "theirs"
    n1.ok("detach")
    n2.ok("detach")


def test_an_export_that_was_lost(site: LabSite, n1: LefthandNode) -> None:
    """Made again by the next open, as the same disk."""
    n1.create()
    device = n1.attach()
    assert n1.put(device, "kept")
    site.array.call("run", line="unassignVolume volumeName=v1")
    assert n1.open().status == 0
    assert n1.get(device) == "kept"
    n1.ok("detach")
    assert n1.left() == []


def test_the_array_away_at_detach(site: LabSite, n1: LefthandNode) -> None:
    """Disconnected here; the rest is finished when it answers."""
    n1.create()
    n1.attach()
    site.array.fault("drop", "", times=0)
    assert "can't be told" in n1.fails(8, "detach")
    assert "detaching" in n1.record()
    site.array.order(clear=True)
    n1.ok("detach")
    assert n1.left() == []
    assert site.state()["volumes"]["v1"]["servers"] == []


def test_killed_attaches_and_detaches(site: LabSite, n1: LefthandNode) -> None:
    """At each point: the next call finishes, and the next detach leaves nothing."""
    n1.create()
    # The node is registered once.
    points = ("lefthand.registered", "attach.reserved", "lefthand.assigned", "attach.exported")
    for point in (*points, "attach.connected"):
        assert n1.call("attach", EXTSTORAGE_CRASH_AT=point).status != 0, point
        assert n1.put(n1.attach(), "x"), point
        assert n1.call("detach", EXTSTORAGE_CRASH_AT="detach.disconnected").status != 0
        n1.ok("detach")
        assert n1.left() == [], point
        assert site.state()["volumes"]["v1"]["servers"] == [], point
    for point in ("detach.closed", "detach.terminated"):
        n1.attach()
        assert n1.open().status == 0
        assert n1.call("detach", EXTSTORAGE_CRASH_AT=point).status != 0, point
        n1.ok("detach")
        assert n1.left() == [], point
        assert site.state()["volumes"]["v1"]["servers"] == [], point


@pytest.mark.parametrize("point", ["remove.reserved", "lefthand.unassigned", "lefthand.deleted"])
def test_a_killed_removal(site: LabSite, n1: LefthandNode, point: str) -> None:
    n1.create()
    n1.attach()
    assert n1.call("remove", EXTSTORAGE_CRASH_AT=point).status != 0
    n1.ok("remove")
    assert n1.left() == []
    assert site.state()["volumes"] == {}


def test_an_answer_that_is_lost_while_attaching(site: LabSite, n1: LefthandNode) -> None:
    n1.create()
    for pattern in ("assignVolumeToServer", "createServer", "getClusterInfo"):
        site.array.fault("cut", pattern)
    assert n1.put(n1.attach(), "x")
    n1.ok("detach")
    n1.ok("remove")


def test_without_chap(site: LabSite, n1: LefthandNode) -> None:
    n1.sh("echo 'chap = none' >>/etc/ganeti/extstorage/lefthand.conf")
    n1.create()
    assert n1.put(n1.attach(), "x")
    n1.ok("remove")
    assert n1.left() == []


def test_two_virtual_addresses(site: LabSite, n1: LefthandNode) -> None:
    """Both are used, and make one device."""
    site.array.call("facts", vips=["10.78.1.10", "10.78.2.10"])
    n1.sh("multipathd && until multipathd show status >/dev/null 2>&1; do sleep 0.05; done")
    n1.create()
    device = n1.attach()
    assert n1.sh("ls /sys/class/iscsi_session | wc -l") == "2"
    assert n1.sh(f"ls /sys/block/$(basename $(readlink -f {device}))/slaves | wc -l") == "2"
    assert n1.put(device, "x")
    assert n1.grow(16, 32).status == 0
    assert n1.size(device) == 32 * MIB
    n1.ok("detach")
    n1.sh("multipathd shutdown")
    assert n1.left() == []
    assert site.sessions() == []


def test_volumes_in_use_are_not_deleted(site: LabSite, n1: LefthandNode) -> None:
    """By the array's own word: somebody else's access, which our removal does not know."""
    n1.create()
    n1.attach()
    with pytest.raises(RuntimeError, match="in use"):
        site.array.call("run", line="deleteVolume volumeName=v1 prompt=false")
    n1.ok("remove")
    assert site.state()["volumes"] == {}
