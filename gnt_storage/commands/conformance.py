# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage conformance``: does a provider do what Ganeti needs of it?"""

from __future__ import annotations

import shlex
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from extstorage_common.errors import Busy, ExtStorageError
from gnt_storage import output, suite_provider
from gnt_storage.conformance import suite
from gnt_storage.conformance.case import Case
from gnt_storage.conformance.engine import Engine, Node
from gnt_storage.conformance.suite import Result


class NotConforming(ExtStorageError):
    """At least one rule was broken; the table says which."""

    template = "{count} of {total} cases failed"


class Interrupted(Busy):
    """A signal ended the run early; what it had made was removed, or is in the table."""

    template = "interrupted before every case was run"


@click.command()
@click.argument("provider", metavar="PROVIDER")
@click.option("--param", "params", metavar="K=V", multiple=True, help="A disk parameter, as for --disk.")
@click.option("--size", default=16, show_default=True, type=click.IntRange(min=4), help="MiB of a volume.")
@click.option(
    "--node",
    "nodes",
    metavar="NAME='COMMAND'",
    multiple=True,
    help="A node, and the command that runs a shell command line there (given as one more argument).",
)
@click.option("--case", "patterns", metavar="GLOB", multiple=True, help="Only the cases of these names.")
@click.option(
    "--strict/--no-strict",
    default=None,
    help="Also the rules that Ganeti itself can do without; by default for providers of this suite.",
)
@click.option("--limit", default=120, show_default=True, help="Seconds after which a call counts as hung.")
@click.option(
    "--away", metavar="COMMAND", default="", help="A shell command that makes the storage unreachable."
)
@click.option("--back", metavar="COMMAND", default="", help="A shell command that makes it reachable again.")
@click.option(
    "--access",
    type=click.Choice(["kernelspace", "userspace"]),
    default="kernelspace",
    show_default=True,
    help="Of the volumes, as set in Ganeti; data of those without a device is seen by QEMU's tools.",
)
@click.option("--list", "only_list", is_flag=True, help="Print the cases and their rules, and run none.")
@click.option("--json", "as_json", is_flag=True, help="Print {version, provider, nodes, results} as JSON.")
def conformance(
    provider: str,
    params: Sequence[str],
    size: int,
    nodes: Sequence[str],
    patterns: Sequence[str],
    strict: bool | None,
    limit: int,
    away: str,
    back: str,
    access: str,
    only_list: bool,
    as_json: bool,
) -> None:
    """Call PROVIDER's scripts as Ganeti does, and see whether they keep the rules of the interface.

    PROVIDER is a name on Ganeti's search path or a provider directory, of this suite or not. Volumes
    named conformance-... are made and removed. The status is 0 if no rule was broken, else 1.

    \b
    Example, on two nodes:
      gnt-storage conformance file --param pool=gold \\
          --node n1='ssh root@n1' --node n2='ssh root@n2'

    \b
    JSON: {"version": 1, "provider": NAME, "nodes": [NAME, ...], "results": [{"case": NAME,
    "rule": TEXT, "source": TEXT, "required": BOOL, "outcome": "passed" | "failed" |
    "refused by provider" | "not run", "seen": TEXT}, ...]}
    """
    directory = suite_provider.find(provider)
    cases = suite.select(patterns, suite_provider.is_of_suite(directory) if strict is None else strict)
    if not cases:
        raise click.UsageError("no case has such a name; --list shows them all")
    if only_list:
        _print_cases(cases, as_json)
        return
    engine = Engine(directory, _parameters(params), limit, away, back, access)
    where = _nodes(nodes)
    try:
        with _stopped_by_signals(engine):
            results = _run(cases, engine, where, size, quiet=as_json)
    finally:
        engine.close()
    if as_json:
        output.print_json(
            {
                "version": 1,
                "provider": engine.provider,
                "nodes": [node.name for node in where],
                "results": [_document(result) for result in results],
            }
        )
    else:
        _print_results(results)
    failed = sum(result.failed for result in results)
    if engine.stopping:
        raise Interrupted
    if failed:
        raise NotConforming(count=failed, total=len(results))


@contextmanager
def _stopped_by_signals(engine: Engine) -> Iterator[None]:
    """Meanwhile a signal lets the present call finish, cleans up and ends the run; a second ends it."""

    def stop(number: int, frame: FrameType | None) -> None:
        if engine.stopping:
            raise KeyboardInterrupt
        engine.stopping = True

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(one, stop) for one in signals]
    try:
        yield
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)


def _parameters(params: Sequence[str]) -> dict[str, str]:
    pairs = [param.partition("=") for param in params]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise click.BadParameter("a parameter is written NAME=VALUE", param_hint="--param")
    return {name: value for name, _, value in pairs}


def _nodes(nodes: Sequence[str]) -> list[Node]:
    found = []
    for node in nodes:
        name, equals, command = node.partition("=")
        prefix = tuple(shlex.split(command))
        if not name or not equals or not prefix:
            raise click.BadParameter("a node is written NAME='COMMAND'", param_hint="--node")
        found.append(Node(name, prefix))
    return found or [Node("n1")]


def _run(
    cases: Sequence[Case], engine: Engine, nodes: Sequence[Node], size: int, quiet: bool
) -> list[Result]:
    """Run the cases, with a line that tells the present one where somebody is watching."""
    if quiet or not sys.stderr.isatty():
        return list(suite.run(cases, engine, nodes, size))
    results: list[Result] = []
    with click.progressbar(
        suite.run(cases, engine, nodes, size),
        length=len(cases),
        file=sys.stderr,
        item_show_func=lambda result: result.case.name if result else "",
    ) as running:
        results.extend(running)
    return results


def _document(result: Result) -> dict[str, Any]:
    return {**_case_document(result.case), "outcome": result.outcome, "seen": result.seen}


def _case_document(case: Case) -> dict[str, Any]:
    return {"case": case.name, "rule": case.rule, "source": case.source, "required": case.required}


def _print_cases(cases: Sequence[Case], as_json: bool) -> None:
    if as_json:
        output.print_json({"version": 1, "cases": [_case_document(case) for case in cases]})
        return
    rows = [(case.name, "required" if case.required else "strict", case.rule, case.source) for case in cases]
    output.print_table(("case", "kind", "rule", "source"), rows)


def _print_results(results: Sequence[Result]) -> None:
    rows = [
        (
            result.case.name,
            result.outcome,
            result.case.rule + (f" SEEN: {result.seen}" if result.seen else ""),
        )
        for result in results
    ]
    output.print_table(("case", "result", "rule"), rows)
    counts = Counter(result.outcome for result in results)
    click.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
