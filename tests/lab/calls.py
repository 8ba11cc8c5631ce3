# SPDX-License-Identifier: Apache-2.0
"""A provider's scripts in the kernels of a lab, called there as Ganeti calls them."""

from __future__ import annotations

import compileall
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests import conftest
from tests.conftest import CHECKOUT, Result
from tests.lab.node import Node

LIBRARIES = ("extstorage_common", "gnt_storage")
THERE = Path("/srv/checkout")
RUN_DIR = "/run/ganeti-extstorage"


def compile_libraries() -> None:
    """Let Python keep what it makes of the sources: the nodes see the checkout, but can't write into it."""
    for name in LIBRARIES:
        compileall.compile_dir(CHECKOUT / name, quiet=1)


class CallingNode(conftest.Node):
    """A node of the lab, with the scripts of ``provider``."""

    def __init__(self, machine: Node, provider: str) -> None:
        self.machine = machine
        self.name = machine.fqdn
        self.provider = THERE / "providers" / provider
        self.run_dir = Path(RUN_DIR)
        self.prefix = []
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C",
            "PWD": "/",
            "PYTHONPATH": "/nonexistent",
            "EXTP_PROVIDER": provider,
            "EXTP_ACCESS": "kernelspace",
        }

    def call(self, action: str, volume: str = "v1", *arguments: str, **variables: str) -> Result:
        """Run a script on a volume; keyword arguments are variables."""
        told = {**self.environment, "VOL_NAME": volume, **variables}
        script = 'cd "$1"; umask 077; shift; exec env -i "$@"'
        words = [*(f"{key}={value}" for key, value in told.items()), str(self.provider / action), *arguments]
        done = self.machine.run(["sh", "-c", script, "sh", str(self.provider), *words], check=False)
        return Result(done.returncode, done.stdout, done.stderr)

    def sh(self, script: str, check: bool = True) -> str:
        """What a shell script prints there."""
        return self.machine.run(["sh", "-ec", script], check=check).stdout.strip()

    def record(self, volume: str = "v1") -> str:
        return self.sh(f"cat {RUN_DIR}/attachments/{volume} 2>/dev/null || true")

    def left(self) -> list[str]:
        places = f"{RUN_DIR}/attachments {RUN_DIR}/locks /dev/ganeti-extstorage"
        return self.sh(f"find {places} ! -type d || true").split()

    def size(self, device: str) -> int:
        """A device's size in bytes."""
        return int(self.sh(f"blockdev --getsize64 {device}"))

    def put(self, device: str, text: str, block: int = 0) -> bool:
        """Write a block of 4 KiB past the cache, with this text; whether that worked."""
        command = f"dd of={device} bs=4k seek={block} count=1 conv=nocreat,sync oflag=direct status=none"
        return self.machine.run(["sh", "-c", command], input=text, check=False).returncode == 0

    def get(self, device: str, block: int = 0) -> str:
        """The text in a block, past the cache; ``error`` if it can't be read."""
        command = f"dd if={device} bs=4k skip={block} count=1 iflag=direct status=none"
        done = self.machine.run(["sh", "-c", command], check=False)
        return "error" if done.returncode else done.stdout.rstrip("\0")


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make these calls at the same time; what each returned. Raises what the first one raised."""
    with ThreadPoolExecutor(len(calls)) as pool:
        running = [pool.submit(call) for call in calls]
    return [one.result() for one in running]
