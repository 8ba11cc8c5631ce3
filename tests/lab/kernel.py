# SPDX-License-Identifier: Apache-2.0
"""The kernel that the nodes of a lab run: user-mode Linux, of the package in the layer, or a newer one.

A newer one is several times as fast, as it need not trace its programs. EXTSTORAGE_LAB_KERNEL names the
directory that newer-kernel made of it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.machines import MachineError

BINARY = "usr/bin/linux.uml"
MODULES = "usr/lib/uml/modules"
LIBRARIES = "/mnt"
"""Where a newer kernel finds the C library that it needs; in the lab's own mount namespace."""


class Kernel:
    """The kernel of the lab whose tmpfs is seen at ``path`` here, and at ``directory`` in the hub."""

    def __init__(self, path: Path, directory: Path) -> None:
        self.path = path / "kernel"
        self.directory = directory / "kernel"

    def provide(self, layer: Path, pid: int) -> None:
        """Make ``linux`` and ``modules`` here; ``layer`` is as seen in the hub, the process ``pid``."""
        self.path.mkdir()
        if newer := os.environ.get("EXTSTORAGE_LAB_KERNEL"):
            self._provide_newer(Path(newer).resolve(), pid)
            return
        for name, part in (("linux", BINARY), ("modules", MODULES)):
            in_layer = (self.path.parent / "layer" / part).exists()
            (self.path / name).symlink_to((layer if in_layer else Path("/")) / part)

    def _provide_newer(self, newer: Path, pid: int) -> None:
        for name in ("linux", "modules", "lib"):
            (self.path / name).symlink_to(newer / name)
        enter = ["nsenter", f"--target={pid}", "--mount", "--"]
        mount = ["mount", "--bind", str(newer / "lib"), LIBRARIES]
        done = subprocess.run([*enter, *mount], check=False, capture_output=True, text=True)
        if done.returncode:
            raise MachineError(f"{newer}: {done.stderr.strip()}")

    def command(self, cpu: int) -> list[str]:
        """The beginning of the command that runs a kernel on a processor of this machine."""
        pinned = ["taskset", "--cpu-list", str(cpu)]
        linux = str(self.directory / "linux")
        if (self.path / "lib").is_symlink():
            return [*pinned, "env", f"LD_LIBRARY_PATH={LIBRARIES}", linux, "seccomp=on"]
        return [*pinned, linux]
