# SPDX-License-Identifier: Apache-2.0
"""What all modelled appliances have in common: faults, a record of what they were asked, what they export."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tests.appliances.faults import Faults
from tests.appliances.luns import Nothing

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from tests.appliances.luns import Exporter


@dataclass
class Answer:
    """What a command line is answered; ``status`` None means that no exit status is sent."""

    stdout: str = ""
    stderr: str = ""
    status: int | None = 0


class Model:
    """A modelled appliance: a state, changed by requests.

    ``directory`` is for the data of its disks, ``portals`` are the addresses (``address:port``) at which it
    exports, ``requests`` what it was asked, in order, and ``connections`` how often somebody connected. The
    state is only touched with ``lock`` held.
    """

    NAME: ClassVar[str]

    def __init__(
        self, directory: Path, exporter: Exporter | None = None, portals: tuple[str, ...] = ()
    ) -> None:
        self.directory = directory
        self.exporter = exporter or Nothing()
        self.portals = portals
        self.faults = Faults()
        self.requests: list[str] = []
        self.connections = 0
        self.lock = threading.RLock()

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare what can be said of such an appliance on the command line."""

    def configure(self, options: argparse.Namespace) -> None:
        """Take what was said on the command line."""

    def control(self, name: str, arguments: dict[str, Any]) -> Any:
        """A test's own question or change of the state: calls the method ``control_<name>``."""
        return getattr(self, f"control_{name}")(**arguments)


class ShellModel(Model):
    """An appliance that is told commands over SSH."""

    READS_INPUT: ClassVar[bool] = False
    """Whether its commands have a standard input."""

    def execute(self, user: str, line: str) -> Answer:
        """What the command line ``line`` does and answers."""
        raise NotImplementedError

    def execute_with_input(self, user: str, line: str, stdin: bytes) -> Answer:
        """The same, of a command line with this standard input."""
        return self.execute(user, line)
