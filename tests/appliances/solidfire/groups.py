# SPDX-License-Identifier: Apache-2.0
"""Volume access groups and initiators (sections 3.2 and 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.appliances.solidfire import sessions
from tests.appliances.solidfire.accounts import check_secrets, secret
from tests.appliances.solidfire.cluster import method
from tests.appliances.solidfire.errors import ElementError, exceeded

if TYPE_CHECKING:
    from tests.appliances.solidfire.cluster import Cluster, Object, Parameters


def shown(cluster: Cluster, group: Object) -> Object:
    """A group with the names of its initiators."""
    names = [cluster.initiators[number]["initiatorName"] for number in group["initiatorIDs"]]
    return {**group, "initiators": names}


def _answer(cluster: Cluster, group: Object) -> Object:
    number = group["volumeAccessGroupID"]
    return {"volumeAccessGroupID": number, "volumeAccessGroup": shown(cluster, group)}


def _groups_of(cluster: Cluster, member: str, number: int) -> list[Object]:
    return [group for group in cluster.groups.values() if number in group[member]]


# --- initiators -----------------------------------------------------------------------------------


def find_initiator(cluster: Cluster, name: str) -> Object | None:
    """The initiator of a name, which is the same in capitals."""
    for initiator in cluster.initiators.values():
        if initiator["initiatorName"] == name.lower():
            return initiator
    return None


def add_initiator(cluster: Cluster, name: str, told: Object) -> Object:
    """A new initiator. Raises xInitiatorExists."""
    if find_initiator(cluster, name) is not None:
        raise ElementError("xInitiatorExists", f"Initiator {name} already exists")
    if not name or len(name) > cluster.limit("initiatorNameLengthMax"):
        raise ElementError("xInvalidParameter", "an initiator's name has 1 to 224 characters")
    number = cluster.number("initiator")
    initiator: Object = {
        "initiatorID": number,
        "initiatorName": name.lower(),
        "alias": told.get("alias", ""),
        "attributes": told.get("attributes", {}),
        "virtualNetworkIDs": told.get("virtualNetworkIDs", []),
    }
    if cluster.settings.knows_initiator_chap:
        initiator |= _chap(cluster, initiator, told)
    cluster.initiators[number] = initiator
    return initiator


def _chap(cluster: Cluster, initiator: Object, told: Object) -> Object:
    required = told.get("requireChap", initiator.get("requireChap", False))
    new: Object = {
        "requireChap": required,
        "chapUsername": told.get("chapUsername", initiator.get("chapUsername")),
        "initiatorSecret": told.get("initiatorSecret", initiator.get("initiatorSecret")),
        "targetSecret": told.get("targetSecret", initiator.get("targetSecret")),
    }
    if required:
        new["chapUsername"] = new["chapUsername"] or initiator["initiatorName"]
        new["initiatorSecret"] = new["initiatorSecret"] or secret()
        new["targetSecret"] = new["targetSecret"] or secret()
        check_secrets(cluster, new["initiatorSecret"], new["targetSecret"])
    return new


def show_initiator(cluster: Cluster, initiator: Object) -> Object:
    """An initiator with the groups that it is in."""
    groups = _groups_of(cluster, "initiatorIDs", initiator["initiatorID"])
    return {**initiator, "volumeAccessGroups": [group["volumeAccessGroupID"] for group in groups]}


@method
def create_initiators(cluster: Cluster, parameters: Parameters) -> Object:
    wanted = parameters.need("initiators", list)
    for told in wanted:
        if "name" not in told:
            raise ElementError("xMissingParameter", "Missing member=[name]")
        if find_initiator(cluster, told["name"]) is not None:
            raise ElementError("xInitiatorExists", f"Initiator {told['name']} already exists")
    made = [add_initiator(cluster, told["name"], told) for told in wanted]
    for told, initiator in zip(wanted, made, strict=True):
        if told.get("volumeAccessGroupID"):
            _join(cluster, cluster.group(told["volumeAccessGroupID"]), [initiator["initiatorID"]])
    return {"initiators": [show_initiator(cluster, one) for one in made]}


@method
def list_initiators(cluster: Cluster, parameters: Parameters) -> Object:
    start, limit = parameters.get("startInitiatorID", int, 0), parameters.get("limit", int, 0)
    numbers = parameters.get("initiators", list)
    found = [
        show_initiator(cluster, one)
        for number, one in sorted(cluster.initiators.items())
        if number >= start and (numbers is None or number in numbers)
    ]
    return {"initiators": found[: limit or None]}


@method
def modify_initiators(cluster: Cluster, parameters: Parameters) -> Object:
    changed = []
    for told in parameters.need("initiators", list):
        initiator = cluster.initiator(told.get("initiatorID"))
        if cluster.settings.knows_initiator_chap:
            initiator.update(_chap(cluster, initiator, told))
        if "attributes" in told:
            initiator["attributes"] = told["attributes"]
        changed.append(show_initiator(cluster, initiator))
    return {"initiators": changed}


@method
def delete_initiators(cluster: Cluster, parameters: Parameters) -> Object:
    numbers = parameters.need("initiators", list)
    for number in numbers:
        cluster.initiator(number)
    for number in numbers:
        for group in _groups_of(cluster, "initiatorIDs", number):
            group["initiatorIDs"].remove(number)
        del cluster.initiators[number]
    sessions.end_those_without_access(cluster)
    return {}


# --- groups ---------------------------------------------------------------------------------------


def _initiator_numbers(cluster: Cluster, told: list[Any]) -> list[int]:
    """The numbers of initiators given by name or number; a name that is new is made known."""
    numbers = []
    for one in told:
        if isinstance(one, int):
            numbers.append(cluster.initiator(one)["initiatorID"])
        else:
            initiator = find_initiator(cluster, one) or add_initiator(cluster, one, {})
            numbers.append(initiator["initiatorID"])
    return numbers


def _check_initiators(cluster: Cluster, group: Object | None, told: list[Any]) -> None:
    """Raise xExceededLimit if one of them is in another group already."""
    for one in told:
        known = cluster.initiator(one) if isinstance(one, int) else find_initiator(cluster, one)
        if known is None:
            continue
        others = [
            other for other in _groups_of(cluster, "initiatorIDs", known["initiatorID"]) if other is not group
        ]
        if len(others) >= cluster.limit("volumeAccessGroupsPerInitiatorCountMax"):
            raise exceeded("VolumeAccessGroups per Initiator")


def _check_volumes(cluster: Cluster, group: Object | None, numbers: list[int]) -> None:
    for number in numbers:
        cluster.volume(number)
        others = [other for other in _groups_of(cluster, "volumes", number) if other is not group]
        if len(others) >= cluster.limit("volumeAccessGroupsPerVolumeCountMax"):
            raise exceeded("VolumeAccessGroups per Volume")


def _join(cluster: Cluster, group: Object, told: list[Any]) -> None:
    _check_initiators(cluster, group, told)
    numbers = _initiator_numbers(cluster, told)
    joined = list(dict.fromkeys([*group["initiatorIDs"], *numbers]))
    if len(joined) > cluster.limit("initiatorsPerVolumeAccessGroupCountMax"):
        raise exceeded("Initiators per VolumeAccessGroup")
    group["initiatorIDs"] = joined


@method
def create_volume_access_group(cluster: Cluster, parameters: Parameters) -> Object:
    name = parameters.need("name", str)
    initiators = parameters.get("initiators", list, [])
    volumes = parameters.get("volumes", list, [])
    attributes = parameters.attributes() or {}
    if not 1 <= len(name) <= cluster.limit("volumeAccessGroupNameLengthMax"):
        raise ElementError("xInvalidParameter", "a group's name has 1 to 64 characters")
    if len(cluster.groups) >= cluster.limit("volumeAccessGroupCountMax"):
        raise exceeded("VolumeAccessGroups")
    _check_initiators(cluster, None, initiators)
    _check_volumes(cluster, None, volumes)
    number = cluster.number("group")
    group: Object = {
        "volumeAccessGroupID": number,
        "name": name,
        "initiatorIDs": _initiator_numbers(cluster, initiators),
        "volumes": list(volumes),
        "deletedVolumes": [],
        "attributes": attributes,
    }
    cluster.groups[number] = group
    return _answer(cluster, group)


@method
def list_volume_access_groups(cluster: Cluster, parameters: Parameters) -> Object:
    start, limit = parameters.get("startVolumeAccessGroupID", int, 0), parameters.get("limit", int, 0)
    numbers = parameters.get("volumeAccessGroups", list)
    found = [
        shown(cluster, group)
        for number, group in sorted(cluster.groups.items())
        if number >= start and (numbers is None or number in numbers)
    ]
    lost = [number for number in numbers or [] if number not in cluster.groups]
    return {"volumeAccessGroups": found[: limit or None], "volumeAccessGroupsNotFound": lost}


@method
def modify_volume_access_group(cluster: Cluster, parameters: Parameters) -> Object:
    group = cluster.group(parameters.need("volumeAccessGroupID", int))
    initiators, volumes = parameters.get("initiators", list), parameters.get("volumes", list)
    name, attributes = parameters.get("name", str), parameters.attributes()
    orphans = parameters.get("deleteOrphanInitiators", bool, False)
    before = list(group["initiatorIDs"])
    _check_initiators(cluster, group, initiators or [])
    _check_volumes(cluster, group, volumes or [])
    if initiators is not None:
        group["initiatorIDs"] = _initiator_numbers(cluster, initiators)
    if volumes is not None:
        group["volumes"] = list(volumes)
    if name is not None:
        group["name"] = name
    if attributes is not None:
        group["attributes"] = attributes
    if orphans:
        _delete_orphans(cluster, before)
    sessions.end_those_without_access(cluster)
    return _answer(cluster, group)


@method
def delete_volume_access_group(cluster: Cluster, parameters: Parameters) -> Object:
    group = cluster.group(parameters.need("volumeAccessGroupID", int))
    orphans = parameters.get("deleteOrphanInitiators", bool, False)
    del cluster.groups[group["volumeAccessGroupID"]]
    if orphans:
        _delete_orphans(cluster, group["initiatorIDs"])
    sessions.end_those_without_access(cluster)
    return {}


def _delete_orphans(cluster: Cluster, numbers: list[int]) -> None:
    for number in numbers:
        if not _groups_of(cluster, "initiatorIDs", number):
            cluster.initiators.pop(number, None)


@method
def add_volumes_to_volume_access_group(cluster: Cluster, parameters: Parameters) -> Object:
    group = cluster.group(parameters.need("volumeAccessGroupID", int))
    volumes = parameters.need("volumes", list)
    _check_volumes(cluster, group, volumes)
    joined = list(dict.fromkeys([*group["volumes"], *volumes]))
    if len(joined) > cluster.limit("volumesPerVolumeAccessGroupCountMax"):
        raise exceeded("Volumes per VolumeAccessGroup")
    if cluster.settings.adding_twice_fails and len(joined) == len(group["volumes"]):
        message = f"Volume {volumes[0]} is already in VolumeAccessGroup {group['volumeAccessGroupID']}"
        raise ElementError("xAlreadyInVolumeAccessGroup", message)
    group["volumes"] = joined
    return _answer(cluster, group)


@method
def remove_volumes_from_volume_access_group(cluster: Cluster, parameters: Parameters) -> Object:
    group = cluster.group(parameters.need("volumeAccessGroupID", int))
    volumes = parameters.need("volumes", list)
    for number in volumes:
        if number not in group["volumes"]:
            message = f"Volume {number} is not in VolumeAccessGroup {group['volumeAccessGroupID']}"
            raise ElementError("xNotInVolumeAccessGroup", message)
    group["volumes"] = [number for number in group["volumes"] if number not in volumes]
    sessions.end_those_without_access(cluster)
    return _answer(cluster, group)


@method
def add_initiators_to_volume_access_group(cluster: Cluster, parameters: Parameters) -> Object:
    group = cluster.group(parameters.need("volumeAccessGroupID", int))
    _join(cluster, group, parameters.need("initiators", list))
    return _answer(cluster, group)


@method
def remove_initiators_from_volume_access_group(cluster: Cluster, parameters: Parameters) -> Object:
    group = cluster.group(parameters.need("volumeAccessGroupID", int))
    told = parameters.need("initiators", list)
    for one in told:
        known = cluster.initiators.get(one) if isinstance(one, int) else find_initiator(cluster, one)
        if known is None or known["initiatorID"] not in group["initiatorIDs"]:
            message = f"Initiator {one} is not in VolumeAccessGroup {group['volumeAccessGroupID']}"
            raise ElementError("xNotInVolumeAccessGroup", message)
    numbers = _initiator_numbers(cluster, told)
    group["initiatorIDs"] = [number for number in group["initiatorIDs"] if number not in numbers]
    sessions.end_those_without_access(cluster)
    return _answer(cluster, group)
