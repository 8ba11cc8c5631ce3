# SPDX-License-Identifier: Apache-2.0
"""Volumes as an array tells of them, and the names that they have there."""

from __future__ import annotations

import hashlib
import re

from extstorage_common.backends import lefthand_deletion, lefthand_notes
from extstorage_common.errors import Exists, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

NAME = re.compile(r"[a-z0-9][a-z0-9.-]*", re.ASCII)
LONGEST_NAME = 127
MAPPED = "gx-"
POINT = "gx-point-"
OUI = "6000eb3"
"""NAA 6, and the company number of LeftHand Networks."""


class NameTaken(Exists):
    template = "the array has a volume or snapshot {name} that this suite did not make; it was left alone"


class StrangeVolume(Refused):
    template = "the array tells of volume {volume} without a usable {attribute} ('{value}')"


def array_name(name: str) -> str:
    """The name on the array of a volume: the same, or one made of a digest.

    A target's name ends in the volume's, where only lower case, digits, dots and hyphens may be; and what
    begins with ``gx-`` is ours already.
    """
    if NAME.fullmatch(name) and len(name) <= LONGEST_NAME and not name.startswith(MAPPED):
        return name
    return MAPPED + _digest(name)


def point_name(name: str) -> str:
    """The array's snapshot by which the volume ``name`` shares data with the one that it is a snapshot of."""
    return POINT + _digest(name)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Row:
    """One volume, as ``getVolumeInfo`` tells of it."""

    def __init__(self, element: Element) -> None:
        self.told = dict(element.attrib)
        self.array_name = self.told.get("name", "")
        self.cluster = self.told.get("clusterName", "")
        self.description = self.told.get("description", "")
        self.iqn = self.told.get("iscsiIqn", "")
        self.serial = self.told.get("serialNumber", "")
        permissions = [dict(one.attrib) for one in element.findall("permission")]
        self.servers = {one.get("authGroup", ""): one for one in permissions}
        self.note = lefthand_notes.load(self.description, self.array_name)

    @property
    def is_deleting(self) -> bool:
        """Whether the array is deleting it."""
        return lefthand_deletion.is_told(self.told)

    @property
    def size(self) -> int:
        """Bytes."""
        text = self.told.get("size", "")
        if not (text.isascii() and text.isdigit()):
            raise StrangeVolume(volume=self.array_name, attribute="size", value=text)
        return int(text)

    @property
    def number(self) -> str:
        """The volume's number in its management group, as its target's name has it."""
        words = self.iqn.split(":")
        if len(words) < 4 or not words[2].isdecimal():
            raise StrangeVolume(volume=self.array_name, attribute="iscsiIqn", value=self.iqn)
        return words[2]

    def wwn(self, prefix: str | None) -> str:
        """What the disk says of itself: company, a constant of the cluster's, the volume's number."""
        constant = prefix or OUI + self.told.get("md5", "").lower()[:9]
        if not re.fullmatch("[0-9a-f]{16}", constant):
            raise StrangeVolume(volume=self.array_name, attribute="md5", value=self.told.get("md5", ""))
        return f"naa.{constant}{int(self.number):016x}"
