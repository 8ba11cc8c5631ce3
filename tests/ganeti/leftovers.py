# SPDX-License-Identifier: Apache-2.0
"""Find and end what a test cluster made on this machine, also after its parent was killed.

Its processes have a mark (tests.machines); what runs inside a node needs none: it dies with the node's pid 1.
A loop device belongs to the cluster when its backing file lies on one of its file systems. Network interfaces
and the nodes' mounts go with their namespaces, so with the processes.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from extstorage_common.connectors.loop import INFO, LOOP_CLR_FD, LOOP_GET_STATUS64
from tests import machines
from tests.machines import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterable

TMPFS = "ganeti-test-cluster"  # the source that mountinfo names for the file system on DIR
LINKS = Path("/dev/ganeti-extstorage")  # mount point in the nodes; /dev is one for all of them


def mark(directory: Path) -> str:
    """The mark of everything that is started for the cluster in ``directory``."""
    return f"GANETI_TEST_CLUSTER={directory}"


class Loop(NamedTuple):
    """A loop device: its path, the device (major:minor) and inode of its backing file, that file's path.

    The path is as seen from this machine's root, through the node's mounts, while the node lives.
    """

    device: str
    filesystem: str
    inode: int
    file: str


def loops() -> list[Loop]:
    """All loop devices in use on this machine; of one that is going away losetup tells only the name."""
    listing = subprocess.run(
        ["losetup", "--list", "--json", "--output=NAME,BACK-MAJ:MIN,BACK-INO,BACK-FILE"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    rows = json.loads(listing)["loopdevices"] if listing.strip() else []
    return [
        Loop(row["name"], row["back-maj:min"].strip(), int(row["back-ino"]), row["back-file"] or "")
        for row in rows
        if row["back-maj:min"] and row["back-ino"]
    ]


def release(unwanted: Iterable[Loop]) -> None:
    """Detach loop devices, each only if it still has the same backing file. Raises MachineError."""
    same = {loop._replace(file="") for loop in unwanted}
    deadline = time.monotonic() + machines.SECONDS
    while left := [loop for loop in loops() if loop._replace(file="") in same]:
        if time.monotonic() > deadline:
            raise MachineError(f"loop devices stay busy: {left}")
        for loop in left:
            with suppress(OSError):  # it has gone meanwhile
                _detach(loop)


def _detach(loop: Loop) -> None:
    """Detach it if it has the same file still: while it is open here, nobody can take it for another."""
    fd = os.open(loop.device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = bytearray(INFO.size)
        fcntl.ioctl(fd, LOOP_GET_STATUS64, status)
        device, inode = INFO.unpack(status)[:2]
        if (_numbers(device), inode) == (loop.filesystem, loop.inode):
            fcntl.ioctl(fd, LOOP_CLR_FD)
    finally:
        os.close(fd)


def filesystem(path: Path) -> str:
    """The device (major:minor) of the file system that holds ``path``."""
    return _numbers(path.stat().st_dev)


def _numbers(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"


def is_ours(directory: Path) -> bool:
    """Whether a cluster's file system is mounted on ``directory``."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    fields = [line.split() for line in mounts]
    return any(f[4] == str(directory) and f[-2] == TMPFS for f in fields)


def clear(directory: Path) -> None:
    """End all of the cluster in ``directory``; nothing there is fine. Raises MachineError."""
    machines.end_all(mark(directory))
    if not is_ours(directory):
        return
    shared = directory / "shared"
    own = {filesystem(directory), *(path.read_text() for path in directory.glob("node*/filesystem"))}
    if shared.is_mount():
        release(loop for loop in loops() if loop.filesystem == filesystem(shared))
        _unmount(shared)  # its own loop device goes with it
    release(loop for loop in loops() if loop.filesystem in own)
    _unmount(directory)
    directory.rmdir()
    _remove_links()


def _unmount(path: Path) -> None:
    """Unmount, waiting for the kernel to finish with namespaces that have just ended."""
    deadline = time.monotonic() + machines.SECONDS
    while True:
        done = subprocess.run(["umount", str(path)], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise MachineError(done.stderr.strip())
        time.sleep(0.05)


def _remove_links() -> None:
    """Take the nodes' mount point away, unless another cluster's nodes have it locked (see node-init)."""
    with suppress(OSError):  # it is not there, locked, or not empty
        fd = os.open(LINKS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            LINKS.rmdir()
        finally:
            os.close(fd)
