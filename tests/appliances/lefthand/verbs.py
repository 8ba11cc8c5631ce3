# SPDX-License-Identifier: Apache-2.0
"""CLIQ's verbs: what each takes, does to the group, and tells."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from tests.appliances.lefthand.answers import Element
from tests.appliances.lefthand.codes import (
    MISSING_PARAMETER,
    PARAMETER_FORMAT,
    SUCCESS,
    UNRECOGNIZED_COMMAND,
    CliqError,
    Code,
)
from tests.appliances.lefthand.grammar import Command, Parameters
from tests.appliances.lefthand.group import ManagementGroup
from tests.appliances.lefthand.objects import Server

QUESTION = "This operation is potentially irreversible.  Are you sure? (y/n) "
NATURAL = ("RW", "R", "W")


class Done(NamedTuple):
    """What a verb came to: success of some kind, and what it tells."""

    code: Code = SUCCESS
    elements: tuple[Element, ...] = ()


class QuestionAsked(Exception):
    """The command waits for a person's answer."""


Verb = Callable[[ManagementGroup, Parameters], Done]


def run(group: ManagementGroup, command: Command) -> Done:
    """Do what a command says. Raises CliqError, QuestionAsked."""
    verb = VERBS.get(command.verb)
    if verb is None:
        raise CliqError(UNRECOGNIZED_COMMAND, f"'{command.verb}' is not a command.")
    return verb(group, command.parameters)


def _confirm(parameters: Parameters) -> None:
    if parameters.flag("prompt", True):
        raise QuestionAsked


def _worst(codes: list[Code]) -> Done:
    return Done(max(codes, key=lambda code: code.result))


# --- volumes ----------------------------------------------------------------------------------------


def create_volume(group: ManagementGroup, given: Parameters) -> Done:
    for one in given.each("volumeName"):
        size = one.size("size")
        if size is None:
            raise CliqError(MISSING_PARAMETER, "Parameter 'size' is missing.")
        replication = one.find("replication") or "1"
        if replication not in {"1", "2", "3", "4"}:
            raise CliqError(PARAMETER_FORMAT, f"Parameter 'replication' is not valid: {replication}")
        group.create_volume(
            one.text("volumeName"),
            one.text("clusterName"),
            size,
            one.find("description") or "",
            one.flag("thinProvision", False),
            int(replication),
        )
    return Done()


def modify_volume(group: ManagementGroup, given: Parameters) -> Done:
    codes = []
    for one in given.each("volumeName"):
        name, size = one.text("volumeName"), one.size("size")
        if size is not None and size < group.volume(name).size:
            _confirm(one)
        codes.append(group.modify_volume(name, size, one.find("description")))
    return _worst(codes)


def delete_volume(group: ManagementGroup, given: Parameters) -> Done:
    _confirm(given)
    for name in given.words("volumeName"):
        group.delete_volume(name)
    return Done()


def get_volume_info(group: ManagementGroup, given: Parameters) -> Done:
    """One volume, or all of them."""
    if given.find("volumeName") is None:
        return Done(elements=tuple(volume.element() for volume in group.volumes.values()))
    return Done(elements=tuple(group.tell(name) for name in given.words("volumeName")))


# --- snapshots --------------------------------------------------------------------------------------


def create_snapshot(group: ManagementGroup, given: Parameters) -> Done:
    for one in given.each("snapshotName"):
        inherit, description = one.flag("inheritAccess", False), one.find("description") or ""
        group.create_snapshot(one.text("volumeName"), one.text("snapshotName"), description, inherit)
    return Done()


def clone_snapshot(group: ManagementGroup, given: Parameters) -> Done:
    for one in given.each("volumeName"):
        group.clone_snapshot(one.text("snapshotName"), one.text("volumeName"), one.find("description") or "")
    return Done()


def delete_snapshot(group: ManagementGroup, given: Parameters) -> Done:
    _confirm(given)
    for name in given.words("snapshotName"):
        group.delete_snapshot(name)
    return Done()


def get_snapshot_info(group: ManagementGroup, given: Parameters) -> Done:
    """One snapshot, or (where that is understood) those of a volume."""
    if given.find("snapshotName") is None and group.facts.lists_snapshots_by_volume:
        snapshots = group.snapshots_of(group.volume(given.text("volumeName")))
        return Done(elements=tuple(one.element() for one in snapshots))
    return Done(elements=tuple(group.snapshot(name).element() for name in given.words("snapshotName")))


# --- servers and permissions ------------------------------------------------------------------------


def create_server(group: ManagementGroup, given: Parameters) -> Done:
    group.create_server(
        Server(
            given.text("serverName"),
            given.text("initiator"),
            given.flag("useChap", False),
            given.find("chapName") or "",
            given.find("targetSecret") or "",
            given.find("initiatorSecret") or "",
            given.find("description") or "",
        )
    )
    return Done()


def delete_server(group: ManagementGroup, given: Parameters) -> Done:
    _confirm(given)
    for name in given.words("serverName"):
        group.delete_server(name)
    return Done()


def get_server_info(group: ManagementGroup, given: Parameters) -> Done:
    """One server, or all of them."""
    if given.find("serverName") is None:
        return Done(elements=tuple(server.element() for server in group.servers.values()))
    return Done(elements=tuple(group.server(name).element() for name in given.words("serverName")))


def assign_to_server(group: ManagementGroup, given: Parameters) -> Done:
    return _worst(
        [
            group.assign_to_server(one.text("volumeName"), one.text("serverName"), _access(one))
            for one in given.each("volumeName")
        ]
    )


def unassign_from_server(group: ManagementGroup, given: Parameters) -> Done:
    return _worst(
        [
            group.unassign_from_server(one.text("volumeName"), one.text("serverName"))
            for one in given.each("volumeName")
        ]
    )


def assign_volume(group: ManagementGroup, given: Parameters) -> Done:
    servers = [Server(_made_up(initiator), initiator) for initiator in given.words("initiator")]
    group.assign(given.text("volumeName"), servers, _access(given))
    return Done()


def assign_volume_chap(group: ManagementGroup, given: Parameters) -> Done:
    name, secret = given.text("chapName"), given.text("targetSecret")
    if len(secret) < group.facts.chap_length:
        text = f"A CHAP secret must have at least {group.facts.chap_length} characters."
        raise CliqError(group.facts.generic, text)
    server = Server(_made_up(name), "", True, name, secret)
    group.assign(given.text("volumeName"), [server], _access(given))
    return Done()


def unassign_volume(group: ManagementGroup, given: Parameters) -> Done:
    group.unassign(given.text("volumeName"))
    return Done()


def _access(given: Parameters) -> str:
    access = given.find("accessRights") or "rw"
    if access.upper() not in NATURAL:
        raise CliqError(PARAMETER_FORMAT, f"Parameter 'accessRights' is not valid: {access}")
    return access.lower()


def _made_up(text: str) -> str:
    """The name that the array gives to a permission without a server."""
    return "api-" + hashlib.sha256(text.encode()).hexdigest()[:16]


# --- the group --------------------------------------------------------------------------------------


def get_cluster_info(group: ManagementGroup, given: Parameters) -> Done:
    """One cluster, or all of them."""
    given.find("searchDepth"), given.find("verbose")
    name = given.find("clusterName")
    clusters = [group.cluster(name)] if name is not None else list(group.clusters.values())
    return Done(elements=tuple(one.element(group.facts, group.free(one)) for one in clusters))


def get_group_info(group: ManagementGroup, given: Parameters) -> Done:
    given.find("searchDepth"), given.find("verbose")
    return Done(elements=(Element("group", {"name": group.facts.group}),))


VERBS: dict[str, Verb] = {
    "createvolume": create_volume,
    "modifyvolume": modify_volume,
    "deletevolume": delete_volume,
    "getvolumeinfo": get_volume_info,
    "createsnapshot": create_snapshot,
    "clonesnapshot": clone_snapshot,
    "deletesnapshot": delete_snapshot,
    "getsnapshotinfo": get_snapshot_info,
    "createserver": create_server,
    "deleteserver": delete_server,
    "getserverinfo": get_server_info,
    "assignvolumetoserver": assign_to_server,
    "unassignvolumetoserver": unassign_from_server,
    "assignvolume": assign_volume,
    "assignvolumechap": assign_volume_chap,
    "unassignvolume": unassign_volume,
    "getclusterinfo": get_cluster_info,
    "getgroupinfo": get_group_info,
}
