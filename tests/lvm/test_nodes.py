# SPDX-License-Identifier: Apache-2.0
"""Nodes that use volumes of a storage machine through its controller, seen from their doors."""

from __future__ import annotations

import pytest

from tests.conftest import MIB
from tests.lvm.box import LOSSES, Box
from tests.lvm.client import Client
from tests.machines import wait_until

LINK = "/dev/ganeti-extstorage/v1"


def test_a_volumes_life_on_two_nodes(box: Box, n1: Client, n2: Client) -> None:
    n1.create()
    assert n1.attach() == LINK
    assert n1.size() == 16 * MIB
    assert n1.read() == ""
    assert n1.write("hello")
    assert n1.grow(16, 24).status == 0
    assert n1.size() == 24 * MIB
    n1.ok("setinfo", VOL_METADATA="originstname+web")
    assert n1.snapshot().status == 0
    n1.ok("detach")
    assert n2.attach() == LINK
    assert (n2.read(), n2.size()) == ("hello", 24 * MIB)
    assert n2.write("bye")
    n2.attach("v1.snap")
    assert n2.read("v1.snap") == "hello"
    for name in ("v1.snap", "v1"):
        n2.ok("detach", name)
        n2.ok("remove", name)
    assert n1.left() == n2.left() == []
    assert (box.lvs(), box.exported(), box.objects()) == (set(), {}, [])


def test_nodes_need_neither_lvm_nor_a_target(n1: Client) -> None:
    n1.sh("mount --bind /bin/false /usr/sbin/lvm; umount /sys/kernel/config")
    try:
        n1.create(EXTP_PROVISIONING="thick")
        n1.attach()
        assert n1.write("x")
        assert n1.grow(16, 20).status == 0
        n1.ok("verify")
        n1.ok("detach")
        n1.ok("remove")
    finally:
        n1.sh("mount -t configfs configfs /sys/kernel/config; umount /usr/sbin/lvm")


def test_the_storage_machine_is_a_node_itself(box: Box) -> None:
    """It reaches its own export. A guest's copy of a disk of our group does no harm, as ours are named."""
    address = box.machine.addresses[1]
    box.configure(f"[thin]\nvolume_group = vg0\nportals = {address}\nphysical_volumes = /dev/loop0\n")
    try:
        assert box.script("create", VOL_SIZE="16") == ""
        assert box.script("attach") == ""
        box.sh(f"dd if=/dev/loop0 of={LINK} bs=1M count=4 oflag=direct; blockdev --flushbufs {LINK}")
        assert box.script("create", "v2", VOL_SIZE="16") == ""
        assert box.lvs() == {"v1", "v2"}
        assert box.script("detach") == ""
        assert box.exported() == {}
        box.sh("dd if=/dev/vg0/v1 bs=512 skip=1 count=1 | grep -q LABELONE")
    finally:
        box.sh("iscsiadm -m node -u; rm -rf /etc/iscsi/nodes/*", check=False)


def test_attached_twice(n1: Client) -> None:
    n1.create()
    assert n1.attach() == n1.attach() == LINK
    n1.sh(f"rm {LINK}")
    assert n1.attach() == LINK
    assert n1.write("x")
    n1.ok("detach")
    n1.ok("detach")
    assert n1.left() == []


def test_two_attaches_of_one_volume_at_once(box: Box, n1: Client, n2: Client) -> None:
    """On one node, and another node's besides."""
    n1.create()
    script = f"({n1.line('attach')}) >/tmp/1 & ({n1.line('attach')}) >/tmp/2 & wait; cat /tmp/1 /tmp/2"
    background = f"({n2.line('attach')}) >/tmp/1 2>&1 &"
    n2.sh(background)
    assert n1.sh(script).split() == [LINK, LINK]
    n2.attach()
    wait_until(lambda: n2.sh("cat /tmp/1").split() == [LINK])  # it may have found the volume already attached
    assert n1.write("x")
    assert n2.read() == "x"
    for node in (n1, n2):
        assert len([word for word in node.left() if "iscsi_session" in word]) == 1
        node.ok("detach")
        assert node.left() == []
    assert box.exported() == {}


# --- holders ----------------------------------------------------------------------------------------


@pytest.fixture
def both(n1: Client, n2: Client) -> tuple[Client, Client]:
    """Two nodes with the volume attached."""
    n1.create()
    n1.attach()
    n2.attach()
    return n1, n2


def test_a_living_holder_keeps_its_volume(both: tuple[Client, Client]) -> None:
    n1, n2 = both
    assert n1.open().status == n1.open().status == 0
    refused = n2.open()
    assert refused.status == 7
    assert f"node {n1.name} has the volume open" in refused.stderr
    assert f"node {n1.name} has the volume open" in n2.fails(7, "remove")
    assert n2.open(exclusive=False).status == 7
    assert n1.write("mine")
    n1.ok("close")
    assert n2.open().status == 0
    assert n1.open().status == 7


def test_live_migration(both: tuple[Client, Client]) -> None:
    n1, n2 = both
    assert n1.open().status == 0
    n2.ok("close")
    assert n1.open(exclusive=False).status == n2.open(exclusive=False).status == 0
    assert n1.write("moved")
    n1.ok("close")
    assert n2.open().status == 0
    assert n2.read() == "moved"
    n1.ok("detach")
    assert n2.write("x")


def test_a_shared_holder_is_fenced_for_an_exclusive_one(both: tuple[Client, Client]) -> None:
    n1, n2 = both
    assert n1.open(exclusive=False).status == n2.open(exclusive=False).status == 0
    assert n2.open().status == 0
    assert not n1.write("late", seconds=5)
    assert n2.write("x")


def test_taken_from_a_node_that_is_offline(box: Box, both: tuple[Client, Client]) -> None:
    """However alive it is: the administrator's word counts. Its own scripts clean up there."""
    n1, n2 = both
    assert n1.open().status == 0
    assert n1.write("before")
    n2.offline(n1)
    assert n2.open().status == 0
    assert n1.is_cut_off()
    assert (n2.read(), list(map(len, box.exported().values()))) == ("before", [1])
    n2.offline()
    assert n1.open().status == 7
    n1.ok("detach")
    assert n1.left() == []
    n1.attach()
    assert n1.open().status == 7
    n2.ok("close")
    assert n1.open().status == 0
    assert n1.read() == "before"


def test_a_fenced_nodes_detach_ends_what_waits(both: tuple[Client, Client]) -> None:
    """However long the node would let a guest wait for its storage."""
    n1, n2 = both
    n1.be_patient()
    assert n1.open().status == 0
    n2.offline(n1)
    assert n2.open().status == 0
    assert n1.is_cut_off()
    assert not n1.write("late", seconds=1)
    n1.ok("detach")
    assert n1.left() == []
    assert not n1.wrote()
    n2.ok("close")
    n1.attach()
    assert n1.open().status == 0
    assert n1.read() == ""


def test_a_guest_that_waits_for_its_storage_is_not_given_up(box: Box, n1: Client) -> None:
    n1.create()
    n1.attach()
    n1.be_patient()
    box.sh(LOSSES["everything"])
    assert n1.is_cut_off()
    assert not n1.write("kept", seconds=1)
    assert n1.call("detach").status == 6
    box.restore()
    assert n1.wrote()
    assert n1.read() == "kept"
    n1.ok("detach")


def test_a_fenced_nodes_open_brings_it_back(both: tuple[Client, Client]) -> None:
    """Without a detach: what it still has is not usable, and is replaced."""
    n1, n2 = both
    assert n1.open().status == 0
    n2.offline(n1)
    assert n2.open().status == 0
    assert n2.write("after")
    n2.ok("detach")
    n1.attach()
    assert n1.open().status == 0
    assert n1.read() == "after"


def test_removed_while_merely_attached_elsewhere(box: Box, both: tuple[Client, Client]) -> None:
    n1, n2 = both
    n1.ok("remove")
    assert (box.lvs(), box.exported()) == (set(), {})
    assert n1.left() == []
    assert n2.is_cut_off()
    n2.ok("detach")
    assert n2.left() == []


# --- what was lost ----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["everything", "the access list", "a secret", "the switch"])
def test_an_export_that_was_lost_comes_back(box: Box, n1: Client, what: str) -> None:
    """With the next attach of a detached volume, and the next open of an attached one."""
    n1.create()
    n1.attach()
    assert n1.write("kept")
    box.sh(LOSSES[what])
    assert n1.attach() == LINK
    assert n1.open().status == 0
    assert n1.read() == "kept"
    assert n1.write("again")
    n1.ok("detach")
    assert n1.left() == []
