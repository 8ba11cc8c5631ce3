# SPDX-License-Identifier: Apache-2.0
"""A volume on a node: mapped, seen, grown, copied, unmapped, whatever happened before.

What holds for krbd and rbd-nbd alike is tried with both at once, each on a node of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conftest import MIB
from tests.lab.calls import at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.krbd.conftest import KrbdNode, KrbdSite


def with_both(site: KrbdSite, test: Callable[[KrbdNode, str], None]) -> None:
    """Run a test of a node and a connector: krbd on the first, and at the same time rbd-nbd on the second."""
    site.set(site.n2, connector="rbd_nbd")
    at_once(lambda: test(site.n1, "rbd"), lambda: test(site.n2, "rbd_nbd"))


def test_whole_life(site: KrbdSite) -> None:
    with_both(site, _whole_life)
    assert site.images() == []


def _whole_life(node: KrbdNode, connector: str) -> None:
    volume = connector
    node.create(volume)
    device = node.attach(volume)
    assert device == f"/dev/ganeti-extstorage/{volume}"
    assert node.sh(f"readlink {device}").startswith("/dev/rbd" if connector == "rbd" else "/dev/nbd")
    assert node.attach(volume) == device
    assert node.mappings() == [volume]
    assert node.open(volume).status == 0
    assert node.size(device) == 16 * MIB
    assert node.put(device, "a guest's data")
    assert node.grow(16, 32, volume).status == 0
    assert node.size(device) == 32 * MIB
    assert node.get(device) == "a guest's data"
    node.ok("close", volume)
    node.ok("detach", volume)
    assert node.mappings() == []
    assert node.left() == []
    node.ok("detach", volume)
    node.ok("remove", volume)


def test_busy_device_stays(site: KrbdSite) -> None:
    with_both(site, _busy_device_stays)


def _busy_device_stays(node: KrbdNode, volume: str) -> None:
    node.create(volume)
    device = node.attach(volume)
    node.sh(f"sh -c 'exec 3<{device}; echo $$ >/run/holder; exec sleep 1000' >/dev/null 2>&1 &")
    is_holding = '[ -s /run/holder ] && [ "$(cat /proc/$(cat /run/holder)/comm)" = sleep ]'
    node.sh(f"until {is_holding}; do sleep 0.01; done")
    told = node.fails(6, "detach", volume)
    assert "sleep (process " in told
    assert node.get(device) == ""
    assert node.attach(volume) == device
    node.sh("kill $(cat /run/holder); rm /run/holder")
    node.ok("detach", volume)
    assert node.mappings() == []


def test_mapping_of_a_killed_call_is_taken_over_or_away(site: KrbdSite) -> None:
    with_both(site, _mapping_of_a_killed_call)


def _mapping_of_a_killed_call(node: KrbdNode, connector: str) -> None:
    volume = connector
    node.create(volume)
    for _ in range(2):
        node.fails(6, "attach", volume, EXTSTORAGE_CRASH_AT=f"{connector}.mapped")
        assert node.mappings() == [volume]
    node.ok("detach", volume)
    assert node.mappings() == []
    assert node.left() == []
    node.fails(6, "attach", volume, EXTSTORAGE_CRASH_AT=f"{connector}.mapped")
    node.attach(volume)
    assert node.mappings() == [volume]
    node.ok("detach", volume)
    assert node.mappings() == []


def test_key_is_nowhere_to_be_read(site: KrbdSite, n1: KrbdNode) -> None:
    n1.create()
    n1.attach()
    key = n1.sh("sed -n 's/.*key = //p' /etc/ceph/ceph.client.ganeti.keyring")
    told = n1.sh("cat /sys/bus/rbd/devices/*/config_info /proc/keys /run/ganeti-extstorage/attachments/v1")
    assert "key=ganeti-extstorage.v1," in told
    assert key not in told
    assert "secret" not in told


def test_snapshot_is_mapped_like_any_volume(site: KrbdSite, n1: KrbdNode, n2: KrbdNode) -> None:
    n1.create()
    device = n1.attach()
    assert n1.put(device, "before")
    assert n1.snapshot().status == 0
    assert n1.put(device, "after")
    copy = n2.attach("v1.snap")
    assert n2.get(copy) == "before"
    assert n2.put(copy, "changed")
    assert n1.get(device) == "after"
    n2.ok("detach", "v1.snap")
    n2.ok("remove", "v1.snap")
    assert site.images() == ["v1"]


def test_two_attaches_at_once(site: KrbdSite, n1: KrbdNode) -> None:
    n1.create()
    assert at_once(n1.attach, n1.attach) == ["/dev/ganeti-extstorage/v1"] * 2
    assert n1.mappings() == ["v1"]


def test_mapping_of_somebody_else_is_left_alone(site: KrbdSite, n1: KrbdNode) -> None:
    n1.create()
    theirs = n1.sh(f"rbd --id ganeti device map rbd/{site.namespace}/v1")
    device = n1.attach()
    assert n1.sh(f"readlink {device}") != theirs
    assert n1.mappings() == ["v1", "v1"]
    n1.ok("detach")
    assert n1.mappings() == ["v1"]
    assert n1.get(theirs) == ""


def test_features_that_the_kernel_lacks(site: KrbdSite, n1: KrbdNode) -> None:
    features = "layering,exclusive-lock,journaling"
    site.set(n1, connector="rbd_nbd", image_features=features)
    n1.create()
    site.set(n1, connector="rbd", image_features=features)
    told = n1.fails(9, "attach")
    assert "journaling" in told
    assert f"rbd feature disable rbd/{site.namespace}/v1 journaling" in told
    assert n1.mappings() == []
    assert n1.left() == []


def test_one_disk_is_cut_off_alone(site: KrbdSite, n1: KrbdNode) -> None:
    n1.create("v1")
    n1.create("v2")
    one, other = n1.attach("v1"), n1.attach("v2")
    assert site.watchers("v1") == [n1.client(one)]
    site.cut_off("v1")
    assert not n1.put(one, "lost")
    assert n1.put(other, "kept")
    assert n1.get(other) == "kept"


def test_opening_finds_out_that_the_node_was_cut_off(site: KrbdSite) -> None:
    def is_mapped_anew(node: KrbdNode, volume: str) -> None:
        node.create(volume)
        device = node.attach(volume)
        assert node.put(device, "kept", block=1)
        site.cut_off(volume)
        assert not node.put(device, "lost")
        assert node.open(volume).status == 0
        assert node.put(device, "written")
        assert node.get(device, block=1) == "kept"

    with_both(site, is_mapped_anew)


def test_process_of_rbd_nbd_that_dies_is_replaced(site: KrbdSite, n1: KrbdNode) -> None:
    site.set(n1, connector="rbd_nbd")
    n1.create()
    device = n1.attach()
    assert n1.put(device, "kept")
    n1.sh(
        f"pid=/sys/block/$(basename $(readlink {device}))/pid; kill -KILL $(cat $pid);"
        "while [ -e $pid ]; do sleep 0.01; done"
    )
    assert n1.get(device) != "kept"
    assert n1.get(n1.attach()) == "kept"
    assert n1.mappings() == ["v1"]
    n1.ok("detach")
    assert n1.mappings() == []


def test_other_ways_to_talk_to_the_cluster(site: KrbdSite, n1: KrbdNode, n2: KrbdNode) -> None:
    def talks(node: KrbdNode, mode: str) -> None:
        site.set(node, ms_mode=mode)
        node.create(mode)
        device = node.attach(mode)
        assert f"ms_mode={mode}" in node.sh("cat /sys/bus/rbd/devices/*/config_info") or mode == "legacy"
        assert node.put(device, "heard")
        assert node.get(device) == "heard"
        node.ok("detach", mode)

    at_once(lambda: talks(n1, "legacy"), lambda: talks(n2, "secure"))
