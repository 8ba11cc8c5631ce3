# SPDX-License-Identifier: Apache-2.0
"""Volumes of a SolidFire (NetApp Element) cluster, over its JSON-RPC.

A pool is an account of the cluster; its volumes are found by their names, directly, and what they were made
with is in their attributes (``solidfire_volumes.py``). Nodes reach them by access groups
(``solidfire_groups.py``), and who has one open is told by accounts without volumes (``solidfire_state.py``).
"""

from __future__ import annotations

from extstorage_common.backends import sessions, solidfire_state
from extstorage_common.backends.base import Backend, Capabilities, Volume
from extstorage_common.backends.solidfire_groups import Groups
from extstorage_common.backends.solidfire_state import MARK, State, States, find_account
from extstorage_common.backends.solidfire_volumes import (
    Unpurged,
    Volumes,
    choose,
    mark,
    refusal,
    service,
)
from extstorage_common.config import (
    TRANSCRIPT,
    AbsolutePath,
    Host,
    Kind,
    Option,
    Port,
    Seconds,
    SecretFile,
    YesNo,
)
from extstorage_common.crash import crash_point
from extstorage_common.errors import (
    BeingMade,
    PoolUnreachable,
    TimedOut,
    VolumeExists,
    VolumeIncomplete,
    VolumeNotFound,
)
from extstorage_common.targets.iscsi import CHAP_OPTION, PORT, Portals
from extstorage_common.transports.element import Element, ElementError, Login, once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from extstorage_common.backends.base import Check, Connection, Holder, Holders
    from extstorage_common.backends.solidfire_groups import Node
    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline
    from extstorage_common.transports.element import Object

COPYING = "the cluster itself, which copies another one"


class Operations(Kind):
    """I/O operations a second."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most
        self.expects = f"a number from {least} to {most}"

    def parse(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise ValueError(text)
        if not self.least <= int(text) <= self.most:
            raise ValueError(text)
        return int(text)


class Fingerprint(Kind):
    """The SHA-256 of a certificate."""

    expects = "the 64 hexadecimal digits of a SHA-256, with colons or without"

    def parse(self, text: str) -> str:
        digits = text.replace(":", "").lower()
        if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
            raise ValueError(text)
        return digits


class SolidFireBackend(Backend):
    """An account of a cluster."""

    NAME = "solidfire"
    CONNECTOR = "iscsi"
    OPTIONS = (
        Option("address", Host(), None, "the cluster's management address (MVIP)"),
        Option("port", Port(), "443", "the port of its API"),
        Option(
            "user",
            Host(),
            None,
            "a user of the cluster who may read, and change accounts and volumes",
        ),
        Option("password_file", SecretFile(), None, "the file with that user's password"),
        Option(
            "ca_file",
            AbsolutePath(),
            "",
            "the file with the certificates that the cluster's must be signed by; by default the system's",
        ),
        Option("fingerprint", Fingerprint(), "", "the SHA-256 of the cluster's own certificate, instead"),
        Option("verify", YesNo(), "yes", "whether the cluster must prove that it is the right one"),
        Option("account", Kind(), "ganeti", "the account of the cluster that owns the pool's volumes"),
        Option(
            "portals",
            Portals(),
            "",
            "where the nodes find the volumes, if not at the cluster's storage address (SVIP)",
        ),
        CHAP_OPTION,
        Option(
            "purge",
            YesNo(),
            "yes",
            "whether a removed volume is gone at once; else the cluster keeps it for 8 hours",
        ),
        Option("session_timeout", Seconds(300), "30", "seconds in which the cluster notices a node's death"),
        TRANSCRIPT,
        Option("min_iops", Operations(50, 15000), "", "what a volume gets when there is a rush", owner=True),
        Option("max_iops", Operations(100, 200000), "", "what a volume gets in the long run", owner=True),
        Option("burst_iops", Operations(100, 200000), "", "what a volume gets for a moment", owner=True),
    )
    CAPABILITIES = Capabilities(
        fences=True,
        liveness=True,
        clones="by a copy that the cluster makes, for which the call waits",
        userspace=False,
        shared_open="yes",
    )

    def __init__(self, pool: Pool, node: str, deadline: Deadline) -> None:
        super().__init__(pool, node, deadline)
        login = Login(
            pool["address"],
            pool["port"],
            pool["user"],
            pool["password_file"],
            pool["ca_file"],
            pool["fingerprint"],
            pool["verify"],
        )
        self.element = Element(pool.name, login, deadline, pool.provider if pool["transcript"] else "")
        self.volumes = Volumes(self.element, pool["account"])
        self.states = States(self.element)
        self.groups = Groups(self.element, pool["chap"] != "none")
        self._seen: dict[str, Object] = {}
        self._read: dict[str, State] = {}

    @classmethod
    def is_bulk(cls, action: str, pool: Pool) -> bool:
        """The cluster copies, and the call waits for it."""
        return action == "snapshot"

    # --- the pool ---------------------------------------------------------------------------------

    def initialize_pool(self) -> str:
        name = self.pool["account"]
        if find_account(self.element, name) is None:
            once(
                lambda: self.element.call("AddAccount", username=name)["account"],
                lambda: find_account(self.element, name),
            )
        return self.pool_uuid()

    def prepare_pool(self) -> None:
        pass

    def pool_uuid(self) -> str:
        """Computed from the cluster's UUID and the account's name."""
        import uuid

        self._account()
        told = self.element.call("GetClusterInfo")["clusterInfo"]
        return str(uuid.uuid5(uuid.UUID(told["uuid"]), self.pool["account"]))

    def _account(self) -> Object:
        """The pool's account. Raises PoolUnreachable: without it nothing is known of any volume."""
        name = self.pool["account"]
        account = find_account(self.element, name)
        if account is None:
            advice = f"gnt-storage pool init {self.pool.provider} {self.pool.name}"
            reason = f"the cluster has no account {name}; make it: {advice}"
            raise PoolUnreachable(pool=self.pool.name, reason=reason)
        return account

    def capacity(self) -> tuple[int, int]:
        told = self.element.call("GetClusterCapacity")["clusterCapacity"]
        most, promised = int(told["maxProvisionedSpace"]), int(told["provisionedSpace"])
        return most, max(0, most - promised)

    def checks(self) -> Sequence[Check]:
        return (
            ("cluster", self._check_cluster),
            ("account", self._check_account),
            ("service", self._check_service),
        )

    def _check_cluster(self) -> None:
        self.element.call("GetClusterInfo")

    def _check_account(self) -> None:
        self._account()

    def _check_service(self) -> None:
        service(self.pool.options)

    # --- volumes ----------------------------------------------------------------------------------

    def get_volume(self, name: str) -> Volume:
        found = self._look(name)
        return Volume(name, found["totalSize"])

    def _look(self, name: str) -> Object:
        """The volume of this name as the cluster shows it now, completely made."""
        volumes = self.volumes.named(name)
        if all(volume["status"] == "deleted" for volume in volumes):
            if volumes and self.pool["purge"]:
                raise Unpurged(pool=self.pool.name, until=volumes[0]["purgeTime"])
            self._account()
            raise VolumeNotFound(where=f"pool '{self.pool.name}'")
        volume = choose(volumes)
        if volume["status"] != "active":
            raise VolumeIncomplete(pool=self.pool.name, maker=COPYING)
        self._seen[name] = volume
        return volume

    def _known(self, volume: Volume) -> Object:
        """The volume as the cluster last showed it in this call."""
        return self._seen.get(volume.name) or self._look(volume.name)

    def list_volumes(self) -> list[str]:
        volumes = self.element.call("ListVolumes", accounts=[self._account()["accountID"]])["volumes"]
        there = [
            volume for volume in volumes if volume["status"] != "deleted" and self.volumes.is_ours(volume)
        ]
        return sorted({mark(volume)["volume"] for volume in there})

    def create_volume(self, name: str, size_mib: int) -> Volume:
        size = size_mib << 20
        quality = service(self.pool.options)
        self._make_way(name)
        told = {"accountID": self._account()["accountID"], "totalSize": size, "enable512e": True}
        if quality is not None:
            told["qos"] = quality
        try:
            made = self.volumes.make(name, "CreateVolume", told, self.volumes.attributes(name, self.node))
        except ElementError as error:
            raise refusal(self.element, size, size, error) from error
        crash_point("solidfire.created")
        return Volume(name, made["totalSize"])

    def _make_way(self, name: str) -> None:
        """Purge what was deleted under this name. Raises VolumeExists, BeingMade, DuplicateVolumes."""
        volumes = self.volumes.named(name)
        for volume in volumes:
            if volume["status"] == "deleted" and self.pool["purge"]:
                self._forget(volume)
        if all(volume["status"] == "deleted" for volume in volumes):
            return
        volume = choose(volumes)
        if volume["status"] == "active":
            raise VolumeExists(size=volume["totalSize"] >> 20, where=self.pool.name)
        raise BeingMade(maker=COPYING)

    def discard_incomplete(self, name: str) -> None:
        for volume in self.volumes.named(name):
            if volume["status"] != "active":
                self._forget(volume)

    def extend_volume(self, volume: Volume, new_size_mib: int) -> Volume:
        found = self._known(volume)
        size = new_size_mib << 20
        try:
            changed = self.volumes.change(found["volumeID"], totalSize=size)
        except ElementError as error:
            raise refusal(self.element, size, size - volume.size, error) from error
        self._seen[volume.name] = {**found, **changed}
        return Volume(volume.name, changed["totalSize"])

    def delete_volume(self, volume: Volume) -> None:
        for one in self.volumes.named(volume.name):
            self._forget(one)
        self._seen.pop(volume.name, None)

    def _forget(self, volume: Object) -> None:
        """Delete a volume and its states; killed in between, it leaves a deleted one for the next call."""
        number = volume["volumeID"]
        self.volumes.delete(number)
        crash_point("solidfire.deleted")
        self.states.forget(number, mark(volume)["state"])
        crash_point("solidfire.state_forgotten")
        if self.pool["purge"]:
            self.volumes.purge(number)

    def purge_pool(self) -> list[str]:
        """What was removed with ``purge = no``."""
        volumes = self.element.call("ListVolumes", accounts=[self._account()["accountID"]])["volumes"]
        gone = [one for one in volumes if one["status"] == "deleted" and self.volumes.is_ours(one)]
        for volume in gone:
            self.volumes.purge(volume["volumeID"])
        return sorted(mark(volume)["volume"] for volume in gone)

    def create_snapshot(self, volume: Volume, name: str, is_quiet: Callable[[], None]) -> Volume:
        source = self._known(volume)
        self._make_way(name)
        attributes = self.volumes.attributes(name, self.node, volume.name)
        told = {"volumeID": source["volumeID"]}
        try:
            copy = self.volumes.make(name, "CloneVolume", told, attributes)
        except ElementError as error:
            raise refusal(self.element, volume.size, volume.size, error) from error
        done = self.volumes.wait_for_copy(copy, lambda: crash_point("solidfire.copying"))
        return Volume(name, done["totalSize"])

    def origin(self, volume: Volume) -> str:
        return str(mark(self._known(volume)).get("origin", ""))

    def set_metadata(self, volume: Volume, text: str) -> None:
        for _ in self.deadline.attempts():
            state = self._state(volume)
            if state.metadata == text or self._replace(volume, state, state.holders, text):
                return
        raise TimedOut(seconds=self.deadline.seconds, doing="changing the volume's metadata")

    def describe(self, volume: Volume) -> dict[str, str]:
        found = self._look(volume.name)
        told = mark(found)
        quality = found["qos"]
        shown = {"cluster": told["cluster"], "node": told["node"], "created": told["made"]}
        if "origin" in told:
            shown["origin"] = told["origin"]
        shown["metadata"] = self._state(volume).metadata
        shown |= {"number": str(found["volumeID"]), "name": found["name"], "target": found["iqn"]}
        shown["wwn"] = _wwn(found)
        shown["iops"] = f"{quality['minIOPS']} {quality['maxIOPS']} {quality['burstIOPS']}"
        shown["attached"] = " ".join(self.groups.nodes(found))
        return shown

    # --- exports ----------------------------------------------------------------------------------

    def initialize_connection(self, volume: Volume, connector: Mapping[str, str]) -> Connection:
        found = self._known(volume)
        node = self.groups.attach(self.node, connector, found)
        crash_point("solidfire.granted")
        return {"driver_volume_type": "iscsi", "data": self._connection(found, node)}

    def _connection(self, volume: Object, node: Node) -> Object:
        """The cluster offers every volume at one address, and redirects the node from there by itself."""
        portals: Sequence[str] = self.pool["portals"] or (self._svip(),)
        data: Object = {
            "target_discovered": False,
            "target_portal": portals[0],
            "target_iqn": volume["iqn"],
            "target_lun": 0,
            "target_portals": list(portals),
            "target_iqns": [volume["iqn"]] * len(portals),
            "target_luns": [0] * len(portals),
            "auth_method": "None" if self.pool["chap"] == "none" else "CHAP",
            "access_mode": "rw",
            "encrypted": False,
            "discard": True,
            "size": volume["totalSize"],
            "wwn": _wwn(volume),
            "serial": volume["scsiNAADeviceID"],
        }
        if self.pool["chap"] != "none":
            data |= {"auth_username": node.initiator, "auth_password": node.secrets[0]}
        if self.pool["chap"] == "mutual":
            data |= {"mutual_auth_username": node.initiator, "mutual_auth_password": node.secrets[1]}
        return data

    def _svip(self) -> str:
        address = self.element.call("GetClusterInfo")["clusterInfo"]["svip"]
        return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"

    def terminate_connection(self, volume: Volume, connector: Mapping[str, str]) -> None:
        self.revoke_connection(volume, self.node)

    def revoke_connection(self, volume: Volume, node: str) -> None:
        found = self._known(volume)
        if not found["volumeAccessGroups"]:
            return
        registered = self.groups.find(node)
        if registered is not None:
            self.groups.detach(registered, found)

    def attached_nodes(self, volume: Volume) -> list[str]:
        return self.groups.nodes(self._look(volume.name))

    def forget_node(self, node: str, dry_run: bool) -> list[str]:
        return self.groups.forget(node, dry_run)

    # --- holders ----------------------------------------------------------------------------------

    def _state(self, volume: Volume) -> State:
        """The volume's state now."""
        found = self._known(volume)
        hints = iter([int(mark(found)["state"])])

        def hint() -> int:
            first = next(hints, None)
            return self._hint(volume) if first is None else first

        state = self.states.read(found["volumeID"], hint)
        self._read[volume.name] = state
        return state

    def _hint(self, volume: Volume) -> int:
        """The number that the volume's attributes have now."""
        return int(mark(self._look(volume.name))["state"])

    def _replace(self, volume: Volume, old: State, holders: Sequence[Holder], metadata: str) -> bool:
        found = self._known(volume)
        number = found["volumeID"]

        def note(hint: int) -> None:
            attributes = {**found["attributes"], MARK: {**mark(found), "state": hint}}
            self.volumes.change(number, attributes=attributes)
            found["attributes"] = attributes

        return self.states.replace(number, old, holders, metadata, lambda: self._hint(volume), note)

    def read_holders(self, volume: Volume) -> Holders:
        return solidfire_state.as_holders(self._state(volume))

    def replace_holders(self, volume: Volume, old: Holders, new: Sequence[Holder]) -> bool:
        state = self._read.get(volume.name)
        if state is None or state.number != old.version:
            state = self._state(volume)
        if state.number != old.version:
            return False
        return self._replace(volume, state, new, state.metadata)

    def holder_address(self, volume: Volume, connector: Mapping[str, str]) -> str:
        return connector.get("initiator", "-").lower()

    def is_alive(self, volume: Volume, holder: Holder) -> bool:
        found = self._known(volume)
        looks = self.element.looks(self.pool["session_timeout"] + sessions.RETURN_SECONDS)
        return sessions.is_alive(lambda: self.groups.has_session(found, holder.address), looks)

    def fence(self, volume: Volume, holder: Holder) -> None:
        node = self.groups.find(holder.node)
        if node is not None:
            self.groups.fence(node, self._look(volume.name))


def _wwn(volume: Object) -> str:
    return f"naa.{volume['scsiNAADeviceID'].lower()}"


BACKEND = SolidFireBackend
