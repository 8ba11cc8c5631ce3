# SPDX-License-Identifier: Apache-2.0
"""Volumes as ZFS volumes of a Solaris or illumos machine, exported by COMSTAR.

What ZFS keeps of a volume is in ``comstar_state.py``, how nodes come to see it in ``comstar_exports.py``, and
how the machine is talked to in ``comstar_commands.py``: one SSH connection a call, and no list that would
grow with the number of volumes.
"""

from __future__ import annotations

import time
import uuid

from extstorage_common import paths, secret_files
from extstorage_common.backends import comstar_state, sessions
from extstorage_common.backends.base import Backend, Capabilities, Volume
from extstorage_common.backends.comstar_commands import Machine
from extstorage_common.backends.comstar_exports import SILENCE_SECONDS, Exports
from extstorage_common.backends.comstar_options import OPTIONS
from extstorage_common.backends.comstar_state import (
    CLONED,
    COLUMNS,
    DISK,
    HOLDERS,
    MADE,
    MAKER,
    MAX_VALUE,
    METADATA,
    ORIGIN,
    POOL,
    SNAPSHOT,
    VOLUME,
    State,
    dump_holders,
    dump_metadata,
)
from extstorage_common.crash import crash_point
from extstorage_common.errors import (
    BadRequest,
    ConfigurationError,
    Exists,
    NoSpace,
    PoolUnreachable,
    Refused,
    VolumeExists,
    VolumeIncomplete,
    VolumeNotFound,
)
from extstorage_common.targets import iscsi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from extstorage_common.backends.base import Check, Connection, Holder, Holders
    from extstorage_common.backends.comstar_commands import Ended
    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline

MISSING = ("dataset does not exist", "could not find any snapshots")
"""How ZFS says that a dataset is not there; newer illumos says the second of a snapshot."""
THERE = "dataset already exists"
CLONES = "has dependent clones"
CHILDREN = "has children"
LONGEST = 255
"""Characters that a dataset's name may have, its snapshot's included."""


class NameTaken(Exists):
    template = "dataset {dataset} is no volume of this suite; it was left alone"


class NameTooLong(BadRequest):
    template = "dataset {dataset} would have a name of more than 255 characters; shorten the pool's"


class HasSnapshots(Refused):
    template = "the volume has snapshots or clones ({snapshots}); remove them first"


class MetadataTooLong(BadRequest):
    template = "the text is too long for a ZFS user property ({length} bytes, 1000 are possible)"


class PortalsDiffer(ConfigurationError):
    template = "portals says {said}, but portal group {group} has {found}"


class ChapKeyMissing(ConfigurationError):
    template = "pool '{pool}' must say chap_key_file, from which secrets are made, or chap = none"


class NotUnderstood(PoolUnreachable):
    template = "pool '{pool}' gave an answer that makes no sense to {command}"


class ComstarBackend(Backend):
    """A filesystem of a ZFS pool, with a filesystem in it for each volume."""

    NAME = "comstar"
    CONNECTOR = "iscsi"
    OPTIONS = OPTIONS
    CAPABILITIES = Capabilities(
        fences=True, liveness=True, clones="without copying", userspace=False, shared_open="yes"
    )

    def __init__(self, pool: Pool, node: str, deadline: Deadline) -> None:
        super().__init__(pool, node, deadline)
        self.machine = Machine(pool, deadline)
        self.exports = Exports(self.machine)
        self.dataset: str = pool["dataset"]
        self._known: dict[str, State] = {}
        self._fresh: set[str] = set()
        """Volumes of which nobody has asked for holders since they were read."""

    @classmethod
    def connectors_of(cls, pool: Pool) -> tuple[str, ...]:
        return iscsi.connectors(pool)

    # --- the pool ---------------------------------------------------------------------------------

    def initialize_pool(self) -> str:
        found = self._pool_property()
        if found is None:
            words = ("-o", "mountpoint=none", "-o", "com.sun:auto-snapshot=false")
            self.machine.do("zfs", "create", *words, self.dataset)
        if not found:
            found = str(uuid.uuid4())
            self.machine.do("zfs", "set", f"{POOL}={found}", self.dataset)
        return found

    def prepare_pool(self) -> None:
        pass

    def pool_uuid(self) -> str:
        found = self._pool_property()
        if not found:
            raise PoolUnreachable(pool=self.pool.name, reason=self._no_pool())
        return found

    def _no_pool(self) -> str:
        advice = f"gnt-storage pool init {self.pool.provider} {self.pool.name}"
        return (
            f"there is no dataset {self.dataset} with the mark of a pool; import the ZFS pool that it is in, "
            f"or make the pool with: {advice}"
        )

    def _pool_property(self) -> str | None:
        """The pool's UUID; ``""`` if the dataset has none, None if there is no such dataset."""
        words = ("get", "-H", "-p", "-o", "name,value", POOL, self.dataset)
        ended = self.machine.do("zfs", *words, unless=MISSING)
        if ended.trouble:
            return None
        found = [line.partition("\t")[2] for line in ended.lines if line.startswith(f"{self.dataset}\t")]
        if not found:
            raise NotUnderstood(pool=self.pool.name, command="zfs get")
        return found[0] if found[0] != "-" else ""

    def capacity(self) -> tuple[int, int]:
        words = ("get", "-H", "-p", "-o", "property,value", "used,available", self.dataset)
        ended = self.machine.do("zfs", *words, unless=MISSING)
        told = dict(line.split("\t") for line in ended.lines if line.count("\t") == 1)
        if not {"used", "available"} <= set(told):
            raise PoolUnreachable(pool=self.pool.name, reason=ended.trouble or self._no_pool())
        return int(told["used"]) + int(told["available"]), int(told["available"])

    def checks(self) -> Sequence[Check]:
        return (
            ("pool", self._check_pool),
            ("target service", self._check_service),
            ("portal group", self._check_portals),
            ("chap key", self._check_key),
        )

    def _check_pool(self) -> None:
        self.pool_uuid()

    def _check_service(self) -> None:
        self.machine.do("stmfadm", "list-state")
        self.machine.do("itadm", "list-defaults")

    def _check_portals(self) -> None:
        if self.pool["portal_group"]:
            found = self.exports.portals_of_group()
            if sorted(found) != sorted(self.pool["portals"]):
                said = ", ".join(self.pool["portals"])
                raise PortalsDiffer(said=said, group=self.pool["portal_group"], found=", ".join(found))

    def _check_key(self) -> None:
        if self.pool["chap"]:
            if not self.pool["chap_key_file"]:
                raise ChapKeyMissing(pool=self.pool.name)
            secret_files.read_line(self.pool["chap_key_file"])

    # --- volumes ----------------------------------------------------------------------------------

    def _container(self, name: str) -> str:
        return f"{self.dataset}/{name}"

    def _disk(self, name: str) -> str:
        return f"{self._container(name)}/{DISK}"

    def get_volume(self, name: str) -> Volume:
        state = self._complete(name)
        self._known[name] = state
        self._fresh.add(name)
        return Volume(name, state.size)

    def _state(self, name: str) -> State:
        """All that ZFS keeps of a volume. Raises VolumeNotFound, PoolUnreachable, NameTaken."""
        container = self._container(name)
        words = ["list", "-H", "-p", "-d", "1", "-t", "filesystem,volume,snapshot", "-o", ",".join(COLUMNS)]
        ended = self.machine.do("zfs", *words, container, unless=MISSING)
        if ended.trouble:
            # A pool that is not imported has no datasets either.
            self.pool_uuid()
            raise VolumeNotFound(where=f"pool '{self.pool.name}'")
        state = comstar_state.parse(ended.lines, container)
        if state is None:
            raise NotUnderstood(pool=self.pool.name, command="zfs list")
        if state.volume != name:
            raise NameTaken(dataset=container)
        return state

    def _complete(self, name: str) -> State:
        """The same of a volume that is completely made. Raises VolumeIncomplete, too."""
        state = self._state(name)
        if state.disk is None:
            raise VolumeIncomplete(pool=self.pool.name, maker=state.maker)
        return state

    def _read(self, volume: Volume) -> State:
        """What get_volume() has read, else what is there now: good for what never changes."""
        return self._known.get(volume.name) or self._complete(volume.name)

    def list_volumes(self) -> list[str]:
        words = ["list", "-H", "-p", "-d", "1", "-t", "filesystem", "-o", f"name,{VOLUME}", self.dataset]
        ended = self.machine.do("zfs", *words)
        rows = [line.split("\t") for line in ended.lines if line.startswith(f"{self.dataset}/")]
        return sorted(row[1] for row in rows if row[0] == self._container(row[1]))

    def create_volume(self, name: str, size_mib: int) -> Volume:
        size = size_mib << 20
        self._make_container(name)
        crash_point("comstar.container")
        words = ["-s"] if self.pool["provisioning"] == "sparse" else []
        self._make_disk(name, size_mib, "create", *words, "-V", str(size))
        return Volume(name, size)

    def _make_container(self, name: str) -> None:
        """A filesystem for a new volume; what a killed call left goes. Raises VolumeExists, NameTaken.

        Only what has no disk in it is removed, and ZFS itself sees to that: without ``-r`` it destroys no
        dataset that has one below it.
        """
        container = self._container(name)
        if len(container) + len(DISK) + 2 > LONGEST:
            raise NameTooLong(dataset=container)
        maker = f"a call on node {self.node} of {_now()}"
        words = ("-o", "mountpoint=none", "-o", f"{VOLUME}={name}", "-o", f"{MAKER}={maker}", container)
        if self.machine.do("zfs", "create", *words, unless=(THERE,)).trouble:
            state = self._state(name)
            if state.disk is not None:
                raise VolumeExists(size=state.size >> 20, where=self.pool.name)
            self._remove_container(state)
            self.machine.do("zfs", "create", *words)

    def _remove_container(self, state: State) -> None:
        for version in state.versions:
            self.machine.do("zfs", "destroy", f"{state.container}{SNAPSHOT}{version}", unless=MISSING)
        if self.machine.do("zfs", "destroy", state.container, unless=(*MISSING, CHILDREN)).says(CHILDREN):
            # Another call has made its disk meanwhile.
            raise VolumeExists(size=self._complete(state.volume).size >> 20, where=self.pool.name)

    def _make_disk(self, name: str, size_mib: int, *words: str) -> None:
        """Let ``zfs WORDS`` make a volume's disk."""
        kind = self.pool["provisioning"]
        made = "/".join((paths.cluster_name(), self.node, _now(), kind, self.pool["layout"]))
        command, *options = words
        ended = self.machine.ask("zfs", command, "-o", f"{MADE}={made}", *options, self._disk(name))
        if ended.says(THERE):
            state = self._complete(name)
            # It may be what was just made, of which the answer was lost.
            if state.cell(MADE) != made:
                raise VolumeExists(size=state.size >> 20, where=self.pool.name)
            return
        self._check_made(ended, name, size_mib)

    def _check_made(self, ended: Ended, name: str, size_mib: int) -> None:
        """Raise what is wrong with making a disk, and leave nothing then."""
        if not ended.trouble:
            return
        error = self.machine.failure(ended, "zfs", "create")
        self.machine.ask("zfs", "destroy", self._container(name))
        raise self._no_space(size_mib) if isinstance(error, NoSpace) else error

    def _no_space(self, needed: int) -> NoSpace:
        free = self.capacity()[1] >> 20
        return NoSpace(needed=needed, free=free, advice=f"make room in {self.dataset}")

    def discard_incomplete(self, name: str) -> None:
        try:
            state = self._state(name)
        except VolumeNotFound:
            return
        if state.disk is None:
            self._remove_container(state)

    def extend_volume(self, volume: Volume, new_size_mib: int) -> Volume:
        """The volume first, then the logical unit: COMSTAR does not check that the unit fits."""
        size = new_size_mib << 20
        state = self._read(volume)
        ended = self.machine.ask("zfs", "set", f"volsize={size}", self._disk(volume.name))
        if ended.trouble:
            error = self.machine.failure(ended, "zfs", "set")
            raise self._no_space((size - state.size) >> 20) if isinstance(error, NoSpace) else error
        crash_point("comstar.resized")
        self.exports.resize(self.exports.of(state), size)
        return Volume(volume.name, size)

    def delete_volume(self, volume: Volume) -> None:
        state = self._read(volume)
        self._remove_snapshots(volume.name)
        self.exports.remove(self.exports.of(state))
        crash_point("comstar.unexported")
        ended = self.machine.do("zfs", "destroy", "-r", state.container, unless=(*MISSING, CLONES))
        if ended.says(CLONES):
            raise HasSnapshots(snapshots=_named(ended))
        crash_point("comstar.destroyed")
        if origin := state.cell("origin"):
            self.machine.do("zfs", "destroy", origin, unless=(*MISSING, CLONES))

    def _remove_snapshots(self, name: str) -> None:
        """Remove ZFS snapshots of ours that killed calls left. Raises HasSnapshots for others."""
        disk = self._disk(name)
        listed = self.machine.do(
            "zfs", "list", "-H", "-d", "1", "-t", "snapshot", "-o", "name", disk, unless=MISSING
        )
        clones = []
        for line in listed.lines:
            if line.startswith(f"{disk}@") and not line.startswith(f"{disk}{CLONED}"):
                clones.append(line)
            elif line.startswith(f"{disk}@"):
                ended = self.machine.do("zfs", "destroy", line, unless=(*MISSING, CLONES))
                if ended.says(CLONES):
                    clones.append(_named(ended))
        if clones:
            raise HasSnapshots(snapshots=", ".join(clones))

    def create_snapshot(self, volume: Volume, name: str, is_quiet: Callable[[], None]) -> Volume:
        state = self._read(volume)
        self._make_container(name)
        crash_point("comstar.container")
        snapshot = f"{self._disk(volume.name)}{CLONED}{name}"
        if len(snapshot) > LONGEST:
            raise NameTooLong(dataset=snapshot)
        made = self.machine.ask("zfs", "snapshot", snapshot)
        if made.says(THERE):
            # Of a call that was killed: nothing is a clone of it, or there would be the volume.
            self.machine.do("zfs", "destroy", snapshot, unless=MISSING)
            made = self.machine.ask("zfs", "snapshot", snapshot)
        self._check_made(made, name, volume.size_mib)
        crash_point("comstar.snapshot")
        self._make_disk(name, volume.size_mib, "clone", "-o", f"{ORIGIN}={volume.name}", snapshot)
        return Volume(name, state.size)

    def origin(self, volume: Volume) -> str:
        return self._read(volume).cell(ORIGIN)

    def set_metadata(self, volume: Volume, text: str) -> None:
        value = dump_metadata(text)
        if len(value) > MAX_VALUE:
            raise MetadataTooLong(length=len(value))
        self.machine.do("zfs", "set", f"{METADATA}={value}", self._disk(volume.name))
        self._known.pop(volume.name, None)

    def describe(self, volume: Volume) -> dict[str, str]:
        state = self._read(volume)
        cluster, node, created, provisioning, layout = state.made
        told = {"cluster": cluster, "node": node, "created": created, "provisioning": provisioning}
        if origin := state.cell(ORIGIN):
            told["origin"] = origin
        export = self.exports.of(state)
        told |= {"metadata": state.metadata, "path": self._disk(volume.name), "used": state.cell("used")}
        told |= {"layout": layout, "target": export.iqn, "wwn": export.wwn}
        return told | {"attached": " ".join(self.attached_nodes(volume))}

    # --- exports ----------------------------------------------------------------------------------

    def initialize_connection(self, volume: Volume, connector: Mapping[str, str]) -> Connection:
        if self.pool["chap"] != "none" and not self.pool["chap_key_file"]:
            raise ChapKeyMissing(pool=self.pool.name)
        export = self.exports.of(self._read(volume))
        initiator = connector.get("initiator", "")
        lun = self.exports.show(export, volume.size, self.node, initiator)
        portals = list(self.pool["portals"])
        data: dict[str, object] = {
            "target_discovered": False,
            "target_portal": portals[0],
            "target_iqn": export.iqn,
            "target_lun": lun,
            "target_portals": portals,
            "target_iqns": [export.iqn] * len(portals),
            "target_luns": [lun] * len(portals),
            "access_mode": "rw",
            "encrypted": False,
            "discard": False,
            "size": volume.size,
            "wwn": export.wwn,
            "serial": "",
            "connector": self.pool["connector"],
            **self.exports.authentication(export, initiator),
        }
        return {"driver_volume_type": "iscsi", "data": data}

    def terminate_connection(self, volume: Volume, connector: Mapping[str, str]) -> None:
        self.revoke_connection(volume, self.node)

    def revoke_connection(self, volume: Volume, node: str) -> None:
        self.exports.hide(self.exports.of(self._read(volume)), node)

    def attached_nodes(self, volume: Volume) -> list[str]:
        return self.exports.views(self.exports.of(self._read(volume))).nodes()

    def forget_node(self, node: str, dry_run: bool) -> list[str]:
        return self.exports.forget(node, dry_run)

    # --- holders ----------------------------------------------------------------------------------

    def read_holders(self, volume: Volume) -> Holders:
        """At first as get_volume() read them; whoever asks again has lost a race, and needs new ones."""
        if volume.name in self._fresh:
            self._fresh.remove(volume.name)
            return self._known[volume.name].holders
        return self._complete(volume.name).holders

    def replace_holders(self, volume: Volume, old: Holders, new: Sequence[Holder]) -> bool:
        """See ``comstar_state.py`` for why this is a compare-and-set."""
        assert isinstance(old.version, int)
        prefix = self._container(volume.name) + SNAPSHOT
        mine, value = old.version + 1, dump_holders(new)
        # Whether it was made, and by whom, is seen next: an answer may have been lost.
        words = ("-o", f"{HOLDERS}={value or '-'}", f"{prefix}{mine}")
        self.machine.do("zfs", "snapshot", *words, unless=(THERE,))
        crash_point("comstar.held")
        versions = self._complete(volume.name).versions
        for version in versions:
            if version < max(versions):
                self.machine.do("zfs", "destroy", f"{prefix}{version}", unless=MISSING)
        return max(versions, default=0) == mine and versions[mine] == value

    def holder_address(self, volume: Volume, connector: Mapping[str, str]) -> str:
        return connector.get("initiator", "-")

    def is_alive(self, volume: Volume, holder: Holder) -> bool:
        """COMSTAR may keep the session of a dead node for long."""
        export = self.exports.of(self._complete(volume.name))

        def has_session() -> bool:
            time.sleep(min(1.0, self.deadline.left()))
            return self.exports.has_session(export, holder.address)

        return sessions.is_alive(
            has_session, self.deadline.attempts(SILENCE_SECONDS + sessions.RETURN_SECONDS)
        )

    def fence(self, volume: Volume, holder: Holder) -> None:
        self.exports.cut_off(self.exports.of(self._complete(volume.name)), holder.node)


def _named(ended: Ended) -> str:
    """The volumes whose disks ZFS says to depend on something."""
    disks = [line.strip() for line in ended.trouble.splitlines()[2:]]
    return ", ".join(disk.removesuffix(f"/{DISK}").rpartition("/")[2] for disk in disks)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


BACKEND = ComstarBackend
