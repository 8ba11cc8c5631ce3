# SPDX-License-Identifier: Apache-2.0
"""Volumes of an HP LeftHand (P4000, StoreVirtual) array, managed over SSH in CLIQ (``lefthand_cliq.py``).

What belongs to a volume is in its description (``lefthand_notes.py``), which is changed under a claim
(``lefthand_claims.py``); who may reach it is what is assigned to the nodes' servers
(``lefthand_exports.py``). A snapshot is a clone: a volume that shares what both have by way of a snapshot
of the array's own, which goes with it.
"""

from __future__ import annotations

import contextlib
import re

from extstorage_common import paths
from extstorage_common.backends import lefthand_deletion as deletion
from extstorage_common.backends import lefthand_exports
from extstorage_common.backends.base import Backend, Capabilities, Holders, Volume
from extstorage_common.backends.lefthand_claims import Claim
from extstorage_common.backends.lefthand_cliq import (
    PORT,
    AlreadyThere,
    Cliq,
    HasSnapshots,
    IsClonePoint,
    NotThere,
)
from extstorage_common.backends.lefthand_exports import Exports
from extstorage_common.backends.lefthand_notes import Maker, Note
from extstorage_common.backends.lefthand_points import Points
from extstorage_common.backends.lefthand_rows import NameTaken, Row, array_name
from extstorage_common.config import Choice, Kind, Option, Whole
from extstorage_common.crash import crash_point
from extstorage_common.errors import (
    ExtStorageError,
    VolumeExists,
    VolumeIncomplete,
    VolumeNotFound,
)
from extstorage_common.targets.iscsi import CHAP_OPTION, CONNECTOR_OPTION, Portals, connectors
from extstorage_common.transports import ssh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from extstorage_common.backends.base import Check, Connection, Holder
    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline

UNITS = {"bytes": 1, "kib": 1024}


class Digits(Kind):
    """Hexadecimal digits, 16 of them."""

    expects = "16 hexadecimal digits in lower case"

    def parse(self, text: str) -> str:
        if not re.fullmatch("[0-9a-f]{16}", text):
            raise ValueError(text)
        return text


class ObjectName(Kind):
    """A name that CLIQ can be told."""

    expects = "a name of letters, digits, dots, hyphens, underscores and blanks"

    def parse(self, text: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._ -]*", text):
            raise ValueError(text)
        return text


class LeftHandBackend(Backend):
    """A cluster of a management group."""

    NAME = "lefthand"
    CONNECTOR = "iscsi"
    OPTIONS = (
        *ssh.options(PORT, "admin"),
        Option("cluster", ObjectName(), None, "the cluster of the management group that holds the volumes"),
        Option(
            "provisioning",
            Choice("thin", "full"),
            "thin",
            "thin: space is used as it is written; full: all of it is reserved at creation",
            owner=True,
        ),
        Option(
            "replication",
            Choice("1", "2", "3", "4"),
            "",
            "on how many storage nodes each block is kept (Network RAID); by default as the array likes",
            owner=True,
        ),
        CHAP_OPTION,
        Option(
            "mutual_chap_name",
            Choice("node", "target"),
            "node",
            "the name that the array gives with its secret: the node's in CHAP, or the target's own",
        ),
        Option(
            "portals",
            Portals(),
            "",
            "the addresses for iSCSI, with ports if need be; by default the array is asked for the cluster's "
            "virtual addresses, which costs a command",
        ),
        CONNECTOR_OPTION,
        Option(
            "naa_prefix",
            Digits(),
            "",
            "the first 16 digits of the SCSI names of the cluster's volumes, where they are not 6000eb3 and "
            "the first nine digits of the volumes' md5",
        ),
        Option(
            "description_length",
            Whole(100, 1000),
            "127",
            "characters that fit into the description of a volume",
        ),
        Option(
            "space_unit",
            Choice("bytes", "kib"),
            "bytes",
            "in what the array tells a cluster's space, which differs between versions",
        ),
    )
    CAPABILITIES = Capabilities(
        fences=False,
        liveness=False,
        clones="without copying",
        userspace=False,
        shared_open="yes",
    )

    def __init__(self, pool: Pool, node: str, deadline: Deadline) -> None:
        super().__init__(pool, node, deadline)
        self.cliq = Cliq(pool, deadline)
        self.exports = Exports(self.cliq, pool, deadline)
        self.points = Points(self.cliq, node, pool["description_length"])
        self._rows: dict[str, Row] = {}

    @classmethod
    def connectors_of(cls, pool: Pool) -> tuple[str, ...]:
        return connectors(pool)

    # --- the pool ---------------------------------------------------------------------------------

    def initialize_pool(self) -> str:
        """The cluster is the administrator's to make."""
        return self.pool_uuid()

    def prepare_pool(self) -> None:
        pass

    def pool_uuid(self) -> str:
        """A digest of the names of the cluster and its first storage node: the array has no number for it."""
        import uuid

        cluster = self.exports.cluster()
        nodes = sorted(node.get("name", "") for node in cluster.findall("nsm"))
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"lefthand/{self.pool['cluster']}/{nodes[:1]}"))

    def capacity(self) -> tuple[int, int]:
        cluster = self.exports.cluster()
        unit = UNITS[self.pool["space_unit"]]
        told = [cluster.get(name, "") for name in ("spaceTotal", "unprovisionedSpace")]
        if not all(text.isascii() and text.isdigit() for text in told):
            return 0, 0
        total, free = (int(text) * unit for text in told)
        return total, free

    def checks(self) -> Sequence[Check]:
        return (("array", self._check_array), ("portals", self._check_portals))

    def _check_array(self) -> None:
        self.exports.cluster()

    def _check_portals(self) -> None:
        self.exports.portals()

    # --- volumes ----------------------------------------------------------------------------------

    def _row(self, name: str, again: bool = False) -> Row:
        """What the array tells of our volume, once a call unless ``again``. Raises VolumeNotFound."""
        if again or name not in self._rows:
            self._rows.pop(name, None)
            row = self._any_row(array_name(name))
            if row is None or row.note is None or not row.note.is_of(name):
                raise VolumeNotFound(where=f"pool '{self.pool.name}'")
            if row.is_deleting or row.cluster != self.pool["cluster"]:
                raise VolumeNotFound(where=f"pool '{self.pool.name}'")
            row.note.name, row.note.is_name_cut = name, False
            self._rows[name] = row
        return self._rows[name]

    def _any_row(self, name: str) -> Row | None:
        """What the array tells of the volume that it knows by this name, whoever made it."""
        try:
            found = self.cliq.run("getVolumeInfo", volumeName=name).all("volume")
        except NotThere:
            return None
        return next((row for row in map(Row, found) if row.array_name == name), None)

    def _note(self, row: Row) -> Note:
        assert row.note is not None
        return row.note

    def get_volume(self, name: str) -> Volume:
        row = self._row(name)
        maker = self._note(row).maker
        if maker is not None:
            raise VolumeIncomplete(pool=self.pool.name, maker=maker)
        return Volume(name, row.size)

    def list_volumes(self) -> list[str]:
        rows = map(Row, self.cliq.run("getVolumeInfo").all("volume"))
        return sorted(
            row.array_name if row.note.is_name_cut else row.note.name
            for row in rows
            if row.note is not None and row.cluster == self.pool["cluster"] and not row.is_deleting
        )

    def create_volume(self, name: str, size_mib: int) -> Volume:
        kind: str = self.pool["provisioning"]
        note = self._new_note(kind, name)
        note.maker = Maker.this(self.node, self.deadline.left())
        told = {"clusterName": self.pool["cluster"], "size": f"{size_mib}MB"}
        told["thinProvision"] = "1" if kind == "thin" else "0"
        if self.pool["replication"]:
            told["replication"] = self.pool["replication"]

        def make() -> None:
            self._make_volume("createVolume", name, note, told)

        try:
            make()
        except AlreadyThere:
            self._remove_half_made(name)
            make()
        crash_point("lefthand.created")
        note.maker = None
        try:
            self._describe(name, note)
        except ExtStorageError:
            self._try_to_delete(array_name(name))
            raise
        return Volume(name, size_mib << 20)

    def _new_note(self, kind: str, name: str) -> Note:
        note = Note(kind, name)
        note.cluster = paths.cluster_name()
        return note

    def _dump(self, name: str, note: Note) -> str:
        limit: int = self.pool["description_length"]
        return note.dump(array_name(name), limit)

    def _describe(self, name: str, note: Note) -> None:
        """Let the description say this. Only under a claim, or while the volume is half-made."""
        self.cliq.run("modifyVolume", volumeName=array_name(name), description=self._dump(name, note))

    def _make_volume(self, verb: str, name: str, note: Note, told: Mapping[str, str]) -> None:
        """Make a volume, unless one of its name is there. Raises AlreadyThere, StillDeleting."""
        description = self._dump(name, note)
        told = {"volumeName": array_name(name), **told, "description": description}
        try:
            self.cliq.run(verb, **told)
        except AlreadyThere:
            row = self._any_row(array_name(name))
            if row is None or row.is_deleting:
                deletion.await_end(self.cliq, array_name(name))
                self.cliq.run(verb, **told)
            elif row.description != description:  # else it is what was just made: only the answer was lost
                raise

    def _remove_half_made(self, name: str) -> None:
        """Make way where a killed call left a volume. Raises VolumeExists, NameTaken, BeingMade."""
        try:
            row = self._row(name, again=True)
        except VolumeNotFound:
            raise NameTaken(name=array_name(name)) from None
        maker = self._note(row).maker
        if maker is None:
            raise VolumeExists(size=row.size >> 20, where=self.pool.name)
        maker.refuse_living(self.node)
        deletion.begin(self.cliq, row.array_name)

    def _try_to_delete(self, volume: str) -> None:
        """What can't be deleted now stays marked as half-made."""
        try:
            deletion.begin(self.cliq, volume)
        except ExtStorageError:
            pass

    def discard_incomplete(self, name: str) -> None:
        try:
            self._remove_half_made(name)
        except (VolumeExists, NameTaken):
            pass

    def extend_volume(self, volume: Volume, new_size_mib: int) -> Volume:
        """The array would shrink a volume, and lose data; so its present size is looked at first."""
        row = self._row(volume.name)
        if new_size_mib << 20 > row.size:
            self.cliq.run("modifyVolume", volumeName=row.array_name, size=f"{new_size_mib}MB")
            row = self._row(volume.name, again=True)
        return Volume(volume.name, row.size)

    # --- deleting ---------------------------------------------------------------------------------

    def delete_volume(self, volume: Volume) -> None:
        row = self._row(volume.name)
        origin = self._note(row).origin
        self.exports.unassign(row, list(row.servers))
        crash_point("lefthand.unassigned")
        try:
            deletion.begin(self.cliq, row.array_name)
        except (HasSnapshots, IsClonePoint) as error:
            self.points.remove_all_of(volume.name, error)
            deletion.begin(self.cliq, row.array_name)
        crash_point("lefthand.deleted")
        self._rows.pop(volume.name, None)
        if origin:
            self.points.remove(volume.name)

    # --- snapshots --------------------------------------------------------------------------------

    def create_snapshot(self, volume: Volume, name: str, is_quiet: Callable[[], None]) -> Volume:
        """A snapshot of the array's, and a clone of that. It needs no quiet, since nothing is copied."""
        row = self._row(volume.name)
        note = self._new_note("clone", name)
        note.origin = volume.name
        point = self.points.make(row, name)
        crash_point("lefthand.point")
        try:
            self._make_volume("cloneSnapshot", name, note, {"snapshotName": point})
        except ExtStorageError as error:
            with contextlib.suppress(ExtStorageError):
                # If the clone was made after all, the point goes with it.
                self.points.remove(name)
            if isinstance(error, AlreadyThere):
                raise NameTaken(name=array_name(name)) from None
            raise
        return Volume(name, row.size)

    def origin(self, volume: Volume) -> str:
        return self._note(self._row(volume.name)).origin

    # --- what is kept with a volume ---------------------------------------------------------------

    def _claim(self, row: Row) -> Claim:
        return Claim(self.cliq, self.pool["cluster"], row.number, self.node)

    def set_metadata(self, volume: Volume, text: str) -> None:
        with self._claim(self._row(volume.name)):
            note = self._note(self._row(volume.name, again=True))
            note.metadata = text
            self._describe(volume.name, note)

    def describe(self, volume: Volume) -> dict[str, str]:
        row = self._row(volume.name)
        note = self._note(row)
        told = {"cluster": note.cluster, "created": row.told.get("created", ""), "provisioning": note.kind}
        if note.origin:
            told["origin"] = note.origin
        told["metadata"] = note.metadata
        told |= {"array": f"{row.cluster}/{row.array_name}", "target": row.iqn, "serial": row.serial}
        told["attached"] = " ".join(self.attached_nodes(volume))
        return told

    # --- exports ----------------------------------------------------------------------------------

    def initialize_connection(self, volume: Volume, connector: Mapping[str, str]) -> Connection:
        row = self._row(volume.name)
        server = self.exports.assign(row, self.node, connector.get("initiator", ""))
        if server not in row.servers:
            row = self._row(volume.name, again=True)
        return self.exports.connection(row, server)

    def terminate_connection(self, volume: Volume, connector: Mapping[str, str]) -> None:
        self.revoke_connection(volume, self.node)

    def revoke_connection(self, volume: Volume, node: str) -> None:
        self._unassign(self._row(volume.name), {node})

    def _unassign(self, row: Row, nodes: Iterable[str]) -> None:
        servers = [server for server in row.servers if lefthand_exports.node_of(server) in nodes]
        self.exports.unassign(row, servers)
        for server in servers:
            del row.servers[server]

    def attached_nodes(self, volume: Volume) -> list[str]:
        nodes = map(lefthand_exports.node_of, self._row(volume.name).servers)
        return sorted({node for node in nodes if node})

    def forget_node(self, node: str, dry_run: bool) -> list[str]:
        servers = [one.get("name", "") for one in self.cliq.run("getServerInfo").all("server")]
        ours = [server for server in servers if lefthand_exports.node_of(server) == node]
        for server in ours if not dry_run else ():
            self.cliq.remove("deleteServer", serverName=server)
        return [f"server {server}" for server in ours]

    # --- holders ----------------------------------------------------------------------------------

    def read_holders(self, volume: Volume) -> Holders:
        return self._note(self._row(volume.name)).holders

    def replace_holders(self, volume: Volume, old: Holders, new: Sequence[Holder]) -> bool:
        """Before other nodes become holders, those that are none any more lose their access to the volume."""
        with self._claim(self._row(volume.name)):
            row = self._row(volume.name, again=True)
            note = self._note(row)
            if note.version != old.version:
                return False
            remaining = {one.node for one in new}
            self._unassign(row, {one.node for one in old.entries} - remaining - {self.node})
            note.entries = list(new)
            note.version += 1
            self._describe(volume.name, note)
        return True


BACKEND = LeftHandBackend
