# SPDX-License-Identifier: Apache-2.0
"""The control path at the door: what the scripts let the array do."""

from __future__ import annotations

import pytest

from extstorage_common.backends.lefthand_rows import point_name
from tests.conftest import Node
from tests.lefthand.conftest import ArraySite

MIB = 1 << 20


def test_a_thin_volume(site: ArraySite, n1: Node) -> None:
    n1.create("v1", 64)
    told = site.state()["volumes"]
    assert told == {
        "v1": {
            "description": "gx1 thin v:0 c:cluster.example.com",
            "size": 64 * MIB,
            "thin": True,
            "servers": [],
        }
    }


def test_a_full_volume(site: ArraySite, n1: Node) -> None:
    n1.create("v1", 64, EXTP_PROVISIONING="full")
    assert site.state()["volumes"]["v1"]["thin"] is False
    assert site.description().startswith("gx1 full ")


def test_creating_twice(site: ArraySite, n1: Node) -> None:
    """Of a complete volume it is an error, and touches nothing."""
    n1.create("v1", 64)
    before = site.state()
    assert "exists already with 64 MiB" in n1.fails(5, "create", VOL_SIZE="128")
    assert site.state() == before


def test_removing(site: ArraySite, n1: Node) -> None:
    n1.create()
    n1.ok("remove")
    n1.ok("remove")
    assert site.state() == {"volumes": {}, "snapshots": {}, "servers": {}}


def test_growing(site: ArraySite, n1: Node) -> None:
    n1.create("v1", 64)
    for _ in range(2):
        assert n1.grow(64, 128).status == 0
    assert site.state()["volumes"]["v1"]["size"] == 128 * MIB
    assert n1.grow(128, 64).status == 2
    assert site.state()["volumes"]["v1"]["size"] == 128 * MIB


def test_metadata(site: ArraySite, n1: Node) -> None:
    n1.create()
    for _ in range(2):
        n1.ok("setinfo", VOL_METADATA="originstname+instance1.example.com")
    assert site.description().endswith(" i:originstname+instance1.example.com")
    assert list(site.state()["volumes"]) == ["v1"]


def test_snapshot_and_removal_of_both(site: ArraySite, n1: Node) -> None:
    n1.create()
    assert n1.snapshot().status == 0
    state = site.state()
    assert set(state["volumes"]) == {"v1", "v1.snap"}
    assert state["volumes"]["v1.snap"]["description"] == "gx1 clone v:0 o:+.snap c:cluster.example.com"
    assert len(state["snapshots"]) == 1
    # The volume can't go before its snapshot, and says which.
    message = n1.fails(6, "remove")
    assert "v1.snap" in message
    n1.ok("remove", "v1.snap")
    assert site.state()["snapshots"] == {}
    n1.ok("remove")
    assert site.state()["volumes"] == {}


def test_a_snapshot_is_replaced(site: ArraySite, n1: Node) -> None:
    n1.create()
    for _ in range(2):
        assert n1.snapshot().status == 0
    assert set(site.state()["volumes"]) == {"v1", "v1.snap"}
    assert len(site.state()["snapshots"]) == 1


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("point", ["lefthand.point", "lefthand.deleted"])
def test_what_a_killed_snapshot_left(site: ArraySite, n1: Node, point: str, listed: bool) -> None:
    """The array's own snapshot may be left; it keeps neither the next one nor the volume's removal."""
    site.array.call("facts", lists_snapshots_by_volume=listed)
    n1.create()
    if point == "lefthand.deleted":
        assert n1.snapshot().status == 0
        n1.call("remove", "v1.snap", EXTSTORAGE_CRASH_AT=point)
    else:
        n1.environment["EXTSTORAGE_CRASH_AT"] = point
        assert n1.snapshot().status != 0
        del n1.environment["EXTSTORAGE_CRASH_AT"]
    assert len(site.state()["snapshots"]) == 1
    assert n1.snapshot().status == 0
    n1.ok("remove", "v1.snap")
    n1.ok("remove")
    assert site.state() == {"volumes": {}, "snapshots": {}, "servers": {}}


@pytest.mark.parametrize("name", ["v1", "x" * 123])
def test_a_snapshot_that_another_node_is_making(site: ArraySite, n1: Node, n2: Node, name: str) -> None:
    """Its maker may live, unless it is offline; beside the longest name there is room to say who it is."""
    told = {"VOL_SNAPSHOT_NAME": f"{name}.snap", "VOL_SNAPSHOT_SIZE": "16"}
    n1.create(name)
    (volume,) = site.state()["volumes"]
    n1.call("snapshot", name, EXTSTORAGE_CRASH_AT="lefthand.point", **told)
    ((point, text),) = site.state()["snapshots"].items()
    begin, _, rest = text.split("/", 2)
    assert begin == "gxpoint1 n1"
    site.cliq(f"deleteSnapshot snapshotName={point} prompt=false")
    said = f"{begin}/01234567/{rest}"
    site.cliq(f'createSnapshot snapshotName={point} volumeName={volume} description="{said}"')
    assert "on node n1" in n2.fails(6, "snapshot", name, **told)
    assert site.state()["snapshots"] == {point: said}
    site.offline("n1")
    n2.ok("snapshot", name, **told)
    assert len(site.state()["volumes"]) == 2


def test_a_strangers_snapshot_in_the_way(site: ArraySite, n1: Node) -> None:
    n1.create()
    point = point_name("v1.snap")
    site.cliq(f"createSnapshot snapshotName={point} volumeName=v1 description=mine")
    assert "did not make" in n1.snapshot().stderr
    assert site.state()["snapshots"] == {point: "mine"}


@pytest.mark.parametrize("listed", [True, False])
def test_a_left_point_does_not_keep_the_volume(site: ArraySite, n1: Node, listed: bool) -> None:
    site.array.call("facts", lists_snapshots_by_volume=listed)
    n1.create()
    n1.environment["EXTSTORAGE_CRASH_AT"] = "lefthand.point"
    assert n1.snapshot().status != 0
    del n1.environment["EXTSTORAGE_CRASH_AT"]
    n1.ok("remove")
    assert site.state() == {"volumes": {}, "snapshots": {}, "servers": {}}


def test_a_strangers_volume_is_left_alone(site: ArraySite, n1: Node) -> None:
    site.cliq("createVolume volumeName=v1 clusterName=c1 size=1GB description=mine")
    assert "did not make" in n1.fails(5, "create", VOL_SIZE="16")
    n1.ok("remove")
    assert n1.fails(4, "attach").count("no such volume")
    assert site.description() == "mine"


def test_a_strangers_snapshot_is_left_alone(site: ArraySite, n1: Node) -> None:
    n1.create()
    site.cliq("createSnapshot snapshotName=backup volumeName=v1 description=mine")
    assert "snapshots" in n1.fails(6, "remove")
    assert site.state()["snapshots"] == {"backup": "mine"}
    assert list(site.state()["volumes"]) == ["v1"]


def test_another_cluster_is_another_pool(site: ArraySite, n1: Node) -> None:
    """Names are the management group's, but a volume is in the pool of its cluster."""
    site.array.call("reset", other_clusters=["c2"])
    other = site.pool_text().replace("cluster = c1", "cluster = c2")
    site.configure(f"[default]\n{site.pool_text()}\n[other]\n{other}")
    n1.create("v1", EXTP_POOL="other")
    assert site.backend("n1").list_volumes() == []
    assert site.backend("n1", "other").list_volumes() == ["v1"]
    n1.ok("setinfo", VOL_METADATA="x")
    n1.ok("remove")
    assert site.state()["volumes"] == {}


@pytest.mark.parametrize("name", ["Big.Disk", "under_score", "x" * 128, "gx-1", "a" * 60 + "B" * 60])
def test_names_that_the_array_has_otherwise(site: ArraySite, n1: Node, name: str) -> None:
    n1.create(name)
    (array_name,) = site.state()["volumes"]
    assert array_name.startswith("gx-")
    assert len(array_name) == 35
    assert n1.grow(16, 32, name).status == 0
    n1.ok("setinfo", name, VOL_METADATA="x")
    if len(name) < 80:
        assert site.backend("n1").list_volumes() == [name]
        assert f" n:{name}" in site.description(array_name)
    n1.ok("remove", name)
    assert site.state()["volumes"] == {}


def test_another_volume_of_the_same_name_on_the_array(site: ArraySite, n1: Node) -> None:
    """The full name is compared before anything is destroyed."""
    n1.create("Big")
    (array_name,) = site.state()["volumes"]
    site.cliq(f'modifyVolume volumeName={array_name} description="gx1 thin v:0 n:Bigger"')
    n1.ok("remove", "Big")
    assert list(site.state()["volumes"]) == [array_name]


def test_what_was_left_half_made(site: ArraySite, n1: Node) -> None:
    n1.call("create", VOL_SIZE="16", EXTSTORAGE_CRASH_AT="lefthand.created")
    assert " m:n1/" in site.description()
    assert "half-made" in n1.fails(4, "attach")
    n1.create("v1", 32)
    assert site.state()["volumes"]["v1"]["size"] == 32 * MIB
    assert " m:" not in site.description()


def test_removing_what_was_left_half_made(site: ArraySite, n1: Node) -> None:
    n1.call("create", VOL_SIZE="16", EXTSTORAGE_CRASH_AT="lefthand.created")
    n1.ok("remove")
    assert site.state()["volumes"] == {}


def test_another_nodes_half_made_volume(site: ArraySite, n1: Node, n2: Node) -> None:
    """Its maker may live until its call must have ended, unless its node is offline."""
    n1.call("create", VOL_SIZE="16", EXTSTORAGE_CRASH_AT="lefthand.created")
    site.made_elsewhere("v1")
    assert "process" in n2.fails(6, "create", VOL_SIZE="16")
    site.offline("n1")
    n2.create()


def test_a_full_cluster(site: ArraySite, n1: Node) -> None:
    site.array.call("facts", space=1 << 30)
    assert "not enough space" in n1.fails(11, "create", VOL_SIZE="2048", EXTP_PROVISIONING="full")
    assert site.state()["volumes"] == {}


def test_replication(site: ArraySite, n1: Node) -> None:
    assert "too few storage nodes" in n1.fails(9, "create", VOL_SIZE="16", EXTP_REPLICATION="2")
    site.array.call("facts", nodes=["10.0.0.2", "10.0.0.3"])
    n1.create("v1", EXTP_REPLICATION="2")
    site.array.requests()


def test_verify(site: ArraySite, n1: Node) -> None:
    """What can be known of the array is asked of it; a cluster that it does not have, said."""
    for check in ("array", "portals"):
        result = n1.call("verify", "v1", check)
        assert (result.status, result.stderr) == (0, "")
    site.configure(f"[default]\n{site.pool_text().replace('cluster = c1', 'cluster = c9')}")
    result = n1.call("verify", "v1", "array")
    assert result.status == 8
    assert "no cluster 'c9'" in result.stderr


def test_capacity(site: ArraySite) -> None:
    total, free = site.backend("n1").capacity()
    assert total == free == 110 << 30
    site.array.call("facts", space_in_kib=True)
    site.pool_options("space_unit = kib")
    assert site.backend("n1").capacity() == (total, free)


def test_pools_of_all_nodes_are_the_same(site: ArraySite) -> None:
    assert site.backend("n1").pool_uuid() == site.backend("n2").pool_uuid()


def test_nothing_is_ignored(site: ArraySite, n1: Node) -> None:
    """The array takes all that it is told: a parameter that it ignores would be a slip of ours."""
    n1.create()
    n1.ok("setinfo", VOL_METADATA="x")
    assert n1.snapshot().status == 0
    assert n1.grow(16, 32).status == 0
    n1.ok("remove", "v1.snap")
    n1.ok("remove")
    assert site.array.call("ignored") == []
