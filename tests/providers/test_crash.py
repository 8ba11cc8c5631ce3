# SPDX-License-Identifier: Apache-2.0
"""A call that is killed at any of its points leaves something that the next call finishes."""

from __future__ import annotations

import re

import pytest

from tests.conftest import CHECKOUT, MIB, Node, Site, get, put, size_of

CREATE = ["file.making-begun", "file.making", "file.made"]
ATTACH = [
    "attach.reserved",
    "attach.exported",
    "loop.remembered",
    "loop.configured",
    "attach.connected",
    "attach.attached",
]
DETACH = ["detach.begun", "detach.disconnected", "detach.closed", "detach.terminated"]
REMOVE = ["detach.begun", "detach.disconnected", "remove.reserved", "file.deleted-disk"]
GROW = ["grow.extended"]


def test_every_point_is_covered() -> None:
    """Of those that this provider passes: another storage's carry its name."""
    code = "".join(path.read_text() for path in (CHECKOUT / "extstorage_common").rglob("*.py"))
    points = set(re.findall(r'crash_point\("((?!rbd|lvm|iscsi|comstar|lefthand|solidfire)[^"]+)"\)', code))
    assert points == {*CREATE, *ATTACH, *DETACH, *REMOVE, *GROW}


def crash(node: Node, point: str, action: str, volume: str = "v1", **variables: str) -> None:
    """Let a call die at a point."""
    result = node.call(action, volume, EXTSTORAGE_CRASH_AT=point, **variables)
    assert result.status == 6, result
    assert "signal 9" in result.stderr


def assert_nothing_left(site: Site, *nodes: Node) -> None:
    assert site.volumes() == []
    assert site.loop_devices() == []
    for node in nodes:
        assert node.left() == []


@pytest.mark.parametrize("point", CREATE)
def test_create_is_made_anew(site: Site, n1: Node, point: str) -> None:
    crash(n1, point, "create", VOL_SIZE="16")
    assert "half-made" in n1.fails(4, "attach")
    n1.create(size=24)
    assert size_of(n1.attach()) == 24 * MIB
    n1.ok("detach")
    n1.ok("remove")
    assert_nothing_left(site, n1)


@pytest.mark.parametrize("point", CREATE)
def test_half_made_volume_is_removed(site: Site, n1: Node, point: str) -> None:
    crash(n1, point, "create", VOL_SIZE="16")
    n1.ok("remove")
    assert_nothing_left(site, n1)


@pytest.mark.parametrize("point", ATTACH)
def test_attach_is_finished_by_attach(site: Site, n1: Node, point: str) -> None:
    n1.create()
    crash(n1, point, "attach")
    put(n1.attach(), b"data")
    assert len(site.loop_devices()) == 1
    n1.ok("detach")
    n1.ok("remove")
    assert_nothing_left(site, n1)


@pytest.mark.parametrize("point", ATTACH)
def test_what_was_half_attached_is_copied_and_removed(site: Site, n1: Node, point: str) -> None:
    n1.create()
    crash(n1, point, "attach")
    n1.ok("snapshot", VOL_SNAPSHOT_NAME="v1.snap", VOL_SNAPSHOT_SIZE="16")
    n1.ok("remove", "v1.snap")
    n1.ok("remove")
    assert_nothing_left(site, n1)


@pytest.mark.parametrize("point", ATTACH)
def test_attach_for_userspace_is_undone_by_detach(site: Site, n1: Node, point: str) -> None:
    n1.create()
    crash(n1, point, "attach", EXTP_ACCESS="userspace")
    n1.ok("detach", EXTP_ACCESS="userspace")
    n1.ok("remove")
    assert_nothing_left(site, n1)


@pytest.mark.parametrize("point", ATTACH)
def test_attach_is_undone_by_detach(site: Site, n1: Node, point: str) -> None:
    n1.create()
    crash(n1, point, "attach")
    n1.ok("detach")
    assert site.loop_devices() == []
    n1.ok("remove")
    assert_nothing_left(site, n1)


@pytest.mark.parametrize("point", DETACH)
@pytest.mark.parametrize("then", ["detach", "attach"])
def test_detach_is_finished(site: Site, n1: Node, n2: Node, point: str, then: str) -> None:
    n1.create()
    put(n1.attach(), b"data")
    assert n1.open().status == 0
    crash(n1, point, "detach")
    if then == "attach":
        assert get(n1.attach(), 4) == b"data"
        assert len(site.loop_devices()) == 1
    n1.ok("detach")
    assert n2.attach()
    assert n2.open().status == 0
    n2.ok("detach")
    n2.ok("remove")
    assert_nothing_left(site, n1, n2)


@pytest.mark.parametrize("point", REMOVE)
def test_remove_is_finished(site: Site, n1: Node, point: str) -> None:
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    crash(n1, point, "remove")
    if point != "file.deleted-disk":
        # Ganeti forgets a disk that can't be attached: until the data is gone, it can be.
        n1.attach()
    n1.ok("detach")
    n1.ok("remove")
    n1.fails(4, "attach")
    n1.create()
    n1.ok("remove")
    assert_nothing_left(site, n1)


@pytest.mark.parametrize("point", GROW)
def test_grow_is_finished(n1: Node, point: str) -> None:
    n1.create()
    device = n1.attach()
    crash(n1, point, "grow", VOL_SIZE="16", VOL_NEW_SIZE="24")
    assert n1.grow(16, 24).status == 0
    assert size_of(device) == 24 * MIB


@pytest.mark.parametrize("point", CREATE)
def test_snapshot_is_made_anew(site: Site, n1: Node, point: str) -> None:
    n1.create()
    put(n1.attach(), b"data")
    variables = {"VOL_SNAPSHOT_NAME": "v1.snap", "VOL_SNAPSHOT_SIZE": "16"}
    crash(n1, point, "snapshot", **variables)
    assert n1.snapshot().status == 0
    assert get(n1.attach("v1.snap"), 4) == b"data"
    for volume in ("v1.snap", "v1"):
        n1.ok("detach", volume)
        n1.ok("remove", volume)
    assert_nothing_left(site, n1)


def test_volume_of_a_living_maker_is_left_alone(site: Site, n1: Node, n2: Node) -> None:
    crash(n1, "file.making", "create", VOL_SIZE="16")
    maker = site.pool / ".making-v1/maker"
    # Another node can't see the process, so it goes by the maker's deadline, or by the offline list.
    assert "being created" in n2.fails(6, "create", VOL_SIZE="16")
    assert "being created" in n2.fails(6, "remove")
    text = maker.read_text()
    site.offline("n1")
    n2.create()
    n2.ok("remove")
    site.offline()
    maker.parent.mkdir()
    maker.write_text(re.sub(r"until \d+", "until 1000000000", text))
    n2.create()
    n2.ok("remove")
    assert_nothing_left(site, n2)


def test_restart_of_the_node(site: Site, n1: Node, n2: Node) -> None:
    """After a restart /run is empty and there are no devices, but the storage still names this node."""
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    site_device = site.loop_devices()
    (n1.run_dir / "attachments/v1").unlink()
    (n1.run_dir / "dev/v1").unlink()
    n2.attach()
    assert n2.open().status == 7
    n1.ok("detach")
    assert n2.open().status == 0
    assert len(site_device) == 1
