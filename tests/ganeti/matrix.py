# SPDX-License-Identifier: Apache-2.0
"""The matrix of the run, printed at its end: Ganeti's commands and each provider.

A row is a test that takes a provider and has a docstring, which names Ganeti's commands. The same rows are in
``docs/ganeti.rst``.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

OK, FAILED, NOT_RUN = "ok", "failed", "not run"
WIDTH = 84


class Matrix:
    """How each command went with each provider, so far."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, list[str]]] = {}

    def expect(self, items: Iterable[pytest.Item]) -> None:
        """Make the rows and columns of the tests that were collected, chosen to be run or not."""
        for item in items:
            if place := _place(item):
                self.rows.setdefault(place[0], {}).setdefault(place[1], []).append(item.nodeid)

    def note(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Take down how one phase of a test went: all must be well."""
        if place := _place(item):
            tests = self.rows[place[0]][place[1]]
            if report.failed:
                tests.append(FAILED)
            elif report.when == "call" and report.passed:
                tests.remove(item.nodeid)

    def lines(self) -> list[str]:
        """The table, if anything was run."""
        if all(_outcome(tests) == NOT_RUN for row in self.rows.values() for tests in row.values()):
            return []
        columns = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        lines = [f"{'':{WIDTH}}" + "".join(f"{name:>9}" for name in columns)]
        for commands, row in self.rows.items():
            first, *more = textwrap.wrap(commands, WIDTH - 2)
            cells = "".join(f"{_outcome(row.get(name, [NOT_RUN])):>9}" for name in columns)
            lines += [f"{first:{WIDTH}}" + cells, *("  " + line for line in more)]
        return lines


def _place(item: pytest.Item) -> tuple[str, str] | None:
    """A test's row and column; None if it is none of the matrix."""
    provider = getattr(getattr(item, "callspec", None), "params", {}).get("provider")
    text = getattr(getattr(item, "function", None), "__doc__", None)
    return (" ".join(text.split()).rstrip("."), provider.name) if provider and text else None


def _outcome(tests: list[str]) -> str:
    """One word for all tests of a cell; those that are still listed were not run."""
    if FAILED in tests:
        return FAILED
    return NOT_RUN if tests else OK
