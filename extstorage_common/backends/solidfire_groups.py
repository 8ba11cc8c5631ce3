# SPDX-License-Identifier: Apache-2.0
"""Which node may reach which volume: each node has two access groups.

A cluster lets an initiator be in one group only, so a node has one for all its volumes: *attached*. The
cluster serves the volumes in it to the node, and stops serving one that is taken out, while the others go
on. The second group, *fenced*, has no initiator. It only notes that a volume was taken from the node by
force, while a session of the node may still wait to come back. The node does not get that volume again
before it has detached it, or was restarted.

The groups' numbers, and the node's CHAP secrets, are in an account without volumes, ``ganeti-node-<node>``,
since the cluster finds an account by its name.
"""

from __future__ import annotations

import hashlib

from extstorage_common.backends.solidfire_state import MARK, checked, find_account, remove_account
from extstorage_common.crash import crash_point
from extstorage_common.errors import Refused
from extstorage_common.locks import Lock
from extstorage_common.targets import iscsi_names
from extstorage_common.transports.element import ElementError, once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from extstorage_common.transports.element import Element, Object

SESSION_SECONDS = 10.0
"""Seconds in which the session of an initiator that lost its access has ended."""
MOST_NAME = 64


class InitiatorTaken(Refused):
    template = (
        "initiator {initiator} is in the cluster's access group {group} ({number}) already, and the cluster "
        "lets it be in one only; if that is another node's, give each its own in "
        "/etc/iscsi/initiatorname.iscsi, else delete the group"
    )


class NoInitiatorSecrets(Refused):
    template = (
        "the cluster can't ask a secret of initiator {initiator}, it is too old for that; allow the node to "
        "log in without: chap = none"
    )


class WasFenced(Refused):
    template = (
        "the volume was taken from this node for another one, and a session of this node may still have data "
        "for it; detach it here first"
    )


class StillConnected(Refused):
    template = "initiator {initiator} still has a session to the volume, though its access was taken away"


class Node:
    """A node as the cluster knows it: the numbers of its groups, its initiator, its secrets."""

    def __init__(self, account: Object) -> None:
        told = account["attributes"].get(MARK, {})
        self.account: int = account["accountID"]
        self.name: str = told.get("node", "")
        self.initiator: str = told.get("initiator", "")
        self.boot: str = told.get("boot", "")
        self.attached: int = told.get("attached", 0)
        self.fenced: int = told.get("fenced", 0)
        self.is_started_anew = False
        self.secrets: tuple[str, str] = (account["initiatorSecret"], account["targetSecret"])

    def attributes(self) -> Object:
        """What the account's attributes say."""
        told = {
            "node": self.name,
            "initiator": self.initiator,
            "boot": self.boot,
            "attached": self.attached,
            "fenced": self.fenced,
        }
        return checked({MARK: told}, f"what is kept of node {self.name}")


class Groups:
    """The access groups of the nodes; ``chap`` says whether their initiators have secrets."""

    def __init__(self, element: Element, chap: bool) -> None:
        self.element = element
        self.chap = chap

    # --- nodes ------------------------------------------------------------------------------------

    def find(self, name: str) -> Node | None:
        """A node that has been registered."""
        account = find_account(self.element, _username(name))
        return None if account is None else Node(account)

    def register(self, name: str, connector: Mapping[str, str]) -> Node:
        """The node. It is made known to the cluster at its first attach, or when its initiator was renamed.

        Raises NotAnInitiator, InitiatorTaken, NoInitiatorSecrets.
        """
        initiator, boot = _told(connector)
        iscsi_names.check_initiator(initiator)
        node = self.find(name)
        if node is not None and (node.initiator, node.boot) == (initiator, boot) and node.fenced:
            return node
        return self._register_again(name, connector)

    def _register_again(self, name: str, connector: Mapping[str, str]) -> Node:
        with Lock(f"solidfire/{name}", "registering the node", self.element.deadline):
            return self._register(name, *_told(connector))

    def _register(self, name: str, initiator: str, boot: str) -> Node:
        node = self.find(name) or self._make_account(name)
        crash_point("solidfire.node_account")
        if self.chap:
            self._give_secrets(initiator, node.secrets)
        attached = self._group(node.attached, name, "attached", [initiator])
        crash_point("solidfire.node_group")
        fenced = self._group(node.fenced, name, "fenced", [])
        node.is_started_anew = node.boot != boot
        if node.is_started_anew and fenced["volumes"]:
            # Sessions end with the kernel that had them.
            number = fenced["volumeAccessGroupID"]
            self.element.call("ModifyVolumeAccessGroup", volumeAccessGroupID=number, volumes=[])
        node.attached, node.fenced = attached["volumeAccessGroupID"], fenced["volumeAccessGroupID"]
        node.name, node.initiator, node.boot = name, initiator, boot
        self.element.call("ModifyAccount", accountID=node.account, attributes=node.attributes())
        return node

    def _make_account(self, name: str) -> Node:
        told = {"username": _username(name), "attributes": {MARK: {"node": name}}}
        try:
            node: Node = once(
                lambda: Node(self.element.call("AddAccount", **told)["account"]), lambda: self.find(name)
            )
            return node
        except ElementError as error:
            if error.has_name("xDuplicateUsername") and (known := self.find(name)) is not None:
                return known
            raise

    def _give_secrets(self, initiator: str, secrets: tuple[str, str]) -> None:
        """Let the cluster ask the initiator, which is made known if it is not, for these secrets."""
        told = {"requireChap": True, "chapUsername": initiator}
        told |= {"initiatorSecret": secrets[0], "targetSecret": secrets[1]}

        def ensure() -> Object:
            try:
                return self.element.call("CreateInitiators", initiators=[{"name": initiator, **told}])
            except ElementError as error:
                if not error.has_name("xInitiatorExists"):
                    raise
                return self._change_initiator(initiator, told)

        made = once(ensure, lambda: None)
        if not all(one.get("requireChap") for one in made["initiators"]):
            raise NoInitiatorSecrets(initiator=initiator)

    def _change_initiator(self, initiator: str, told: Object) -> Object:
        """The cluster has to list all initiators for this one's number; it is done once in a node's life."""
        for one in self.element.call("ListInitiators")["initiators"]:
            if one["initiatorName"] == initiator:
                change = {"initiatorID": one["initiatorID"], **told}
                return self.element.call("ModifyInitiators", initiators=[change])
        raise NoInitiatorSecrets(initiator=initiator)

    def _group(self, number: int, node: str, kind: str, initiators: list[str]) -> Object:
        """A node's group of this kind, with these initiators; made if it is not there."""
        group = self._known_group(number) or self._search_group(node, kind) or self._make_group(node, kind)
        if group["initiators"] != initiators:
            told = {"volumeAccessGroupID": group["volumeAccessGroupID"], "initiators": initiators}
            try:
                self.element.call("ModifyVolumeAccessGroup", **told)
            except ElementError as error:
                if error.has_name("xExceededLimit") and initiators:
                    self._raise_taken(initiators[0], error)
                raise
        return group

    def _known_group(self, number: int) -> Object | None:
        if not number:
            return None
        told = self.element.call("ListVolumeAccessGroups", volumeAccessGroups=[number])
        groups: list[Object] = told["volumeAccessGroups"]
        return groups[0] if groups else None

    def _all_groups(self) -> list[Object]:
        """For a node that is not registered yet, or leaves."""
        groups: list[Object] = self.element.call("ListVolumeAccessGroups")["volumeAccessGroups"]
        return groups

    def _search_group(self, node: str, kind: str) -> Object | None:
        """The group that an earlier registration made, before it was killed and could note its number."""
        for group in self._all_groups():
            if _mark(group) == (node, kind):
                return group
        return None

    def _make_group(self, node: str, kind: str) -> Object:
        attributes = {MARK: {"node": node, "kind": kind}}

        def make() -> Object:
            told = {"name": f"{MARK}-{kind}-{node}"[:MOST_NAME], "attributes": attributes}
            made: Object = self.element.call("CreateVolumeAccessGroup", **told)["volumeAccessGroup"]
            return made

        group: Object = once(make, lambda: self._search_group(node, kind))
        return group

    def _raise_taken(self, initiator: str, cause: ElementError) -> None:
        """Raise InitiatorTaken if another group has the initiator."""
        for group in self._all_groups():
            if initiator in group["initiators"]:
                number, name = group["volumeAccessGroupID"], group["name"]
                raise InitiatorTaken(initiator=initiator, group=name, number=number) from cause

    def forget(self, name: str, dry_run: bool) -> list[str]:
        """Remove all that there is of a node that left; returns what that was."""
        node = self.find(name)
        groups = [group for group in self._all_groups() if _mark(group)[0] == name]
        words = [f"access group {group['name']} ({group['volumeAccessGroupID']})" for group in groups]
        if node is not None:
            words.append(f"account {_username(name)}")
        if dry_run:
            return words
        for group in groups:
            told = {"volumeAccessGroupID": group["volumeAccessGroupID"], "deleteOrphanInitiators": True}
            self.element.call("DeleteVolumeAccessGroup", **told)
        if node is not None:
            remove_account(self.element, node.account)
        return words

    # --- volumes ----------------------------------------------------------------------------------

    def attach(self, name: str, connector: Mapping[str, str], volume: Object) -> Node:
        """Let the node reach the volume, whatever became of its groups meanwhile.

        Raises WasFenced, and what ``register`` does.
        """
        node = self.register(name, connector)
        if node.fenced in volume["volumeAccessGroups"] and not node.is_started_anew:
            raise WasFenced
        if self._add(node.attached, volume) != [node.initiator]:
            node = self._register_again(name, connector)
            self._add(node.attached, volume)
        return node

    def detach(self, node: Node, volume: Object) -> None:
        """Keep the node from reaching the volume, and forget that it was fenced."""
        self._remove(node.attached, volume)
        self._remove(node.fenced, volume)

    def fence(self, node: Node, volume: Object) -> None:
        """Take the volume from the node, and return when its session has ended. Raises StillConnected."""
        self._add(node.fenced, volume)
        crash_point("solidfire.fence_noted")
        self._remove(node.attached, volume)
        for _ in self.element.looks(SESSION_SECONDS):
            if not self.has_session(volume, node.initiator):
                return
        raise StillConnected(initiator=node.initiator)

    def has_session(self, volume: Object, initiator: str) -> bool:
        """Whether an initiator is logged in. The cluster lists all sessions or none: only for fencing."""
        return any(
            session["volumeID"] == volume["volumeID"] and session["initiatorName"] == initiator
            for session in self.element.call("ListISCSISessions")["sessions"]
        )

    def nodes(self, volume: Object) -> list[str]:
        """The nodes that may reach the volume, sorted."""
        numbers = volume["volumeAccessGroups"]
        if not numbers:
            return []
        told = self.element.call("ListVolumeAccessGroups", volumeAccessGroups=numbers)
        marks = [_mark(group) for group in told["volumeAccessGroups"]]
        return sorted(node for node, kind in marks if kind == "attached")

    def _add(self, number: int, volume: Object) -> list[str]:
        """Let a group have the volume; returns the group's initiators, none where there is no group."""
        told = {"volumeAccessGroupID": number, "volumes": [volume["volumeID"]]}
        group: Object | None
        try:
            group = self.element.call("AddVolumesToVolumeAccessGroup", **told)["volumeAccessGroup"]
        except ElementError as error:
            if not error.has_name("xAlreadyInVolumeAccessGroup", "xVolumeAccessGroupIDDoesNotExist"):
                raise
            group = self._known_group(number)
        if number not in volume["volumeAccessGroups"]:
            volume["volumeAccessGroups"] = [*volume["volumeAccessGroups"], number]
        initiators: list[str] = [] if group is None else group["initiators"]
        return initiators

    def _remove(self, group: int, volume: Object) -> None:
        if group not in volume["volumeAccessGroups"]:
            return
        told = {"volumeAccessGroupID": group, "volumes": [volume["volumeID"]]}
        try:
            self.element.call("RemoveVolumesFromVolumeAccessGroup", **told)
        except ElementError as error:
            gone = ("xNotInVolumeAccessGroup", "xVolumeAccessGroupIDDoesNotExist", "xVolumeIDDoesNotExist")
            if not error.has_name(*gone):
                raise
        volume["volumeAccessGroups"] = [one for one in volume["volumeAccessGroups"] if one != group]


def _mark(group: Object) -> tuple[str, str]:
    """The node that a group is of, and its kind; two empty texts for others' groups."""
    told = group["attributes"].get(MARK, {})
    return told.get("node", ""), told.get("kind", "")


def _told(connector: Mapping[str, str]) -> tuple[str, str]:
    """A node's initiator, in lower case as clusters keep it, and its boot, which changes with each start."""
    return connector.get("initiator", "").lower(), connector.get("boot", "")


def _username(node: str) -> str:
    name = f"{MARK}-node-{node}"
    return name if len(name) <= MOST_NAME else f"{MARK}-node-{hashlib.sha256(node.encode()).hexdigest()[:40]}"
