# SPDX-License-Identifier: Apache-2.0
"""Volumes: made, listed, changed, deleted, purged (sections 3.2 and 3.3)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from tests.appliances.solidfire import sessions
from tests.appliances.solidfire.cluster import iso, method
from tests.appliances.solidfire.errors import ElementError, exceeded, no_volume

if TYPE_CHECKING:
    from tests.appliances.solidfire.cluster import Cluster, Object, Parameters

MIB = 1 << 20
CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
ACCESSES = ("readWrite", "readOnly", "locked", "replicationTarget", "snapMirrorTarget")
STATUSES = ("init", "active", "deleted", "creating", "snapshotting")
CURVE = {"4096": 100, "8192": 160, "16384": 270, "32768": 500, "65536": 1000, "131072": 1950, "262144": 3900}
DEFAULT_QOS = {"minIOPS": 50, "maxIOPS": 15000, "burstIOPS": 15000, "burstTime": 60}
QOS_BOUNDS = {"minIOPS": (50, 15000), "maxIOPS": (100, 200000), "burstIOPS": (100, 200000)}


# --- rules ----------------------------------------------------------------------------------------


def identities(cluster: Cluster, number: int, name: str) -> Object:
    """The names under which a volume is known as a disk."""
    unique = cluster.settings.unique_id
    code = unique.encode("ascii").hex()
    return {
        "iqn": f"iqn.2010-01.com.solidfire:{unique}.{name.lower()}.{number}",
        "scsiNAADeviceID": f"6f47acc100000000{code}{number:08x}",
        "scsiEUIDeviceID": f"{code}{number:08x}f47acc0100000000",
    }


def checked_name(cluster: Cluster, name: str) -> str:
    """The name of a volume, snapshot copies included. Raises xInvalidAPIParameter."""
    if not (1 <= len(name) <= cluster.limit("volumeNameLengthMax") and CHARACTERS.issuperset(name)):
        rule = "The name must only contain digits, alphabetic characters or a -"
        raise ElementError("xInvalidAPIParameter", f"{name} is not a valid name. {rule}")
    return name


def checked_size(cluster: Cluster, asked: int, more: int) -> int:
    """The size that a volume gets: whole MiB. ``more`` are the bytes that this adds to what it has."""
    if not cluster.limit("volumeSizeMin") <= asked <= cluster.limit("volumeSizeMax"):
        message = f"The volume size {asked} is outside the limits of this cluster"
        is_small = asked < cluster.limit("volumeSizeMin")
        raise ElementError("xInvalidAPIParameter" if is_small else "xExceededLimit", message)
    if cluster.provisioned() + more > cluster.settings.capacity:
        raise ElementError(cluster.settings.full, "Exceeded maximum provisioned space of the cluster")
    return rounded(asked)


def rounded(asked: int) -> int:
    """A size as the cluster stores it: rounded up to a whole MiB."""
    return -(-asked // MIB) * MIB


def checked_qos(told: Object | None, old: Object) -> Object:
    """The quality of service, from what was said of it."""
    qos = {**old, **(told or {})}
    for member, (least, most) in QOS_BOUNDS.items():
        if not isinstance(qos[member], int) or not least <= qos[member] <= most:
            raise ElementError("xInvalidAPIParameter", f"{member} must be from {least} to {most}")
    if not qos["minIOPS"] <= qos["maxIOPS"] <= qos["burstIOPS"]:
        raise ElementError("xInvalidAPIParameter", "minIOPS <= maxIOPS <= burstIOPS is not so")
    return {**qos, "curve": CURVE}


def shown(cluster: Cluster, volume: Object) -> Object:
    """A volume as it is listed; that of a pending copy without slices."""
    number = volume["volumeID"]
    groups = [one["volumeAccessGroupID"] for one in cluster.groups.values() if number in one["volumes"]]
    return {**volume, "volumeAccessGroups": groups}


def add(cluster: Cluster, name: str, account: int, size: int, **members: object) -> Object:
    """A new volume, in the tables."""
    cluster.account(account)
    if len(cluster.volumes) >= cluster.limit("volumeCountMax"):
        raise exceeded("volumes")
    owned = [one for one in cluster.volumes.values() if one["accountID"] == account]
    if len(owned) >= cluster.limit("volumesPerAccountCountMax"):
        raise exceeded("volumes per account")
    number = cluster.number("volume")
    volume: Object = {
        "volumeID": number,
        "name": name,
        "accountID": account,
        "createTime": cluster.now(),
        "deleteTime": "",
        "purgeTime": "",
        "status": "active",
        "access": "readWrite",
        "enable512e": True,
        **identities(cluster, number, name),
        "qos": checked_qos(None, DEFAULT_QOS),
        "qosPolicyID": None,
        "volumePairs": [],
        "sliceCount": 1,
        "totalSize": size,
        "blockSize": 4096,
        "virtualVolumeID": None,
        "attributes": {},
        "volumeUUID": str(uuid.uuid4()),
        "enableSnapMirrorReplication": False,
        "lastAccessTime": None,
        "lastAccessTimeIO": None,
        **members,
    }
    cluster.volumes[number] = volume
    return volume


def purge(cluster: Cluster, number: int) -> None:
    """Let a volume and its snapshots be gone for good."""
    for snapshot in [one for one in cluster.snapshots.values() if one["volumeID"] == number]:
        del cluster.snapshots[snapshot["snapshotID"]]
        cluster.disks.remove(f"snapshot-{snapshot['snapshotID']}")
    del cluster.volumes[number]
    for group in cluster.groups.values():
        group["deletedVolumes"] = [one for one in group["deletedVolumes"] if one != number]
    cluster.disks.remove(f"volume-{number}")


# --- methods --------------------------------------------------------------------------------------


@method
def create_volume(cluster: Cluster, parameters: Parameters) -> Object:
    name = parameters.need("name", str)
    account = parameters.need("accountID", int)
    asked = parameters.need("totalSize", int)
    enable512e = parameters.need("enable512e", bool)
    qos = checked_qos(parameters.get("qos", dict), DEFAULT_QOS)
    attributes = parameters.attributes() or {}
    parameters.get("sliceCount", int)
    cluster.account(account)
    size = checked_size(cluster, asked, asked)
    volume = add(
        cluster,
        checked_name(cluster, name),
        account,
        size,
        enable512e=enable512e,
        qos=qos,
        attributes=attributes,
    )
    cluster.disks.resize(volume["volumeID"], size)
    return {"volumeID": volume["volumeID"], "volume": shown(cluster, volume), "curve": CURVE}


@method
def modify_volume(cluster: Cluster, parameters: Parameters) -> Object:
    volume = cluster.volume(parameters.need("volumeID", int))
    new: Object = {}
    asked = parameters.get("totalSize", int)
    if asked is not None:
        if rounded(asked) < volume["totalSize"]:
            raise ElementError("xVolumeShrinkProhibited", "Lowering a volume size is not allowed.")
        new["totalSize"] = checked_size(cluster, asked, rounded(asked) - volume["totalSize"])
    access = parameters.get("access", str)
    if access is not None:
        if access not in ACCESSES:
            raise ElementError("xUnrecognizedEnumString", f"{access} is not an access")
        new["access"] = access
    account = parameters.get("accountID", int)
    if account is not None:
        new["accountID"] = cluster.account(account)["accountID"]
    qos = parameters.get("qos", dict)
    if qos is not None:
        new["qos"] = checked_qos(qos, volume["qos"])
    attributes = parameters.attributes()
    if attributes is not None:
        new["attributes"] = attributes
    volume.update(new)
    if "totalSize" in new:
        cluster.disks.resize(volume["volumeID"], new["totalSize"])
    sessions.end_those_without_access(cluster)
    return {"volume": shown(cluster, volume), "curve": CURVE}


@method
def delete_volume(cluster: Cluster, parameters: Parameters) -> Object:
    number = parameters.need("volumeID", int)
    known = cluster.volumes.get(number)
    error = cluster.settings.deleted_again if known else "xVolumeIDDoesNotExist"
    volume = cluster.volume(number, error)
    volume["status"] = "deleted"
    volume["deleteTime"] = cluster.now()
    volume["purgeTime"] = iso(cluster.clock() + cluster.settings.purge_hours * 3600)
    for group in cluster.groups.values():
        if number in group["volumes"]:
            group["volumes"].remove(number)
            group["deletedVolumes"].append(number)
    sessions.end(cluster, lambda session: session["volumeID"] == number)
    return {"volume": shown(cluster, volume), "curve": CURVE}


@method
def purge_deleted_volume(cluster: Cluster, parameters: Parameters) -> Object:
    number = parameters.need("volumeID", int)
    volume = cluster.volumes.get(number)
    if volume is None:
        raise no_volume(number)
    if volume["status"] != "deleted":
        raise no_volume(number, cluster.settings.purged_active)
    purge(cluster, number)
    return {}


@method
def restore_deleted_volume(cluster: Cluster, parameters: Parameters) -> Object:
    number = parameters.need("volumeID", int)
    volume = cluster.volumes.get(number)
    if volume is None or volume["status"] != "deleted":
        raise no_volume(number)
    volume.update(status="active", deleteTime="", purgeTime="")
    for group in cluster.groups.values():
        if number in group["deletedVolumes"]:
            group["deletedVolumes"].remove(number)
            group["volumes"].append(number)
    return {}


@method
def list_volumes(cluster: Cluster, parameters: Parameters) -> Object:
    start = parameters.get("startVolumeID", int, 0)
    limit = parameters.get("limit", int, 0)
    status = parameters.get("volumeStatus", str)
    accounts = parameters.get("accounts", list)
    numbers = parameters.get("volumeIDs", list)
    parameters.get("includeVirtualVolumes", bool)
    parameters.get("isPaired", bool)
    name = parameters.get("volumeName", str) if cluster.settings.knows_volume_name else None
    if numbers is not None and (accounts is not None or start or limit):
        message = "volumeIDs excludes accounts, startVolumeID and limit"
        raise ElementError("xInvalidParameter", message)
    if status is not None and status not in STATUSES:
        raise ElementError("xUnrecognizedEnumString", f"{status} is not a status")
    found = [
        shown(cluster, volume)
        for number, volume in sorted(cluster.volumes.items())
        if number >= start
        and (numbers is None or number in numbers)
        and (accounts is None or volume["accountID"] in accounts)
        and (status is None or volume["status"] == status)
        and (name is None or volume["name"] == name)
    ]
    return {"volumes": found[: limit or None]}


@method
def list_volumes_for_account(cluster: Cluster, parameters: Parameters) -> Object:
    account = cluster.account(parameters.need("accountID", int))["accountID"]
    start, limit = parameters.get("startVolumeID", int, 0), parameters.get("limit", int, 0)
    volumes = [
        shown(cluster, one)
        for number, one in sorted(cluster.volumes.items())
        if one["accountID"] == account and number >= start
    ]
    return {"volumes": volumes[: limit or None]}


@method
def list_active_volumes(cluster: Cluster, parameters: Parameters) -> Object:
    start, limit = parameters.get("startVolumeID", int, 0), parameters.get("limit", int, 0)
    volumes = [
        shown(cluster, one)
        for number, one in sorted(cluster.volumes.items())
        if one["status"] == "active" and number >= start
    ]
    return {"volumes": volumes[: limit or None]}


@method
def list_deleted_volumes(cluster: Cluster, parameters: Parameters) -> Object:
    deleted = [one for one in cluster.volumes.values() if one["status"] == "deleted"]
    return {"volumes": [shown(cluster, one) for one in deleted]}


@method
def get_volume_stats(cluster: Cluster, parameters: Parameters) -> Object:
    volume = shown(cluster, cluster.volume(parameters.need("volumeID", int)))
    blocks = volume["totalSize"] // 4096
    return {
        "volumeStats": {
            "accountID": volume["accountID"],
            "volumeID": volume["volumeID"],
            "volumeSize": volume["totalSize"],
            "volumeAccessGroups": volume["volumeAccessGroups"],
            "nonZeroBlocks": 0,
            "zeroBlocks": blocks,
            "clientQueueDepth": 0,
            "actualIOPS": 0,
            "timestamp": cluster.now(),
        }
    }


@method
def get_default_qos(cluster: Cluster, parameters: Parameters) -> Object:
    return {**DEFAULT_QOS, "curve": CURVE}


# --- copies ---------------------------------------------------------------------------------------


@method
def clone_volume(cluster: Cluster, parameters: Parameters) -> Object:
    source = cluster.volume(parameters.need("volumeID", int))
    name = checked_name(cluster, parameters.need("name", str))
    snapshot = _snapshot(cluster, source, parameters.get("snapshotID", int))
    size = source["totalSize"] if snapshot is None else snapshot["totalSize"]
    asked = parameters.get("newSize", int, size)
    account = parameters.get("newAccountID", int, source["accountID"])
    attributes = parameters.attributes()
    if len(_running(cluster, source["volumeID"])) >= cluster.limit("cloneJobsPerVolumeMax"):
        message = "Exceeded maximum number of clone jobs per volume"
        raise ElementError("xMaxClonesPerVolumeExceeded", message)
    volume = add(
        cluster,
        name,
        account,
        checked_size(cluster, asked, asked),
        status="init",
        sliceCount=0,
        qos=source["qos"],
        enable512e=parameters.get("enable512e", bool, source["enable512e"]),
        access=parameters.get("access", str, "readWrite"),
        attributes=source["attributes"] if attributes is None else attributes,
    )
    number = volume["volumeID"]
    content = f"volume-{source['volumeID']}" if snapshot is None else f"snapshot-{snapshot['snapshotID']}"
    cluster.disks.copy(content, f"volume-{number}")
    cluster.disks.resize(number, volume["totalSize"])
    clone = cluster.number("clone")
    handle = _begin(cluster, {"cloneID": clone, "volumeID": number, "source": source["volumeID"]})
    return {
        "cloneID": clone,
        "volumeID": number,
        "asyncHandle": handle,
        "volume": shown(cluster, volume),
        "curve": CURVE,
    }


@method
def copy_volume(cluster: Cluster, parameters: Parameters) -> Object:
    source = cluster.volume(parameters.need("volumeID", int))
    target = cluster.volume(parameters.need("dstVolumeID", int))
    snapshot = _snapshot(cluster, source, parameters.get("snapshotID", int))
    content = f"volume-{source['volumeID']}" if snapshot is None else f"snapshot-{snapshot['snapshotID']}"
    cluster.disks.copy(content, f"volume-{target['volumeID']}")
    clone = cluster.number("clone")
    told = {"cloneID": clone, "volumeID": target["volumeID"], "source": source["volumeID"]}
    return {"cloneID": clone, "asyncHandle": _begin(cluster, told)}


def _snapshot(cluster: Cluster, source: Object, number: int | None) -> Object | None:
    """The snapshot to copy from, if one is named."""
    if number is None:
        return None
    snapshot = cluster.snapshots.get(number)
    if snapshot is None or snapshot["volumeID"] != source["volumeID"]:
        raise ElementError("xSnapshotIDDoesNotExist", f"SnapshotID {number} does not exist.")
    return snapshot


def _running(cluster: Cluster, source: int) -> list[Object]:
    jobs = cluster.asyncs.values()
    return [job for job in jobs if job["status"] == "running" and job["source"] == source]


def _begin(cluster: Cluster, told: Object) -> int:
    handle = cluster.number("async")
    due = cluster.clock() + cluster.settings.clone_seconds
    moment = cluster.now()
    cluster.asyncs[handle] = {
        **told,
        "status": "running",
        "due": due,
        "createTime": moment,
        "lastUpdateTime": moment,
        "error": None,
    }
    return handle


def finish(cluster: Cluster, handle: int) -> None:
    """End a copy, well unless a fault was set for it."""
    job = cluster.asyncs[handle]
    job["status"] = "complete"
    job["lastUpdateTime"] = cluster.now()
    volume = cluster.volumes.get(job["volumeID"])
    if volume is not None and volume["status"] == "init":
        if job["error"] is not None:
            purge(cluster, job["volumeID"])
        else:
            volume.update(status="active", sliceCount=1)


@method
def get_async_result(cluster: Cluster, parameters: Parameters) -> Object:
    handle = parameters.need("asyncHandle", int)
    keep = parameters.get("keepResult", bool, False)
    job = cluster.asyncs.get(handle)
    if job is None:
        message = f"DBClient operation requested on a non-existent path at [/asyncresults/{handle}]"
        raise ElementError("xDBNoSuchPath", message)
    told: Object = {name: job[name] for name in ("status", "createTime", "lastUpdateTime")}
    told["resultType"] = "Clone"
    if job["status"] == "complete":
        if job["error"] is not None:
            told["error"] = job["error"]
        else:
            message = "Clone complete."
            told["result"] = {"cloneID": job["cloneID"], "volumeID": job["volumeID"], "message": message}
        if not keep:
            del cluster.asyncs[handle]
    return told
