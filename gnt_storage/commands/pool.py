# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage pool``: the places where volumes live."""

from __future__ import annotations

import click

from gnt_storage import output, suite_provider


@click.group()
def pool() -> None:
    """Make pools real."""


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
    uuid = found.pool(chosen).initialize_pool()
    if as_json:
        output.print_json({"version": 1, "provider": found.name, "pool": chosen, "uuid": uuid})
    else:
        click.echo(f"pool '{chosen}' of provider '{found.name}' is ready, its UUID is {uuid}")
