# SPDX-License-Identifier: Apache-2.0
"""How commands print: tables on a terminal, plain lines into a pipe, and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import click

from extstorage_common.errors import Busy

Item = TypeVar("Item")


class NotConfirmed(Busy):
    """The question was not answered with yes; status 6, as for an interrupted command."""

    template = "nothing was done, since nobody said yes; --yes does without asking"


def confirm(question: str) -> None:
    """Go on if somebody says yes. Raises NotConfirmed, also where nobody is there to be asked."""
    try:
        confirmed = click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        confirmed = False
    if not confirmed:
        raise NotConfirmed


def print_json(document: Any) -> None:
    """Print a document for programs."""
    click.echo(json.dumps(document, indent=2))


def printable(text: str) -> str:
    """What a node said, on one line and without what a terminal would obey."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with rules and colours on a terminal, else columns padded with blanks."""
    if not sys.stdout.isatty():
        _print_plain(columns, rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def size(number: int) -> str:
    """Bytes for people, in the units in which Ganeti counts: ``1.5G``."""
    for unit, bits in (("T", 40), ("G", 30), ("M", 20), ("K", 10)):
        if number >= 1 << bits:
            return f"{number / (1 << bits):.1f}".removesuffix(".0") + unit
    return str(number)


def _print_plain(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [tuple(column.upper() for column in columns), *rows]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def progress(items: Iterable[Item], total: int, doing: str) -> Iterator[Item]:
    """Pass on ``items``, with a bar on a terminal that shows how many of ``total`` have come."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, doing, total, console=Console(stderr=True), transient=True)
