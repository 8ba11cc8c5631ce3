# SPDX-License-Identifier: Apache-2.0
"""What a management group is made of: volumes, snapshots, servers, and who may reach what."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from tests.appliances.lefthand.answers import Element
from tests.appliances.lefthand.facts import Facts

PAGE = 262144
OUI = "000eb3"


def word(flag: bool) -> str:
    """A boolean, as answers have it."""
    return "true" if flag else "false"


@dataclass
class Server:
    """A machine that volumes can be assigned to: one initiator, with CHAP or without."""

    name: str
    initiator: str
    use_chap: bool = False
    chap_name: str = ""
    target_secret: str = ""
    initiator_secret: str = ""
    description: str = ""

    def element(self) -> Element:
        """As ``getServerInfo`` tells of it."""
        return Element(
            "server",
            {
                "chapName": self.chap_name,
                "chapRequired": word(self.use_chap),
                "description": self.description,
                "initiatorSecret": self.initiator_secret,
                "iqn": self.initiator,
                "name": self.name,
                "targetSecret": self.target_secret,
            },
        )


@dataclass
class Permission:
    """Who may reach a volume or a snapshot: a server by its name, or what ``assignVolume`` made up."""

    id: int
    server: Server
    access: str = "rw"

    def element(self) -> Element:
        """As ``getVolumeInfo`` tells of it, secrets in clear."""
        return Element(
            "permission",
            {
                "access": self.access,
                "authGroup": self.server.name,
                "chapName": self.server.chap_name,
                "chapRequired": word(self.server.use_chap),
                "id": str(self.id),
                "initiatorSecret": self.server.initiator_secret,
                "iqn": self.server.initiator,
                "iscsiEnabled": "true",
                "loadBalance": "true",
                "targetSecret": self.server.target_secret,
            },
        )


@dataclass
class Disk:
    """What a volume and a snapshot have in common: a target of its own with one disk, LUN 0."""

    name: str
    id: int
    group: str
    cluster: str
    size: int
    description: str
    created: str
    replication: int
    file: Path
    permissions: list[Permission] = field(default_factory=list)
    is_deleting: bool = False
    looks: int = 0
    """How often it will still be told of, if it is being deleted."""

    @property
    def md5(self) -> str:
        """A constant of the cluster's."""
        return hashlib.md5(f"{self.group}/{self.cluster}".encode()).hexdigest()

    @property
    def serial(self) -> str:
        """The serial number: the cluster's constant, then the number of the disk."""
        return f"{self.md5}{self.id:016x}"

    @property
    def iqn(self) -> str:
        """The target's name, all of it in lower case."""
        return f"iqn.2003-10.com.lefthandnetworks:{self.group.lower()}:{self.id}:{self.name.lower()}"

    @property
    def wwn(self) -> str:
        """What the disk says of itself (VPD page 0x83): NAA 6, the maker's number, the disk's."""
        return f"naa.6{OUI}{self.md5[:9]}{self.id:016x}"

    def attributes(self) -> dict[str, str]:
        """What volumes and snapshots tell alike."""
        return {
            "availability": "online",
            "blockSize": "1024",
            "bytesWritten": "0",
            "checkSum": "false",
            "clusterName": self.cluster,
            "created": self.created,
            "deleting": word(self.is_deleting),
            "description": self.description,
            "groupName": self.group,
            "isPrimary": "true",
            "iscsiIqn": self.iqn,
            "md5": self.md5,
            "minReplication": "1",
            "name": self.name,
            "replication": str(self.replication),
            "serialNumber": self.serial,
            "size": str(self.size),
            "stridePages": "32",
        }

    def children(self) -> tuple[Element, ...]:
        """Its state, and who may reach it."""
        status = Element("status", {"description": "OK", "value": "2"})
        return (status, *(permission.element() for permission in self.permissions))


@dataclass
class Volume(Disk):
    """A volume; a clone shares what it has with the snapshot that it was made of."""

    thin: bool = False
    parent: Snapshot | None = None

    def element(self) -> Element:
        """As ``getVolumeInfo`` tells of it."""
        quota = "0" if self.thin else str(self.size)
        told = {
            "autogrowPages": "512",
            "initialQuota": quota,
            "maxSize": "14843496030208",
            "parity": "0",
            "reserveQuota": quota,
            "scratchQuota": "4194304",
            "thinProvision": word(self.thin),
        }
        return Element("volume", {**self.attributes(), **told}, self.children())


@dataclass
class Snapshot(Disk):
    """A volume's content at one moment."""

    volume: Volume | None = None

    def element(self) -> Element:
        """As ``getSnapshotInfo`` tells of it."""
        told = {
            "applicationManaged": "false",
            "automatic": "false",
            "id": str(self.id),
            "scheduleId": "0",
            "scratchWritten": "0",
            "volumeSerial": self.volume.serial if self.volume else "",
        }
        return Element("snapshot", {**self.attributes(), **told}, self.children())


@dataclass
class Cluster:
    """Storage nodes with their space, and the virtual addresses that initiators go to."""

    name: str
    nodes: tuple[str, ...]
    vips: tuple[str, ...]
    space: int

    def element(self, facts: Facts, free: int) -> Element:
        """As ``getClusterInfo`` tells of it, in bytes or in KiB."""
        shift = 10 if facts.space_in_kib else 0
        told = {
            "adaptiveOptimization": "false",
            "blockSize": "1024",
            "description": "",
            "maxVolumeSizeReplication1": str(free >> shift),
            "minVolumeSize": str(PAGE),
            "name": self.name,
            "pageSize": str(PAGE),
            "spaceTotal": str(self.space >> shift),
            "storageNodeCount": str(len(self.nodes)),
            "unprovisionedSpace": str(free >> shift),
            "useVip": word(bool(self.vips)),
        }
        nodes = [
            Element("nsm", {"ipAddress": address, "name": f"n{number}"})
            for number, address in enumerate(self.nodes, 1)
        ]
        vips = [
            Element("vip", {"ipAddress": address, "subnetMask": "255.255.255.0"}) for address in self.vips
        ]
        return Element("cluster", told, (*nodes, *vips))
