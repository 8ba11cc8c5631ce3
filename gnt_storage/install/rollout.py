# SPDX-License-Identifier: Apache-2.0
"""One installation on many nodes: sent to all at once, and looked at afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from extstorage_common.errors import BadRequest
from gnt_storage import output
from gnt_storage.install import report
from gnt_storage.install.report import NodeResult
from gnt_storage.nodes import inventory, remote
from gnt_storage.nodes.inventory import Node
from gnt_storage.nodes.program import COMMAND
from gnt_storage.survey import taking
from gnt_storage.survey.findings import NODE, Finding, find

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
    answers = remote.run(online, COMMAND, stdin, timeout=SECONDS)
    for answer in output.progress(answers, len(online), "sending to the nodes"):
        results[answer.node.name] = report.of_answer(
            answer.node.name, answer.stdout, answer.stderr, answer.problem
        )
    return [results[node.name] for node in nodes]


def findings(nodes: Sequence[Node], results: Sequence[NodeResult], providers: Iterable[str]) -> list[Finding]:
    """What ``diagnose`` finds wrong with these providers, or the node itself, where it was done."""
    done = {result.node for result in results if result.result in (report.CHANGED, report.UNCHANGED)}
    chosen = [node for node in nodes if node.name in done]
    told = list(output.progress(taking.take(chosen), len(chosen), "looking at the nodes"))
    about = {NODE, *providers}
    return [finding for finding in find(told) if finding.provider in about]
