# SPDX-License-Identifier: Apache-2.0
"""Two nodes and one volume: the order of a migration, nodes that die or are cut off, and that come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.krbd.conftest import STORAGE_LAN
from tests.machines import wait_until

if TYPE_CHECKING:
    from tests.krbd.conftest import KrbdNode, KrbdSite

CONNECTORS = ["rbd", "rbd_nbd"]


def test_migration(n1: KrbdNode, n2: KrbdNode) -> None:
    n1.create()
    source = n1.attach()
    assert n1.open().status == 0
    assert n1.put(source, "by the source")
    target = n2.attach()
    n2.ok("close")
    assert n1.open(exclusive=False).status == 0
    assert n2.open(exclusive=False).status == 0
    assert n2.get(target) == "by the source"
    n1.ok("close")
    assert n2.open().status == 0
    assert n2.put(target, "by the target")
    n1.ok("detach")
    assert n2.get(target) == "by the target"
    assert n1.mappings() == []


def test_living_holder_is_left_alone(n1: KrbdNode, n2: KrbdNode) -> None:
    n1.create()
    device = n1.attach()
    assert n1.open().status == 0
    n2.attach()
    assert n1.name in n2.fails(7, "open", VOL_OPEN_EXCLUSIVE="True")
    assert n1.name in n2.fails(7, "remove")
    assert n1.put(device, "still there")


def test_node_that_lost_the_storage_is_fenced_and_comes_back(
    site: KrbdSite, n1: KrbdNode, n2: KrbdNode
) -> None:
    n1.create("v1")
    n1.create("v2")
    old, other = n1.attach("v1"), n1.attach("v2")
    assert n1.open("v1").status == 0
    assert n1.put(old, "by the old holder")
    client = n1.client(old)
    n2.attach("v1")
    n1.machine.unplug(STORAGE_LAN)
    # The cluster needs its time to notice.
    assert n2.open("v1").status == 0
    new = n2.attach("v1")
    assert client in site.blocklisted()
    assert n2.get(new) == "by the old holder"
    assert n2.put(new, "by the new holder")
    n1.machine.plug(STORAGE_LAN)
    assert not n1.put(old, "too late")
    assert n1.put(other, "not fenced")
    assert n2.name in n1.fails(7, "open", "v1", VOL_OPEN_EXCLUSIVE="True")
    n1.ok("detach", "v1")
    assert n1.mappings() == ["v2"]
    assert n1.get(n1.attach("v1")) == "by the new holder"
    n2.ok("detach", "v1")
    assert n1.open("v1").status == 0


@pytest.mark.parametrize("connector", CONNECTORS)
def test_node_that_lost_power(site: KrbdSite, n1: KrbdNode, n2: KrbdNode, connector: str) -> None:
    for node in (n1, n2):
        site.set(node, connector=connector)
    n1.create()
    device = n1.attach()
    assert n1.open().status == 0
    assert n1.put(device, "by the dead node")
    n1.sh(f"sync {device}")
    (client,) = site.watchers()
    n1.machine.crash()
    try:
        device = n2.attach()
        n2.offline(n1)
        # The administrator has said so: nothing is waited for.
        assert n2.open().status == 0
        assert client in site.blocklisted()
        assert n2.get(device) == "by the dead node"
        assert n2.put(device, "by the living node")
    finally:
        site.boot(n1, connector=connector)
    assert n1.get(n1.attach()) == "by the living node"
    assert n2.name in n1.fails(7, "open", VOL_OPEN_EXCLUSIVE="True")
    n1.ok("detach")


@pytest.mark.parametrize("connector", CONNECTORS)
def test_node_that_lost_power_for_a_moment(site: KrbdSite, n1: KrbdNode, connector: str) -> None:
    site.set(n1, connector=connector)
    n1.create()
    device = n1.attach()
    assert n1.open().status == 0
    assert n1.put(device, "synced")
    n1.sh(f"sync {device}")
    n1.machine.crash()
    site.boot(n1, connector=connector)
    assert n1.mappings() == []
    assert n1.left() == []
    # To the cluster it is another client, which has to take the image's lock from the dead one.
    assert n1.attach() == device
    assert n1.open().status == 0
    assert n1.get(device) == "synced"
    assert n1.put(device, "and written again")
    assert n1.grow(16, 32).status == 0
    n1.ok("close")
    n1.ok("detach")
    n1.ok("remove")
    assert n1.mappings() == []
    assert site.images() == []


def test_removed_under_a_node_that_is_attached(site: KrbdSite, n1: KrbdNode, n2: KrbdNode) -> None:
    n1.create()
    device = n1.attach()
    assert n1.put(device, "not needed any more")
    n2.ok("remove")
    assert site.images() == []
    assert not n1.put(device, "nowhere")
    n1.ok("detach")
    assert n1.mappings() == []
    assert n1.left() == []


@pytest.mark.parametrize("gone", ["osd.0", "mon.a"])
def test_storage_away(site: KrbdSite, n1: KrbdNode, gone: str) -> None:
    n1.create()
    device = n1.attach()
    assert n1.open().status == 0
    assert n1.put(device, "kept")
    site.set(n1, timeout="16")
    site.ceph.pause(gone)
    try:
        assert n1.attach() == device
        assert "again once it" in n1.fails(8, "detach")
        assert n1.fails(8, "attach")
    finally:
        site.resume(gone)
    site.set(n1)  # the cluster may take a moment to be what it was
    # Some kernels unmap without an answer, some now.
    wait_until(lambda: n1.mappings() == [])
    n1.forget_timeouts()
    n1.ok("detach")
    assert n1.left() == []
    assert n1.get(n1.attach()) == "kept"
