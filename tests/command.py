# SPDX-License-Identifier: Apache-2.0
"""What the commands for people have in common: each makes something in a directory, and ends it."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.machines import MachineError

if TYPE_CHECKING:
    from collections.abc import Callable


class Command:
    """A command with sub-commands; each has the option ``--dir``."""

    def __init__(self, name: str, description: str | None, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self._parser = argparse.ArgumentParser(prog=name, description=description)
        self._actions = self._parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        self, name: str, action: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        """A sub-command; ``action`` gets its options and returns the exit status."""
        parser = self._actions.add_parser(name, help=text, description=text)
        told = "where it is (default: %(default)s)"
        parser.add_argument("--dir", type=Path, default=self.directory, help=told)
        parser.set_defaults(action=action)
        return parser

    def main(self) -> int:
        """Run the sub-command that was asked for; SIGTERM and SIGINT end it in order."""
        options = self._parser.parse_args()
        logging.basicConfig(level=logging.INFO, format="%(relativeCreated)7d ms  %(message)s")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            status: int = options.action(options)
            return status
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        except MachineError as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 1
