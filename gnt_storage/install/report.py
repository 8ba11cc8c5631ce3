# SPDX-License-Identifier: Apache-2.0
"""What came of an installation, node by node, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import click

from extstorage_common.errors import ExtStorageError, Unforeseen, Unreachable

CHANGED = "changed"
UNCHANGED = "unchanged"
FAILED = "failed"
UNREACHABLE = "unreachable"
SKIPPED = "skipped"
SHOWN = 5


class NodesFailed(ExtStorageError):
    """Nodes on which it was not done; they have been printed."""

    template = "not done on {count} of {all} nodes: {nodes}"


@dataclass(frozen=True)
class NodeResult:
    """One node: ``result`` is changed, unchanged, failed, unreachable or skipped; ``reason`` says why, or
    what else there is to say.

    ``status`` is an exit status of the suite; ``changes`` have a path, what changed and perhaps a diff.
    """

    node: str
    result: str
    status: int = 0
    reason: str = ""
    changes: list[dict[str, str]] = field(default_factory=list)


def of_answer(node: str, stdout: bytes, stderr: bytes, problem: str | None) -> NodeResult:
    """The result of a node's answer; ``problem`` is why there is none."""
    if problem:
        return NodeResult(node, UNREACHABLE, Unreachable.status, problem)
    try:
        told: dict[str, Any] = json.loads(stdout)
        return NodeResult(node, told["result"], told["status"], told["reason"], told["changes"])
    except (ValueError, KeyError):
        said = stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        return NodeResult(node, FAILED, Unforeseen.status, f"the agent failed: {said[-1]}")


def document(results: Sequence[NodeResult], **about: Any) -> dict[str, Any]:
    """The JSON document: what it is about, and the nodes."""
    return {"version": 1, **about, "nodes": [asdict(result) for result in results]}


def print_results(results: Sequence[NodeResult], dry_run: bool) -> None:
    """Print what was, or would be, done; nodes of which the same is to be said together."""
    for nodes in _grouped(results):
        result = nodes[0]
        names = ", ".join(one.node for one in nodes)
        would = "would be " if dry_run and result.result == CHANGED else ""
        click.echo(f"{names}: {would}{result.result}{': ' if result.reason else ''}{result.reason}")
        for change in result.changes if dry_run else ():
            click.echo(f"  {change['change']:<8} /{change['path']}")
            for line in change["diff"].splitlines():
                click.echo(f"    {line}")


def _grouped(results: Sequence[NodeResult]) -> list[list[NodeResult]]:
    groups: dict[str, list[NodeResult]] = {}
    for result in results:
        groups.setdefault(str(replace(result, node="")), []).append(result)
    return list(groups.values())


def refuse_failures(results: Sequence[NodeResult]) -> None:
    """Raise NodesFailed if it was not done on some node; its status is that of the first."""
    failed = [result for result in results if result.status]
    if failed:
        names = ", ".join(result.node for result in failed[:SHOWN]) + (", ..." if len(failed) > SHOWN else "")
        error = NodesFailed(count=len(failed), all=len(results), nodes=names)
        error.status = failed[0].status
        raise error
