# SPDX-License-Identifier: Apache-2.0
"""What befalls a storage machine, its controller and its nodes: one sentence, bounded time, nothing left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import MIB
from tests.lvm.box import POOLS, Box
from tests.lvm.client import LAN, Client, Controller

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 60
"""Nothing may take longer: the timeout of a call is 50."""


@pytest.fixture
def down(controller: Controller, clients: list[Client]) -> Iterator[None]:
    """The controller's server does not run during the test."""
    controller.stop()
    yield
    controller.start()


# --- the controller ---------------------------------------------------------------------------------


def test_no_controller(n1: Client, down: None) -> None:
    for action, variables in (("create", {"VOL_SIZE": "16"}), ("attach", {}), ("remove", {})):
        started = time.monotonic()
        sentence = n1.fails(8, action, **variables)
        assert f"controller {n1.controller.address} does not answer: " in sentence
        assert time.monotonic() - started < SECONDS


def test_a_controller_that_can_note_nothing(box: Box, n1: Client) -> None:
    """As after an error of its system disk: verify says so before a volume is needed."""
    n1.ok("verify")
    box.sh("mount --bind /var /var; mount -o remount,ro,bind /var")
    try:
        sentence = n1.fails(9, "verify")
    finally:
        box.sh("umount /var")
    assert "target: noting in /var/lib" in sentence
    assert sentence.endswith("what is exported failed: Read-only file system\n")


def test_the_controller_goes_while_a_volume_is_attached(box: Box, controller: Controller, n1: Client) -> None:
    """The volume stays usable; a detach frees the node at once, and the next one finishes at the storage."""
    n1.create()
    n1.attach()
    controller.stop()
    try:
        assert n1.write("x")
        assert n1.attach() == "/dev/ganeti-extstorage/v1"
        assert "disconnected from this node, but the storage can't be told" in n1.fails(8, "detach")
        assert [word for word in n1.left() if not word.startswith("attachments/")] == []
    finally:
        controller.start()
    assert len(box.exported()) == 1
    n1.ok("detach")
    assert n1.left() == []
    assert box.exported() == {}


def test_a_controller_that_is_silent(controller: Controller, n1: Client) -> None:
    n1.create()
    controller.machine.unplug(LAN)
    try:
        started = time.monotonic()
        assert n1.call("attach").status in (8, 10)
        assert time.monotonic() - started < SECONDS
    finally:
        controller.machine.plug(LAN)
    n1.attach()
    n1.ok("detach")


def test_the_controllers_host_key_has_changed(controller: Controller, n1: Client, n2: Client) -> None:
    n1.create()
    controller.stop()
    controller.new_host_key()
    controller.start()
    try:
        assert f"controller {controller.address} has another host key than " in n1.fails(8, "attach")
    finally:
        for node in (n1, n2):
            node.trust()
    n1.attach()


# --- space ------------------------------------------------------------------------------------------


def test_a_full_group(box: Box, n1: Client) -> None:
    assert "1000 MiB are needed, " in n1.fails(11, "create", VOL_SIZE="1000", EXTP_PROVISIONING="thick")
    n1.create(EXTP_PROVISIONING="thick")
    n1.attach()
    assert n1.write("kept")
    assert n1.grow(16, 1000).status == 11
    assert (n1.read(), n1.size()) == ("kept", 16 * MIB)
    assert box.lvs() == {"v1"}


def test_a_thin_pool_that_fills_up_under_a_guest(fresh: Box, n1: Client) -> None:
    """Its writes wait for room, and go on when there is some."""
    fresh.configure(
        POOLS.format(address=fresh.machine.addresses[1]).replace("[thin]", "[thin]\novercommit = yes")
    )
    n1.create(size=160)
    n1.attach()
    dd = "dd if=/dev/zero of=/dev/ganeti-extstorage/v1 bs=1M count=140 oflag=direct"
    n1.sh(f"({dd} && echo written || echo failed) >/tmp/dd 2>&1 &")
    fresh.wait("lvs --noheadings -o data_percent vg0/thin | grep -q 100.00")
    n1.fails(11, "create", "v2", VOL_SIZE="4")
    fresh.sh("lvextend -q -L +60m vg0/thin")
    n1.sh("until grep -q 'written\\|failed' /tmp/dd; do sleep 0.1; done")
    assert "written" in n1.sh("cat /tmp/dd")


# --- power ------------------------------------------------------------------------------------------


def test_the_storage_is_restarted_under_attached_volumes(
    box: Box, controller: Controller, n1: Client, n2: Client
) -> None:
    """Nodes get their sessions back by themselves, a fenced one does not."""
    n1.create()
    n1.create("v2")
    n1.attach()
    n2.attach()
    assert n1.open(exclusive=False).status == n2.open(exclusive=False).status == 0
    assert n1.open().status == 0  # fences the second node
    assert n1.write("before")
    n1.be_patient()
    box.restart()
    controller.start()
    assert box.exported() == {}
    assert "lvm: pool 'thin': v1" in box.restore()
    assert [*map(len, box.exported().values())] == [1]
    started = time.monotonic()
    assert n1.read() == "before"
    assert n1.write("after")
    assert time.monotonic() - started < SECONDS
    assert n2.is_cut_off()
    assert n1.open().status == 0
    assert n2.open().status == 7
    n1.ok("detach")
    n2.ok("detach")
    assert n1.left() == n2.left() == []
    n2.attach()
    assert n2.read() == "after"


def test_a_node_dies_and_its_volume_is_taken_over(box: Box, n1: Client, n2: Client) -> None:
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    assert n1.write("kept")
    n1.machine.crash()
    try:
        n2.attach()
        started = time.monotonic()
        assert n2.open().status == 0
        assert time.monotonic() - started < SECONDS
        assert n2.read() == "kept"
        assert n2.write("taken")
        assert [*box.exported().values()] == [[n2.machine.initiator]]
    finally:
        n1.machine.boot()
    n1.attach()
    assert n1.open().status == 7
    n2.ok("close")
    assert n1.open().status == 0
    assert n1.read() == "taken"
