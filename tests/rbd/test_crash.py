# SPDX-License-Identifier: Apache-2.0
"""Calls that die at each point which the code names, and the call that finishes their work."""

from __future__ import annotations

import re

import pytest

from tests.conftest import CHECKOUT
from tests.machines import wait_until
from tests.rbd.conftest import RbdNode, RbdSite

KILLED = 6
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
    if point == "rbd.made":  # it was complete, and only its mark was left
        n1.create()
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
    wait_until(lambda: not site.trash())
    assert (site.volumes(), site.objects()) == ([], [])


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
