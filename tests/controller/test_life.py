# SPDX-License-Identifier: Apache-2.0
"""The whole life of volumes on nodes that reach their pool by way of a controller only."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

from tests.conftest import MIB, get, put, size_of
from tests.controller.conftest import Consumer, Controller
from tests.machines import wait_until

MAX_SESSIONS = 10
"""How many a connection takes, by default (sshd_config(5), MaxSessions)."""


def test_life(c1: Consumer, controller: Controller) -> None:
    c1.create()
    device = c1.attach()
    assert c1.open().status == 0
    put(device, b"hello")
    c1.ok("setinfo", VOL_METADATA="originstname+i1")
    assert c1.grow(16, 24).status == 0
    assert size_of(device) == 24 * MIB
    c1.ok("close")
    assert c1.snapshot().status == 0
    assert get(c1.attach("v1.snap"), 5) == b"hello"
    c1.ok("detach", "v1.snap")
    c1.ok("remove", "v1.snap")
    c1.ok("detach")
    assert controller.site.volumes() == ["v1"]
    record = (controller.site.pool / "v1/record").read_text()
    assert "cluster c1" in record
    assert "node n1" in record
    c1.ok("remove")
    assert controller.site.volumes() == []
    assert c1.left() == []


def test_migration(c1: Consumer, c2: Consumer) -> None:
    c1.create()
    put(c1.attach(), b"hello")
    assert c1.open().status == 0
    c2.attach()
    c2.ok("close")
    assert "node n1 has the volume open" in c2.fails(7, "open", VOL_OPEN_EXCLUSIVE="True")
    assert c1.open(exclusive=False).status == 0
    assert c2.open(exclusive=False).status == 0
    c1.ok("close")
    assert c2.open().status == 0
    c1.ok("detach")
    assert get(c2.attach(), 5) == b"hello"


def test_errors_are_those_of_the_controller(c1: Consumer) -> None:
    assert "no such volume" in c1.fails(4, "open", VOL_OPEN_EXCLUSIVE="True")
    c1.create()
    assert "the volume exists already with 16 MiB in pool 'default'" in c1.fails(5, "create", VOL_SIZE="16")
    assert "MiB are needed" in c1.fails(11, "create", "v2", VOL_SIZE=str(1 << 40))


def test_a_snapshot_that_has_to_be_copied_asks_the_node(c1: Consumer, controller: Controller) -> None:
    """Whether the device is in use only the node can tell, so it is asked, and only where it matters."""
    c1.create()
    device = c1.attach()
    with open(device, "rb"):
        refused = c1.snapshot()
        assert refused.status == 6, refused
        assert "can't clone files" in refused.stderr
    assert controller.site.volumes() == ["v1"]
    assert c1.snapshot().status == 0
    assert controller.site.volumes() == ["v1", "v1.snap"]


def test_what_a_disk_chooses_the_controller_decides(c1: Consumer, controller: Controller) -> None:
    c1.create(EXTP_ALLOCATION="full")
    assert "allocation full" in (controller.site.pool / "v1/record").read_text()
    controller.site.configure(f"[default]\ndirectory = {controller.site.pool}\nowner_options = none\n")
    assert "'allocation' may not be set" in c1.fails(2, "create", "v2", VOL_SIZE="16", EXTP_ALLOCATION="full")


def test_verify(c1: Consumer, controller: Controller) -> None:
    assert c1.call("verify").status == 0
    (controller.site.pool / ".ganeti-extstorage-pool").unlink()
    assert "is not pool 'default'" in c1.call("verify", "v1", "pool").stderr


def test_a_warm_attach_asks_nobody(c1: Consumer, controller: Controller) -> None:
    c1.create()
    device = c1.attach()
    controller.stop()
    assert c1.attach() == device


def test_several_at_once_share_one_connection(c1: Consumer, controller: Controller) -> None:
    """One makes it, the others wait for that. (Not many: a slow controller's connection is given up.)"""
    names = [f"v{number}" for number in range(4)]
    with ThreadPoolExecutor(len(names)) as pool:
        results = list(pool.map(lambda name: c1.call("create", name, VOL_SIZE="16"), names))
    assert [result for result in results if result.status or result.stderr] == []
    assert controller.site.volumes() == sorted(names)
    assert len(c1.masters()) == 1
    wait_until(lambda: controller.connections() == 1)


def test_more_than_a_connection_takes_have_one_of_their_own(c1: Consumer, controller: Controller) -> None:
    c1.create()
    with contextlib.ExitStack() as sessions:
        for _ in range(MAX_SESSIONS):
            sessions.enter_context(c1.session())
        c1.create("v2")
        assert len(c1.masters()) == 1
    assert controller.site.volumes() == ["v1", "v2"]
    wait_until(lambda: controller.connections() == 1)


def test_two_nodes_at_once_make_one_volume(c1: Consumer, c2: Consumer, controller: Controller) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda node: node.call("create", VOL_SIZE="16"), (c1, c2)))
    assert sorted(result.status for result in results) in ([0, 5], [0, 6])
    assert controller.site.volumes() == ["v1"]
