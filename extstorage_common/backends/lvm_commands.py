# SPDX-License-Identifier: Apache-2.0
"""Thin functions over LVM's commands, and the names and tags that a volume has there.

A logical volume of ours has two tags, written when it is made and never again, since each change of
LVM's metadata writes all of it: ``gx.name=<VOL_NAME>`` and ``gx.made=<cluster>/<node>/<time>/<kind>``; a
snapshot has ``gx.origin=<VOL_NAME>`` besides. Only what has to be written full of zeros first has a third one
for as long as that takes, ``gx.maker=<boot>/<process>/<its start>/<node>``.
"""

from __future__ import annotations

import hashlib
import json
import os

from extstorage_common import guests, makers, paths
from extstorage_common.errors import BeingMade, NoSpace, PoolUnreachable, Refused, StorageFull
from extstorage_common.transports import local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline

NAME, MADE, ORIGIN, MAKER = "gx.name", "gx.made", "gx.origin", "gx.maker"
GROWTH_SUFFIX = "+grow"
"""The end of the name of space that is written full of zeros before it becomes part of a volume."""
MAPPED = "gx-"
LONGEST = 110
"""A device-mapper name has 127 characters, and LVM appends some."""
SETTINGS = "devices{scan_lvs=0} backup{archive=0} global{notify_dbus=0}"
"""Volumes of ours are never looked into, since guests make physical volumes of them."""
FIELDS = (
    "lv_name,lv_size,lv_attr,lv_tags,origin,pool_lv,data_percent,metadata_percent,zero,"
    "vg_uuid,vg_size,vg_free,vg_extent_size"
)
NOT_FOUND = "Failed to find logical volume"
NO_ROOM = ("insufficient free space", "Insufficient", "reached threshold", "exceeds threshold")


class LvmFailed(Refused):
    template = "{command} failed: {reason}"


class Row:
    """One logical volume, as LVM reports it; sizes in bytes."""

    def __init__(self, told: dict[str, str]) -> None:
        self.lv = told["lv_name"]
        self.size = int(told["lv_size"])
        self.attributes = told["lv_attr"]
        self.lv_origin = told["origin"]
        self.data_percent = float(told["data_percent"] or 0)
        self.metadata_percent = float(told["metadata_percent"] or 0)
        self.zeroes = bool(told["zero"])
        self.group_uuid = told["vg_uuid"]
        self.group_size = int(told["vg_size"])
        self.group_free = int(told["vg_free"])
        self.extent = int(told["vg_extent_size"])
        tags = [tag.partition("=") for tag in told["lv_tags"].split(",")]
        self.tags = {key: value for key, _, value in tags}

    @property
    def name(self) -> str:
        """The volume's name; ``""`` if the logical volume is none of ours."""
        return self.tags.get(NAME, "")

    @property
    def is_thin(self) -> bool:
        """Whether it is a thin volume."""
        return self.attributes[0] == "V"

    @property
    def is_cow_origin(self) -> bool:
        """Whether it has snapshots that need it."""
        return self.attributes[0] in "oO"

    @property
    def is_cow_snapshot(self) -> bool:
        """Whether it is a snapshot that keeps what its origin had, and needs it."""
        return self.attributes[0] in "sS"

    @property
    def is_active(self) -> bool:
        """Whether it has a device."""
        return self.attributes[4] == "a"

    @property
    def is_partial(self) -> bool:
        """Whether a disk that it lies on is missing."""
        return self.attributes[8] == "p"


def lv_name(group: str, name: str) -> str:
    """The logical volume's name for a volume's: the same, or one made of a digest.

    What LVM keeps for itself begins with ``snapshot`` or ``pvmove``, or has an underscore in it
    (lvm(8)); hyphens count twice in device-mapper's names.
    """
    length = len(group) + group.count("-") + len(name) + name.count("-")
    mapped = ("snapshot", "pvmove", MAPPED)
    if "_" not in name and not name.startswith(mapped) and length <= LONGEST:
        return name
    return MAPPED + hashlib.sha256(name.encode()).hexdigest()[:32]


def maker_tag(node: str) -> str:
    """The tag of what this process begins to make."""
    pid = os.getpid()
    return f"{MAKER}={paths.boot_id()}/{pid}/{makers.process_start(pid)}/{node}"


def maker_text(row: Row) -> str:
    """Who makes, or made and did not finish, a volume."""
    _, pid, _, node = row.tags[MAKER].split("/")
    return f"process {pid} for node {node}"


def remove_half_made(lvm: Lvm, row: Row) -> None:
    """Remove what a killed call left. Raises BeingMade while its maker lives, which is on this machine."""
    boot, pid, start, _ = row.tags[MAKER].split("/")
    if boot == paths.boot_id() and start == makers.process_start(int(pid)):
        raise BeingMade(maker=maker_text(row))
    lvm.remove(row.lv)


class Lvm:
    """LVM's commands on one volume group, bounded by a deadline.

    LVM waits for its own locks for ever; a command that is ended while it waits has changed nothing.
    """

    def __init__(self, pool: Pool, deadline: Deadline) -> None:
        self.pool = pool
        self.group: str = pool["volume_group"]
        self.deadline = deadline

    def path(self, lv: str) -> str:
        """A logical volume, as LVM's commands name it."""
        return f"{self.group}/{lv}"

    def device(self, lv: str) -> str:
        """A logical volume's device."""
        return f"/dev/{self.group}/{lv}"

    def mapped(self, lv: str) -> str:
        """A logical volume, as device-mapper names it: hyphens within the two names are doubled."""
        return "-".join(word.replace("-", "--") for word in (self.group, lv))

    def report(self, *lvs: str) -> dict[str, Row]:
        """These logical volumes by name, or all; those that are not there are not in it.

        Raises PoolUnreachable.
        """
        words = [self.path(lv) for lv in lvs] or [self.group]
        options = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", FIELDS]
        ended = self._run("lvs", *options, "--", *words)
        said = [line for line in _complaints(ended) if not line.startswith(NOT_FOUND)]
        if ended.status and said:
            raise PoolUnreachable(pool=self.pool.name, reason="; ".join(said))
        rows = [Row(told) for report in json.loads(ended.stdout)["report"] for told in report["lv"]]
        return {row.lv: row for row in rows}

    def group_report(self) -> dict[str, str]:
        """The volume group's UUID, size and free bytes. Raises PoolUnreachable."""
        options = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", "vg_uuid,vg_size,vg_free"]
        ended = self._run("vgs", *options, "--", self.group)
        if ended.status:
            raise PoolUnreachable(pool=self.pool.name, reason="; ".join(_complaints(ended)))
        told: dict[str, str] = json.loads(ended.stdout)["report"][0]["vg"][0]
        return told

    def segments(self, lv: str) -> list[str]:
        """Where a logical volume lies: ``/dev/sdb:0-99``, a word a piece."""
        options = ["--reportformat", "json", "--segments", "-o", "seg_pe_ranges"]
        ended = self.change("lvs", *options, "--", self.path(lv))
        told = json.loads(ended.stdout)["report"][0]["seg"]
        return [word for segment in told for word in segment["seg_pe_ranges"].split()]

    def create(self, lv: str, tags: Sequence[str], *words: str) -> None:
        """Make a logical volume; ``words`` say which. Raises NoSpace, LvmFailed.

        It may appear with a guest's data in it, into which udev must not look.
        """
        options = [word for tag in tags for word in ("--addtag", tag)]
        guests.mark(self.mapped(lv))
        try:
            self.change("lvcreate", "--yes", *options, "-n", lv, *words)
        except BaseException:
            guests.unmark(self.mapped(lv))
            raise

    def activate(self, row: Row) -> None:
        """Give a logical volume its device, unless it has it. Raises LvmFailed."""
        if not row.is_active:
            self.change("lvchange", "-ay", "-K", "--", self.path(row.lv))

    def remove(self, lv: str) -> None:
        """Remove a logical volume. Raises LvmFailed."""
        self.change("lvremove", "--yes", "--", self.path(lv))
        guests.unmark(self.mapped(lv))

    def create_thick(self, lv: str, tags: Sequence[str], size: int, *words: str) -> None:
        """Make a logical volume that needs ``size`` bytes of the group. Raises NoSpace, LvmFailed."""
        try:
            self.create(lv, tags, *words)
        except NoSpace as error:
            free = int(self.group_report()["vg_free"]) >> 20
            advice = f"make room in volume group {self.group}"
            raise NoSpace(needed=-(-size >> 20), free=free, advice=advice) from error

    def change(self, *words: str) -> local.Ended:
        """Run a command that must succeed. Raises NoSpace, LvmFailed."""
        ended = self._run(*words)
        if ended.status:
            reason = "; ".join(_complaints(ended))
            if any(sign in reason for sign in NO_ROOM):
                raise StorageFull(what=words[0], reason=reason)
            raise LvmFailed(command=words[0], reason=reason)
        return ended

    def _run(self, command: str, *words: str) -> local.Ended:
        devices = self.pool["physical_volumes"]
        only = ["--devices", ",".join(devices)] if devices else []
        line = ["lvm", command, "--config", SETTINGS, *only, *words]
        return local.run(line, self.deadline, environment={"LVM_SUPPRESS_FD_WARNINGS": "1"})


def _complaints(ended: local.Ended) -> list[str]:
    """What a command said, without its warnings."""
    lines = [line.strip() for line in ended.stderr.decode(errors="backslashreplace").splitlines()]
    told = [line for line in lines if line and not line.startswith("WARNING")]
    return told or ([f"lvm: {ended.ending}"] if ended.status else [])
