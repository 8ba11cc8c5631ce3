# SPDX-License-Identifier: Apache-2.0
"""Volumes for people: where one is, what is known of it, and acting on it as the provider's scripts do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from extstorage_common import attachments, holders, paths, script, worker
from extstorage_common.backends.base import Backend, Volume
from extstorage_common.deadline import Deadline
from extstorage_common.errors import (
    BeingMade,
    Exists,
    ExtStorageError,
    HeldElsewhere,
    NotFound,
    VolumeIncomplete,
)
from extstorage_common.locks import Lock
from extstorage_common.provider import Provider
from extstorage_common.request import Request
from extstorage_common.workflow import Workflow
from gnt_storage import ganeti, suite_provider
from gnt_storage.ganeti import Disk
from gnt_storage.suite_provider import Failure

COMPLETE = "complete"
HALF_MADE = "half-made"
BEING_MADE = "being made"
NOBODY = "-"
"""The cluster of volumes that were made where there is no Ganeti."""

Asking = Callable[[str], None]


class NotHere(NotFound):
    """No provider knows the volume."""

    template = "there is no volume {volume} in any pool of {providers}"


class InSeveral(Exists):
    """More than one provider has a volume of this name."""

    template = "volume {volume} is in pools of several providers ({providers}); say which with --provider"


class NodeAlive(HeldElsewhere):
    """The node that is to be released may still use the volume."""

    template = (
        "{node} is in the cluster and not marked offline, so it may still use the volume; "
        "if it is off, mark it: gnt-node modify -O yes {node}"
    )


@dataclass(frozen=True)
class Told:
    """What the storage and Ganeti know of a volume. Sizes in bytes. ``opened``: nodes, how they hold it.

    ``instance`` and ``disk`` are Ganeti's (``""`` and -1: none, or nobody here can tell); ``cluster`` is
    whose the volume is, ``-`` where it was made without Ganeti.
    """

    provider: str
    pool: str
    name: str
    state: str
    size: int = 0
    used: int = 0
    attached: list[str] = field(default_factory=list)
    opened: list[list[str]] = field(default_factory=list)
    cluster: str = NOBODY
    instance: str = ""
    disk: int = -1
    more: dict[str, str] = field(default_factory=dict)


# --- pools ------------------------------------------------------------------------------------------


def providers(names: tuple[str, ...] = ()) -> list[Provider | Failure]:
    """These providers, or every one of this suite that is installed or configured here.

    Raises ProviderNotFound for one of ``names``. Without names, a provider that can't be loaded is a Failure.
    """
    if names:
        return [suite_provider.load(name) for name in names]
    found: list[Provider | Failure] = []
    for name, directory in suite_provider.names().items():
        try:
            found.append(suite_provider.of(name, directory))
        except ExtStorageError as error:
            found.append(Failure(name, "-", error.status, str(error)))
    return found


def in_pools(
    names: tuple[str, ...], look: Callable[[Backend], Iterator[str]]
) -> Iterator[tuple[str, str, str] | Failure]:
    """Look into every pool, each in a child with the pool's time: provider, pool and a line of ``look``."""
    for provider in providers(names):
        if isinstance(provider, Failure):
            yield provider
            continue
        for pool in provider.configuration.pool_names():
            try:
                for line in _in_pool(provider, pool, look):
                    yield provider.name, pool, line
            except ExtStorageError as error:
                yield Failure(provider.name, pool, error.status, str(error))


def _in_pool(provider: Provider, pool: str, look: Callable[[Backend], Iterator[str]]) -> list[str]:
    backend = provider.open_pool(provider.pool(pool))

    def work(deadline: Deadline, asking: Asking) -> list[str]:
        asking(pool)
        return list(look(backend))

    return worker.run(work, provider.name, backend.pool["timeout"])


# --- what is known ----------------------------------------------------------------------------------


def told(names: tuple[str, ...] = ()) -> Iterator[Told | Failure]:
    """All volumes of these providers, or of all."""
    disks = known_to_ganeti()
    for one in in_pools(names, _all):
        yield one if isinstance(one, Failure) else _told(*one, disks)


def tell(volume: str, provider: str | None) -> Told:
    """What is known of one volume. Raises NotHere, InSeveral, and why a pool could not be asked."""
    found = locate(volume, provider)

    def work(deadline: Deadline, asking: Asking) -> list[str]:
        workflow = _workflow(found, "close", {"VOL_NAME": volume}, deadline, asking)
        try:
            backend, there = workflow.find(volume)
        except VolumeIncomplete as error:
            return [str(error.fields["pool"]), json.dumps({"name": volume, "state": HALF_MADE})]
        return [backend.pool.name, json.dumps(_of_volume(backend, there))]

    pool, line = worker.run(work, found.name, _seconds(found))
    return _told(found.name, pool, line, known_to_ganeti())


def known_to_ganeti() -> Mapping[str, Disk]:
    """Ganeti's disks by volume; none on a node that does not have its configuration."""
    try:
        return ganeti.disks()
    except ganeti.NotMasterCandidate:
        return {}


def _all(backend: Backend) -> Iterator[str]:
    for name in backend.list_volumes():
        try:
            yield json.dumps(_of_volume(backend, backend.get_volume(name)))
        except VolumeIncomplete:
            yield json.dumps({"name": name, "state": HALF_MADE})
        except BeingMade:
            yield json.dumps({"name": name, "state": BEING_MADE})
        except NotFound:
            continue  # removed meanwhile


def _of_volume(backend: Backend, volume: Volume) -> dict[str, Any]:
    more = backend.describe(volume)
    return {
        "name": volume.name,
        "state": COMPLETE,
        "size": volume.size,
        "used": int(more.pop("used", 0)),
        "attached": more.pop("attached", "").split(),
        "opened": [[holder.node, holder.mode] for holder in backend.read_holders(volume).entries],
        "cluster": more.pop("cluster", NOBODY),
        "more": more,
    }


def _told(provider: str, pool: str, line: str, disks: Mapping[str, Disk]) -> Told:
    document = json.loads(line)
    disk = disks.get(document["name"]) or Disk(provider, document["name"])
    return Told(provider, pool, **document, instance=disk.instance, disk=disk.index)


def locate(volume: str, name: str | None) -> Provider:
    """The provider that has a volume, half-made ones too.

    Raises NotHere only if every pool said no; InSeveral; why a pool could not be asked.
    """
    if name is not None:
        return suite_provider.load(name)
    attachment = attachments.load(volume)
    if attachment is not None:
        return suite_provider.load(attachment.provider)  # known also while its storage is away
    found: list[Provider] = []
    unknown: ExtStorageError | None = None
    asked: list[str] = []
    for candidate, directory in suite_provider.names().items():
        try:
            provider = suite_provider.of(candidate, directory)
            if not provider.configuration.pool_names():
                continue
            asked.append(candidate)
            if has(provider, volume):
                found.append(provider)
        except ExtStorageError as error:
            unknown = unknown or error
    if len(found) > 1:
        raise InSeveral(volume=volume, providers=", ".join(one.name for one in found))
    if not found and unknown is not None:
        raise unknown
    if not found:
        raise NotHere(volume=volume, providers=", ".join(asked) or "no provider")
    return found[0]


def has(provider: Provider, volume: str) -> bool:
    """Whether a provider has a volume. Raises what keeps its storage from saying so."""

    def work(deadline: Deadline, asking: Asking) -> list[str]:
        try:
            _workflow(provider, "close", {"VOL_NAME": volume}, deadline, asking).find(volume)
        except VolumeIncomplete:
            pass
        except NotFound:
            return []
        return ["there"]

    return bool(worker.run(work, provider.name, _seconds(provider)))


def _workflow(
    provider: Provider, action: str, variables: Mapping[str, str], deadline: Deadline, asking: Asking
) -> Workflow:
    workflow = Workflow(Request(action, variables), provider)
    workflow.deadline, workflow.asking = deadline, asking
    return workflow


def _seconds(provider: Provider) -> float:
    return float(provider.pool(provider.configuration.first_pool())["timeout"])


# --- acting -----------------------------------------------------------------------------------------


def act(provider: Provider, action: str, variables: Mapping[str, str]) -> list[str]:
    """Do what a provider's script does, with the same locks and errors; returns what it would print."""
    request = Request(action, variables)
    return script.perform(request, provider.name, lambda: provider)


def release(volume: str, name: str | None, node: str, even_if_alive: bool) -> list[str]:
    """Free what ``node`` holds of a volume, fenced first where the storage can; returns what, in words.

    Raises NodeAlive for a node of the cluster that is not marked offline, unless ``even_if_alive``.
    """
    if not even_if_alive and node in paths.ssconf("node_list") and node not in paths.offline_nodes():
        raise NodeAlive(node=node)
    provider = locate(volume, name)

    def work(deadline: Deadline, asking: Asking) -> list[str]:
        workflow = _workflow(provider, "close", {"VOL_NAME": volume}, deadline, asking)
        with Lock(volume, "release", deadline):
            backend, there = workflow.find(volume)
            freed = []
            if (holder := holders.release(backend, there, node)) is not None:
                freed.append(f"open ({holder.mode})")
            if node in backend.attached_nodes(there):
                backend.revoke_connection(there, node)
                freed.append("attached")
            return freed

    return worker.run(work, provider.name, _seconds(provider))
