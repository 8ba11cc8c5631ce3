# SPDX-License-Identifier: Apache-2.0
"""Where the data of the modelled volumes is: a sparse file each, or nowhere."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Disks:
    """Sparse files in a directory, named by the volume's number."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, number: int) -> Path:
        """The file of a volume."""
        return self.directory / f"volume-{number}"

    def resize(self, number: int, size: int) -> None:
        """Make the file, or let it grow; what is new reads as zeros."""
        with self.path(number).open("ab") as file:
            file.truncate(size)

    def copy(self, source: str, target: str) -> None:
        """Give one file the content that another has now."""
        command = ["cp", "--sparse=always", "--reflink=auto"]
        subprocess.run([*command, str(self.directory / source), str(self.directory / target)], check=True)

    def remove(self, name: str) -> None:
        """Remove a file, which need not be there."""
        (self.directory / name).unlink(missing_ok=True)


class NoDisks(Disks):
    """No data at all, for tests of the management side alone."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))

    def resize(self, number: int, size: int) -> None:
        """Nothing."""

    def copy(self, source: str, target: str) -> None:
        """Nothing."""

    def remove(self, name: str) -> None:
        """Nothing."""
