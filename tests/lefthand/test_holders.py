# SPDX-License-Identifier: Apache-2.0
"""Who has a volume open, kept in its description, changed by one node at a time."""

from __future__ import annotations

import threading

import pytest

from extstorage_common import holders
from extstorage_common.backends.base import EXCLUSIVE, SHARED, Backend, Holder
from extstorage_common.backends.lefthand import LeftHandBackend
from extstorage_common.backends.lefthand_claims import Claim, Claimed
from extstorage_common.deadline import Deadline
from extstorage_common.errors import HeldElsewhere
from tests.conftest import Node
from tests.lefthand.conftest import ArraySite

I1 = {"initiator": "iqn.2026-01.test:n1"}
I2 = {"initiator": "iqn.2026-01.test:n2"}


@pytest.fixture
def nodes(site: ArraySite) -> tuple[LeftHandBackend, LeftHandBackend]:
    """Two nodes' backends, of which one volume is there."""
    site.backend("n1").create_volume("v1", 16)
    return site.backend("n1"), site.backend("n2")


def entries(site: ArraySite) -> list[tuple[str, str]]:
    backend = site.backend("n3")
    found = backend.read_holders(backend.get_volume("v1")).entries
    return [(one.node, one.mode) for one in found]


def test_compare_and_set(site: ArraySite, nodes: tuple[LeftHandBackend, LeftHandBackend]) -> None:
    one, two = nodes
    volume = one.get_volume("v1")
    old = one.read_holders(volume)
    also_old = two.read_holders(volume)
    assert one.replace_holders(volume, old, [Holder("n1", EXCLUSIVE)])
    assert not two.replace_holders(volume, also_old, [Holder("n2", EXCLUSIVE)])
    assert entries(site) == [("n1", EXCLUSIVE)]
    # Who lost knows by now who won.
    assert [holder.node for holder in two.read_holders(volume).entries] == ["n1"]


def test_many_at_once(site: ArraySite, nodes: tuple[LeftHandBackend, LeftHandBackend]) -> None:
    """Each adds itself; none is lost."""

    def join(name: str) -> None:
        backend = site.backend(name)
        volume = backend.get_volume("v1")
        for _ in range(50):
            old = backend.read_holders(volume)
            if backend.replace_holders(volume, old, [*old.entries, Holder(name, SHARED)]):
                return

    names = [f"m{number}" for number in range(4)]
    threads = [threading.Thread(target=join, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entries(site)) == [(name, SHARED) for name in names]
    assert list(site.state()["volumes"]) == ["v1"]


def test_metadata_and_holders_do_not_lose_each_other(
    site: ArraySite, nodes: tuple[LeftHandBackend, LeftHandBackend]
) -> None:
    one, two = nodes
    volume = one.get_volume("v1")
    two.get_volume("v1")
    assert one.replace_holders(volume, one.read_holders(volume), [Holder("n1", EXCLUSIVE)])
    two.set_metadata(volume, "originstname+i1")
    assert entries(site) == [("n1", EXCLUSIVE)]
    assert site.backend("n1").describe(volume)["metadata"] == "originstname+i1"


def open_on(backend: Backend, exclusive: bool = True, offline: tuple[str, ...] = ()) -> None:
    holders.open_volume(backend, backend.get_volume("v1"), exclusive, "-", offline)


def test_a_migration(site: ArraySite) -> None:
    """In Ganeti's order."""
    site.backend("n1").create_volume("v1", 16)
    open_on(site.backend("n1"))
    for name in ("n1", "n2"):
        open_on(site.backend(name), exclusive=False)
    assert entries(site) == [("n1", SHARED), ("n2", SHARED)]
    one = site.backend("n1")
    holders.close_volume(one, one.get_volume("v1"))
    open_on(site.backend("n2"))
    assert entries(site) == [("n2", EXCLUSIVE)]


def test_another_node_holds(site: ArraySite, nodes: tuple[LeftHandBackend, LeftHandBackend]) -> None:
    """The array can't tell whether it is alive: only the administrator can."""
    one, two = nodes
    open_on(one)
    with pytest.raises(HeldElsewhere, match="n1"):
        open_on(two)
    open_on(site.backend("n2"), offline=("n1",))
    assert entries(site) == [("n2", EXCLUSIVE)]


def test_a_node_that_is_taken_from_loses_its_access(
    site: ArraySite, nodes: tuple[LeftHandBackend, LeftHandBackend]
) -> None:
    """Its access is gone before the other is a holder; its detach and its next attach work."""
    one, two = nodes
    volume = one.get_volume("v1")
    one.initialize_connection(volume, I1)
    open_on(one)
    two.initialize_connection(two.get_volume("v1"), I2)
    site.array.requests()
    open_on(site.backend("n2"), offline=("n1",))
    lines = site.array.requests()
    unassigned = next(i for i, line in enumerate(lines) if line.startswith("unassignVolumeToServer"))
    noted = next(i for i, line in enumerate(lines) if "x:n2" in line)
    assert unassigned < noted
    assert site.backend("n3").attached_nodes(volume) == ["n2"]
    back = site.backend("n1")
    holders.close_volume(back, back.get_volume("v1"))
    back.terminate_connection(volume, I1)
    assert entries(site) == [("n2", EXCLUSIVE)]
    back.initialize_connection(back.get_volume("v1"), I1)
    assert site.backend("n3").attached_nodes(volume) == ["n1", "n2"]


def test_takeover_always(site: ArraySite) -> None:
    site.pool_options("takeover = always")
    site.backend("n1").create_volume("v1", 16)
    open_on(site.backend("n1"))
    open_on(site.backend("n2"))
    assert entries(site) == [("n2", EXCLUSIVE)]


def test_removing_what_another_node_holds(site: ArraySite, n1: Node) -> None:
    n1.create()
    open_on(site.backend("n2"))
    assert "n2 has the volume open" in n1.fails(7, "remove")
    other = site.backend("n2")
    holders.close_volume(other, other.get_volume("v1"))
    n1.ok("remove")
    assert site.state()["volumes"] == {}


@pytest.mark.parametrize("action", ["setinfo", "remove"])
def test_a_claim_of_a_killed_call(site: ArraySite, n1: Node, n2: Node, action: str) -> None:
    """Its machine knows at once that its process is gone; another believes so of an offline node only."""
    n1.create()
    n1.call(action, VOL_METADATA="x", EXTSTORAGE_CRASH_AT="lefthand.claimed")
    (claim,) = [name for name in site.state()["volumes"] if name.startswith("gx-claim-")]
    site.made_elsewhere(claim)
    site.configure("[default]\n" + site.pool_text().replace("timeout = 100", "timeout = 10"))
    assert "delete volume gx-claim-" in n2.fails(6, "setinfo", VOL_METADATA="y")
    site.pool_options()
    site.offline("n1")
    n2.ok("setinfo", VOL_METADATA="y")
    assert list(site.state()["volumes"]) == ["v1"]
    n1.call(action, VOL_METADATA="x", EXTSTORAGE_CRASH_AT="lefthand.claimed")
    n1.ok("setinfo", VOL_METADATA="z")
    assert list(site.state()["volumes"]) == ["v1"]
    assert site.description().endswith(" i:z")


def test_claims_of_calls_that_died_at_breaking_one(site: ArraySite, n1: Node) -> None:
    n1.create()
    for count in range(1, 4):
        n1.call("setinfo", VOL_METADATA="x", EXTSTORAGE_CRASH_AT="lefthand.claimed")
        assert len(site.state()["volumes"]) == 1 + count
    n1.ok("setinfo", VOL_METADATA="y")
    assert list(site.state()["volumes"]) == ["v1"]
    assert site.description().endswith(" i:y")


def test_nobody_breaks_a_living_claim(
    site: ArraySite, nodes: tuple[LeftHandBackend, LeftHandBackend]
) -> None:
    one, two = nodes
    row = one._row("v1")
    with Claim(one.cliq, "c1", row.number, "n1"):
        volume = two.get_volume("v1")
        two.cliq.shell.deadline = Deadline(8)
        with pytest.raises(Claimed, match="on node n1"):
            two.set_metadata(volume, "x")
    one.cliq.shell.deadline = Deadline(300)
    two.set_metadata(two.get_volume("v1"), "x")


def test_a_strangers_volume_is_no_claim(
    site: ArraySite, nodes: tuple[LeftHandBackend, LeftHandBackend]
) -> None:
    """It is never deleted, whatever its name."""
    one, _ = nodes
    name = f"gx-claim-{one._row('v1').number}"
    site.cliq(f"createVolume volumeName={name} clusterName=c1 size=64MB description=mine")
    volume = one.get_volume("v1")
    one.cliq.shell.deadline = Deadline(8)
    with pytest.raises(Claimed):
        one.set_metadata(volume, "x")
    assert site.description(name) == "mine"
