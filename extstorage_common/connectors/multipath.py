# SPDX-License-Identifier: Apache-2.0
"""Maps of dm-multipath: several paths to one disk as one device."""

from __future__ import annotations

import os

from extstorage_common.blockdevices import content, size
from extstorage_common.errors import DeviceBusy, WrongDevice
from extstorage_common.transports import local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.deadline import Deadline

BLOCK = "/sys/block"
KINDS = {"t10.": "1", "eui.": "2", "naa.": "3"}
"""How sysfs and udev begin a disk's name; multipathd has udev's."""
REMOVE_SECONDS = 10.0
RESIZE_SECONDS = 10.0


def uuid(wwn: str) -> str:
    """What ``/sys/block/dm-*/dm/uuid`` says of the map of a disk, named as in sysfs."""
    return f"mpath-{wwid(wwn)}"


def wwid(wwn: str) -> str:
    """A disk's name as udev and multipathd have it."""
    return KINDS.get(wwn[:4], "8") + wwn[4:]


def uuid_file(device: str) -> str:
    """Where sysfs tells which map a device is."""
    return f"{BLOCK}/{os.path.basename(device)}/dm/uuid"


def is_map(device: str) -> bool:
    """Whether a device is a map of dm-multipath."""
    return content(uuid_file(device)).startswith("mpath-")


def find(wwn: str) -> str:
    """The map of a disk (``/dev/dm-3``); ``""`` if there is none."""
    for name in os.listdir(BLOCK):
        if name.startswith("dm-") and content(f"{BLOCK}/{name}/dm/uuid") == uuid(wwn):
            return f"/dev/{name}"
    return ""


def name(device: str) -> str:
    """What the map is called below ``/dev/mapper``."""
    return content(f"{BLOCK}/{os.path.basename(device)}/dm/name")


def stop_queueing(device: str, deadline: Deadline) -> None:
    """Let commands fail that no path can carry out, and that would wait for ever.

    multipathd is told first, since it would have the map queue again when it loses a path.
    """
    local.run(["multipathd", "disablequeueing", "map", name(device)], deadline)
    local.run(["dmsetup", "message", name(device), "0", "fail_if_no_path"], deadline)


def remove(device: str, wwn: str, deadline: Deadline) -> None:
    """Remove a map that nobody uses, and let multipathd forget its disk. Raises DeviceBusy."""
    reason = "by the kernel"
    for _ in deadline.attempts(REMOVE_SECONDS):
        if find(wwn) != device:
            break
        stop_queueing(device, deadline)
        ended = local.run(["multipath", "-f", name(device)], deadline)
        reason = ended.reason
    else:
        raise DeviceBusy(device=device, users=reason)
    local.run(["multipath", "-w", wwid(wwn)], deadline)


def resize(device: str, wanted: int, deadline: Deadline) -> None:
    """Return once the map is as large as its paths. Raises WrongDevice."""
    for _ in deadline.attempts(RESIZE_SECONDS):
        if size(device) == wanted:
            return
        local.run(["multipathd", "resize", "map", name(device)], deadline)
    if size(device) != wanted:
        raise WrongDevice(device=device, reason=f"it has {size(device)} bytes, the volume has {wanted}")
