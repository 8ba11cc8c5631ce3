# SPDX-License-Identifier: Apache-2.0
"""Snapshots, volumes made from others, and the order in which they go."""

from __future__ import annotations

import json

from tests.machines import wait_until
from tests.rbd.conftest import MIB, RbdNode, RbdSite


def snapshots(site: RbdSite, image: str) -> list[str]:
    """The snapshots of an image, those in its own trash too."""
    told = json.loads(site.rbd("snap", "ls", "--all", "--format", "json", f":{image}"))
    return [f"{one['namespace']['type']}:{one['name']}" for one in told]


def test_snapshot_is_a_volume_of_its_own(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    n1.put(1)
    assert n1.snapshot().status == 0
    n1.put(2)
    assert n1.shows(1, volume="v1.snap")
    assert [one.split(":")[0] for one in snapshots(site, "v1")] == ["trash"]
    n1.put(3, volume="v1.snap")
    assert n1.shows(2)
    n1.ok("detach", "v1.snap")
    n1.ok("remove", "v1.snap")
    wait_until(lambda: snapshots(site, "v1") == [])
    n1.ok("detach")
    n1.ok("remove")
    assert site.is_empty()


def test_snapshot_is_made_as_its_origin(site: RbdSite, n1: RbdNode) -> None:
    """Whatever the pool says by now, or the disk's parameters, which a snapshot does not get."""
    site.set(userspace_only="no")
    n1.create(EXTP_USERSPACE_ONLY="yes", EXTP_IMAGE_FEATURES="layering,exclusive-lock")
    assert n1.snapshot().status == 0
    told = json.loads(site.rbd("info", "--format", "json", ":v1.snap"))
    assert set(told["features"]) - {"operations"} == {"layering", "exclusive-lock"}
    assert n1.shows(0, volume="v1.snap")


def test_snapshot_of_a_snapshot(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    n1.put(1)
    n1.snapshot()
    assert n1.snapshot("v1.snap").status == 0
    assert n1.shows(1, volume="v1.snap.snap")
    for name in ("v1.snap.snap", "v1.snap", "v1"):
        n1.ok("detach", name)
        n1.ok("remove", name)
    assert site.is_empty()


def test_parent_with_clones_is_not_removed(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    n1.put(1)
    n1.snapshot()
    n1.ok("detach")
    assert site.spec("v1.snap") in n1.fails(9, "remove")
    assert n1.shows(1)


def test_refused_removal_keeps_no_other_node_from_the_volume(site: RbdSite, n1: RbdNode, n2: RbdNode) -> None:
    n1.create()
    n1.snapshot()
    n1.fails(9, "remove")
    n2.uri()
    assert n2.open().status == 0
    n2.ok("detach")
    n2.ok("remove", "v1.snap")
    n2.ok("remove")
    assert site.is_empty()


def test_parent_may_go_while_its_clone_waits_in_the_trash(site: RbdSite, n1: RbdNode) -> None:
    site.set(trash_days="1")
    n1.create()
    n1.snapshot()
    n1.ok("remove", "v1.snap")
    n1.ok("remove")
    assert sorted(site.trash()) == ["v1", "v1.snap"]


def test_clones_get_data_of_their_own_where_that_is_said(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    n1.put(1)
    n1.snapshot()
    n1.ok("detach")
    site.set(remove_origin="flatten")
    n1.ok("remove")
    assert site.volumes() == ["v1.snap"]
    wait_until(lambda: not site.trash())
    assert n1.shows(1, volume="v1.snap")
    assert "parent" not in json.loads(site.rbd("info", "--format", "json", ":v1.snap"))


def test_somebody_s_snapshot_keeps_the_volume(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    site.rbd("snap", "create", "--no-progress", ":v1@mine")
    assert "v1@mine" in n1.fails(9, "remove")
    site.rbd("snap", "rm", "--no-progress", ":v1@mine")
    n1.ok("remove")
    assert site.is_empty()


def test_made_from_an_image(site: RbdSite, n1: RbdNode) -> None:
    site.set(origins="golden-*")
    n1.create("golden-debian")
    n1.put(8, volume="golden-debian")
    n1.create(size=32, EXTP_ORIGIN="golden-debian")
    assert n1.shows(8)
    assert n1.shows(0, 20 * MIB)
    assert json.loads(site.rbd("info", "--format", "json", ":v1"))["size"] == 32 * MIB


def test_made_from_a_snapshot_of_an_image_that_is_not_ours(site: RbdSite, n1: RbdNode) -> None:
    site.set(origins="*")
    site.rbd("create", "--size", "16M", ":base")
    site.rbd("snap", "create", "--no-progress", ":base@v2")
    n1.create(EXTP_ORIGIN="base@v2")
    assert snapshots(site, "base") == ["user:v2"]
    assert site.volumes() == ["base", "v1"]


def test_origin_is_the_administrator_s_choice(site: RbdSite, n1: RbdNode) -> None:
    n1.create("other")
    assert "origins" in n1.fails(2, "create", VOL_SIZE="16", EXTP_ORIGIN="other")
    site.set(origins="other absent")
    missing = n1.fails(4, "create", VOL_SIZE="16", EXTP_ORIGIN="absent")
    assert "no image or snapshot absent" in missing
    assert "other@no" in n1.fails(4, "create", VOL_SIZE="16", EXTP_ORIGIN="other@no")
    small = n1.fails(2, "create", VOL_SIZE="8", EXTP_ORIGIN="other")
    assert "16 MiB, more than the 8 MiB" in small
    assert site.volumes() == ["other"]
    assert site.half_made() == []


def test_snapshot_is_replaced_unless_it_is_in_use(site: RbdSite, n1: RbdNode, n2: RbdNode) -> None:
    n1.create()
    n1.put(1)
    n1.snapshot()
    n1.put(2)
    assert n1.snapshot().status == 0
    n2.uri("v1.snap")
    refused = n1.snapshot()
    assert (refused.status, "attached on node n2" in refused.stderr) == (6, True)
    assert n2.shows(2, volume="v1.snap")


def test_purge_is_the_command_s_business_too(site: RbdSite, n1: RbdNode) -> None:
    """Only what was a volume, and only when its time has come."""
    site.set(trash_days="1")
    n1.create()
    n1.ok("remove")
    site.rbd("create", "--size", "16M", ":stranger")
    site.rbd("trash", "mv", ":stranger")
    assert site.gnt_storage("pool", "purge", str(site.provider)) == ""
    assert sorted(site.trash()) == ["stranger", "v1"]
    site.set(trash_days="0")
    n1.create("v2")
    n1.ok("remove", "v2")
    wait_until(lambda: "v2" not in site.trash())
    assert sorted(site.trash()) == ["stranger", "v1"]


def test_purge_while_an_image_migrates(site: RbdSite, n1: RbdNode) -> None:
    """Until that is done it is in the trash, in a way that Ceph's Python package can't list."""
    site.rbd("create", "--size", "16M", ":stranger")
    site.rbd("migration", "prepare", ":stranger", ":other")
    n1.create()
    n1.fails(6, "remove", EXTSTORAGE_CRASH_AT="rbd.in-trash")
    assert site.gnt_storage("pool", "purge", str(site.provider)) == "v1\n"
    site.rbd("migration", "abort", "--no-progress", ":other")
    assert site.volumes() == ["stranger"]
