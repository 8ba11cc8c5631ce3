# SPDX-License-Identifier: Apache-2.0
"""What the storage keeps of a node that left the cluster, and how it is made to forget it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from extstorage_common import holders, paths
from extstorage_common.backends.base import Backend
from extstorage_common.errors import Busy, ExtStorageError, NotFound
from extstorage_common.provider import Provider
from gnt_storage import suite_provider
from gnt_storage.suite_provider import Failure


class NodeInCluster(Busy):
    """A node that Ganeti uses."""

    template = (
        "{node} is in the cluster and not offline, so its instances may run; remove it with gnt-node remove, "
        "or, if it is off, mark it: gnt-node modify -O yes {node}"
    )


@dataclass(frozen=True)
class Trace:
    """What a pool keeps of a node: ``volume`` is ``""`` for what belongs to none."""

    provider: str
    pool: str
    volume: str
    what: str


def refuse_living(node: str) -> None:
    """Raise NodeInCluster for a node of the cluster that is not marked offline."""
    if node in paths.ssconf("node_list") and node not in paths.offline_nodes():
        raise NodeInCluster(node=node)


def traces(node: str, *, dry_run: bool) -> Iterator[Trace | Failure]:
    """What all pools of all providers here keep of ``node``, removed unless ``dry_run``.

    Another cluster's volumes in the same pool are left alone. A pool that fails is told of, and the
    next one looked at.
    """
    for name, directory in suite_provider.names().items():
        pool = "-"
        try:
            provider = suite_provider.of(name, directory)
            for pool in provider.configuration.pool_names():
                yield from _pool_traces(node, provider, pool, dry_run)
        except ExtStorageError as error:
            yield Failure(name, pool, error.status, str(error))


def _pool_traces(node: str, provider: Provider, pool: str, dry_run: bool) -> Iterator[Trace | Failure]:
    try:
        for volume in provider.open_pool(provider.pool(pool)).list_volumes():
            # A backend for each volume: what it may take is bounded a volume.
            for what in _volume_traces(node, provider.open_pool(provider.pool(pool)), volume, dry_run):
                yield Trace(provider.name, pool, volume, what)
        for what in provider.open_pool(provider.pool(pool)).forget_node(node, dry_run):
            yield Trace(provider.name, pool, "", what)
    except ExtStorageError as error:
        yield Failure(provider.name, pool, error.status, str(error))


def _volume_traces(node: str, backend: Backend, name: str, dry_run: bool) -> Iterator[str]:
    try:
        volume = backend.get_volume(name)
    except NotFound:
        return  # removed meanwhile, or half-made: nobody can hold it
    if backend.describe(volume).get("cluster", paths.cluster_name()) != paths.cluster_name():
        return
    holder = backend.read_holders(volume).of(node)
    if holder is not None:
        if not dry_run:
            holders.release(backend, volume, node)
        yield f"open, {holder.mode}"
    if node in backend.attached_nodes(volume):
        if not dry_run:
            backend.revoke_connection(volume, node)
        yield "attached"
