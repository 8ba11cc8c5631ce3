# SPDX-License-Identifier: Apache-2.0
"""The appliance: a line of CLIQ in, what its SSH server sends out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.appliances.lefthand import answers, grammar, verbs
from tests.appliances.lefthand.codes import PARAMETER_IGNORED, SUCCESS, CliqError
from tests.appliances.lefthand.facts import Facts
from tests.appliances.lefthand.group import ManagementGroup, nobody

MILLISECONDS = {"getclusterinfo": 423, "createvolume": 2539, "assignvolume": 4069, "deletevolume": 1416}
"""How long commands took on real arrays; they really take no time here."""
USUAL_MILLISECONDS = 181


class Answer(NamedTuple):
    """What a command prints, and its exit status."""

    stdout: bytes
    stderr: bytes
    status: int


def nothing() -> None:
    """Where nothing is exported."""


class LeftHand:
    """A management group behind its command line.

    ``changed`` is called after each command that may have changed what is exported.
    """

    def __init__(
        self,
        facts: Facts | None = None,
        directory: Path | None = None,
        sessions: Callable[[str], list[str]] = nobody,
        changed: Callable[[], None] = nothing,
    ) -> None:
        self.facts = facts or Facts()
        self.group = ManagementGroup(self.facts, directory, sessions)
        self.changed = changed
        self._lock = threading.Lock()

    def execute(self, user: str, line: str) -> Answer:
        """Run a line for a user of the management group."""
        with self._lock:
            return self._execute(line)

    def _execute(self, line: str) -> Answer:
        description, done = "Operation succeeded.", verbs.Done()
        output = "xml" if "output=xml" in line.lower() else ""
        verb = ""
        try:
            command = grammar.parse(line)
            verb, given = command.verb, command.parameters
            output = (given.find("output") or "").lower()
            done = verbs.run(self.group, command)
            ignored = sorted(set(given.given) - given.asked)
            if done.code == SUCCESS and ignored:
                done = verbs.Done(PARAMETER_IGNORED, done.elements)
                description = f"Parameter '{ignored[0]}' was ignored."
        except verbs.QuestionAsked:
            return Answer(verbs.QUESTION.encode(), b"", 1)
        except CliqError as error:
            done, description = verbs.Done(error.code), error.description
        if not verb.startswith("get"):
            self.changed()
        render = answers.as_xml if output == "xml" else answers.as_text
        milliseconds = MILLISECONDS.get(verb, USUAL_MILLISECONDS)
        told = render(self.facts, done.code, description, milliseconds, list(done.elements))
        return Answer(told.encode(), b"", done.code.status)
