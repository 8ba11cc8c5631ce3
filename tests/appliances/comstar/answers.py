# SPDX-License-Identifier: Apache-2.0
"""How a command ends, and how its options are told from its operands."""

from __future__ import annotations

import getopt
from collections.abc import Sequence
from dataclasses import dataclass, field


class Failure(Exception):
    """A command that ends badly: its lines on stderr, what it printed before, and its exit status."""

    def __init__(self, stderr: str = "", status: int = 1, stdout: str = "") -> None:
        self.stderr = stderr + "\n" if stderr else ""
        self.stdout = stdout + "\n" if stdout else ""
        self.status = status
        super().__init__(stderr or stdout)


@dataclass
class Options:
    """The options and operands of a command."""

    values: list[tuple[str, str]] = field(default_factory=list)
    operands: list[str] = field(default_factory=list)

    def get(self, name: str, default: str | None = None) -> str | None:
        """The last value of an option."""
        return next((value for option, value in reversed(self.values) if option == name), default)

    def all(self, name: str) -> list[str]:
        """Every value of an option."""
        return [value for option, value in self.values if option == name]

    def __contains__(self, name: str) -> bool:
        return any(option == name for option, _ in self.values)


def permuted(words: Sequence[str], letters: str) -> Options:
    """Options wherever they stand, as COMSTAR's commands take them. Raises getopt.GetoptError."""
    return Options(*getopt.gnu_getopt(list(words), letters))


def leading(words: Sequence[str], letters: str) -> Options:
    """Options before the operands only, as zfs takes them. Raises getopt.GetoptError."""
    return Options(*getopt.getopt(list(words), letters))
