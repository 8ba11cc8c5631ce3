# SPDX-License-Identifier: Apache-2.0
"""The kernel that the nodes of a lab run: user-mode Linux, from Debian's package in the layer."""

from __future__ import annotations

from pathlib import Path

BINARY = "usr/bin/linux.uml"
MODULES = "usr/lib/uml/modules"


class Kernel:
    """The kernel of the lab whose tmpfs is seen at ``path`` here, and at ``directory`` in the hub."""

    def __init__(self, path: Path, directory: Path) -> None:
        self.path = path / "kernel"
        self.directory = directory / "kernel"

    def provide(self, layer: Path) -> None:
        """Make ``linux`` and ``modules`` here; ``layer`` is the layer as seen in the hub."""
        self.path.mkdir()
        for name, part in (("linux", BINARY), ("modules", MODULES)):
            in_layer = (self.path.parent / "layer" / part).exists()
            (self.path / name).symlink_to((layer if in_layer else Path("/")) / part)

    def command(self, cpu: int) -> list[str]:
        """The beginning of the command that runs a kernel on a processor of this machine."""
        return ["taskset", "--cpu-list", str(cpu), str(self.directory / "linux")]
