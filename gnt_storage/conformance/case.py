# SPDX-License-Identifier: Apache-2.0
"""What a case is: one rule, and a function that sees whether a provider keeps it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gnt_storage.conformance.trial import Trial

GANETI = "as Ganeti 3.0 does"
SUITE = "ganeti-extstorage"


def man(section: str) -> str:
    """The source of a rule: a section of the manual page that specifies the interface."""
    return f"ganeti-extstorage-interface(7), {section}"


@dataclass(frozen=True)
class Case:
    """One rule of the interface.

    ``required`` rules are those that Ganeti itself relies on; the others (*strict*) are what this
    suite's own providers promise on top. ``source`` says where the rule comes from. ``nodes`` and
    ``scripts`` are what the case can't do without; ``away``: the storage must be made unreachable.
    """

    name: str
    rule: str
    source: str
    required: bool
    run: Callable[[Trial], None]
    nodes: int = 1
    scripts: frozenset[str] = frozenset()
    away: bool = False


class Theme:
    """The cases of one module, in the order in which they are written.

    The decorators make a case of a function: its name with dashes is the case's, its docstring the
    rule::

        theme = Theme()

        @theme.required(man("detach"))
        def detach_twice(trial: Trial) -> None:
            \"\"\"Detaching a volume that is detached already succeeds.\"\"\"
            trial.run("n1: create attach detach detach")
    """

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def required(
        self, source: str, *, nodes: int = 1, scripts: str = "", away: bool = False
    ) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
        """A rule that Ganeti relies on; ``scripts`` are names separated by blanks."""
        return self._adder(source, True, nodes, scripts, away)

    def strict(
        self, *, nodes: int = 1, scripts: str = "", away: bool = False
    ) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
        """A rule that this suite's own providers keep on top."""
        return self._adder(SUITE, False, nodes, scripts, away)

    def _adder(
        self, source: str, required: bool, nodes: int, scripts: str, away: bool
    ) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
        def add(function: Callable[[Trial], None]) -> Callable[[Trial], None]:
            name = function.__name__.replace("_", "-")
            rule = " ".join((function.__doc__ or "").split())
            needed = frozenset(scripts.split())
            self.cases.append(Case(name, rule, source, required, function, nodes, needed, away))
            return function

        return add
