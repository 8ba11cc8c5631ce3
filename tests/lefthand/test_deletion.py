# SPDX-License-Identifier: Apache-2.0
"""An array that still tells of what it is deleting (the reference's section 1.3), at the door."""

from __future__ import annotations

import pytest

from tests.conftest import Node
from tests.lefthand.conftest import ArraySite
from tests.lefthand.test_faults import EMPTY

FOREVER = 1 << 30


@pytest.fixture
def slow(site: ArraySite) -> ArraySite:
    """An array that tells of a deleted volume three times more."""
    site.array.call("facts", deletion_looks=3)
    return site


@pytest.fixture
def stuck(site: ArraySite) -> ArraySite:
    """An array that does not finish a deletion before the test lets it; nobody waits long for it."""
    site.array.call("facts", deletion_looks=FOREVER)
    site.configure("[default]\n" + site.pool_text().replace("timeout = 30", "timeout = 8"))
    return site


def test_a_volume_that_is_being_deleted_is_none(stuck: ArraySite, n1: Node) -> None:
    n1.create()
    n1.ok("remove")
    assert stuck.backend("n1").list_volumes() == []
    n1.fails(4, "attach")
    for action in ("remove", "detach", "close"):
        n1.ok(action)


def test_its_name_is_waited_for(slow: ArraySite, n1: Node) -> None:
    n1.create("v1", 16)
    n1.ok("remove")
    n1.create("v1", 32)
    assert slow.state()["volumes"]["v1"]["size"] == 32 << 20
    assert slow.backend("n1").list_volumes() == ["v1"]


def test_its_name_is_not_waited_for_for_ever(stuck: ArraySite, n1: Node) -> None:
    n1.create()
    n1.ok("remove")
    message = n1.fails(6, "create", VOL_SIZE="16")
    assert "has not finished deleting its volume v1, " in message
    stuck.array.call("finish")
    n1.create()


def test_a_half_made_volume_makes_way(slow: ArraySite, n1: Node) -> None:
    n1.call("create", VOL_SIZE="16", EXTSTORAGE_CRASH_AT="lefthand.created")
    n1.create("v1", 32)
    assert slow.state()["volumes"]["v1"]["size"] == 32 << 20


def test_a_snapshot_is_made_anew(slow: ArraySite, n1: Node) -> None:
    """The new one is described as the old one was, and is not taken for it."""
    n1.create()
    for _ in range(2):
        assert n1.snapshot().status == 0
    assert set(slow.state()["volumes"]) == {"v1", "v1.snap"}
    n1.ok("remove", "v1.snap")
    n1.ok("remove")
    assert slow.state() == EMPTY


@pytest.mark.parametrize("listed", [True, False])
def test_a_snapshot_that_stays_for_a_while(stuck: ArraySite, n1: Node, listed: bool) -> None:
    """Until it has gone, so does what it shares with its volume, and that volume."""
    stuck.array.call("facts", lists_snapshots_by_volume=listed)
    n1.create()
    assert n1.snapshot().status == 0
    for name in ("v1.snap", "v1"):
        stuck.array.call("facts", deletion_looks=FOREVER if name == "v1.snap" else 0)
        assert "has not finished deleting its volume v1.snap, " in n1.fails(6, "remove", name)
    stuck.array.call("finish")
    for name in ("v1.snap", "v1"):
        n1.ok("remove", name)
    assert stuck.state() == EMPTY


@pytest.mark.parametrize("volume", ["v1 ", "v1.snap", "gx-claim"])
def test_a_deletion_whose_answer_is_lost(slow: ArraySite, n1: Node, volume: str) -> None:
    """Given again, the command is refused, since the array is at it."""
    n1.create()
    assert n1.snapshot().status == 0
    slow.array.fault("cut", f"deleteVolume volumeName={volume}")
    for name in ("v1.snap", "v1"):
        n1.ok("remove", name)
    assert slow.state() == EMPTY
    assert slow.array.call("faults") == 0


def test_claims_one_after_another(slow: ArraySite, n1: Node, n2: Node) -> None:
    n1.create()
    for node in (n1, n2, n1):
        node.ok("setinfo", VOL_METADATA="x")
    assert list(slow.state()["volumes"]) == ["v1"]


def test_a_claim_that_stays(stuck: ArraySite, n1: Node) -> None:
    n1.create()
    n1.ok("setinfo", VOL_METADATA="x")
    assert "has not finished deleting its volume gx-claim-" in n1.fails(6, "setinfo", VOL_METADATA="y")
    stuck.array.call("finish")
    n1.ok("setinfo", VOL_METADATA="y")
