# SPDX-License-Identifier: Apache-2.0
"""Keep /dev/loop0 from the nodes: Ganeti takes a disk whose minor number is 0 for not attached.

All clusters of this machine have it open. The first binds it to a file that is nowhere; the kernel frees it
when the last has ended, however (LO_FLAGS_AUTOCLEAR, loop(4)).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from extstorage_common.connectors.loop import CONFIG, CONTROL, INFO, LO_FLAGS_AUTOCLEAR, LOOP_CONFIGURE

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE = "/dev/loop0"
FILE = "ganeti-test-clusters"
SECONDS = 20  # other tests have the device for a moment each; one that keeps it keeps it from the nodes, too
LOOP_CTL_ADD = 0x4C80


@contextlib.contextmanager
def held() -> Iterator[int]:
    """A file descriptor for processes to inherit: while one has it, no node gets the device."""
    with open(CONTROL, "rb") as control, contextlib.suppress(FileExistsError):
        fcntl.ioctl(control, LOOP_CTL_ADD, 0)
    deadline = time.monotonic() + SECONDS
    while (fd := _hold()) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield subprocess.DEVNULL if fd is None else fd
    finally:
        if fd is not None:
            os.close(fd)


def _hold() -> int | None:
    """Open the device, and bind it if another cluster has not; None if it is bound to anything else."""
    if FILE not in (bound() or FILE):  # to open it would keep its user from releasing it
        return None
    fd = os.open(DEVICE, os.O_RDONLY | os.O_CLOEXEC)
    _bind(fd)
    if FILE in bound():
        return fd
    os.close(fd)
    return None


def _bind(fd: int) -> None:
    info = INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, LO_FLAGS_AUTOCLEAR, b"", b"", b"", 0, 0)
    backing = os.memfd_create(FILE)
    try:
        os.truncate(backing, 4096)
        fcntl.ioctl(fd, LOOP_CONFIGURE, CONFIG.pack(backing, 0, info))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
    finally:
        os.close(backing)


def bound() -> str:
    """The file that the device is bound to; empty if there is none."""
    with contextlib.suppress(OSError):
        return Path("/sys/block/loop0/loop/backing_file").read_text()
    return ""
