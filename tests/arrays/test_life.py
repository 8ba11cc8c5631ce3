# SPDX-License-Identifier: Apache-2.0
"""Two nodes with a provider, at the door: block devices over iSCSI, with data that survives."""

from __future__ import annotations

import pytest

from tests.arrays.array import LINK, Array, ArrayNode
from tests.conftest import MIB
from tests.machines import wait_until

in_all_layouts = pytest.mark.parametrize(
    "both", ["comstar", "comstar-shared", "lefthand", "solidfire"], indirect=True
)
ATTACH = ("attach.reserved", "attach.exported", "attach.connected")
DETACH = ("detach.begun", "detach.disconnected", "detach.closed", "detach.terminated")


@in_all_layouts
def test_a_volumes_life_on_two_nodes(both: list[ArrayNode], array: Array) -> None:
    """Attach ends with the array's own disk; data survives detach, growth, snapshot, the other node."""
    n1, n2 = both
    size, grown = array.SIZE, array.SIZE + 8
    n1.create()
    assert n1.attach() == LINK
    assert n1.size(LINK) == size * MIB
    assert n1.disk("vendor") == array.VENDOR
    assert n1.disk("wwid").startswith(array.WWID)
    assert n1.read() == ""
    assert n1.write("before")
    assert n1.snapshot().status == 0
    assert n1.write("after")
    assert n1.grow(size, grown).status == 0
    assert n1.size(LINK) == grown * MIB
    assert n1.get(LINK, size * MIB // 4096) == ""
    n1.ok("setinfo", VOL_METADATA="originstname+web")
    n1.ok("detach")
    assert n1.left() == []
    assert n2.attach() == LINK
    assert (n2.read(), n2.size(LINK)) == ("after", grown * MIB)
    assert n2.size(n2.attach("v1.snap")) == size * MIB
    assert n2.read("v1.snap") == "before"
    for name in ("v1.snap", "v1"):
        n2.ok("detach", name)
        n2.ok("remove", name)
    assert n2.left() == []
    assert array.volumes() == []


def test_attached_twice_and_lost(both: list[ArrayNode], array: Array) -> None:
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
    assert array.volumes() == []


def test_live_migration(both: list[ArrayNode]) -> None:
    """In Ganeti's order; one node's detach leaves the other its disk."""
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
    assert n1.open().status == 7
    n1.ok("detach")
    assert n1.left() == []
    assert n2.write("after")
    assert n2.read() == "after"


@in_all_layouts
def test_a_node_that_is_taken_from_comes_back(both: list[ArrayNode]) -> None:
    """The other node takes the volume; a second volume of that node goes on."""
    n1, n2 = both
    for name in ("v1", "v2"):
        n1.create(name)
        n1.attach(name)
        assert n1.open(name).status == 0
    n2.attach()
    assert n2.open().status == 7
    n2.mark_offline(n1)
    assert n2.open().status == 0
    assert n2.write("mine")
    assert n1.write("goes on", "v2")
    assert n2.read() == "mine"
    for name in ("v1", "v2"):
        n1.ok("detach", name)
    assert n1.left() == []
    n2.mark_offline()
    assert n1.attach() == LINK
    assert n1.read() == "mine"
    assert n1.open().status == 7


def test_a_lost_export_is_the_same_disk_again(both: list[ArrayNode], array: Array) -> None:
    """Made again by the next attach, or by open while the disk is there without its storage."""
    n1, _ = both
    n1.create()
    n1.attach()
    wwid = n1.disk("wwid")
    for number, lose in enumerate(array.losses()):
        assert n1.write(f"data {number}")
        lose()
        n1.ok("detach")
        assert n1.attach() == LINK
        assert n1.disk("wwid") == wwid
        assert n1.read() == f"data {number}"
    array.losses()[-1]()
    assert n1.open().status == 0
    assert n1.read() == f"data {number}"
    n1.ok("detach")
    assert n1.left() == []


def test_the_array_is_away(both: list[ArrayNode], array: Array) -> None:
    """The disk goes on; detach disconnects, and says that the array can't be told."""
    n1, _ = both
    n1.create()
    n1.attach()
    n1.configure(timeout="20")
    array.away()
    assert n1.attach() == LINK
    assert n1.write("x")
    assert "can't be told" in n1.fails(8, "detach")
    assert "detaching" in n1.record()
    for action, volume in (("attach", "v9"), ("remove", "v1")):
        n1.try_again()
        n1.fails(8, action, volume)
    array.back()
    n1.configure()
    n1.try_again()
    n1.ok("detach")
    assert n1.left() == []
    n1.ok("remove")
    assert array.volumes() == []


def test_killed_calls_are_finished(both: list[ArrayNode], array: Array) -> None:
    """At each point: the same call again finishes, and the next detach leaves nothing."""
    n1, n2 = both
    n1.create()
    for point in (*array.ATTACH, *ATTACH):
        array.unregister(n1)
        n1.dies(point, "attach")
        assert n1.attach() == LINK, point
        assert n1.write(point), point
        n1.ok("detach")
        assert (n1.left(), list(array.access())) == ([], []), point
    for point in DETACH:
        n1.attach()
        assert n1.open().status == 0
        n1.dies(point, "detach")
        n1.ok("detach")
        assert (n1.left(), list(array.access())) == ([], []), point
        assert n2.open().status == 0, point
        n2.ok("detach")
    for point in ("remove.reserved", *array.REMOVE):
        n1.create("v2")
        n1.attach("v2")
        n1.dies(point, "remove", "v2")
        n1.ok("remove", "v2")
        assert n1.left() == [], point
    n1.ok("remove")
    assert array.volumes() == []


def test_without_chap(both: list[ArrayNode]) -> None:
    n1, _ = both
    n1.configure(chap="none")
    n1.create()
    n1.attach()
    assert n1.write("x")
    assert n1.sh("cat /sys/class/iscsi_session/session*/username") in ("", "(null)")
    n1.ok("detach")
    assert n1.left() == []


def test_an_array_must_prove_who_it_is(both: list[ArrayNode], array: Array) -> None:
    """With mutual CHAP: a node does not log in where it is shown another secret than it was told."""
    n1, _ = both
    n1.configure(chap="mutual")
    n1.create()
    n1.attach()
    assert n1.write("proved")
    secret = array.proves(n1)
    assert len(secret) >= 12
    assert secret in n1.sh("cat /sys/class/iscsi_session/session*/password_in")
    n1.sh("iscsiadm -m session --logout")
    array.proves(n1, "not-the-secret")
    refused = n1.call("attach")
    assert refused.status not in (0, 1), refused
    wait_until(lambda: n1.sh("ls /sys/class/iscsi_session") == "")  # the kernel ends one in its own time
    array.proves(n1, secret)
    n1.attach()
    assert n1.read() == "proved"
    n1.ok("detach")
    assert n1.left() == []


def test_two_addresses(both: list[ArrayNode], array: Array) -> None:
    """Both are used, and make one device, which outlives one of them."""
    n1, _ = both
    n1.configure(**array.both_addresses())
    n1.sh("multipathd && until multipathd show status >/dev/null 2>&1; do sleep 0.05; done")
    try:
        n1.create()
        n1.attach()
        assert n1.sh("ls /sys/class/iscsi_session | wc -l") == "2"
        # multipathd may add the second one later.
        wait_until(lambda: n1.sh(f"ls /sys/block/$(basename $(readlink -f {LINK}))/slaves | wc -l") == "2")
        assert n1.write("x")
        assert n1.grow(array.SIZE, array.SIZE + 8).status == 0
        assert n1.size(LINK) == (array.SIZE + 8) * MIB
        n1.ok("detach")
    finally:
        n1.sh("multipathd shutdown; while pidof multipathd >/dev/null; do sleep 0.05; done")
    assert n1.left() == []
    n1.ok("remove")
    assert array.volumes() == []
