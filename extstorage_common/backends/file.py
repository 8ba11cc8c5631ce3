# SPDX-License-Identifier: Apache-2.0
"""Volumes as files in a directory: a local one, or one that all nodes mount (NFS, CephFS, ...).

A pool's directory holds::

    .ganeti-extstorage-pool        the marker: without it the directory is an unmounted share
    <VOL_NAME>/disk                the data
    <VOL_NAME>/record              what the volume was made with
    <VOL_NAME>/metadata            Ganeti's text
    <VOL_NAME>/attached-<node>     an attachment
    <VOL_NAME>/holders-<n>         who has it open (see file_holders.py)
    .making-<VOL_NAME>/            a half-made volume, and in it: maker

Making a volume ends with the rename of its directory, deleting it begins with the data: so a
directory of a volume's name with a ``disk`` in it is a complete volume, and nothing else is one.
"""

from __future__ import annotations

import os
import time

from extstorage_common import files, makers, paths, records
from extstorage_common.backends import file_holders
from extstorage_common.backends.base import Backend, Capabilities, Holder, Holders, Volume
from extstorage_common.config import AbsolutePath, Choice, Kind, Option, YesNo
from extstorage_common.crash import crash_point
from extstorage_common.errors import (
    BeingMade,
    NoSpace,
    PoolMarkerMissing,
    PoolMarkerWrong,
    PoolUnreachable,
    SystemRefused,
    VolumeExists,
    VolumeIncomplete,
    VolumeNotFound,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from extstorage_common.backends.base import Check, Connection
    from extstorage_common.config import Pool

MARKER = ".ganeti-extstorage-pool"
MARKER_TITLE = "pool 1"
RECORD_TITLE = "volume 1"
ATTACHED_TITLE = "attached 1"
DEFAULT_DIRECTORY = "/var/lib/ganeti-extstorage/file"


class FileBackend(Backend):
    """A directory of volumes."""

    NAME = "file"
    CONNECTOR = "loop"
    OPTIONS = (
        Option("directory", AbsolutePath(), None, "the directory that holds the volumes"),
        Option(
            "allocation",
            Choice("sparse", "full"),
            "sparse",
            "sparse: space is used as it is written; full: all of it is reserved at creation",
            owner=True,
        ),
        Option(
            "overcommit",
            YesNo(),
            "no",
            "whether a sparse volume may be larger than the free space; its writes may fail later",
        ),
        Option(
            "uuid",
            Kind(),
            "",
            "the UUID that the pool's marker must have (gnt-storage pool init prints it)",
        ),
    )
    DEFAULTS = {"directory": DEFAULT_DIRECTORY}
    CAPABILITIES = Capabilities(
        fences=False,
        liveness=False,
        clones="without copying where the filesystem has reflinks; else a copy, of a volume not open",
        userspace=True,
        shared_open="where the filesystem has direct I/O",
    )

    @classmethod
    def is_bulk(cls, action: str, pool: Pool) -> bool:
        """A snapshot may have to be copied, and reserving space may mean to write it."""
        return action == "snapshot" or (action in ("create", "grow") and pool["allocation"] == "full")

    # --- the pool ---------------------------------------------------------------------------------

    @property
    def directory(self) -> str:
        """The pool's directory."""
        directory: str = self.pool["directory"]
        return directory

    def initialize_pool(self) -> str:
        try:
            return self.pool_uuid()
        except PoolMarkerMissing:
            pass
        with files.refusals(f"making the pool in {self.directory}"):
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            strangers = [name for name in os.listdir(self.directory) if name != "lost+found"]
            if strangers:
                raise SystemRefused(
                    what=f"making a pool of {self.directory}",
                    reason=f"it is not empty ({strangers[0]} is there); give the pool a directory of its own",
                )
            self._write_marker()
        return self.pool_uuid()

    def prepare_pool(self) -> None:
        """Make the default directory's pool, if it is not there; any other is ``pool init``'s."""
        if self.directory == DEFAULT_DIRECTORY and not os.path.lexists(self.directory):
            self.initialize_pool()

    def _write_marker(self) -> None:
        with open("/proc/sys/kernel/random/uuid", encoding="ascii") as file:
            uuid = file.read().strip()
        marker = os.path.join(self.directory, MARKER)
        content = records.Record(MARKER_TITLE, [("uuid", uuid), ("cluster", paths.cluster_name())])
        files.write_new(marker, content.dump())

    def pool_uuid(self) -> str:
        marker = os.path.join(self.directory, MARKER)
        try:
            found = records.read(marker, MARKER_TITLE).get("uuid")
        except (FileNotFoundError, NotADirectoryError):
            raise PoolMarkerMissing(
                directory=self.directory, marker=MARKER, pool=self.pool.name, provider=self.pool.provider
            ) from None
        except OSError as error:
            raise PoolUnreachable(pool=self.pool.name, reason=f"{marker}: {error.strerror}") from error
        expected = self.pool["uuid"]
        if expected and found != expected:
            raise PoolMarkerWrong(directory=self.directory, found=found, expected=expected)
        return found

    def capacity(self) -> tuple[int, int]:
        self.pool_uuid()
        status = os.statvfs(self.directory)
        return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize

    def checks(self) -> Sequence[Check]:
        return (("pool", self._check_pool), ("filesystem", self._check_filesystem))

    def _check_pool(self) -> None:
        self.prepare_pool()
        self.pool_uuid()

    def _check_filesystem(self) -> None:
        """Holders need hard links, and a pool must be writable."""
        probe = os.path.join(self.directory, f".probe-{os.urandom(6).hex()}")
        with files.refusals(f"making and linking a file in {self.directory}"):
            files.write_new(probe, b"probe\n")
            records.unlink_if_there(probe)

    # --- volumes ----------------------------------------------------------------------------------

    def _path(self, name: str, *parts: str) -> str:
        return os.path.join(self.directory, name, *parts)

    def disk_path(self, volume: Volume) -> str:
        """The file with the volume's data."""
        return self._path(volume.name, "disk")

    def get_volume(self, name: str) -> Volume:
        self.pool_uuid()
        with self._answers():
            try:
                return Volume(name, os.stat(self._path(name, "disk")).st_size)
            except FileNotFoundError:
                pass
            maker = self._maker(name)
        # Asked again, since an unmounted share answers "no such file" too.
        self.pool_uuid()
        if maker is not None:
            raise VolumeIncomplete(pool=self.pool.name, maker=makers.text(maker))
        raise VolumeNotFound(where=f"pool '{self.pool.name}'")

    def list_volumes(self) -> list[str]:
        self.pool_uuid()
        with self._answers():
            names = os.listdir(self.directory)
        making = [name.removeprefix(".making-") for name in names if name.startswith(".making-")]
        return sorted({name for name in names if not name.startswith(".")} | set(making))

    def create_volume(self, name: str, size_mib: int) -> Volume:
        size = size_mib << 20
        self._check_space(size, self.pool["allocation"] == "full")

        def fill(disk: int) -> None:
            if self.pool["allocation"] == "full":
                os.posix_fallocate(disk, 0, size)
            else:
                os.ftruncate(disk, size)

        return self._make(name, [("allocation", self.pool["allocation"])], fill)

    def discard_incomplete(self, name: str) -> None:
        with files.refusals(f"discarding what is left of {name}"):
            self._refuse_living_maker(name)
            files.discard_directory(self._path(".making-" + name))

    def extend_volume(self, volume: Volume, new_size_mib: int) -> Volume:
        size = new_size_mib << 20
        full = self._record(volume).get("allocation") == "full"
        self._check_space(size - volume.size, full)
        with files.refusals(f"growing {self.disk_path(volume)}"):
            disk = os.open(self.disk_path(volume), os.O_RDWR | os.O_CLOEXEC)
            try:
                if full:
                    self._reserve(disk, volume.size, size)
                else:
                    os.ftruncate(disk, size)
                os.fsync(disk)
            finally:
                os.close(disk)
        return self.get_volume(volume.name)

    @staticmethod
    def _reserve(disk: int, old_size: int, size: int) -> None:
        """Extend with reserved space; a filesystem that gets full half-way keeps the old size."""
        try:
            os.posix_fallocate(disk, old_size, size - old_size)
        except OSError:
            os.ftruncate(disk, old_size)
            raise

    def delete_volume(self, volume: Volume) -> None:
        with files.refusals(f"deleting {self._path(volume.name)}"):
            records.unlink_if_there(self.disk_path(volume))
            records.sync_directory(self._path(volume.name))
            crash_point("file.deleted-disk")
            files.discard_directory(self._path(volume.name))

    def create_snapshot(self, volume: Volume, name: str, is_quiet: Callable[[], None]) -> Volume:
        origin = self.disk_path(volume)

        def fill(disk: int) -> None:
            source = os.open(origin, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if files.clone(source, disk):
                    return
                is_quiet()
                self._check_space(files.used_bytes(source), full=True)
                files.copy_sparse(source, disk, self.deadline)
            finally:
                os.close(source)

        return self._make(name, [("allocation", "sparse"), ("origin", volume.name)], fill)

    def origin(self, volume: Volume) -> str:
        return self._record(volume).get("origin")

    def set_metadata(self, volume: Volume, text: str) -> None:
        with files.refusals(f"writing the metadata of {volume.name}"):
            content = text.encode("utf-8", "surrogateescape")
            records.write_file(self._path(volume.name, "metadata"), content)

    def describe(self, volume: Volume) -> dict[str, str]:
        told = {key: value for key, value in self._record(volume).lines if key != "name"}
        try:
            with open(self._path(volume.name, "metadata"), encoding="utf-8", errors="replace") as file:
                told["metadata"] = file.read()
        except FileNotFoundError:
            pass
        told["path"] = self.disk_path(volume)
        told["used"] = str(os.stat(self.disk_path(volume)).st_blocks * 512)
        told["attached"] = " ".join(self.attached_nodes(volume))
        return told

    def _record(self, volume: Volume) -> records.Record:
        with self._answers():
            return records.read(self._path(volume.name, "record"), RECORD_TITLE)

    # --- making -----------------------------------------------------------------------------------

    def _make(self, name: str, lines: list[tuple[str, str]], fill: Callable[[int], None]) -> Volume:
        """Make a volume's directory under another name, ``fill`` its disk, and give it its name."""
        making = self._path(".making-" + name)
        with files.refusals(f"making the volume in {self.directory}"):
            self._begin_making(name, making)
            try:
                crash_point("file.making")
                self._fill_directory(name, making, lines, fill)
                crash_point("file.made")
                self._finish_making(name, making)
            except BaseException:
                files.discard_directory(making)
                raise
        return self.get_volume(name)

    def _begin_making(self, name: str, making: str) -> None:
        try:
            os.mkdir(making, 0o700)
        except FileExistsError:
            self._refuse_living_maker(name)
            files.discard_directory(making)
            os.mkdir(making, 0o700)
        crash_point("file.making-begun")
        maker = makers.this_process(self.node, self.deadline)
        records.write(os.path.join(making, "maker"), maker, durable=False)

    def _fill_directory(
        self, name: str, making: str, lines: list[tuple[str, str]], fill: Callable[[int], None]
    ) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        disk = os.open(os.path.join(making, "disk"), flags, 0o600)
        try:
            fill(disk)
            os.fsync(disk)
        finally:
            os.close(disk)
        said = [
            ("name", name),
            ("cluster", paths.cluster_name()),
            ("node", self.node),
            ("created", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())),
            *lines,
        ]
        records.write(os.path.join(making, "record"), records.Record(RECORD_TITLE, said))

    def _finish_making(self, name: str, making: str) -> None:
        os.unlink(os.path.join(making, "maker"))
        final = self._path(name)
        if os.path.isdir(final) and not os.path.lexists(os.path.join(final, "disk")):
            files.discard_directory(final)  # a removal that was killed when the data was gone
        try:
            os.rename(making, final)
        except OSError:
            if not os.path.isdir(final):
                raise
            size = self.get_volume(name).size_mib
            raise VolumeExists(size=size, where=self.pool.name) from None
        records.sync_directory(self.directory)

    def _maker(self, name: str) -> records.Record | None:
        """Who makes, or made and did not finish, the volume; a record without lines if unknown."""
        making = self._path(".making-" + name)
        try:
            return records.read(os.path.join(making, "maker"), makers.TITLE)
        except FileNotFoundError:
            return records.Record(makers.TITLE) if os.path.isdir(making) else None

    def _refuse_living_maker(self, name: str) -> None:
        maker = self._maker(name)
        if maker is not None and makers.is_alive(maker, self.node):
            raise BeingMade(maker=makers.text(maker))

    def _check_space(self, needed: int, full: bool) -> None:
        """Raise NoSpace unless ``needed`` more bytes fit (a filesystem that does not tell is believed)."""
        total, free = self.capacity()
        if total == 0 or needed <= free or (self.pool["overcommit"] and not full):
            return
        advice = "make room" if full else "make room, or allow it with overcommit = yes"
        raise NoSpace(needed=-(-needed >> 20), free=free >> 20, advice=advice)

    # --- exports ----------------------------------------------------------------------------------

    def initialize_connection(self, volume: Volume, connector: Mapping[str, str]) -> Connection:
        lines = [("node", self.node), ("boot", paths.boot_id())]
        with files.refusals(f"noting the attachment of {volume.name}"):
            path = self._path(volume.name, "attached-" + self.node)
            records.write(path, records.Record(ATTACHED_TITLE, lines), durable=False)
        data = {"path": self.disk_path(volume), "size": volume.size}
        return {"driver_volume_type": self.CONNECTOR, "data": data}

    def terminate_connection(self, volume: Volume, connector: Mapping[str, str]) -> None:
        with files.refusals(f"forgetting the attachment of {volume.name}"):
            records.unlink_if_there(self._path(volume.name, "attached-" + self.node))

    def attached_nodes(self, volume: Volume) -> list[str]:
        with self._answers():
            names = os.listdir(self._path(volume.name))
        return sorted(name.removeprefix("attached-") for name in names if name.startswith("attached-"))

    def userspace_uris(self, volume: Volume) -> list[str]:
        """QEMU's ``file:`` protocol; a comma is doubled, as in every value of a QEMU option."""
        return ["kvm:file:" + self.disk_path(volume).replace(",", ",,")]

    # --- holders ----------------------------------------------------------------------------------

    def read_holders(self, volume: Volume) -> Holders:
        with self._answers():
            return file_holders.read(self._path(volume.name))

    def replace_holders(self, volume: Volume, old: Holders, new: Sequence[Holder]) -> bool:
        with files.refusals(f"changing the holders of {volume.name}"):
            return file_holders.replace(self._path(volume.name), old, new)

    def _answers(self) -> files.Refusals:
        return files.unreachable(self.pool.name)


BACKEND = FileBackend
