# SPDX-License-Identifier: Apache-2.0
"""Nodes of a cluster, as the tests see them: machines in which commands run, and which have a plug."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DOMAIN = "example.test"


class Node(ABC):
    """Node ``number`` (from 1) of a cluster, running or not."""

    number: int
    name: str
    """Ganeti's name of it, with its domain."""
    address: str

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether the node is switched on."""

    @abstractmethod
    def crash(self) -> None:
        """Pull the plug: all that runs is gone at once, with /run and /tmp; no peer gets a farewell."""

    @abstractmethod
    def restart(self) -> None:
        """Switch a crashed node on again, with the same disk, and start what an init system would."""

    @abstractmethod
    def run(
        self, command: str | Sequence[str], check: bool = True, input: str | bytes = "", timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` (a string: by the shell) in the node, as root; clean environment, no terminal.

        Raises CommandFailed, if ``check``, for an exit status other than 0; MachineError when the node is
        not running; subprocess.TimeoutExpired after ``timeout`` seconds.
        """

    def put(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        """Write a file in the node, and the directories above it."""
        self.run(["install", "-D", "-m", f"{mode:o}", "/dev/stdin", path], input=text)

    def put_tree(self, source: Path, path: str) -> None:
        """Copy what is in the directory ``source`` of this machine to the directory ``path`` of the node."""
        tar = subprocess.run(["tar", "-c", "-C", str(source), "."], check=True, stdout=subprocess.PIPE)
        self.run(["mkdir", "-p", path])
        self.run(["tar", "-x", "-p", "--no-same-owner", "-C", path], input=tar.stdout)

    def install(self, *debs: Path) -> None:
        """Install Debian packages (again, older ones too) as an administrator would, without a network."""
        if not debs:
            return
        for deb in debs:
            self.put(f"/tmp/debs/{deb.name}", deb.read_bytes())
        options = "--yes --no-install-recommends --reinstall --allow-downgrades"
        apt = f"apt-get install {options} -o Dpkg::Options::=--force-unsafe-io"
        self.run(f"DEBIAN_FRONTEND=noninteractive {apt} /tmp/debs/*.deb && rm -r /tmp/debs")
