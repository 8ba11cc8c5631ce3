# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage node``: the cluster's nodes, as the storage knows them."""

from __future__ import annotations

from dataclasses import asdict

import click

from extstorage_common.errors import ExtStorageError
from gnt_storage import forget, output
from gnt_storage.forget import Trace
from gnt_storage.suite_provider import Failure


class SomePoolsFailed(ExtStorageError):
    """Pools that could not be asked or changed; they have been printed."""

    template = "{count} of the pools may still keep something of {node}; call it again once they answer"


@click.group()
def node() -> None:
    """Look after what the storage knows of nodes."""


@node.command("forget")
@click.argument("name", metavar="NODE")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would be forgotten.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print {version, node, dry_run, forgotten, failures} as JSON."
)
def forget_command(name: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Let the storage forget NODE, which has left the cluster for good.

    What is open there is closed (fenced first, where the storage can), what is attached there is
    detached, and the pools' own entries for the node go: in all pools of all providers that are
    configured here. NODE is the name that Ganeti used. A node that is in the cluster must be marked
    offline.

    \b
    Example:
      gnt-storage node forget node3.example.com
    """
    forget.refuse_living(name)
    if not dry_run and not yes:
        output.confirm(f"Is {name} off, or has it left the cluster, so that nothing of it may go on?")
    told = list(forget.traces(name, dry_run=dry_run))
    found = [one for one in told if isinstance(one, Trace)]
    failures = [one for one in told if isinstance(one, Failure)]
    if as_json:
        document = {"version": 1, "node": name, "dry_run": dry_run}
        output.print_json(
            {
                **document,
                "forgotten": [asdict(one) for one in found],
                "failures": [asdict(one) for one in failures],
            }
        )
    else:
        _print(name, found, failures, dry_run)
    if failures:
        error = SomePoolsFailed(count=len(failures), node=name)
        error.status = failures[0].status
        raise error


def _print(name: str, found: list[Trace], failures: list[Failure], dry_run: bool) -> None:
    if found:
        rows = [(one.provider, one.pool, one.volume or "-", one.what) for one in found]
        output.print_table(("provider", "pool", "volume", "would forget" if dry_run else "forgotten"), rows)
    elif not failures:
        click.echo(f"no storage knows anything of {name}")
    for one in failures:
        click.echo(f"{one.provider}: pool '{one.pool}': {one.reason}", err=True)
