# SPDX-License-Identifier: Apache-2.0
"""Who may reach which volume of an array: servers, and the volumes that are assigned to them.

A server is an initiator's name with its CHAP secrets, known to the whole management group. Each node is
registered as one at its first attach. The server's name contains the node's, so the array's own answer
tells which nodes a volume is assigned to. A node has the same secrets for all of its volumes; only the
array keeps them, and whoever manages it can read them there.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from extstorage_common.backends.lefthand_cliq import AlreadyThere, CliqRefused, NotThere
from extstorage_common.crash import crash_point
from extstorage_common.errors import Refused, Unreachable
from extstorage_common.locks import Lock
from extstorage_common.targets import iscsi, iscsi_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from extstorage_common.backends.base import Connection
    from extstorage_common.backends.lefthand_cliq import Cliq
    from extstorage_common.backends.lefthand_rows import Row
    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline

SERVER = re.compile(r"gx-(?P<node>.+)-[0-9a-f]{8}", re.ASCII)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
SECRET_LENGTH = 16
"""A secret's length, 95 bits: initiators want at least 12 characters, and not all take more than 16."""


class InitiatorTaken(Refused):
    template = (
        "the array has another server with this node's initiator name ({initiator}): {reason}; delete that "
        "server there, and give each node its own name in /etc/iscsi/initiatorname.iscsi"
    )


class NotAssigned(Refused):
    template = "the array did what it was told, but volume {volume} is still not assigned to server {server}"


class ChapDiffers(Refused):
    template = (
        "server {server} on the array says chap = {found} and pool '{pool}' wants {wanted}; "
        "detach all volumes of this node, delete the server there, and it is made anew"
    )


class NoCluster(Unreachable):
    template = "the array has no cluster '{cluster}': {reason}"


class NoPortal(Refused):
    template = (
        "cluster '{cluster}' tells no address for iSCSI; give the cluster a virtual one, or set portals for "
        "the pool"
    )


def server_name(node: str, initiator: str) -> str:
    """The server that stands for a node with this initiator's name."""
    return f"gx-{node}-{hashlib.sha256(initiator.encode()).hexdigest()[:8]}"


def _secret() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))


def node_of(server: str) -> str:
    """The node for which a server stands; ``""`` if it is none of ours."""
    found = SERVER.fullmatch(server)
    return found["node"] if found else ""


class Exports:
    """Assignments on one array."""

    def __init__(self, cliq: Cliq, pool: Pool, deadline: Deadline) -> None:
        self.cliq = cliq
        self.pool = pool
        self.deadline = deadline

    def assign(self, row: Row, node: str, initiator: str) -> str:
        """Let the node reach the volume, if it can't yet; returns the node's server."""
        iscsi_names.check_initiator(initiator)
        server = server_name(node, initiator)
        if server not in row.servers:
            # Most nodes are registered already, so this is tried first.
            try:
                self._assign(row, server)
            except NotThere:
                self._register(server, node, initiator)
                crash_point("lefthand.registered")
                self._assign(row, server)
            crash_point("lefthand.assigned")
        return server

    def _assign(self, row: Row, server: str) -> None:
        self.cliq.run("assignVolumeToServer", volumeName=row.array_name, serverName=server)

    def _register(self, server: str, node: str, initiator: str) -> None:
        """Make the node's server, once."""
        chap = {}
        if self.pool["chap"] != "none":
            chap = {"useChap": "1", "chapName": f"n-{secrets.token_hex(4)}", "targetSecret": _secret()}
        if self.pool["chap"] == "mutual":
            chap["initiatorSecret"] = _secret()
        with Lock(f"lefthand/{server}", f"registering {node}", self.deadline):
            try:
                self.cliq.run("createServer", serverName=server, initiator=initiator, **chap)
            except AlreadyThere as error:
                # Another call was quicker, or the answer to this one was lost: then it is there.
                if not self.cliq.is_there("getServerInfo", serverName=server):
                    raise InitiatorTaken(initiator=initiator, reason=error.fields["reason"]) from None

    def unassign(self, row: Row, servers: Sequence[str]) -> None:
        """Let these servers reach the volume no more; they may have gone, and others stay."""
        for server in servers:
            try:
                self.cliq.run("unassignVolumeToServer", volumeName=row.array_name, serverName=server)
            except NotThere:
                continue

    def connection(self, row: Row, server: str) -> Connection:
        """How the node reaches the volume. Raises NotAssigned, ChapDiffers, NoPortal."""
        permission = row.servers.get(server)
        if permission is None:
            raise NotAssigned(volume=row.array_name, server=server)
        portals = self.portals()
        data: dict[str, object] = {
            "target_discovered": False,
            "target_portal": portals[0],
            "target_iqn": row.iqn,
            "target_lun": 0,
            "target_portals": list(portals),
            "target_iqns": [row.iqn] * len(portals),
            "target_luns": [0] * len(portals),
            "connector": self.pool["connector"],
            "access_mode": "rw",
            "encrypted": False,
            "discard": False,
            "size": row.size,
            "wwn": row.wwn(self.pool["naa_prefix"]),
            "serial": row.serial,
            **self._authentication(row, server, permission),
        }
        return {"driver_volume_type": "iscsi", "data": data}

    def _authentication(self, row: Row, server: str, permission: dict[str, str]) -> dict[str, str]:
        found, wanted = "none", self.pool["chap"]
        if permission.get("chapRequired") == "true":
            found = "mutual" if permission.get("initiatorSecret") else "one-way"
        if found != wanted:
            raise ChapDiffers(server=server, found=found, wanted=wanted, pool=self.pool.name)
        if found == "none":
            return {"auth_method": "None"}
        # The array's "target secret" is what an initiator shows to the target; its "initiator secret" is what
        # the initiator is shown.
        user = permission["chapName"]
        data = {"auth_method": "CHAP", "auth_username": user, "auth_password": permission["targetSecret"]}
        if found == "mutual":
            data["mutual_auth_username"] = row.iqn if self.pool["mutual_chap_name"] == "target" else user
            data["mutual_auth_password"] = permission["initiatorSecret"]
        return data

    def portals(self) -> list[str]:
        """Where the cluster's targets are: its virtual addresses, else its first storage node."""
        if self.pool["portals"]:
            return list(self.pool["portals"])
        cluster = self.cluster()
        addresses = [vip.get("ipAddress", "") for vip in cluster.findall("vip")]
        if not addresses:
            addresses = [node.get("ipAddress", "") for node in cluster.findall("nsm")][:1]
        found = [f"[{one}]:{iscsi.PORT}" if ":" in one else f"{one}:{iscsi.PORT}" for one in addresses if one]
        if not found:
            raise NoPortal(cluster=self.pool["cluster"])
        return found

    def cluster(self) -> Element:
        """What the array tells of the cluster. Raises NoCluster."""
        name = self.pool["cluster"]
        try:
            told = self.cliq.run("getClusterInfo", clusterName=name, searchDepth="1", verbose="0")
        except (CliqRefused, NotThere) as error:
            raise NoCluster(cluster=name, reason=error.fields["reason"]) from error
        # An array that does not understand the name tells of all its clusters.
        for cluster in told.all("cluster"):
            if cluster.get("name") == name:
                return cluster
        raise NoCluster(cluster=name, reason="it does not tell of it")
