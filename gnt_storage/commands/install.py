# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage install``: the providers, library and configuration of this node on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from extstorage_common.errors import BadRequest
from gnt_storage import output
from gnt_storage.commands.diagnose import print_findings, refuse_errors
from gnt_storage.install import payload, report, rollout
from gnt_storage.nodes.options import node_options


class OneName(BadRequest):
    """A name for several providers."""

    template = "--as gives a name to one provider, but {count} were named"


@click.command()
@click.argument("providers", metavar="PROVIDER...", nargs=-1, required=True)
@node_options
@click.option("--all", "everywhere", is_flag=True, help="All nodes of the cluster.")
@click.option("--as", "name", help="The provider's name on the nodes, whose configuration is NAME.conf.")
@click.option("--no-verify", is_flag=True, help="Switch to it even where its verify fails.")
@click.option("--dry-run", is_flag=True, help="Only show how each node differs.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print {version, action, release, providers, dry_run, nodes, findings} as JSON.",
)
def install(
    providers: tuple[str, ...],
    nodes: Sequence[str],
    groups: Sequence[str],
    nodes_file: str | None,
    everywhere: bool,
    name: str | None,
    no_verify: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put PROVIDERs, with library and configuration, from this node on others, and on itself.

    Each node gets it wholly or, where the new verify fails, keeps what it had. What is equal is not
    touched. Nodes that are marked offline are left out. In the end the others are diagnosed.

    \b
    Example:
      gnt-storage install --all --dry-run file
      gnt-storage install file --group rack1
      gnt-storage install --all file --as nfs1
    """
    if name and len(providers) > 1:
        raise OneName(count=len(providers))
    what = payload.gather(dict(payload.resolve(provider, name) for provider in providers))
    chosen = rollout.choose(nodes, groups, nodes_file, everywhere)
    results = rollout.on_nodes(chosen, what.installation(verify=not no_verify, dry_run=dry_run))
    findings = [] if dry_run else rollout.findings(chosen, results, what.providers)
    if as_json:
        about = {"action": "install", "release": what.release, "providers": list(what.providers)}
        listed = [asdict(finding) for finding in findings]
        output.print_json(report.document(results, **about, dry_run=dry_run, findings=listed))
    else:
        report.print_results(results, dry_run)
        print_findings(findings, [])
    report.refuse_failures(results)
    refuse_errors(findings)
