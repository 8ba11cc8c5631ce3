# SPDX-License-Identifier: Apache-2.0
"""The least appliance: it answers what it is told, for the tests of what all have in common."""

from __future__ import annotations

from tests.appliances.model import Answer, ShellModel


class Echo(ShellModel):
    """Says each line again."""

    NAME = "echo"

    def execute(self, user: str, line: str) -> Answer:
        """The line, on standard output; ``fail`` on standard error, with status 3."""
        self.done = [*getattr(self, "done", []), line]
        return Answer(stderr=f"{line}\n", status=3) if line == "fail" else Answer(f"{line}\n")

    def control_done(self) -> list[str]:
        """What had its effect since the last question."""
        done, self.done = getattr(self, "done", []), []
        return done
