# SPDX-License-Identifier: Apache-2.0
"""Volumes, snapshots and clones (the reference's sections 0.3, 1.3, 1.5)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.appliances.lefthand.client import Client, client
from tests.appliances.lefthand.codes import NOTHING_DONE
from tests.appliances.lefthand.conftest import Install


def test_a_volume_tells_of_itself(array: Client) -> None:
    """1.3: the union of the samples' attributes; size in bytes."""
    array.volume("V1", "size=64MB thinProvision=1")
    volume = array.ok("getVolumeInfo volumeName=V1").one("volume")
    expected = {
        "autogrowPages", "availability", "blockSize", "bytesWritten", "checkSum", "clusterName", "created",
        "deleting", "description", "groupName", "initialQuota", "isPrimary", "iscsiIqn", "maxSize", "md5",
        "minReplication", "name", "parity", "replication", "reserveQuota", "scratchQuota", "serialNumber",
        "size", "stridePages", "thinProvision",
    }  # fmt: skip
    assert set(volume.attrib) == expected
    assert volume.get("size") == str(64 << 20)
    assert (volume.get("blockSize"), volume.get("availability"), volume.get("deleting")) == (
        "1024",
        "online",
        "false",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", volume.get("created", ""))
    assert [child.attrib for child in volume] == [{"description": "OK", "value": "2"}]


def test_identity(array: Client) -> None:
    """1.3: the target's name ends in number and name in lower case; the serial number in the same number."""
    array.volume("Data.1")
    told = array.info("Data.1")
    found = re.fullmatch(r"iqn\.2003-10\.com\.lefthandnetworks:lab:(\d+):data\.1", told["iscsiIqn"])
    assert found
    assert told["serialNumber"] == told["md5"] + f"{int(found[1]):016x}"
    disk = array.array.group.volume("Data.1")
    assert re.fullmatch(rf"naa\.6000eb3[0-9a-f]{{9}}{int(found[1]):016x}", disk.wwn)


def test_a_name_is_taken_once(array: Client) -> None:
    """1.4, 1.5: names are unique in the management group; "already exists" has no code of its own."""
    array.volume()
    words = array.refused("createVolume volumeName=v1 clusterName=c1 size=1GB")
    assert "already exists" in words
    assert array.info()["size"] == str(64 << 20)
    assert "already exists" in array.refused("createSnapshot snapshotName=v1 volumeName=v1")


def test_names_have_a_length(array: Client) -> None:
    """1.5: 1 to 127 characters."""
    array.volume("x" * 127)
    assert "not a valid name" in array.refused(f"createVolume volumeName={'x' * 128} clusterName=c1 size=1GB")


def test_growing_and_shrinking(array: Client) -> None:
    """1.5: the size is absolute; a smaller one is asked about, and done."""
    array.volume()
    array.ok("modifyVolume volumeName=v1 size=128MB")
    assert array.info()["size"] == str(128 << 20)
    asked = array.array.execute("admin", "modifyVolume volumeName=v1 size=64MB output=XML")
    assert "Are you sure? (y/n)" in asked.stdout
    assert array.info()["size"] == str(128 << 20)
    array.ok("modifyVolume volumeName=v1 size=64MB prompt=false")
    assert array.info()["size"] == str(64 << 20)


def test_nothing_to_change(array: Client) -> None:
    """1.4: CliqNothingDone is success."""
    array.volume()
    told = array.run("modifyVolume volumeName=v1 size=64MB")
    assert (told.name, told.result, told.status) == (NOTHING_DONE.name, "1", 1)


def test_descriptions(array: Client) -> None:
    """1.5: given at creation, and changed."""
    array.volume("v1", "size=64MB description=one")
    array.ok('modifyVolume volumeName=v1 description="two words"')
    assert array.info()["description"] == "two words"


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        ("createVolume volumeName=x clusterName=c1 size=64MB", "Volume"),
        ("createSnapshot snapshotName=x volumeName=v1", "Snapshot"),
        ("createServer serverName=x initiator=iqn.x", "Server"),
    ],
)
def test_deleting_asks_first(array: Client, make: str, kind: str) -> None:
    """1.1: a question to which nobody answers over SSH, unless prompt=false."""
    array.volume()
    array.ok(make)
    line = f"delete{kind} {kind}Name=x"
    answer = array.array.execute("admin", f"{line} output=XML")
    assert answer.stdout == "This operation is potentially irreversible.  Are you sure? (y/n) "
    assert array.ok(f"get{kind}Info {kind}Name=x")
    array.ok(f"{line} prompt=false")
    assert "not found" in array.run(f"get{kind}Info {kind}Name=x").description
    assert "not found" in array.run(f"{line} prompt=false").description


def test_full_volumes_reserve_space(install: Install) -> None:
    """1.5: thinProvision=0 takes all of its size from the cluster; thin takes none yet."""
    array = install(space=1 << 30)
    array.volume("thin", "size=10GB thinProvision=1")
    array.volume("full", "size=768MB thinProvision=0")
    cluster = array.ok("getClusterInfo clusterName=c1").one("cluster")
    assert cluster.get("unprovisionedSpace") == str(256 << 20)
    assert "not enough space" in array.refused("createVolume volumeName=more clusterName=c1 size=512MB")
    assert "not enough space" in array.refused("modifyVolume volumeName=full size=2GB")
    assert array.info("full")["size"] == str(768 << 20)


def test_one_storage_node_keeps_one_copy(install: Install) -> None:
    """1.5: a cluster of one node only accepts replication=1."""
    assert "too few" in install().refused("createVolume volumeName=v clusterName=c1 size=1GB replication=2")
    array = install(nodes=("10.0.0.2", "10.0.0.3"))
    array.volume("v1", "size=1GB replication=2")
    assert array.info()["replication"] == "2"


def test_snapshots(array: Client) -> None:
    """0.3, 1.3: a snapshot tells of itself like a volume, with its parent's serial number."""
    array.volume()
    array.ok("createSnapshot snapshotName=s1 volumeName=v1 inheritAccess=1 description=before")
    snapshot = array.ok("getSnapshotInfo snapshotName=s1").one("snapshot").attrib
    assert snapshot["volumeSerial"] == array.info()["serialNumber"]
    assert (snapshot["description"], snapshot["size"]) == ("before", str(64 << 20))
    assert not {"thinProvision", "maxSize", "parity"} & set(snapshot)
    # 1.3: the number at the end of the serial number is the snapshot's own.
    assert snapshot["serialNumber"].endswith(f"{int(snapshot['id']):016x}")
    array.ok("deleteSnapshot snapshotName=s1 prompt=false")
    assert "not found" in array.run("getSnapshotInfo snapshotName=s1").description


def test_snapshots_inherit_access(array: Client) -> None:
    """0.3: with inheritAccess=1 whoever reaches the volume reaches its snapshot, too."""
    array.volume()
    array.ok("createServer serverName=n1 initiator=iqn.n1")
    array.ok("assignVolumeToServer volumeName=v1 serverName=n1")
    for flag, groups in (("0", []), ("1", ["n1"])):
        array.ok(f"createSnapshot snapshotName=s{flag} volumeName=v1 inheritAccess={flag}")
        told = array.ok(f"getSnapshotInfo snapshotName=s{flag}")
        assert [one["authGroup"] for one in told.all("permission")] == groups


def test_clone_points(array: Client) -> None:
    """0.3, 1.5: a snapshot with clones stays until they go, and so does its volume."""
    array.volume()
    array.ok("createSnapshot snapshotName=s1 volumeName=v1")
    array.ok("cloneSnapshot snapshotName=s1 volumeName=copy description=mine")
    assert array.info("copy")["description"] == "mine"
    words = array.refused("deleteSnapshot snapshotName=s1 prompt=false")
    assert "cannot be deleted because it is a clone point" in words
    assert "clone point" in array.refused("deleteVolume volumeName=v1 prompt=false")
    array.ok("deleteVolume volumeName=copy prompt=false")
    array.ok("deleteSnapshot snapshotName=s1 prompt=false")
    array.ok("deleteVolume volumeName=v1 prompt=false")


def test_a_deletion_that_takes_time(install: Install) -> None:
    """1.3: what is deleted can still be told of, as ``deleting``, and then nothing can be done with it."""
    array = install(deletion_looks=2)
    array.volume()
    array.ok("createSnapshot snapshotName=s1 volumeName=v1")
    array.ok("cloneSnapshot snapshotName=s1 volumeName=copy")
    array.ok("deleteVolume volumeName=copy prompt=false")
    assert "already exists" in array.refused("createVolume volumeName=copy clusterName=c1 size=64MB")
    for line in ("deleteVolume volumeName=copy prompt=false", "modifyVolume volumeName=copy size=128MB"):
        assert "is being deleted" in array.refused(line)
    for _ in range(2):
        assert "clone point" in array.refused("deleteSnapshot snapshotName=s1 prompt=false")
        assert array.info("copy")["deleting"] == "true"
    assert "not found" in array.run("getVolumeInfo volumeName=copy").description
    array.ok("deleteSnapshot snapshotName=s1 prompt=false")


def test_volumes_with_snapshots(install: Install) -> None:
    """1.5: refused by one version, while another deletes them, too."""
    for too in (False, True):
        array = install(deletes_snapshots_with_volume=too)
        array.volume()
        array.ok("createSnapshot snapshotName=s1 volumeName=v1")
        if too:
            array.ok("deleteVolume volumeName=v1 prompt=false")
            assert not array.array.group.snapshots
        else:
            assert "snapshots" in array.refused("deleteVolume volumeName=v1 prompt=false")


def test_snapshots_of_a_volume(install: Install) -> None:
    """1.5: whether getSnapshotInfo takes a volume's name is not sure."""
    for understood in (True, False):
        array = install(lists_snapshots_by_volume=understood)
        array.volume()
        array.ok("createSnapshot snapshotName=s1 volumeName=v1")
        told = array.run("getSnapshotInfo volumeName=v1")
        assert [one["name"] for one in told.all("snapshot")] == (["s1"] if understood else [])
        assert told.result == ("0" if understood else "80001006")


def test_volumes_in_use(array: Client) -> None:
    """1.4: what is connected can't be deleted; only the description says so."""
    array.volume()
    array.array.group.sessions = lambda target: ["iqn.n1"] if target == array.info()["iscsiIqn"] else []
    assert "in use" in array.refused("deleteVolume volumeName=v1 prompt=false")
    assert array.info()


def test_all_volumes(array: Client) -> None:
    """1.5: without a name, getVolumeInfo tells of all."""
    array.volume("a")
    array.volume("b")
    assert [one["name"] for one in array.ok("getVolumeInfo").all("volume")] == ["a", "b"]


def test_what_a_volume_has_in_it(tmp_path: Path) -> None:
    """A volume reads as zeros; a snapshot and its clone keep what it had; what is grown reads as zeros."""
    array = client(tmp_path)
    array.volume("v1", "size=1MB")
    file = array.array.group.volume("v1").file
    assert file.read_bytes() == bytes(1 << 20)
    with file.open("r+b") as stream:
        stream.write(b"before")
    array.ok("createSnapshot snapshotName=s1 volumeName=v1")
    with file.open("r+b") as stream:
        stream.write(b"after!")
    array.ok("cloneSnapshot snapshotName=s1 volumeName=copy")
    copy = array.array.group.volume("copy").file
    assert copy.read_bytes()[:6] == b"before"
    array.ok("modifyVolume volumeName=v1 size=2MB")
    assert file.read_bytes() == b"after!" + bytes((2 << 20) - 6)
