# SPDX-License-Identifier: Apache-2.0
"""Snapshots of volumes (sections 3.2 and 3.3): no disks, until a volume is cloned from one."""

from __future__ import annotations

import datetime
import uuid
from typing import TYPE_CHECKING

from tests.appliances.solidfire.cluster import method
from tests.appliances.solidfire.errors import ElementError

if TYPE_CHECKING:
    from tests.appliances.solidfire.cluster import Cluster, Object, Parameters


def _known(cluster: Cluster, number: int) -> Object:
    snapshot = cluster.snapshots.get(number)
    if snapshot is None:
        raise ElementError("xSnapshotIDDoesNotExist", f"SnapshotID {number} does not exist.")
    return snapshot


@method
def create_snapshot(cluster: Cluster, parameters: Parameters) -> Object:
    volume = cluster.volume(parameters.need("volumeID", int))
    moment = datetime.datetime.fromtimestamp(cluster.clock(), datetime.UTC)
    name = parameters.get("name", str, moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
    if not 1 <= len(name) <= cluster.limit("snapshotNameLengthMax"):
        raise ElementError("xInvalidAPIParameter", f"{name} is not a valid name.")
    of_volume = [one for one in cluster.snapshots.values() if one["volumeID"] == volume["volumeID"]]
    if len(of_volume) >= cluster.limit("snapshotsPerVolumeMax"):
        message = "Exceeded maximum number of snapshots per volume"
        raise ElementError("xMaxSnapshotsPerVolumeExceeded", message)
    attributes = parameters.attributes() or {}
    number = cluster.number("snapshot")
    cluster.disks.copy(f"volume-{volume['volumeID']}", f"snapshot-{number}")
    cluster.snapshots[number] = {
        "snapshotID": number,
        "volumeID": volume["volumeID"],
        "name": name,
        "checksum": "0x0",
        "enableRemoteReplication": False,
        "expirationReason": "None",
        "expirationTime": None,
        "groupID": 0,
        "groupSnapshotUUID": str(uuid.UUID(int=0)),
        "snapshotUUID": str(uuid.uuid4()),
        "status": "done",
        "totalSize": volume["totalSize"],
        "createTime": cluster.now(),
        "virtualVolumeID": None,
        "attributes": attributes,
    }
    return {"snapshotID": number, "checksum": "0x0", "snapshot": cluster.snapshots[number]}


@method
def list_snapshots(cluster: Cluster, parameters: Parameters) -> Object:
    volume, number = parameters.get("volumeID", int), parameters.get("snapshotID", int)
    if number is not None:
        _known(cluster, number)
    return {
        "snapshots": [
            one
            for one in cluster.snapshots.values()
            if volume in (None, one["volumeID"]) and number in (None, one["snapshotID"])
        ]
    }


@method
def delete_snapshot(cluster: Cluster, parameters: Parameters) -> Object:
    number = parameters.need("snapshotID", int)
    _known(cluster, number)
    del cluster.snapshots[number]
    cluster.disks.remove(f"snapshot-{number}")
    return {}


@method
def rollback_to_snapshot(cluster: Cluster, parameters: Parameters) -> Object:
    volume = cluster.volume(parameters.need("volumeID", int))
    snapshot = _known(cluster, parameters.need("snapshotID", int))
    if parameters.need("saveCurrentState", bool):
        cluster.result("CreateSnapshot", volumeID=volume["volumeID"])
    cluster.disks.copy(f"snapshot-{snapshot['snapshotID']}", f"volume-{volume['volumeID']}")
    cluster.disks.resize(volume["volumeID"], volume["totalSize"])
    return {"snapshotID": snapshot["snapshotID"], "checksum": "0x0", "snapshot": snapshot}
