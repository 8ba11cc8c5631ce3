# SPDX-License-Identifier: Apache-2.0
"""Volumes as logical volumes of this machine, exported by the kernel's iSCSI target.

A *thin* volume (the default) takes space as it is written, and its snapshots share what both have.
A *thick* one has all its space from the beginning; its snapshots are LVM's older ones, which depend on it.

A logical volume with our tags is a complete volume as soon as it is there, since LVM makes it in one
step; only a thick one that is being written full of zeros is marked until that is done. What else
belongs to a volume is in a file of its own (``lvm_state.py``): its holders, its attachments with their
secrets, Ganeti's text. The target (``targets/lio.py``) is made from the two, and always comes out the same.
So an export that was lost is back after the next attach, and all are after a restart of the machine
(:meth:`LvmBackend.restore_exports`).
"""

from __future__ import annotations

import time

from extstorage_common import paths
from extstorage_common.backends import lvm_devices, lvm_restore, lvm_state, lvm_thick
from extstorage_common.backends.base import Backend, Capabilities, Volume
from extstorage_common.backends.lvm_commands import (
    GROWTH_SUFFIX,
    MADE,
    MAKER,
    NAME,
    ORIGIN,
    Lvm,
    LvmFailed,
    Row,
    lv_name,
    maker_text,
    remove_half_made,
)
from extstorage_common.backends.lvm_exports import Exports
from extstorage_common.config import Choice, Kind, Option, Words, YesNo
from extstorage_common.crash import crash_point
from extstorage_common.errors import (
    Busy,
    Exists,
    ExtStorageError,
    NodeUnfit,
    NoSpace,
    PoolUnreachable,
    Refused,
    VolumeExists,
    VolumeIncomplete,
    VolumeNotFound,
)
from extstorage_common.targets import lio
from extstorage_common.targets.iscsi import CONNECTOR_OPTION, Portals, connectors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from extstorage_common.backends.base import Check, Connection, Holder, Holders
    from extstorage_common.backends.lvm_state import State
    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline
    from extstorage_common.locks import Lock

MOST_METADATA = 95.0
"""Per cent of a thin pool's metadata that may be in use: beyond that, LVM makes no more thin volumes."""


class NameTaken(Exists):
    template = "a logical volume {lv} exists that this suite did not make; it was left alone"


class HasSnapshots(Busy):
    template = "it has snapshots ({snapshots}), which need it; {advice}"


class IsSnapshot(Refused):
    template = "it is a snapshot of a thick volume, which can't grow; copy it to a new volume, and grow that"


class PoolDoesNotZero(NodeUnfit):
    template = "thin pool {pool} hands out blocks with old data; change that: lvchange --zero y {pool}"


class LvmBackend(Backend):
    """A volume group, and a thin pool in it."""

    NAME = "lvm"
    CONNECTOR = "iscsi"
    OPTIONS = (
        Option("volume_group", Kind(), None, "the volume group that holds the volumes"),
        Option("thin_pool", Kind(), "thin", "the thin pool in it, for thin volumes"),
        Option(
            "provisioning",
            Choice("thin", "thick"),
            "thin",
            "thin: space is used as it is written; thick: all of it is reserved at creation",
            owner=True,
        ),
        Option(
            "wipe",
            Choice("create", "remove"),
            "create",
            "when a thick volume is written full of zeros: when it is made or grown, or when it is removed "
            "(all of the group's disks must be zeros to begin with then)",
        ),
        Option(
            "overcommit",
            YesNo(),
            "no",
            "whether a thin volume may be larger than the pool's free space; its writes may fail later",
        ),
        Option("portals", Portals(), None, "the addresses of this machine, with ports if need be, for iSCSI"),
        CONNECTOR_OPTION,
        Option(
            "physical_volumes",
            Words(),
            "",
            "the disks that LVM may look at; needed where disks of guests are attached on this machine, too",
        ),
    )
    CAPABILITIES = Capabilities(
        fences=True,
        liveness=True,
        clones="without copying; that of a thick volume reserves as much space again",
        userspace=False,
        shared_open="yes",
    )

    def __init__(self, pool: Pool, node: str, deadline: Deadline) -> None:
        super().__init__(pool, node, deadline)
        self.lvm = Lvm(pool, deadline)
        self.exports = Exports(self.lvm)

    @classmethod
    def is_bulk(cls, action: str, pool: Pool) -> bool:
        """Where volumes may be thick, since those are written full of zeros."""
        if action == "create" and pool["provisioning"] == "thin":
            return False
        return action in (("remove",) if pool["wipe"] == "remove" else ("create", "grow"))

    @classmethod
    def connectors_of(cls, pool: Pool) -> tuple[str, ...]:
        return connectors(pool)

    # --- the pool ---------------------------------------------------------------------------------

    def initialize_pool(self) -> str:
        """The group, and the thin pool if that is the default, are the administrator's to make."""
        self._check_thin_pool()
        return self.pool_uuid()

    def prepare_pool(self) -> None:
        pass

    def pool_uuid(self) -> str:
        return self.lvm.group_report()["vg_uuid"]

    def capacity(self) -> tuple[int, int]:
        if self.pool["provisioning"] == "thin":
            pool = self._thin_pool(self.lvm.report(self.pool["thin_pool"]))
            return pool.size, _free(pool)
        told = self.lvm.group_report()
        return int(told["vg_size"]), int(told["vg_free"])

    def checks(self) -> Sequence[Check]:
        return (
            ("volume-group", self._check_group),
            ("thin-pool", self._check_thin_pool),
            ("target", self._check_target),
        )

    def _check_group(self) -> None:
        self.pool_uuid()

    def _check_thin_pool(self) -> None:
        if self.pool["provisioning"] == "thin":
            pool = self._thin_pool(self.lvm.report(self.pool["thin_pool"]))
            if not pool.zeroes:
                raise PoolDoesNotZero(pool=self.lvm.path(pool.lv))

    def _check_target(self) -> None:
        lio.load_modules(self.deadline)
        lvm_state.check_directory(self.lvm.group)

    def _thin_pool(self, rows: Mapping[str, Row]) -> Row:
        """The thin pool's row. Raises PoolUnreachable."""
        pool = rows.get(self.pool["thin_pool"])
        if pool is None or pool.attributes[0] != "t":
            group, name = self.lvm.group, self.pool["thin_pool"]
            advice = f"lvcreate --type thin-pool -l 95%FREE -n {name} {group}"
            reason = f"there is no thin pool {group}/{name}; make it: {advice}"
            raise PoolUnreachable(pool=self.pool.name, reason=reason)
        return pool

    # --- volumes ----------------------------------------------------------------------------------

    def _lv(self, name: str) -> str:
        return lv_name(self.lvm.group, name)

    def _lock(self, name: str, doing: str) -> Lock:
        return lvm_state.lock(self.lvm.group, self._lv(name), f"{doing} for {self.node}", self.deadline)

    def _state(self, volume: Volume) -> State:
        return lvm_state.load(self.lvm.group, self._lv(volume.name), volume.name)

    def _save(self, state: State) -> None:
        lvm_state.save(self.lvm.group, self._lv(state.volume), state)

    def get_volume(self, name: str) -> Volume:
        row = self._row(name)
        return Volume(name, row.size)

    def _row(self, name: str) -> Row:
        """The volume's row, from the kernel if it can tell. Raises what :meth:`_reported_row` does."""
        return self._quick_row(name) or self._reported_row(name)

    def _quick_row(self, name: str) -> Row | None:
        """The row of an active volume that is completely made; None if only LVM can tell."""
        lv = self._lv(name)
        try:
            return lvm_devices.row(self.lvm, lv, lvm_state.load(self.lvm.group, lv, name))
        except lvm_state.BadState:
            return None

    def _reported_row(self, name: str) -> Row:
        """The volume's row. Raises VolumeNotFound, VolumeIncomplete, PoolUnreachable."""
        row = self.lvm.report(self._lv(name)).get(self._lv(name))
        if row is None or row.name != name:
            raise VolumeNotFound(where=f"pool '{self.pool.name}'")
        if MAKER in row.tags:
            raise VolumeIncomplete(pool=self.pool.name, maker=maker_text(row))
        if row.is_partial:
            raise PoolUnreachable(pool=self.pool.name, reason=f"a disk of {self.lvm.path(row.lv)} is missing")
        return row

    def list_volumes(self) -> list[str]:
        return sorted(row.name for row in self.lvm.report().values() if row.name)

    def create_volume(self, name: str, size_mib: int) -> Volume:
        size = size_mib << 20
        lv = self._lv(name)
        with self._lock(name, "create"):
            if self.pool["provisioning"] == "thin":
                self._create_thin(name, size)
            else:
                self._prepare_new(name)
                tags = self._tags(name, "thick")
                if self.pool["wipe"] == "create":
                    lvm_thick.make(self.lvm, lv, tags, size, self.node)
                else:
                    lvm_thick.reserve(self.lvm, lv, tags, size)
                self._note(name, tags)
        return self.get_volume(name)

    def _create_thin(self, name: str, size: int) -> None:
        """LVM's report is read only where a file of this name is left, or LVM refuses the name."""
        if not lvm_state.is_there(self.lvm.group, self._lv(name)):
            pool = lvm_devices.thin_pool(self.lvm, self.pool["thin_pool"])
            if pool is not None:
                self._check_thin_space({pool.lv: pool}, size)
                try:
                    self._make_thin(name, size)
                    return
                except LvmFailed:
                    pass
        self._check_thin_space(self._prepare_new(name), size)
        self._make_thin(name, size)

    def _make_thin(self, name: str, size: int) -> None:
        tags = self._tags(name, "thin")
        # There are no old signatures to wipe: the pool zeroes what it hands out.
        words = ("-Wn", "-V", f"{size}b", "--thinpool", self.lvm.path(self.pool["thin_pool"]))
        self.lvm.create(self._lv(name), tags, *words)
        self._note(name, tags)

    def _note(self, name: str, tags: Sequence[str]) -> None:
        """Let a new volume's file say what was made; without it LVM would have to be asked each time."""
        state = lvm_state.State(name, {})
        state.identity = lvm_devices.identity(self.lvm, self._lv(name))
        state.tags = dict(tag.split("=", 1) for tag in tags if not tag.startswith(f"{NAME}="))
        try:
            self._save(state)
        except ExtStorageError:
            pass

    def _prepare_new(self, name: str) -> dict[str, Row]:
        """Make way for a new volume; returns what LVM reported. Raises VolumeExists, NameTaken, BeingMade."""
        lv = self._lv(name)
        rows = self.lvm.report(lv, self.pool["thin_pool"])
        row = rows.get(lv)
        if row is not None:
            if row.name != name:
                raise NameTaken(lv=self.lvm.path(lv))
            if MAKER not in row.tags:
                raise VolumeExists(size=row.size >> 20, where=self.pool.name)
            remove_half_made(self.lvm, row)
        lvm_state.forget(self.lvm.group, lv)
        return rows

    def _check_thin_space(self, rows: Mapping[str, Row], size: int) -> Row:
        """The thin pool, which has ``size`` more bytes to give. Raises NoSpace, PoolDoesNotZero."""
        pool = self._thin_pool(rows)
        if not pool.zeroes:
            raise PoolDoesNotZero(pool=self.lvm.path(pool.lv))
        free = _free(pool)
        if free <= 0 or pool.metadata_percent > MOST_METADATA:
            raise NoSpace(needed=-(-size >> 20), free=0, advice=f"make room in {self.lvm.path(pool.lv)}")
        if free < size and not self.pool["overcommit"]:
            advice = "make room, or allow it with overcommit = yes"
            raise NoSpace(needed=-(-size >> 20), free=free >> 20, advice=advice)
        return pool

    def _tags(self, name: str, kind: str) -> list[str]:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        made = "/".join((paths.cluster_name(), self.node, when, f"{kind}-{self.pool['wipe']}"))
        return [f"{NAME}={name}", f"{MADE}={made}"]

    def discard_incomplete(self, name: str) -> None:
        lv = self._lv(name)
        with self._lock(name, "discard"):
            row = self.lvm.report(lv).get(lv)
            if row is not None and row.name == name and MAKER in row.tags:
                remove_half_made(self.lvm, row)

    def extend_volume(self, volume: Volume, new_size_mib: int) -> Volume:
        size = new_size_mib << 20
        lv = self._lv(volume.name)
        with self._lock(volume.name, "grow"):
            rows = self.lvm.report(lv, lv + GROWTH_SUFFIX, self.pool["thin_pool"])
            row = self._ours(rows, volume.name)
            if row.is_thin:
                self._check_thin_space(rows, size - row.size)
            elif row.is_cow_origin:
                advice = "it can't grow while they are there"
                raise HasSnapshots(snapshots=self._snapshots(row), advice=advice)
            elif row.is_cow_snapshot:
                raise IsSnapshot  # what LVM would extend is only the room for changes
            if row.is_thin or lvm_thick.wipe(row) == "remove":
                self.lvm.change("lvextend", "-L", f"{size}b", "--", self.lvm.path(lv))
            else:
                lvm_thick.extend(self.lvm, rows, row, size, self.node)
            return Volume(volume.name, _whole_extents(size, row))

    def delete_volume(self, volume: Volume) -> None:
        lv = self._lv(volume.name)
        with self._lock(volume.name, "remove"):
            quick = self._quick_row(volume.name)
            if quick is not None and quick.is_thin:
                rows = {lv: quick}
            else:
                rows = self.lvm.report(lv, lv + GROWTH_SUFFIX)
            row = self._ours(rows, volume.name)
            if row.is_cow_origin:
                raise HasSnapshots(snapshots=self._snapshots(row), advice="remove them first")
            self.exports.end(row)
            crash_point("lvm.unexported")
            if not row.is_thin and lvm_thick.wipe(row) == "remove":
                lvm_thick.clear(self.lvm, row)
            if lv + GROWTH_SUFFIX in rows:
                remove_half_made(self.lvm, rows[lv + GROWTH_SUFFIX])
            self.lvm.remove(lv)
            crash_point("lvm.removed")
            lvm_state.forget(self.lvm.group, lv)

    def _ours(self, rows: Mapping[str, Row], name: str) -> Row:
        """The volume's row among those; never another's. Raises VolumeNotFound."""
        row = rows.get(self._lv(name))
        if row is None or row.name != name:
            raise VolumeNotFound(where=f"pool '{self.pool.name}'")
        return row

    def _snapshots(self, row: Row) -> str:
        """The names of the snapshots that need a thick volume, for people."""
        return ", ".join(
            sorted(one.name or one.lv for one in self.lvm.report().values() if one.lv_origin == row.lv)
        )

    def create_snapshot(self, volume: Volume, name: str, is_quiet: Callable[[], None]) -> Volume:
        lv = self._lv(volume.name)
        with self._lock(name, "snapshot"):
            row = self._row(volume.name)
            rows = self._prepare_new(name)
            tags = [*self._tags(name, "thin" if row.is_thin else "thick"), f"{ORIGIN}={volume.name}"]
            if row.is_thin:
                self._check_thin_space(rows, 1 << 20)
                self.lvm.create(self._lv(name), tags, "-s", "-kn", "-ay", self.lvm.path(lv))
            else:
                # As large as the volume: it never overflows, whatever is written to both.
                words = ("-s", "-l", "100%ORIGIN", self.lvm.path(lv))
                self.lvm.create_thick(self._lv(name), tags, row.size, *words)
            self._note(name, tags)
            return Volume(name, row.size)

    def origin(self, volume: Volume) -> str:
        return self._row(volume.name).tags.get(ORIGIN, "")

    def set_metadata(self, volume: Volume, text: str) -> None:
        with self._lock(volume.name, "setinfo"):
            state = self._state(volume)
            state.metadata = text
            self._save(state)

    def describe(self, volume: Volume) -> dict[str, str]:
        row = self._reported_row(volume.name)
        state = self._state(volume)
        cluster, node, created, kind = row.tags.get(MADE, "-/-/-/-").split("/")
        told = {"cluster": cluster, "node": node, "created": created, "provisioning": kind.partition("-")[0]}
        if ORIGIN in row.tags:
            told["origin"] = row.tags[ORIGIN]
        told["metadata"] = state.metadata
        told["path"] = self.lvm.path(row.lv)
        if row.is_thin:
            told["used"] = str(int(row.size * row.data_percent / 100))
        export = self.exports.of(row)
        told |= {"target": export.iqn, "wwn": export.wwn, "attached": " ".join(sorted(state.attachments))}
        return told

    # --- exports ----------------------------------------------------------------------------------

    def initialize_connection(self, volume: Volume, connector: Mapping[str, str]) -> Connection:
        with self._lock(volume.name, "attach"):
            return self.exports.attach(self._row(volume.name), self.node, connector.get("initiator", ""))

    def terminate_connection(self, volume: Volume, connector: Mapping[str, str]) -> None:
        self.revoke_connection(volume, self.node)

    def revoke_connection(self, volume: Volume, node: str) -> None:
        with self._lock(volume.name, "detach"):
            self.exports.revoke(self._row(volume.name), node)

    def attached_nodes(self, volume: Volume) -> list[str]:
        return sorted(self._state(volume).attachments)

    def restore_exports(self) -> list[str]:
        return lvm_restore.Restoration(self.exports, self._row).run()

    # --- holders ----------------------------------------------------------------------------------

    def read_holders(self, volume: Volume) -> Holders:
        return self._state(volume).holders

    def replace_holders(self, volume: Volume, old: Holders, new: Sequence[Holder]) -> bool:
        with self._lock(volume.name, "holders"):
            state = self._state(volume)
            if state.holders.version != old.version:
                return False
            state.replace_holders(list(new))
            self._save(state)
            return True

    def holder_address(self, volume: Volume, connector: Mapping[str, str]) -> str:
        return connector.get("initiator", "-")

    def is_alive(self, volume: Volume, holder: Holder) -> bool:
        return self.exports.is_alive(self._row(volume.name), holder)

    def fence(self, volume: Volume, holder: Holder) -> None:
        with self._lock(volume.name, "fence"):
            self.exports.fence(self._row(volume.name), holder)


def _free(pool: Row) -> int:
    """The bytes of a thin pool that nothing was written to."""
    return int(pool.size * (100 - pool.data_percent) / 100)


def _whole_extents(size: int, row: Row) -> int:
    """What LVM makes of a size, in the group of that row."""
    return -(-size // row.extent) * row.extent


BACKEND = LvmBackend
