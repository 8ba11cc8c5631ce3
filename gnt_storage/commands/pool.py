# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage pool``: the places where volumes live."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from extstorage_common.backends.base import Backend
from extstorage_common.errors import ExtStorageError
from gnt_storage import output, suite_provider, volumes
from gnt_storage.suite_provider import Failure


class SomePoolsUnwell(ExtStorageError):
    """Pools with which something is wrong; they have been printed."""

    template = "{count} of the pools can't be used as they are"


@click.group()
def pool() -> None:
    """Make pools real, and look at them."""


@pool.command()
@click.argument("provider")
@click.argument("name", metavar="[POOL]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print {version, provider, pool, uuid} as JSON.")
def init(provider: str, name: str | None, as_json: bool) -> None:
    """Make the pool POOL of PROVIDER real (the only one, where a single one is configured).

    A directory gets a marker file with a UUID: without that file it counts as an unmounted share,
    and nothing is ever taken for absent there. A pool that is real already keeps its UUID.

    \b
    Example:
      gnt-storage pool init file gold
    """
    found = suite_provider.load(provider)
    chosen = name or found.configuration.pool_for_new({})
    uuid = found.open_pool(found.pool(chosen)).initialize_pool()
    if as_json:
        output.print_json({"version": 1, "provider": found.name, "pool": chosen, "uuid": uuid})
    else:
        click.echo(f"pool '{chosen}' of provider '{found.name}' is ready, its UUID is {uuid}")


@pool.command("list")
@click.argument("names", metavar="[PROVIDER]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print {version, pools} as JSON.")
def list_command(names: tuple[str, ...], as_json: bool) -> None:
    """List the pools of PROVIDERs, or of all that are here, as this node sees them.

    Fails if something is wrong with any; a pool that does not answer is one of them.

    \b
    Example:
      gnt-storage pool list

    \b
    JSON: {"version": 1, "pools": [{"provider": NAME, "pool": NAME, "uuid": TEXT, "size": BYTES,
    "free": BYTES, "volumes": NUMBER, "status": NUMBER, "problem": TEXT}, ...]}; size and free are 0 where
    the storage does not tell, status is 0 where all is well
    """
    pools = [_document(one) for one in volumes.in_pools(names, _look)]
    if as_json:
        output.print_json({"version": 1, "pools": pools})
    elif pools:
        columns = ("pool", "size", "free", "used", "volumes", "uuid", "health")
        output.print_table(columns, [_row(one) for one in pools])
    unwell = [one for one in pools if one["status"]]
    if unwell:
        error = SomePoolsUnwell(count=len(unwell))
        error.status = unwell[0]["status"]
        raise error


def _look(backend: Backend) -> Iterator[str]:
    status, problem = 0, ""
    for name, check in backend.checks():
        try:
            check()
        except ExtStorageError as error:
            status, problem = status or error.status, problem or f"{name}: {error}"
    told: dict[str, Any] = {"uuid": "", "size": 0, "free": 0, "volumes": 0}
    try:
        told["uuid"] = backend.pool_uuid()
        told["size"], told["free"] = backend.capacity()
        told["volumes"] = len(backend.list_volumes())
    except ExtStorageError as error:
        status, problem = status or error.status, problem or str(error)
    yield json.dumps({**told, "status": status, "problem": problem})


def _document(one: tuple[str, str, str] | Failure) -> dict[str, Any]:
    if isinstance(one, Failure):
        told = {"uuid": "", "size": 0, "free": 0, "volumes": 0, "status": one.status, "problem": one.reason}
        return {"provider": one.provider, "pool": one.pool, **told}
    provider, pool, line = one
    return {"provider": provider, "pool": pool, **json.loads(line)}


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    size, free = one["size"], one["free"]
    used = f"{100 - free * 100 // size} %" if size else "-"
    place = f"{one['provider']}/{one['pool']}"
    sizes = [output.size(number) if size else "-" for number in (size, free)]
    return place, *sizes, used, str(one["volumes"]), one["uuid"] or "-", one["problem"] or "ok"


@pool.command()
@click.argument("provider")
@click.argument("name", metavar="[POOL]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print {version, provider, pool, purged} as JSON.")
def purge(provider: str, name: str | None, as_json: bool) -> None:
    """Delete for good what removals left for later in POOL of PROVIDER (the only one, if there is one).

    A storage that takes its time over deleting does so after the call: Ceph's images go to the trash
    first, and stay there for trash_days. What is due is deleted now, and printed.

    \b
    Example:
      gnt-storage pool purge rbd gold
    """
    found = suite_provider.load(provider)
    chosen = name or found.configuration.pool_for_new({})
    purged = found.open_pool(found.pool(chosen)).purge_pool()
    if as_json:
        output.print_json({"version": 1, "provider": found.name, "pool": chosen, "purged": purged})
    else:
        click.echo("".join(f"{volume}\n" for volume in purged), nl=False)
