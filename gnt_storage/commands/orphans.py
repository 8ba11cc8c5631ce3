# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage orphans``: what nobody needs any more, and what somebody misses."""

from __future__ import annotations

from dataclasses import asdict

import click

from extstorage_common.errors import ExtStorageError
from gnt_storage import ganeti, output
from gnt_storage import orphans as policy
from gnt_storage.nodes import inventory
from gnt_storage.orphans import Orphan
from gnt_storage.suite_provider import Failure
from gnt_storage.survey import taking


class SomeSilent(ExtStorageError):
    """Pools or nodes that did not answer; they have been printed."""

    template = "{count} of the pools and nodes did not answer, so there may be more"


@click.command()
@click.option(
    "--remove", "names", metavar="NAME", multiple=True, help="Remove this one for good, after asking."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="With --remove: only show what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print {version, orphans, removed, failures} as JSON.")
def orphans(names: tuple[str, ...], yes: bool, dry_run: bool, as_json: bool) -> None:
    """List what storage, nodes and Ganeti do not agree on, each with the reason.

    That is: volumes of this cluster that Ganeti does not know, half-made ones, disks of Ganeti without a
    volume, attachments that no instance needs, iSCSI sessions that no attachment needs, and nodes that hold a
    volume and left the cluster. Another cluster's volumes in the same pool are none of them, nor are a
    backup's snapshots. Runs on the master.

    Nothing is removed but what --remove names, and never what is attached, open or not ours.

    \b
    Example:
      gnt-storage orphans
      gnt-storage orphans --remove f7c1.ext.disk0 --dry-run

    \b
    JSON: {"version": 1, "orphans": [{"kind": "volume" | "half-made volume" | "disk without a volume" |
    "attachment" | "iSCSI session" | "holder", "name": NAME, "provider": NAME, "pool": NAME or "",
    "node": NAME or "",
    "reason": TEXT, "removable": BOOL}, ...], "removed": [NAME, ...], "failures": [{"provider": NAME,
    "pool": NAME, "status": NUMBER, "reason": TEXT}, ...]}
    """
    disks = ganeti.disks()
    nodes = [node for node in inventory.of_cluster() if not node.why_not_asked]
    told = list(policy.find(disks, list(taking.take(nodes))))
    found = [one for one in told if isinstance(one, Orphan)]
    failures = [one for one in told if isinstance(one, Failure)]
    wanted = policy.chosen(names, found)
    removed = [] if dry_run else _remove(wanted, yes)
    if as_json:
        output.print_json(
            {
                "version": 1,
                "orphans": [asdict(one) for one in found],
                "removed": [one.name for one in removed],
                "failures": [asdict(one) for one in failures],
            }
        )
    else:
        _print(wanted if names else found, failures, bool(names), dry_run)
    if failures:
        error = SomeSilent(count=len(failures))
        error.status = failures[0].status
        raise error


def _remove(wanted: list[Orphan], yes: bool) -> list[Orphan]:
    if wanted and not yes:
        count = "this volume" if len(wanted) == 1 else f"these {len(wanted)} volumes"
        output.confirm(f"Delete {count} and all data for good: {', '.join(one.name for one in wanted)}?")
    for one in wanted:
        policy.remove(one)
    return wanted


def _print(shown: list[Orphan], failures: list[Failure], removing: bool, dry_run: bool) -> None:
    if shown:
        rows = [
            (one.kind, one.name, f"{one.provider}/{one.pool}".rstrip("/"), one.node or "-", one.reason)
            for one in shown
        ]
        output.print_table(("kind", "name", "provider/pool", "node", "reason"), rows)
        if removing:
            click.echo("nothing was removed (--dry-run)" if dry_run else "removed")
    elif not failures:
        click.echo("storage, nodes and Ganeti agree")
    for one in failures:
        where = one.reason if one.provider == "-" else f"{one.provider}: pool '{one.pool}': {one.reason}"
        click.echo(where, err=True)
