# SPDX-License-Identifier: Apache-2.0
"""Logical volumes: what is made, what it reads as, what is refused, and what a kill leaves."""

from __future__ import annotations

import pytest

from tests.conftest import MIB
from tests.lvm.box import POOLS, Box

POOLS_OF_EACH_KIND = ["thin", "thick", "wiped"]


@pytest.mark.parametrize("pool", POOLS_OF_EACH_KIND)
def test_life(fresh: Box, pool: str) -> None:
    if pool == "wiped":
        fresh.sh("blkdiscard -z /dev/loop0 2>/dev/null || true; lvcreate -q -Wn -Zn -l100%FREE -n all vg0")
        fresh.sh(
            "dd if=/dev/zero of=/dev/vg0/all bs=1M status=none 2>/dev/null || true; lvremove -q -y vg0/all"
        )
    volume = fresh.create(pool=pool)
    assert volume.size == 16 * MIB
    assert fresh.lvs() == {"v1"}
    assert fresh.read("v1") == b"\0"
    grown = fresh.ask("extend_volume", volume, 24, pool=pool)
    assert grown.size == fresh.volume(pool=pool).size == 24 * MIB
    assert fresh.lvs() == {"v1"}
    assert fresh.read("v1") == b"\0"
    fresh.sh("printf x | dd of=/dev/vg0/v1 conv=notrunc status=none")
    snapshot = fresh.ask("create_snapshot", grown, "v1.snap", False, pool=pool)
    assert snapshot.size == 24 * MIB
    assert fresh.ask("origin", snapshot, pool=pool) == "v1"
    fresh.sh("printf y | dd of=/dev/vg0/v1 conv=notrunc status=none")
    assert fresh.sh("head -c1 /dev/vg0/v1.snap") == "x"
    assert fresh.ask("list_volumes", pool=pool) == ["v1", "v1.snap"]
    fresh.ask("delete_volume", snapshot, pool=pool)
    fresh.ask("delete_volume", grown, pool=pool)
    assert fresh.lvs() == set()
    assert "VolumeNotFound" in fresh.refusal("get_volume", "v1", pool=pool)


def test_tags_are_written_once(box: Box) -> None:
    """LVM counts the changes of a group's metadata: making a thin volume is three of its own, and no more."""
    volume = box.create(mib=15)
    tags = box.sh("lvs --noheadings -o lv_tags vg0/v1").strip().split(",")
    assert "gx.name=v1" in tags
    assert [tag for tag in tags if tag.startswith("gx.made=c1/n1/20") and tag.endswith("/thin-create")]
    count = box.sh("vgs --noheadings -o vg_seqno vg0")
    box.ask("set_metadata", volume, "originstname+web")
    box.ask("initialize_connection", volume, {"initiator": "iqn.2026-01.a:b"})
    box.ask("terminate_connection", volume, {"initiator": "iqn.2026-01.a:b"})
    assert box.sh("vgs --noheadings -o vg_seqno vg0") == count
    assert box.ask("describe", volume)["metadata"] == "originstname+web"


def test_a_size_is_rounded_up_to_extents(box: Box) -> None:
    for pool, name in (("thin", "v1"), ("thick", "v2")):
        assert box.create(name, 13, pool=pool).size == box.volume(name).size == 16 * MIB
        grown = box.ask("extend_volume", box.volume(name), 17, pool=pool)
        assert grown.size == box.volume(name).size == 20 * MIB


def test_names_that_lvm_does_not_take(box: Box) -> None:
    names = ["a_mlog", "snapshot1", "pvmove0", "x" * 128, "A.B-c+d".replace("+", "_")]
    for name in names:
        box.create(name, 4)
    assert box.ask("list_volumes") == sorted(names)
    assert all(lv.startswith("gx-") for lv in box.lvs())
    for name in names:
        box.ask("delete_volume", box.volume(name))
    assert box.lvs() == set()


def test_what_is_not_ours_is_left_alone(box: Box) -> None:
    box.sh("lvcreate -q -L 8m -n v1 vg0")
    assert "NameTaken: a logical volume vg0/v1 exists" in box.refusal("create_volume", "v1", 16)
    assert "NameTaken: a logical volume vg0/thin exists" in box.refusal("create_volume", "thin", 16)
    assert "VolumeNotFound" in box.refusal("get_volume", "v1")
    assert box.ask("list_volumes") == []
    box.ask("discard_incomplete", "v1")
    assert box.lvs() == {"v1"}


def test_created_twice(box: Box) -> None:
    volume = box.create()
    box.ask("set_metadata", volume, "kept")
    assert "VolumeExists: the volume exists already with 16 MiB" in box.refusal("create_volume", "v1", 32)
    assert box.ask("describe", volume)["metadata"] == "kept"


def test_a_new_volume_knows_nothing_of_an_old_one(box: Box) -> None:
    """Whatever a removal that was killed at its end left."""
    volume = box.create()
    box.ask("set_metadata", volume, "old")
    box.dies("delete_volume", volume, at="lvm.removed")
    assert box.state()["metadata"] == "old"
    assert box.ask("describe", box.create())["metadata"] == ""


@pytest.mark.parametrize("point", ["lvm.making", "lvm.zeroed"])
def test_a_killed_creation_is_marked_and_made_anew(fresh: Box, point: str) -> None:
    fresh.dies("create_volume", "v1", 16, at=point, pool="thick")
    assert "VolumeIncomplete" in fresh.refusal("get_volume", "v1")
    assert "half-made: its creation by process" in fresh.script("attach")
    assert fresh.create(pool="thick").size == 16 * MIB
    assert fresh.read("v1") == b"\0"
    fresh.dies("create_volume", "v2", 16, at=point, pool="thick")
    fresh.ask("discard_incomplete", "v2")
    assert fresh.lvs() == {"v1"}


def test_grown_space_is_zero_before_it_is_seen(fresh: Box) -> None:
    """Killed while it is written, the volume is as it was; the next call does it all."""
    volume = fresh.create(pool="thick")
    fresh.dies("extend_volume", volume, 24, at="lvm.growing", pool="thick")
    assert fresh.volume().size == 16 * MIB
    assert fresh.lvs() == {"v1", "v1+grow"}
    assert fresh.ask("list_volumes") == ["v1"]
    assert fresh.ask("extend_volume", volume, 24, pool="thick").size == 24 * MIB
    assert fresh.read("v1") == b"\0"
    assert fresh.lvs() == {"v1"}
    fresh.dies("extend_volume", fresh.volume(), 32, at="lvm.growing", pool="thick")
    fresh.ask("delete_volume", fresh.volume())
    assert fresh.lvs() == set()


def test_a_removal_that_fails_leaves_the_volume(box: Box) -> None:
    volume = box.create()
    box.dies("delete_volume", volume, at="lvm.unexported")
    assert box.volume().size == volume.size
    box.sh("sleep 1000 </dev/vg0/v1 >/dev/null 2>&1 & echo $! >/run/sleep")
    assert "lvremove failed: Logical volume vg0/v1 in use" in box.refusal("delete_volume", volume)
    assert box.volume().size == volume.size
    box.sh("kill $(cat /run/sleep)")
    box.ask("delete_volume", volume)


def clean(box: Box, mib: int) -> None:
    """Write the beginning of what is free in the group full of zeros."""
    box.sh(
        f"lvcreate -q -Wn -Zn -L {mib}m -n clean vg0;"
        "dd if=/dev/zero of=/dev/vg0/clean bs=1M status=none || true; lvremove -q -y vg0/clean"
    )


def begins(box: Box, name: str) -> str:
    """Where on which disk a logical volume begins."""
    return box.sh(f"lvs --noheadings --segments -o seg_pe_ranges vg0/{name}").strip().partition("-")[0]


def test_what_was_wiped_is_zero(fresh: Box) -> None:
    clean(fresh, 16)
    volume = fresh.create(pool="wiped")
    where = begins(fresh, "v1")
    fresh.fill("v1")
    assert fresh.read("v1") == b"\xff"
    fresh.ask("delete_volume", volume, pool="wiped")
    fresh.create("v2", pool="wiped")
    assert begins(fresh, "v2") == where
    assert fresh.read("v2") == b"\0"


def test_a_snapshot_that_was_wiped_is_zero(fresh: Box) -> None:
    """With what LVM noted in it of the blocks that it keeps."""
    clean(fresh, 40)
    volume = fresh.create(pool="wiped")
    snapshot = fresh.ask("create_snapshot", volume, "v1.snap", False, pool="wiped")
    where = fresh.sh("dmsetup table vg0-v1.snap-cow").split()[4]
    fresh.fill("v1")
    assert fresh.read("v1.snap") == b"\0"
    fresh.ask("delete_volume", snapshot, pool="wiped")
    assert fresh.read("v1") == b"\xff"
    fresh.create("v2", 20, pool="wiped")
    assert fresh.sh("dmsetup table vg0-v2").split()[4] == where
    assert fresh.read("v2") == b"\0"
    assert fresh.lvs() == {"v1", "v2"}


def test_snapshots_of_thick_volumes_need_them(fresh: Box) -> None:
    volume = fresh.create(pool="thick")
    snapshot = fresh.ask("create_snapshot", volume, "v1.snap", False)
    assert "HasSnapshots: it has snapshots (v1.snap)" in fresh.refusal("delete_volume", volume)
    assert "HasSnapshots: it has snapshots (v1.snap)" in fresh.refusal("extend_volume", volume, 32)
    fresh.fill("v1")
    assert fresh.read("v1.snap") == b"\0"
    assert "IsSnapshot" in fresh.refusal("extend_volume", snapshot, 32)
    fresh.ask("delete_volume", snapshot)
    fresh.ask("delete_volume", volume)


def test_a_full_volume_group(box: Box) -> None:
    sentence = box.refusal("create_volume", "v1", 1000, pool="thick")
    assert sentence.startswith("NoSpace: 1000 MiB are needed, ")
    assert sentence.endswith("MiB are free; make room in volume group vg0")
    assert box.lvs() == set()
    volume = box.create(pool="thick")
    assert "NoSpace" in box.refusal("extend_volume", volume, 1000, pool="thick")
    assert box.volume().size == volume.size
    assert box.lvs() == {"v1"}


def test_a_full_thin_pool(box: Box) -> None:
    assert "NoSpace: 200 MiB are needed, 100 MiB are free" in box.refusal("create_volume", "v1", 200)
    box.configure(POOLS.format(address=box.machine.addresses[1]) + "[many]\novercommit = yes\n")
    box.create(mib=200, pool="many")
    box.sh("tr '\\0' '\\377' </dev/zero | dd of=/dev/vg0/v1 bs=1M count=100 iflag=fullblock status=none")
    sentence = box.refusal("create_volume", "v2", 4, pool="many")
    assert sentence.startswith("NoSpace: 4 MiB are needed, 0 MiB are free; make room in vg0/thin"), sentence


def test_a_thin_pool_that_hands_out_old_data(fresh: Box) -> None:
    fresh.sh("lvchange -q --zero n vg0/thin")
    advice = "thin pool vg0/thin hands out blocks with old data; change that: lvchange --zero y vg0/thin"
    assert advice in fresh.refusal("create_volume", "v1", 16)
    assert advice in fresh.refusal("check", "thin-pool")


def test_a_volume_group_that_is_away(fresh: Box) -> None:
    fresh.create()
    fresh.sh("vgchange -q -an vg0")
    fresh.unplug(0)
    sentence = fresh.refusal("get_volume", "v1")
    assert "PoolUnreachable: pool 'thin' does not answer: Volume group \"vg0\" not found" in sentence
    fresh.plug(0)
    assert fresh.volume().size == 16 * MIB


def test_a_disk_that_is_missing(fresh: Box) -> None:
    fresh.add_disk(1)
    fresh.sh("vgextend -q vg0 /dev/loop1")
    fresh.sh("lvcreate -q -Wn -Zn -l 100%PVS -n v1 --addtag gx.name=v1 vg0 /dev/loop1")
    fresh.create("v2", pool="thick")
    fresh.sh("vgchange -q -an vg0")
    fresh.unplug(1)
    assert "PoolUnreachable: pool 'thin' does not answer: a disk of vg0/v1 is missing" in fresh.refusal(
        "get_volume", "v1"
    )
    assert fresh.volume("v2").size == 16 * MIB
    fresh.plug(1)


def test_no_thin_pool(box: Box) -> None:
    box.configure(POOLS.format(address=box.machine.addresses[1]) + "[none]\nthin_pool = other\n")
    assert "make it: lvcreate --type thin-pool -l 95%FREE -n other vg0" in box.refusal(
        "capacity", pool="none"
    )


def test_lvms_own_lock_is_waited_for_no_longer_than_allowed(box: Box) -> None:
    """And not at all by what asks the kernel about a volume that it has."""
    volume = box.create()
    box.sh("flock /run/lock/lvm/V_vg0 sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >/run/sleep")
    box.wait("! flock --nonblock /run/lock/lvm/V_vg0 true")
    try:
        sentence = box.refusal("get_volume", "v2", seconds=3)
        assert "TimedOut: no answer within 3 s while running lvm lv" in sentence
        assert box.volume().size == volume.size
        told = {"initiator": "iqn.2026-01.a:b"}
        box.ask("initialize_connection", volume, told)
        assert len(box.exported()) == 1
        box.ask("terminate_connection", volume, told)
        assert box.exported() == {}
    finally:
        box.sh("pkill -P $(cat /run/sleep); kill $(cat /run/sleep) || true")
    box.create("v2")


@pytest.mark.parametrize("pool", ["thin", "thick"])
def test_the_kernel_tells_what_lvm_tells(box: Box, pool: str) -> None:
    """With the identity that the volume's file has, and without it."""
    volume = box.create(mib=20, pool=pool)
    told = {"initiator": "iqn.2026-01.a:b"}
    before = box.ask("initialize_connection", volume, told)
    assert box.state()["identity"]
    box.sh('sed -i \'s/"identity": .*/"identity": "",/\' /var/lib/ganeti-extstorage/lvm/vg0/v1')
    assert box.state()["identity"] == ""
    assert vars(box.volume()) == vars(volume)
    assert box.ask("initialize_connection", volume, told) == before
    box.ask("delete_volume", volume)
    assert box.lvs() == set()


def test_a_guests_volume_group_of_the_same_name(box: Box) -> None:
    """What is inside of a volume is never looked at."""
    box.create("v1", 64)
    box.sh("dd if=/dev/loop0 of=/dev/vg0/v1 bs=1M count=4 status=none")
    assert box.volume().size == 64 * MIB
    box.create("v2")
    assert box.ask("list_volumes") == ["v1", "v2"]


def test_scripts_on_the_storage_machine_itself(box: Box) -> None:
    """Without a controller the machine does for itself what it would do for a node."""
    box.configure("[thin]\nvolume_group = vg0\nportals = 192.0.2.1\n")
    assert box.script("create", VOL_SIZE="16", EXTP_PROVISIONING="thick") == ""
    assert box.script("grow", VOL_SIZE="16", VOL_NEW_SIZE="24") == ""
    assert box.script("setinfo", VOL_METADATA="x") == ""
    assert box.script("snapshot", VOL_SNAPSHOT_NAME="v1.snap", VOL_SNAPSHOT_SIZE="24") == ""
    assert box.script("remove").startswith(
        "6: lvm: remove of volume v1 in pool thin failed: it has snapshots"
    )
    assert box.script("remove", "v1.snap") == ""
    assert box.script("remove") == ""
    assert box.lvs() == set()
