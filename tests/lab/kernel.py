# SPDX-License-Identifier: Apache-2.0
"""The kernel that the nodes of a lab run, as a process: user-mode Linux.

Debian's package in the layer is the sure one. The newest that Debian's archive has is twice as fast, as it
hands over to its processes without ptrace; it is fetched once and cached where that can be done.
``EXTSTORAGE_LAB_KERNEL=stock`` does without it.
"""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests import layer, machines
from tests.machines import MachineError

if TYPE_CHECKING:
    from tests.lab.hub import Hub

BINARY = "usr/bin/linux.uml"
MODULES = "usr/lib/uml/modules"
FETCH = Path(__file__).with_name("kernel-fetch")
FETCH_SECONDS = 120
LIBRARIES = "/mnt"  # in the hub, where the newest kernel finds its C library; every Debian has this place
INTERPRETER = f"{LIBRARIES}/ld-linux-x86-64.so.2"
log = logging.getLogger(__name__)


class Kernel:
    """The kernel of a lab, in ``kernel`` of its tmpfs: ``linux`` and ``modules``, perhaps ``lib``."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.directory = hub.directory / "kernel"

    def provide(self) -> None:
        """Put a kernel there. Raises MachineError."""
        place = self.hub.path / "kernel"
        place.mkdir()
        if archive := newest(self.hub.mark):
            subprocess.run(
                ["tar", "--extract", "--file", str(archive), "--directory", str(place)], check=True
            )
            mount = ["mount", "--bind", str(self.directory / "lib"), LIBRARIES]
            if not subprocess.run([*self.hub.enter("--mount"), *mount], check=False).returncode:
                return
            raise MachineError(f"can't mount on {LIBRARIES}")
        for name, part in (("linux", BINARY), ("modules", MODULES)):
            in_layer = (self.hub.path / "layer" / part).exists()
            (place / name).symlink_to((self.hub.directory / "layer" if in_layer else Path("/")) / part)

    def command(self, cpu: int) -> list[str]:
        """The beginning of the command that runs a kernel on a processor of this machine."""
        command = ["taskset", "--cpu-list", str(cpu)]
        if (self.hub.path / "kernel/lib").exists():
            return [
                *command,
                "env",
                f"LD_LIBRARY_PATH={LIBRARIES}",
                str(self.directory / "linux"),
                "seccomp=on",
            ]
        return [*command, str(self.directory / "linux")]


def newest(mark: str) -> Path | None:
    """The newest kernel as a tar, fetched if it is not cached; None where there is none to be had."""
    cached = layer.cache_directory() / "lab-kernel.tar"
    if os.environ.get("EXTSTORAGE_LAB_KERNEL") == "stock":
        return None
    if os.access(cached, os.R_OK):
        return cached
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="kernel-", dir=cached.parent) as directory:
            made, scratch = Path(directory) / "tar", Path(directory) / "scratch"
            scratch.mkdir()
            subprocess.run(
                [str(FETCH), str(made), str(scratch), INTERPRETER], env=machines.environment(mark),
                stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=FETCH_SECONDS,
            )  # fmt: skip
            made.replace(cached)
    except (OSError, subprocess.SubprocessError) as error:
        log.info("no newer kernel: %s", error)
        return None
    log.info("newest kernel fetched")
    return cached
