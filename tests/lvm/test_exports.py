# SPDX-License-Identifier: Apache-2.0
"""Exports as a bare initiator sees them: who may log in, with what, and what fencing does to them."""

from __future__ import annotations

import time

import pytest

from extstorage_common.backends.base import Holder
from tests.lvm.box import CHECKOUT, LOSSES, POOLS, Box, Initiator
from tests.machines import wait_until

AUTHORIZATION = 24
"""iscsiadm's exit status for a login that the target refuses."""
SILENCE = 45
"""Seconds within which the kernel has noticed that an initiator is gone, and that is found out."""


RESTORE = f"cd {CHECKOUT}; exec /usr/bin/python3 -m gnt_storage controller restore"
ONE_POOL = "[thin]\nvolume_group = vg0\nportals = {address}\n"
STATE = "/var/lib/ganeti-extstorage/lvm/vg0"


def test_two_nodes_share_a_disk(box: Box, c1: Initiator, c2: Initiator) -> None:
    volume = box.create()
    one, two = box.export(volume, c1), box.export(volume, c2)
    assert (one.iqn, one.data["wwn"]) == (two.iqn, two.data["wwn"])
    assert not set(one.secrets) & set(two.secrets)
    assert c1.login(one) == c2.login(two) == 0
    assert c1.write(one, "hello")
    assert c2.read(two) == "hello"
    assert box.ask("attached_nodes", volume) == ["c1", "c2"]


def test_identity_and_size(box: Box, c1: Initiator) -> None:
    disk = box.export(box.create(mib=24), c1)
    assert c1.login(disk) == 0
    device = c1.device(disk)
    assert device
    assert c1.machine.run(["cat", f"/sys/block/{device}/size"]).stdout.strip() == str(24 * 2048)
    serial = c1.machine.run(["/lib/udev/scsi_id", "-g", "-x", f"/dev/{device}"]).stdout
    assert f"ID_SCSI_SERIAL={disk.data['serial']}" in serial


def test_a_guests_discard_reaches_the_thin_pool(box: Box, c1: Initiator) -> None:
    disk = box.export(box.create(), c1)
    assert disk.data["discard"] is True
    assert c1.login(disk) == 0
    c1.machine.run(
        ["dd", "if=/dev/urandom", f"of=/dev/{c1.device(disk)}", "bs=1M", "count=16", "oflag=direct"]
    )
    assert box.sh("lvs --noheadings -o data_percent vg0/v1").strip() == "100.00"
    c1.machine.run(["blkdiscard", f"/dev/{c1.device(disk)}"])
    assert box.sh("lvs --noheadings -o data_percent vg0/v1").strip() == "0.00"


def test_who_is_not_listed(box: Box, c1: Initiator, c2: Initiator) -> None:
    """Not even with the secrets of one who is; and nobody is told what targets there are."""
    disk = box.export(box.create(), c1)
    assert c2.login(disk) == AUTHORIZATION
    found = c2.machine.run(["iscsiadm", "-m", "discovery", "-t", "st", "-p", disk.portal], check=False)
    assert "iqn.2026-01.org.ganeti" not in found.stdout


@pytest.mark.parametrize(
    "key", ["auth_username", "auth_password", "mutual_auth_username", "mutual_auth_password"]
)
def test_both_sides_prove_who_they_are(box: Box, c1: Initiator, key: str) -> None:
    disk = box.export(box.create(), c1)
    assert c1.login(disk.with_(**{key: "somethingelse12"})) != 0
    c1.logout()
    assert c1.login(disk) == 0


def test_no_login_without_secrets(box: Box, c1: Initiator) -> None:
    disk = box.export(box.create(), c1)
    keys = ("auth_username", "auth_password", "mutual_auth_username", "mutual_auth_password")
    assert c1.login(disk.with_(auth_method="None", **dict.fromkeys(keys, ""))) == AUTHORIZATION


def test_attached_again(box: Box, c1: Initiator) -> None:
    """The same answer, and the session goes on."""
    volume = box.create()
    disk = box.export(volume, c1)
    assert c1.login(disk) == 0
    sessions = c1.machine.run(["iscsiadm", "-m", "session"]).stdout
    again = box.export(volume, c1)
    assert again.data == disk.data
    assert c1.machine.run(["iscsiadm", "-m", "session"]).stdout == sessions
    assert c1.write(disk, "x")


def test_detached(box: Box, c1: Initiator, c2: Initiator) -> None:
    volume = box.create()
    one, two = box.export(volume, c1), box.export(volume, c2)
    assert c1.login(one) == c2.login(two) == 0
    box.ask("terminate_connection", volume, {"initiator": c1.name}, node="c1")
    assert box.exported() == {one.iqn: [c2.name]}
    assert c2.write(two, "still here")
    box.ask("terminate_connection", volume, {"initiator": c2.name}, node="c2")
    box.ask("terminate_connection", volume, {"initiator": c2.name}, node="c2")
    assert (box.exported(), box.objects()) == ({}, [])
    assert box.export(volume, c1).secrets != one.secrets


def test_one_initiators_name_for_two_nodes(box: Box, c1: Initiator) -> None:
    volume = box.create()
    box.export(volume, c1)
    sentence = box.refusal("initialize_connection", volume, {"initiator": c1.name}, node="c9")
    assert "InitiatorTaken: node c1 has the volume attached by the same initiator's name" in sentence
    for wrong in ("", "../../x", "iqn.2026-01.X:y"):
        sentence = box.refusal("initialize_connection", volume, {"initiator": wrong}, node="c9")
        assert "NotAnInitiator" in sentence
    assert box.exported() == {box.export(volume, c1).iqn: [c1.name]}


def test_removed_while_attached(box: Box, c1: Initiator) -> None:
    volume = box.create()
    disk = box.export(volume, c1)
    assert c1.login(disk) == 0
    box.ask("delete_volume", volume)
    assert (box.lvs(), box.exported(), box.objects(), box.state()) == (set(), {}, [], {})


# --- fencing ----------------------------------------------------------------------------------------


def test_a_fenced_node(box: Box, c1: Initiator, c2: Initiator) -> None:
    """Its session has ended, it can't come back with what it knows, and its attach works again."""
    volume = box.create()
    one, two = box.export(volume, c1), box.export(volume, c2)
    assert c1.login(one) == c2.login(two) == 0
    holder = box.hold(volume, c1)
    assert c1.write(one, "before")
    box.ask("fence", volume, holder, node="c2")
    box.ask("fence", volume, holder, node="c2")
    assert box.exported() == {one.iqn: [c2.name]}
    assert not c1.write(one, "after")
    assert c2.read(two) == "before"
    # Once it is let in again, what it still has does not get in by itself.
    again = box.export(volume, c1)
    assert not set(again.secrets) & set(one.secrets)
    assert not c1.write(one, "late")
    assert c2.read(two) == "before"
    c1.logout()
    assert c1.login(again) == 0
    assert c1.read(again) == "before"


def test_a_living_node_is_alive(box: Box, c1: Initiator) -> None:
    volume = box.create()
    disk = box.export(volume, c1)
    holder = box.hold(volume, c1)
    assert box.ask("is_alive", volume, holder, node="c2") is False
    assert c1.login(disk) == 0
    assert box.ask("is_alive", volume, holder, node="c2") is True


def test_a_killed_node_is_noticed(box: Box, c1: Initiator, c2: Initiator) -> None:
    volume = box.create()
    assert c1.login(box.export(volume, c1)) == 0
    holder = box.hold(volume, c1)
    c1.machine.crash()
    try:
        started = time.monotonic()
        assert box.ask("is_alive", volume, holder, node="c2") is False
        assert time.monotonic() - started < SILENCE
        box.ask("fence", volume, holder, node="c2")
        two = box.export(volume, c2)
        assert c2.login(two) == 0
        assert box.exported() == {two.iqn: [c2.name]}
    finally:
        c1.machine.boot()


def test_holders_are_compared_and_set(box: Box) -> None:
    volume = box.create()
    nobody = box.ask("read_holders", volume)
    mine, theirs = Holder("n1", "exclusive", "iqn.a:1"), Holder("n2", "exclusive", "iqn.a:2")
    assert box.ask("replace_holders", volume, nobody, [mine]) is True
    assert box.ask("replace_holders", volume, nobody, [theirs], node="n2") is False
    (found,) = box.ask("read_holders", volume).entries
    assert vars(found) == vars(mine)


# --- what was lost ----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", LOSSES)
def test_what_was_lost_or_changed_comes_back_with_the_next_attach(box: Box, c1: Initiator, what: str) -> None:
    volume = box.create()
    before = box.export(volume, c1)
    box.sh(LOSSES[what])
    after = box.export(volume, c1)
    assert after.data == before.data
    assert c1.login(after) == 0
    assert c1.write(after, "x")
    group = f"/sys/kernel/config/target/iscsi/{after.iqn}/tpgt_1"
    assert box.sh(f"cat {group}/attrib/authentication {group}/attrib/generate_node_acls").split() == [
        "1",
        "0",
    ]


def test_a_strangers_access_is_taken_away(box: Box, c1: Initiator) -> None:
    volume = box.create()
    disk = box.export(volume, c1)
    box.sh(f"mkdir /sys/kernel/config/target/iscsi/{disk.iqn}/tpgt_1/acls/iqn.2026-01.strange:r")
    box.export(volume, c1)
    assert box.exported() == {disk.iqn: [c1.name]}


@pytest.mark.parametrize("point", ["lvm.noted", "lvm.revoked"])
def test_killed_between_file_and_kernel(box: Box, c1: Initiator, point: str) -> None:
    volume = box.create()
    if point == "lvm.noted":
        box.dies("initialize_connection", volume, {"initiator": c1.name}, at=point)
        assert box.exported() == {}
        box.ask("initialize_connection", volume, {"initiator": c1.name})
        assert list(box.exported().values()) == [[c1.name]]
    else:
        box.ask("initialize_connection", volume, {"initiator": c1.name})
        box.dies("terminate_connection", volume, {"initiator": c1.name}, at=point)
        assert list(box.exported().values()) == [[c1.name]]
        box.ask("terminate_connection", volume, {"initiator": c1.name})
        assert box.exported() == {}


def test_restored_after_a_restart(box: Box, c1: Initiator, c2: Initiator) -> None:
    """Whatever the system's own service restored: a fenced node, a target that is no more."""
    volume, gone = box.create(), box.create("gone")
    one, two = box.export(volume, c1), box.export(volume, c2)
    other = box.export(gone, c1)
    assert c1.login(one) == 0
    assert c1.write(one, "before")
    box.sh("mkdir -p /etc/rtslib-fb-target; targetctl save 2>/dev/null")
    box.ask("fence", volume, Holder("c2", "exclusive", c2.name))
    box.ask("delete_volume", gone)
    box.sh("targetctl clear 2>/dev/null; lvchange -an vg0/v1; lvcreate -q -V 16m --thinpool vg0/thin -n gone")
    assert box.exported() == {}
    box.sh("lvchange -ay vg0/v1; targetctl restore 2>/dev/null")
    assert set(box.exported()) == {one.iqn, other.iqn}
    assert "lvm: pool 'thin': v1" in box.restore()
    assert box.exported() == {one.iqn: [c1.name]}
    assert c2.login(two) != 0
    wait_until(lambda: c1.read(one) == "before")  # its session was lost, and comes back
    assert len(box.objects()) == 1


def test_a_pool_that_is_away_keeps_no_other_from_being_restored(box: Box, c1: Initiator) -> None:
    disk = box.export(box.create(), c1)
    away = f"[a]\nvolume_group = nosuch\nportals = {box.machine.addresses[1]}\n"
    box.configure(away + POOLS.format(address=box.machine.addresses[1]))
    box.sh("targetctl clear 2>/dev/null")
    ran = box.machine.run(RESTORE, check=False)
    assert (ran.returncode, ran.stderr.count("\n")) == (8, 1)
    assert ran.stderr.startswith("gnt-storage: lvm: pool 'a': ")
    assert box.exported() == {disk.iqn: [c1.name]}


def test_a_volume_that_is_being_worked_on_keeps_no_other_from_being_restored(box: Box, c1: Initiator) -> None:
    """What is exported of it goes on, too."""
    busy, other = (box.export(box.create(name), c1) for name in ("v1", "v2"))
    box.configure(ONE_POOL.format(address=box.machine.addresses[1]) + "timeout = 5\n")
    locks = "/run/ganeti-extstorage/locks/lvm/vg0"
    assert c1.login(busy) == 0
    box.sh(f"echo 0 >/sys/kernel/config/target/iscsi/{other.iqn}/tpgt_1/enable")
    ran = box.machine.run(f"flock {locks}/v1 sh -c '{RESTORE}'", check=False)
    assert (ran.returncode, ran.stdout) == (9, ""), ran.stderr
    assert "1 of the exports could not be restored, the first of which is v1: another call is " in ran.stderr
    assert c1.write(busy, "goes on")
    assert c1.login(other) == 0


def test_restored_while_a_volume_is_attached(box: Box, c1: Initiator) -> None:
    """The restoration waits for the reading of a file, which is a pipe, until another volume was attached."""
    box.configure(ONE_POOL.format(address=box.machine.addresses[1]))
    first = box.export(box.create(), c1)
    box.sh(f"mv {STATE}/v1 /srv/v1; mkfifo {STATE}/v1; rm -f /srv/go; {RESTORE} >/srv/said 2>&1 &")
    # Goes on when somebody reads.
    box.sh(
        f"exec 3>{STATE}/v1; mv /srv/v1 {STATE}/v1;"
        f"(while [ ! -e /srv/go ]; do sleep 0.1; done; cat {STATE}/v1 >&3) >/dev/null 2>&1 &"
    )
    second = box.export(box.create("v2"), c1)
    box.sh("touch /srv/go")
    box.wait("grep -q v1 /srv/said")
    assert set(box.exported()) == {first.iqn, second.iqn}
