# SPDX-License-Identifier: Apache-2.0
"""One installation on many nodes: sent to all at once, and looked at afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from extstorage_common.errors import BadRequest
from gnt_storage.install import payload, report
from gnt_storage.install.report import NodeResult
from gnt_storage.nodes import inventory, remote
from gnt_storage.nodes.inventory import Node
from gnt_storage.nodes.remote import Answer

SECONDS = 600
"""What a node gets for it, with the verify of all its providers."""


class NoChoice(BadRequest):
    """Nobody said on which nodes."""

    template = "say on which nodes: --node, --group, --nodes-file, or --all"


def choose(
    nodes: Sequence[str], groups: Sequence[str], nodes_file: str | None, everywhere: bool
) -> list[Node]:
    """The nodes that are meant; to mean all of them takes a word. Raises as inventory.choose, NoChoice."""
    if not (nodes or groups or nodes_file or everywhere):
        raise NoChoice
    return inventory.choose(() if everywhere else nodes, () if everywhere else groups, nodes_file)


def on_nodes(nodes: Sequence[Node], stdin: bytes) -> list[NodeResult]:
    """Send ``stdin`` to the agent on all nodes that are not offline; what came of it, in their order."""
    online = [node for node in nodes if not node.offline]
    results = {
        node.name: NodeResult(node.name, report.SKIPPED, reason="it is marked offline")
        for node in nodes
        if node.offline
    }
    for answer in _watched(remote.run(online, payload.COMMAND, stdin, timeout=SECONDS), len(online)):
        results[answer.node.name] = report.of_answer(
            answer.node.name, answer.stdout, answer.stderr, answer.problem
        )
    return [results[node.name] for node in nodes]


def _watched(answers: Iterable[Answer], total: int) -> Iterator[Answer]:
    """The answers, with a bar that shows how many have come where somebody looks."""
    if not sys.stderr.isatty():
        yield from answers
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(answers, "nodes", total, console=Console(stderr=True), transient=True)
