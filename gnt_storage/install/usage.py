# SPDX-License-Identifier: Apache-2.0
"""Who uses a provider: the disks that Ganeti knows, and the volumes in its pools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from extstorage_common import paths
from extstorage_common.errors import Busy, ConfigurationError, NotFound, PoolMarkerMissing
from extstorage_common.provider import Provider
from gnt_storage import ganeti, suite_provider

SHOWN = 5


class ProviderInUse(Busy):
    """A provider that can't go, since volumes need it."""

    template = (
        "provider {provider} is still used, by {count} volume(s) ({volumes}); "
        "remove or convert the disks first"
    )


class NotMaster(ConfigurationError):
    """What only the master knows was asked elsewhere."""

    template = "only the master knows which disks use a provider; call this on {master}"


@dataclass(frozen=True)
class Use:
    """A volume, and whose it is."""

    volume: str
    owner: str


def refuse_use(provider: str) -> None:
    """Raise ProviderInUse while Ganeti or a pool has volumes of ``provider``.

    Raises Unreachable, too: a pool that does not answer may have volumes.
    """
    uses = {use.volume: use for use in [*_in_pools(provider), *_in_ganeti(provider)]}
    if uses:
        shown = [f"{use.volume} {use.owner}" for use in sorted(uses.values(), key=lambda use: use.volume)]
        more = ["..."] if len(shown) > SHOWN else []
        raise ProviderInUse(provider=provider, count=len(shown), volumes=", ".join([*shown[:SHOWN], *more]))


def _in_ganeti(provider: str) -> Iterator[Use]:
    """The disks of this provider in the cluster's configuration, those of no instance too."""
    configuration = _configuration()
    owners = {
        disk: instance["name"]
        for instance in configuration.get("instances", {}).values()
        for disk in instance["disks"]
    }
    for uuid, disk in configuration.get("disks", {}).items():
        if disk["dev_type"] == "ext" and disk["logical_id"][0] == provider:
            owner = owners.get(uuid)
            yield Use(disk["logical_id"][1], f"of instance {owner}" if owner else "of no instance")


def _configuration() -> dict[str, Any]:
    """Ganeti's configuration; empty where there is no Ganeti. Raises NotMaster."""
    master = (paths.ssconf("master_node") or [""])[0]
    if master not in ("", paths.node_name()):
        raise NotMaster(master=master)
    return ganeti.configuration() or {}


def _in_pools(name: str) -> Iterator[Use]:
    """Our cluster's volumes in the pools that are configured here."""
    provider = suite_provider.load(name)
    for pool in provider.configuration.pool_names():
        try:
            yield from _in_pool(provider, pool)
        except PoolMarkerMissing:
            if not provider.configuration.is_absent:
                raise
            # The default directory, which comes into being with the first volume.


def _in_pool(provider: Provider, pool: str) -> Iterator[Use]:
    for volume in provider.open_pool(provider.pool(pool)).list_volumes():
        backend = provider.open_pool(provider.pool(pool))
        try:
            cluster = backend.describe(backend.get_volume(volume)).get("cluster", paths.cluster_name())
        except NotFound:
            cluster = paths.cluster_name()  # half-made
        if cluster == paths.cluster_name():
            yield Use(volume, f"in pool {pool}")
