# SPDX-License-Identifier: Apache-2.0
"""What the kernel knows of active logical volumes: asked by name, at the same cost in a group of any size.

LVM's own reports read the description of the whole group each time. The kernel knows a volume's size and
identity, and how full a thin pool is. What the tags say was also written to the volume's file when it was
made, and is believed as long as the logical volume has the identity that is in that file.
"""

from __future__ import annotations

import os

from extstorage_common.backends.lvm_commands import NAME, Row
from extstorage_common.transports import local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from extstorage_common.backends.lvm_commands import Lvm
    from extstorage_common.backends.lvm_state import State

SECTOR = 512
PREFIX = "LVM-"
UUID = 32
"""Characters of a UUID of LVM; a device has its group's, then its own, then nothing if it is a volume."""
GROUPS = (6, 4, 4, 4, 4, 4, 6)
"""How LVM writes them, with hyphens between."""


def identity(lvm: Lvm, lv: str) -> str:
    """The UUIDs of the group and of an active logical volume; ``""`` if there is none of this name."""
    return _identity(_directory(lvm, lv))


def _identity(directory: str) -> str:
    uuid = _content(f"{directory}/dm/uuid") if directory else ""
    is_volume = uuid.startswith(PREFIX) and len(uuid) == len(PREFIX) + 2 * UUID
    return uuid.removeprefix(PREFIX) if is_volume else ""


def row(lvm: Lvm, lv: str, state: State) -> Row | None:
    """An active logical volume, completely made; None if only LVM can tell."""
    directory = _directory(lvm, lv)
    # The size first: who is the same afterwards was so when it was read.
    size = _content(f"{directory}/size") if directory else ""
    if not state.identity or _identity(directory) != state.identity:
        return None
    tags = {NAME: state.volume, **state.tags}
    return Row(
        {
            **_told(lv, int(size) * SECTOR, state.identity),
            "lv_attr": "Vwi-a-----" if state.is_thin else "-wi-a-----",
            "lv_tags": ",".join(f"{key}={value}" for key, value in tags.items()),
        }
    )


def thin_pool(lvm: Lvm, lv: str) -> Row | None:
    """An active thin pool; None if only LVM can tell. Once it is used, its device has a suffix of LVM's."""
    for name in (f"{lvm.mapped(lv)}-tpool", lvm.mapped(lv)):
        status = _dmsetup("status", name, lvm)
        if status[2:3] == ["thin-pool"]:
            return _thin_pool(lv, status, _dmsetup("table", name, lvm))
    return None


def _thin_pool(lv: str, status: Sequence[str], table: Sequence[str]) -> Row | None:
    """START LENGTH thin-pool TRANSACTION USED/ALL(metadata) USED/ALL(data) ..., or Fail for a broken one."""
    if len(status) < 6 or len(table) < 3:
        return None
    metadata, data = (_percent(word) for word in status[4:6])
    return Row(
        {
            **_told(lv, int(status[1]) * SECTOR, ""),
            "lv_attr": "twi-aotz--",
            "data_percent": str(data),
            "metadata_percent": str(metadata),
            "zero": "" if "skip_block_zeroing" in table else "zero",
        }
    )


def _told(lv: str, size: int, identity: str) -> dict[str, str]:
    """The fields of a row, as LVM would report them; those that are not known here are empty."""
    fields = ("origin", "pool_lv", "data_percent", "metadata_percent", "zero", "lv_tags")
    sizes = dict.fromkeys(("vg_size", "vg_free", "vg_extent_size"), "0")
    group = _with_hyphens(identity[:UUID])
    return {**dict.fromkeys(fields, ""), **sizes, "lv_name": lv, "lv_size": str(size), "vg_uuid": group}


def _with_hyphens(uuid: str) -> str:
    pieces = []
    for length in GROUPS:
        pieces.append(uuid[:length])
        uuid = uuid[length:]
    return "-".join(pieces)


def _percent(used: str) -> float:
    part, _, whole = used.partition("/")
    return 100 * int(part) / int(whole)


def _directory(lvm: Lvm, lv: str) -> str:
    """The device's directory in sysfs; ``""`` if it is not active."""
    try:
        number = os.stat(f"/dev/mapper/{lvm.mapped(lv)}").st_rdev
    except FileNotFoundError:
        return ""
    return f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"


def _dmsetup(command: str, name: str, lvm: Lvm) -> list[str]:
    """The words that dmsetup says of a device; none if it is not there."""
    ended = local.run(["dmsetup", command, name], lvm.deadline)
    return ended.stdout.decode(errors="replace").split() if ended.status == 0 else []


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""
