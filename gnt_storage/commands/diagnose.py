# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage diagnose``: are the providers whole, and the same, on all nodes?"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from extstorage_common import paths
from extstorage_common.errors import ExtStorageError, SystemRefused
from gnt_storage import output
from gnt_storage.ganeti import node_group as own_group
from gnt_storage.nodes import inventory, remote
from gnt_storage.nodes.inventory import Node
from gnt_storage.nodes.options import node_options
from gnt_storage.survey import as_ganeti, findings, taking
from gnt_storage.survey.findings import ERROR, NAMED, WARNING, Finding
from gnt_storage.survey.taking import Told


class ProblemsFound(ExtStorageError):
    """Something is wrong; it has been printed."""

    template = "{count} found"


@click.command()
@node_options
@click.option("--ganeti", is_flag=True, help="Print only what Ganeti's own command would.")
@click.option("--brief", is_flag=True, help="Print only what is wrong.")
@click.option("--html", "page", metavar="FILE", help="Write a page: nodes, providers and what is wrong.")
@click.option(
    "--parallel",
    default=remote.PARALLEL,
    type=click.IntRange(1),
    help="Nodes asked at a time.",
    show_default=True,
)
@click.option(
    "--timeout",
    default=taking.VERIFY_SECONDS,
    type=click.FloatRange(1),
    help="Seconds for what a provider's verify asks of its storage.",
    show_default=True,
)
@click.option("--json", "as_json", is_flag=True, help="Print {version, nodes, providers, findings} as JSON.")
def diagnose(
    nodes: Sequence[str],
    groups: Sequence[str],
    nodes_file: str | None,
    ganeti: bool,
    brief: bool,
    page: str | None,
    parallel: int,
    timeout: float,
    as_json: bool,
) -> None:
    """Check the providers of all nodes: as Ganeti does, then more thoroughly, and whether they are the same.

    Every node that may run instances and is not offline is asked over SSH, with Ganeti's key, by one command
    that needs nothing of ours there. Fails if an error is found; a warning is worth a look, no more.

    \b
    Example:
      gnt-storage diagnose
      gnt-storage diagnose --group rack1 --html /tmp/storage.html

    \b
    JSON: {"version": 1, "nodes": [{"node": NAME, "group": NAME, "state": "answered" | "offline" |
    "not asked" | "no answer"}, ...], "providers": [{"name": NAME, "nodes": [{"node": NAME, "path": PATH,
    "valid": BOOL, "message": TEXT}, ...], "groups": {NAME: BOOL, ...}}, ...], "findings": [{"severity":
    "error" | "warning", "node": NAME, "provider": NAME or "-", "problem": TEXT}, ...]}
    """
    chosen = _nodes(nodes, groups, nodes_file)
    told = list(output.progress(_take(chosen, parallel, timeout), len(chosen), "asking the nodes"))
    order = {node: number for number, node in enumerate(chosen)}
    told.sort(key=lambda one: order[one.node])
    found = [] if ganeti else findings.find(told)
    every_group = [] if nodes or groups or nodes_file else _groups(chosen)
    document = _document(chosen, told, found, every_group)
    if page:
        _write_page(page, document)
    if as_json:
        output.print_json(document)
    else:
        if not brief:
            _print_as_ganeti(told, every_group)
        if ganeti and not document["providers"]:
            click.echo("Can't get the list of ExtStorage providers", err=True)
            sys.exit(1)
        print_findings(found, [node for node in chosen if node.why_not_asked] if not ganeti else [])
    refuse_errors(found)


def _nodes(names: Sequence[str], groups: Sequence[str], nodes_file: str | None) -> list[Node]:
    """The nodes to look at; where there is no cluster, this one."""
    try:
        return inventory.choose(names, groups, nodes_file)
    except inventory.NoCluster:
        if groups:
            raise
        name = paths.node_name()
        return [Node(name, name, own_group())]


def _take(nodes: Sequence[Node], parallel: int, timeout: float) -> Iterator[Told]:
    return taking.take([node for node in nodes if not node.why_not_asked], parallel, timeout)


def _write_page(file: str, document: dict[str, Any]) -> None:
    from gnt_storage.survey.page import page

    when = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    cluster = paths.cluster_name() if paths.cluster_name() != "-" else paths.node_name()
    try:
        Path(file).write_text(page(document, cluster, when), encoding="utf-8")
    except OSError as error:
        raise SystemRefused(what=f"writing {file}", reason=error.strerror) from error


def _groups(nodes: Sequence[Node]) -> list[str]:
    """All groups of the cluster; none where it is not known which node is in which."""
    return [] if any(node.group == inventory.UNKNOWN_GROUP for node in nodes) else inventory.group_names()


def _print_as_ganeti(told: Sequence[Told], groups: Sequence[str]) -> None:
    for line in as_ganeti.lines(told, groups):
        click.echo(line.encode(errors="backslashreplace"))


def print_findings(found: Sequence[Finding], not_asked: Sequence[Node]) -> None:
    """Print a line for what is wrong in the same way on several nodes; first the errors."""
    for node in not_asked:
        click.echo(f"note: {node.name} {node.why_not_asked} and was not asked")
    for severity in (ERROR, WARNING):
        for line in summary([finding for finding in found if finding.severity == severity]):
            click.echo(f"{severity}: {line}")


def summary(found: Sequence[Finding]) -> list[str]:
    """One line for what is wrong in the same way on several nodes."""
    same: dict[tuple[str, str], list[str]] = {}
    for finding in found:
        same.setdefault((finding.provider, finding.problem), []).append(finding.node)
    lines = []
    for (provider, problem), names in same.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        about = "" if provider == findings.NODE else f"{provider}: "
        lines.append(output.printable(f"{', '.join(names[:NAMED])}{more}: {about}{problem}"))
    return lines


def refuse_errors(found: Sequence[Finding]) -> None:
    """Raise ProblemsFound if anything is an error."""
    errors = sum(finding.severity == ERROR for finding in found)
    if errors:
        raise ProblemsFound(count=f"{errors} problem{'s' if errors > 1 else ''}")


def _state(node: Node, answered: Collection[str]) -> str:
    if node.why_not_asked:
        return "offline" if node.offline else "not asked"
    return "answered" if node.name in answered else "no answer"


def _document(
    nodes: Sequence[Node], told: Sequence[Told], found: Sequence[Finding], groups: Sequence[str]
) -> dict[str, Any]:
    answered = {one.node.name for one in told if one.document is not None}
    return {
        "version": 1,
        "nodes": [
            {
                "node": node.name,
                "group": node.group,
                "state": _state(node, answered),
            }
            for node in nodes
        ],
        "providers": as_ganeti.judgements(told, groups),
        "findings": [asdict(finding) for finding in found],
    }
