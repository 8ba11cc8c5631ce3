# SPDX-License-Identifier: Apache-2.0
"""What nobody needs any more, and what somebody misses: the storage and Ganeti compared.

Ganeti forgets volumes: when creating an instance fails, when a disk's storage is away at its removal, when a
node dies in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from extstorage_common import paths, worker
from extstorage_common.backends.base import Backend
from extstorage_common.deadline import Deadline
from extstorage_common.errors import BeingMade, ExtStorageError, NotFound, Refused, VolumeIncomplete
from gnt_storage import suite_provider, volumes
from gnt_storage.ganeti import Disk
from gnt_storage.suite_provider import Failure
from gnt_storage.survey.taking import Told
from gnt_storage.volumes import NOBODY

VOLUME = "volume"
HALF_MADE = "half-made volume"
MISSING = "disk without a volume"
ATTACHMENT = "attachment"
SESSION = "iSCSI session"
HOLDER = "holder"


class NotAnOrphan(Refused):
    """What was named is nothing that may be removed here."""

    template = "{name} is not removed: {reason}"


@dataclass(frozen=True)
class Orphan:
    """One finding: what kind of thing, where, and the reason why it counts as one.

    ``pool`` and ``node`` are ``""`` where they do not apply. Only what is ``removable`` can be removed here;
    for everything else the reason names the way out.
    """

    kind: str
    name: str
    provider: str
    pool: str
    node: str
    reason: str
    removable: bool = False


def find(disks: Mapping[str, Disk], told: Sequence[Told]) -> Iterator[Orphan | Failure]:
    """Everything that storage and nodes have and Ganeti does not, and the other way round.

    ``disks`` are Ganeti's, by volume; ``told`` is what the nodes told of their attachments. A pool or node
    that does not answer is a Failure; nothing is concluded from its silence.
    """
    known: set[str] = set()
    seen: set[str] = set()
    silent: set[str] = set()
    for provider, pool, backend in _pools():
        known.add(provider)
        if isinstance(backend, ExtStorageError):
            silent.add(provider)
            yield Failure(provider, pool, backend.status, str(backend))
            continue
        try:
            names = worker.run(_listing(backend), provider, backend.pool["timeout"])
        except ExtStorageError as error:
            silent.add(provider)
            yield Failure(provider, pool, error.status, str(error))
            continue
        for name in names:
            # Two names of a provider can share a pool.
            if name not in seen:
                yield from _of_volume(provider, backend, name, disks)
        seen.update(names)
    for disk in disks.values():
        if disk.volume not in seen and disk.provider in known and disk.provider not in silent:
            yield Orphan(MISSING, disk.volume, disk.provider, "", disk.node, _why_missing(disk))
    yield from _attachments(disks, told)


def _listing(backend: Backend) -> Callable[[Deadline, Callable[[str], None]], list[str]]:
    """Work that lists a pool's volumes."""

    def work(deadline: Deadline, asking: Callable[[str], None]) -> list[str]:
        asking(backend.pool.name)
        return backend.list_volumes()

    return work


def _pools() -> Iterator[tuple[str, str, Backend | ExtStorageError]]:
    """Every pool of every provider of this suite here; an error in the place of one that can't be used."""
    for name, directory in suite_provider.names().items():
        try:
            provider = suite_provider.of(name, directory)
            pools = provider.configuration.pool_names()
        except ExtStorageError as error:
            yield name, "-", error
            continue
        for pool in pools:
            try:
                yield name, pool, provider.open_pool(provider.pool(pool))
            except ExtStorageError as error:
                yield name, pool, error


# --- volumes ----------------------------------------------------------------------------------------


def _of_volume(
    provider: str, backend: Backend, name: str, disks: Mapping[str, Disk]
) -> Iterator[Orphan | Failure]:
    pool = backend.pool.name

    def orphan(kind: str, reason: str, removable: bool = False) -> Orphan:
        return Orphan(kind, name, provider, pool, "", reason, removable)

    try:
        volume = backend.get_volume(name)
        told = backend.describe(volume)
        nodes = [holder.node for holder in backend.read_holders(volume).entries]
    except VolumeIncomplete as error:
        yield orphan(HALF_MADE, f"its creation by {error.fields['maker']} did not finish", removable=True)
        return
    except (NotFound, BeingMade):
        return
    except ExtStorageError as error:
        yield Failure(provider, pool, error.status, f"{name}: {error}")
        return
    for node in nodes:
        if node not in paths.ssconf("node_list"):
            reason = f"held by {node}, which is not in the cluster: gnt-storage node forget {node}"
            yield orphan(HOLDER, reason)
    if name in disks or told.get("cluster", NOBODY) not in (NOBODY, paths.cluster_name()):
        return
    if backend.origin(volume) in disks:
        return  # a snapshot of a backup that runs, or was left by one: the next one replaces it
    in_use = [f"open on {node}" for node in nodes]
    in_use += [f"attached on {node}" for node in told.get("attached", "").split()]
    yield orphan(VOLUME, _why_unknown(told, in_use), removable=not in_use)


def _why_unknown(told: Mapping[str, str], in_use: Sequence[str]) -> str:
    reason = "Ganeti does not know it"
    if told.get("cluster", NOBODY) == NOBODY:
        reason += ", and it does not say whose it is"
    return f"{reason}; it is {', '.join(in_use)}" if in_use else reason


def _why_missing(disk: Disk) -> str:
    whose = f"disk {disk.index} of {disk.instance}" if disk.instance else "a detached disk"
    return (
        f"{whose} has no volume; if its data is lost, remove the disk or restore the instance from a backup"
    )


# --- attachments ------------------------------------------------------------------------------------


def _attachments(disks: Mapping[str, Disk], told: Sequence[Told]) -> Iterator[Orphan | Failure]:
    for one in told:
        if one.document is None:
            yield Failure("-", "-", 8, f"{one.node.name}: {one.problem}")
            continue
        for volume, provider, _ in one.document["attachments"]:
            disk = disks.get(volume.removesuffix(".snap"))
            way = f"to remove it, call there: gnt-storage volume detach {volume}"
            if disk is None:
                reason = f"Ganeti does not know the volume; {way}"
            elif disk.instance and disk.node != one.node.name:
                reason = (
                    f"its instance {disk.instance} is on {disk.node}; {way} (unless it is just migrating)"
                )
            else:
                continue
            yield Orphan(ATTACHMENT, volume, provider, "", one.node.name, reason)
        for target in one.document.get("targets", ()):
            node = f"iscsiadm -m node -T {target}"
            reason = (
                f"no attachment needs it; to end and forget it, call there: {node} --logout; {node} -o delete"
            )
            yield Orphan(SESSION, target, "-", "", one.node.name, reason)


# --- removing ---------------------------------------------------------------------------------------


def chosen(names: Sequence[str], found: Sequence[Orphan]) -> list[Orphan]:
    """The orphans of these names. Raises NotAnOrphan for one that may not be removed."""
    wanted = []
    for name in names:
        same = [orphan for orphan in found if orphan.name == name]
        removable = [orphan for orphan in same if orphan.removable]
        if not same:
            raise NotAnOrphan(name=name, reason="it is no orphan")
        if not removable:
            raise NotAnOrphan(name=name, reason=same[0].reason)
        wanted += removable
    return wanted


def remove(orphan: Orphan) -> None:
    """Remove one for good, as the provider's own script would. Raises the errors of ``errors.py``."""
    provider = suite_provider.load(orphan.provider)
    volumes.act(provider, "remove", {"VOL_NAME": orphan.name, "EXTP_POOL": orphan.pool})
