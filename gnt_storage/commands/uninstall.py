# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage uninstall``: taking providers off nodes."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gnt_storage import output
from gnt_storage.install import payload, report, rollout, usage
from gnt_storage.nodes.options import node_options


@click.command()
@click.argument("providers", metavar="PROVIDER...", nargs=-1, required=True)
@node_options
@click.option("--all", "everywhere", is_flag=True, help="All nodes of the cluster.")
@click.option("--config", is_flag=True, help="Remove their configuration, too, with the secrets beside it.")
@click.option(
    "--force",
    is_flag=True,
    help="Also while there are volumes, which other nodes go on using; never where one is attached.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print {version, action, providers, dry_run, nodes} as JSON.",
)
def uninstall(
    providers: tuple[str, ...],
    nodes: Sequence[str],
    groups: Sequence[str],
    nodes_file: str | None,
    everywhere: bool,
    config: bool,
    force: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take PROVIDERs off nodes; with a node's last one the library goes, too.

    Refused while Ganeti has disks of them or a pool has volumes, and in any case on a node where a
    volume is attached. Volumes stay, and so does the configuration.

    \b
    Example:
      gnt-storage uninstall --all nfs1
      gnt-storage uninstall file --node node3.example.com --force
    """
    if not force:
        for provider in providers:
            usage.refuse_use(provider)
    chosen = rollout.choose(nodes, groups, nodes_file, everywhere)
    if not dry_run and not yes:
        where = f"{len(chosen)} node{'s' if len(chosen) > 1 else ''}"
        output.confirm(f"Remove {', '.join(providers)} from {where}?")
    results = rollout.on_nodes(chosen, payload.removal(providers, config=config, dry_run=dry_run))
    if as_json:
        document = report.document(results, action="uninstall", providers=providers, dry_run=dry_run)
        output.print_json(document)
    else:
        report.print_results(results, dry_run)
    report.refuse_failures(results)
