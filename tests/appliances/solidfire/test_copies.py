# SPDX-License-Identifier: Apache-2.0
"""Snapshots, clones and asynchronous results as the reference has them: each test names its section."""

from __future__ import annotations

from tests.appliances.solidfire.conftest import GB, NODE1, Bench


def fill(bench: Bench, number: int, data: bytes) -> None:
    """Write to a volume's disk."""
    with bench.cluster.disks.path(number).open("r+b") as file:
        file.write(data)


def content(bench: Bench, number: int) -> bytes:
    """The beginning of a volume's disk."""
    with bench.cluster.disks.path(number).open("rb") as file:
        return file.read(5)


def test_a_clone_takes_time_and_has_the_data_of_its_beginning(bench: Bench) -> None:
    """3.3: CloneVolume is asynchronous, its volume init and without slices until it is done."""
    bench.settings.clone_seconds = 10
    source = bench.volume()["volumeID"]
    fill(bench, source, b"older")
    told = bench.ok("CloneVolume", volumeID=source, name="copy")
    assert (told["volume"]["status"], told["volume"]["sliceCount"]) == ("init", 0)
    fill(bench, source, b"newer")
    assert bench.ok("GetAsyncResult", asyncHandle=told["asyncHandle"])["status"] == "running"
    bench.time += 10
    assert (bench.look(told["volumeID"]) or {})["status"] == "active"
    assert content(bench, told["volumeID"]) == b"older"


def test_a_result_is_told_once(bench: Bench) -> None:
    """3.3: GetAsyncResult; 3.4: xDBNoSuchPath."""
    source = bench.volume()["volumeID"]
    handle = bench.ok("CloneVolume", volumeID=source, name="copy")["asyncHandle"]
    kept = bench.ok("GetAsyncResult", asyncHandle=handle, keepResult=True)
    assert (kept["status"], kept["resultType"]) == ("complete", "Clone")
    assert kept["result"]["message"] == "Clone complete."
    bench.ok("GetAsyncResult", asyncHandle=handle)
    message = bench.fails("xDBNoSuchPath", "GetAsyncResult", asyncHandle=handle)
    assert message.endswith(f"non-existent path at [/asyncresults/{handle}]")


def test_a_job_that_fails_says_so_in_its_result(bench: Bench) -> None:
    """3.3: a task's failure is in a successful response."""
    source = bench.volume()["volumeID"]
    handle = bench.ok("CloneVolume", volumeID=source, name="copy")["asyncHandle"]
    bench.cluster.asyncs[handle]["error"] = {"name": "xSliceNotRegistered", "message": "no slice"}
    told = bench.ok("GetAsyncResult", asyncHandle=handle)
    assert (told["status"], told["error"]["name"]) == ("complete", "xSliceNotRegistered")
    assert bench.ok("ListVolumes", volumeName="copy")["volumes"] == []


def test_a_clone_inherits_attributes_and_service_but_no_access(bench: Bench) -> None:
    """3.2: attributes; 3.3: CloneVolume."""
    told = {"minIOPS": 100, "maxIOPS": 200, "burstIOPS": 300}
    source = bench.volume(attributes={"a": 1}, qos=told)["volumeID"]
    bench.group(NODE1, source)
    clone = bench.ok("CloneVolume", volumeID=source, name="copy")["volume"]
    assert (clone["attributes"], clone["qos"]["maxIOPS"]) == ({"a": 1}, 200)
    assert clone["volumeAccessGroups"] == []
    other = bench.ok("CloneVolume", volumeID=source, name="copy", attributes={}, newSize=2 * GB)["volume"]
    assert (other["attributes"], other["totalSize"]) == ({}, 2000683008)


def test_a_volume_has_two_jobs_at_most(bench: Bench) -> None:
    """3.2: cloneJobsPerVolumeMax; 3.4: xMaxClonesPerVolumeExceeded."""
    bench.settings.clone_seconds = 10
    source = bench.volume()["volumeID"]
    for _ in range(2):
        bench.ok("CloneVolume", volumeID=source, name="copy")
    bench.fails("xMaxClonesPerVolumeExceeded", "CloneVolume", volumeID=source, name="copy")
    bench.time += 10
    bench.ok("CloneVolume", volumeID=source, name="copy")


def test_a_snapshot_outlives_deletion_but_not_the_purge(bench: Bench) -> None:
    """3.2: snapshot; 3.3: snapshots vanish when the volume is purged."""
    source = bench.volume()["volumeID"]
    fill(bench, source, b"older")
    snapshot = bench.ok("CreateSnapshot", volumeID=source)["snapshot"]
    assert (snapshot["status"], snapshot["name"]) == ("done", "2027-01-15T08:00:00Z")
    fill(bench, source, b"newer")
    number = snapshot["snapshotID"]
    clone = bench.ok("CloneVolume", volumeID=source, name="copy", snapshotID=number)["volumeID"]
    assert content(bench, clone) == b"older"
    bench.ok("RollbackToSnapshot", volumeID=source, snapshotID=number, saveCurrentState=False)
    assert content(bench, source) == b"older"
    bench.ok("DeleteVolume", volumeID=source)
    assert len(bench.ok("ListSnapshots", volumeID=source)["snapshots"]) == 1
    bench.ok("PurgeDeletedVolume", volumeID=source)
    assert bench.ok("ListSnapshots", volumeID=source)["snapshots"] == []
    bench.fails("xSnapshotIDDoesNotExist", "DeleteSnapshot", snapshotID=number)


def test_a_volume_has_32_snapshots_at_most(bench: Bench) -> None:
    """3.2: snapshotsPerVolumeMax; 3.4: xMaxSnapshotsPerVolumeExceeded."""
    bench.settings.limits["snapshotsPerVolumeMax"] = 2
    source = bench.volume()["volumeID"]
    first = bench.ok("CreateSnapshot", volumeID=source, name="10:30:00")["snapshotID"]
    bench.ok("CreateSnapshot", volumeID=source)
    bench.fails("xMaxSnapshotsPerVolumeExceeded", "CreateSnapshot", volumeID=source)
    bench.ok("DeleteSnapshot", snapshotID=first)
    bench.ok("CreateSnapshot", volumeID=source)


def test_a_volume_is_copied_over_another(bench: Bench) -> None:
    """3.3: CopyVolume."""
    source, target = bench.volume()["volumeID"], bench.volume()["volumeID"]
    fill(bench, source, b"older")
    handle = bench.ok("CopyVolume", volumeID=source, dstVolumeID=target)["asyncHandle"]
    assert bench.ok("GetAsyncResult", asyncHandle=handle)["status"] == "complete"
    assert content(bench, target) == b"older"
