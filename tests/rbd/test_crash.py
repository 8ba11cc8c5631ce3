# SPDX-License-Identifier: Apache-2.0
"""Calls that die at each point which the code names, and the call that finishes their work."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.conftest import CHECKOUT
from tests.machines import wait_until
from tests.rbd.conftest import RbdNode, RbdSite

KILLED = 6
NORMAL, MOVING = b"\0", b"\1"
MAKING = ["rbd.making-begun", "rbd.making", "rbd.made"]
CLONING = ["rbd.making-begun", "rbd.snapshot", "rbd.cloned", "rbd.making", "rbd.made"]
REMOVING = ["remove.reserved", "rbd.cut-off", "rbd.in-trash"]


def test_every_point_is_covered() -> None:
    modules = (CHECKOUT / "extstorage_common/backends").glob("rbd*.py")
    points = set(re.findall(r'crash_point\("([^"]+)"\)', "".join(path.read_text() for path in modules)))
    assert points == {*MAKING, *CLONING, *REMOVING} - {"remove.reserved"}


@pytest.mark.parametrize("point", MAKING)
def test_create_again(site: RbdSite, n1: RbdNode, point: str) -> None:
    n1.fails(KILLED, "create", VOL_SIZE="16", EXTSTORAGE_CRASH_AT=point)
    assert site.half_made() == ["v1"]
    if point == "rbd.made":
        n1.fails(5, "create", VOL_SIZE="16")
        n1.ok("remove")
    else:
        assert "half-made" in n1.fails(4, "attach")
    n1.create(size=24)
    n1.put(1)
    n1.ok("detach")
    n1.ok("remove")
    assert site.is_empty()


@pytest.mark.parametrize("point", MAKING)
def test_remove_what_was_half_made(site: RbdSite, n1: RbdNode, point: str) -> None:
    n1.fails(KILLED, "create", VOL_SIZE="16", EXTSTORAGE_CRASH_AT=point)
    n1.ok("remove")
    assert site.is_empty()


@pytest.mark.parametrize("point", CLONING)
def test_snapshot_again(site: RbdSite, n1: RbdNode, point: str) -> None:
    n1.create()
    n1.put(1)
    names = {"VOL_SNAPSHOT_NAME": "v1.snap", "VOL_SNAPSHOT_SIZE": "16"}
    n1.fails(KILLED, "snapshot", EXTSTORAGE_CRASH_AT=point, **names)
    assert n1.snapshot().status == 0
    assert n1.shows(1, volume="v1.snap")
    for name in ("v1.snap", "v1"):
        n1.ok("detach", name)
        n1.ok("remove", name)
    assert site.is_empty()


@pytest.mark.parametrize("point", CLONING)
def test_origin_is_removed_after_a_killed_snapshot(site: RbdSite, n1: RbdNode, point: str) -> None:
    n1.create()
    names = {"VOL_SNAPSHOT_NAME": "v1.snap", "VOL_SNAPSHOT_SIZE": "16"}
    n1.fails(KILLED, "snapshot", EXTSTORAGE_CRASH_AT=point, **names)
    n1.ok("remove", "v1.snap")
    n1.ok("remove")
    wait_until(lambda: not site.trash() and not site.objects())
    assert site.volumes() == []


@pytest.mark.parametrize("point", REMOVING)
def test_remove_again(site: RbdSite, n1: RbdNode, point: str) -> None:
    n1.create()
    n1.put(1)
    n1.fails(KILLED, "remove", EXTSTORAGE_CRASH_AT=point)
    if point == "rbd.in-trash":
        assert "no such volume" in n1.fails(4, "attach")
    else:
        assert n1.shows(1)
        n1.ok("detach")
    n1.ok("remove")
    n1.create()
    n1.ok("remove")  # whose purge takes what the killed one left
    assert site.is_empty()


def tell(site: RbdSite, name: str, method: str, *texts: str, more: bytes = b"") -> None:
    """Ask a method of the OSD's class ``rbd``, as Ceph's library does."""
    encoded = [len(text).to_bytes(4, "little") + text.encode() for text in texts]
    site.ioctx().execute(name, "rbd", method, b"".join(encoded) + more)


@pytest.mark.parametrize("listed", [True, False])
def test_remove_that_died_while_ceph_moved_the_image(site: RbdSite, n1: RbdNode, listed: bool) -> None:
    """It left no name, but the note that the image is on its way, and before that the directory's entry."""
    n1.create()
    n1.fails(KILLED, "remove", EXTSTORAGE_CRASH_AT="rbd.in-trash")
    image = site.trash_ids()[0]
    tell(site, "rbd_trash", "trash_state_set", image, more=MOVING + NORMAL)
    if listed:
        tell(site, "rbd_directory", "dir_add_image", "v1", image)
    n1.ok("remove")
    n1.create()
    n1.put(1)
    n1.ok("detach")
    n1.ok("remove")
    assert site.is_empty()


def test_purge_that_died_in_the_end(site: RbdSite, n1: RbdNode) -> None:
    n1.create()
    n1.fails(KILLED, "remove", EXTSTORAGE_CRASH_AT="rbd.in-trash")
    site.ioctx().remove_object("rbd_header." + site.trash_ids()[0])
    assert site.gnt_storage("pool", "purge", str(site.provider)) == "v1\n"
    assert site.is_empty()


def test_image_that_can_t_be_purged_does_not_keep_others(site: RbdSite, n1: RbdNode) -> None:
    """Its header is damaged."""
    import rados

    for name in ("v1", "v2"):
        n1.create(name)
        n1.fails(KILLED, "remove", name, EXTSTORAGE_CRASH_AT="rbd.in-trash")
    first, _ = site.trash_ids()
    ioctx = site.ioctx()
    with rados.WriteOpCtx() as operation:
        ioctx.set_omap(operation, ("object_prefix",), (b"\xff",))
        ioctx.operate_write_op(operation, f"rbd_header.{first}")
    with pytest.raises(subprocess.CalledProcessError) as raised:
        site.gnt_storage("pool", "purge", str(site.provider))
    assert first in raised.value.stderr
    assert site.trash_ids() == [first]


def test_half_made_volume_of_a_living_maker_is_left_alone(site: RbdSite, n1: RbdNode, n2: RbdNode) -> None:
    n1.fails(KILLED, "create", VOL_SIZE="16", EXTSTORAGE_CRASH_AT="rbd.making")
    # For another node the maker may be alive until its deadline.
    assert "just being created" in n2.fails(6, "create", VOL_SIZE="16")
    site.offline("n1")
    n2.create()
    assert site.half_made() == []


def test_stranger_s_image_in_the_place_of_a_half_made_one(site: RbdSite, n1: RbdNode) -> None:
    n1.fails(KILLED, "create", VOL_SIZE="16", EXTSTORAGE_CRASH_AT="rbd.making-begun")
    site.age_half_made("v1")
    site.rbd("create", "--size", "8M", ":v1")
    assert "in the way" in n1.fails(5, "create", VOL_SIZE="16")
    assert site.volumes() == ["v1"]


@pytest.mark.parametrize("point", ["attach.reserved", "attach.exported", "attach.connected"])
def test_attach_again(site: RbdSite, n1: RbdNode, point: str) -> None:
    n1.create()
    n1.fails(KILLED, "attach", EXTSTORAGE_CRASH_AT=point)
    n1.uri()
    n1.ok("detach")
    n1.ok("remove")
    assert site.is_empty()
    assert n1.left() == []
