# SPDX-License-Identifier: Apache-2.0
"""Volumes: made, grown, copied, deleted, and what lives with them."""

from __future__ import annotations

import pytest

from extstorage_common.errors import (
    BadRequest,
    Exists,
    NoSpace,
    Refused,
    Unreachable,
    VolumeExists,
    VolumeIncomplete,
    VolumeNotFound,
)
from tests.comstar.conftest import MIB, Site, attach

BASE = "tank/ganeti"
ANY = "Name with \"$(reboot)\"; `x` 'q' & more"


def datasets(site: Site) -> list[str]:
    """What is below the pool's dataset."""
    listed = site.run(f"zfs list -H -o name -t filesystem,volume,snapshot -r {BASE}").split("\n")
    return [name.removeprefix(BASE + "/") for name in listed if name not in ("", BASE)]


def test_pool(site: Site) -> None:
    one = site.backend()
    assert one.initialize_pool() == one.pool_uuid() == site.backend("n2").pool_uuid()
    total, free = one.capacity()
    assert total == free == 4096 * MIB
    for _, check in one.checks():
        check()


@pytest.mark.parametrize("name", ["f7c1-aa.ext.disk0", "A_b.C-" + "x" * 120])
def test_life(site: Site, name: str) -> None:
    backend = site.backend()
    assert backend.create_volume(name, 16).size == 16 * MIB
    assert backend.get_volume(name).size == 16 * MIB
    assert backend.list_volumes() == [name]
    data = attach(backend, name)
    assert data["size"] == 16 * MIB
    volume = backend.get_volume(name)
    assert backend.extend_volume(volume, 24).size == 24 * MIB
    assert backend.get_volume(name).size == 24 * MIB
    backend.delete_volume(backend.get_volume(name))
    with pytest.raises(VolumeNotFound):
        backend.get_volume(name)
    assert datasets(site) == []


def test_create_again_touches_nothing(site: Site) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    with pytest.raises(VolumeExists):
        site.backend("n2").create_volume("v1", 32)
    assert backend.get_volume("v1").size == 16 * MIB


def test_sparse_and_reserved(site: Site) -> None:
    site.backend(provisioning="sparse").create_volume("s", 10000)
    reserving = site.backend(provisioning="reserved")
    with pytest.raises(NoSpace) as raised:
        reserving.create_volume("r", 10000)
    assert "10000 MiB are needed, 4096 MiB are free" in str(raised.value)
    assert datasets(site) == ["s", "s/disk"], "a create that failed leaves nothing"
    volume = reserving.create_volume("r", 1000)
    assert reserving.capacity()[1] == 3096 * MIB
    with pytest.raises(NoSpace):
        reserving.extend_volume(volume, 9000)
    assert reserving.get_volume("r").size == 1000 * MIB
    assert reserving.describe(volume)["provisioning"] == "reserved"


def test_half_made_volume(site: Site) -> None:
    backend = site.backend()
    site.run(f"zfs create -o org.ganeti.extstorage:volume=v1 {BASE}/v1")
    with pytest.raises(VolumeIncomplete):
        backend.get_volume("v1")
    assert backend.list_volumes() == ["v1"]
    backend.create_volume("v1", 16)
    assert backend.get_volume("v1").size == 16 * MIB
    site.run(f"zfs create -o org.ganeti.extstorage:volume=v2 {BASE}/v2")
    site.run(f"zfs snapshot {BASE}/v2@holders-3")
    backend.discard_incomplete("v2")
    backend.discard_incomplete("v1")
    backend.discard_incomplete("v3")
    assert datasets(site) == ["v1", "v1/disk"]


def test_volume_that_is_finished_by_another_call_is_not_half_made(site: Site) -> None:
    backend = site.backend()
    site.run(f"zfs create -o org.ganeti.extstorage:volume=v1 {BASE}/v1")
    half_made = backend._state("v1")
    site.run(f"zfs create -V 16m {BASE}/v1/disk")
    with pytest.raises(VolumeExists, match="16 MiB"):
        backend._remove_container(half_made)
    assert datasets(site) == ["v1", "v1/disk"]


def test_strangers_are_left_alone(site: Site) -> None:
    backend = site.backend()
    site.run(f"zfs create {BASE}/v1")
    site.run(f"zfs create -s -V 16M {BASE}/v1/disk")
    with pytest.raises(Exists):
        backend.get_volume("v1")
    with pytest.raises(Exists):
        backend.create_volume("v1", 16)
    assert backend.list_volumes() == []
    assert datasets(site) == ["v1", "v1/disk"]


def test_gone_is_a_positive_answer(site: Site) -> None:
    """A pool that is not imported has no datasets either, and a banner is no answer."""
    backend = site.backend(dataset="other/ganeti")
    with pytest.raises(Unreachable):
        backend.get_volume("v1")
    site.machine.fault("reply", "zfs list", value={"stdout": "Oracle Corporation SunOS\n", "status": 0})
    with pytest.raises(Unreachable):
        site.backend().get_volume("v1")


def test_metadata(site: Site) -> None:
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    for text in (
        "originstname+instance1",
        ANY,
        "tab\there\nand a line \N{GREEK SMALL LETTER ALPHA} 100%",
        "",
    ):
        backend.set_metadata(volume, text)
        assert site.backend("n2").describe(volume)["metadata"] == text
    with pytest.raises(BadRequest):
        backend.set_metadata(volume, "x" * 1001)


def test_snapshot_is_a_volume(site: Site) -> None:
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    snapshot = backend.create_snapshot(volume, "v1.snap", lambda: None)
    assert snapshot.size == volume.size
    assert backend.origin(backend.get_volume("v1.snap")) == "v1"
    assert backend.origin(volume) == ""
    with pytest.raises(Refused, match=r"\(v1\.snap\)"):
        backend.delete_volume(backend.get_volume("v1"))
    attach(backend, "v1")
    first, second = attach(backend, "v1"), attach(backend, "v1.snap")
    assert first["wwn"] != second["wwn"]
    with pytest.raises(VolumeExists):
        backend.create_snapshot(volume, "v1.snap", lambda: None)
    backend.delete_volume(backend.get_volume("v1.snap"))
    assert datasets(site) == ["v1", "v1/disk"]
    backend.delete_volume(backend.get_volume("v1"))
    assert datasets(site) == []


def test_snapshot_that_was_begun_is_begun_anew(site: Site) -> None:
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    site.run(f"zfs snapshot {BASE}/v1/disk@for-v1.snap")
    backend.create_snapshot(volume, "v1.snap", lambda: None)
    backend.delete_volume(backend.get_volume("v1.snap"))
    site.run(f"zfs snapshot {BASE}/v1/disk@for-v1.snap")
    backend.delete_volume(backend.get_volume("v1"))
    assert datasets(site) == []


def test_snapshot_without_space(site: Site) -> None:
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    site.trouble("^zfs snapshot", "cannot create snapshot 'tank/ganeti/v1/disk@for-v1.snap': out of space")
    with pytest.raises(NoSpace):
        backend.create_snapshot(volume, "v1.snap", lambda: None)
    assert datasets(site) == ["v1", "v1/disk"]


def test_volume_grows_before_its_unit(site: Site) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    attach(backend)
    volume = backend.get_volume("v1")
    site.seen()
    backend.extend_volume(volume, 32)
    commands = [line.split()[1] for line in site.seen()]
    assert commands == ["set", "modify-lu"]
    assert f"Size              : {32 * MIB}" in site.run("stmfadm list-lu -v")


def test_volume_without_a_unit_grows(site: Site) -> None:
    """As one that was never attached; ``modify-lu`` has no words for a unit that is not there."""
    backend = site.backend()
    assert backend.extend_volume(backend.create_volume("v1", 16), 32).size == 32 * MIB
    assert attach(site.backend())["size"] == 32 * MIB
    assert f"Size              : {32 * MIB}" in site.run("stmfadm list-lu -v")


def test_grow_that_was_killed_is_finished_by_attach(site: Site) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    attach(backend)
    site.run(f"zfs set volsize={32 * MIB} {BASE}/v1/disk")
    assert attach(backend)["size"] == 32 * MIB
    assert f"Size              : {32 * MIB}" in site.run("stmfadm list-lu -v")


def test_delete_that_was_killed(site: Site) -> None:
    """Ganeti forgets what can't be attached: until the data is gone, it can be."""
    backend = site.backend()
    backend.create_volume("v1", 16)
    data = attach(backend)
    site.trouble("^zfs destroy", "cannot destroy: internal error", status=1)
    with pytest.raises(Refused):
        backend.delete_volume(backend.get_volume("v1"))
    assert attach(site.backend("n2"))["wwn"] == data["wwn"]
    backend.delete_volume(backend.get_volume("v1"))
    assert datasets(site) == []
    assert site.run("stmfadm list-lu") == ""
    assert site.run("itadm list-target") == ""


def test_names_longer_than_zfs_takes(site: Site) -> None:
    backend = site.backend(dataset="tank/" + "d" * 200)
    backend.initialize_pool()
    with pytest.raises(BadRequest):
        backend.create_volume("x" * 100, 16)


def test_newer_illumos_words_for_a_missing_snapshot(site: Site) -> None:
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    backend.create_snapshot(volume, "v1.snap", lambda: None)
    snapshot = f"{BASE}/v1/disk@for-v1.snap"
    site.trouble(f"^zfs destroy {snapshot}", "could not find any snapshots to destroy; check snapshot names.")
    backend.delete_volume(backend.get_volume("v1.snap"))


def test_snapshots_of_others_keep_the_volume(site: Site) -> None:
    backend = site.backend()
    backend.create_volume("v1", 16)
    attach(backend)
    site.run(f"zfs snapshot {BASE}/v1/disk@monday")
    site.run(f"zfs snapshot {BASE}/v1@holders-monday")
    with pytest.raises(Refused, match="v1/disk@monday"):
        backend.delete_volume(backend.get_volume("v1"))
    attach(backend)
    site.run(f"zfs destroy {BASE}/v1/disk@monday")
    backend.delete_volume(backend.get_volume("v1"))
    assert datasets(site) == []
