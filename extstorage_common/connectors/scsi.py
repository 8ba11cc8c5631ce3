# SPDX-License-Identifier: Apache-2.0
"""SCSI disks of this node, whatever brought them: who they are, as the kernel asked them when they came."""

from __future__ import annotations

import os

from extstorage_common.blockdevices import content, size, sysfs, write_attribute
from extstorage_common.errors import WrongDevice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.deadline import Deadline

RESIZE_SECONDS = 10.0


def wwid_file(device: str) -> str:
    """Where sysfs tells the disk's name that no other disk has (``naa.6001405...``)."""
    return f"{sysfs(device)}/device/wwid"


def wwid(device: str) -> str:
    """The disk's name that no other disk has; ``""`` if it is gone."""
    return content(wwid_file(device)).strip()


def is_ready(device: str) -> bool:
    """Whether the kernel has finished making the disk: it has its names, and a device node."""
    return bool(wwid(device)) and os.path.exists(device)


def check_identity(device: str, wwn: str) -> None:
    """Raise WrongDevice unless the disk is ``wwn``."""
    if wwid(device) != wwn:
        raise WrongDevice(device=device, reason=f"it is {wwid(device) or 'gone'}, the volume is {wwn}")


def rescan(device: str) -> None:
    """Ask the disk again who it is and how large."""
    write_attribute(f"{sysfs(device)}/device/rescan", "1")


def wait_for_size(device: str, wanted: int, deadline: Deadline) -> None:
    """Return once the disk has ``wanted`` bytes. Raises WrongDevice."""
    for _ in deadline.attempts(RESIZE_SECONDS):
        if size(device) == wanted:
            return
        rescan(device)
    if size(device) != wanted:
        raise WrongDevice(device=device, reason=f"it has {size(device)} bytes, the volume has {wanted}")
