# SPDX-License-Identifier: Apache-2.0
"""Locks between the calls on this node (between nodes only the storage's compare-and-set counts)."""

from __future__ import annotations

import fcntl
import os

from extstorage_common import paths
from extstorage_common.errors import LockBusy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.deadline import Deadline


class Lock:
    """Hold the lock ``name`` (a volume's name) while in the block; its file says who does what.

    Raises LockBusy when the deadline passes first. The kernel frees the lock of a process that dies.
    (Not a generator with ``contextlib``, whose import would cost as much as starting the interpreter.)
    """

    def __init__(self, name: str, doing: str, deadline: Deadline) -> None:
        self.path = os.path.join(paths.run_dir(), "locks", name)
        self.doing = doing
        self.deadline = deadline
        self.fd = -1

    def __enter__(self) -> None:
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        holder = ""
        for _ in self.deadline.attempts():
            holder = self._try() or ""
            if not holder:
                return
        raise LockBusy(holder=holder, seconds=self.deadline.seconds)

    def __exit__(self, *_: object) -> None:
        # While it is still locked: whoever waits for this very file notices that it is gone.
        os.unlink(self.path)
        os.close(self.fd)

    def _try(self) -> str | None:
        """Take the lock and return None, or return who holds it."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(fd), os.stat(self.path)):
                raise FileNotFoundError
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode("ascii", "replace").strip()
            os.close(fd)
            return holder or "just beginning"
        except FileNotFoundError:
            os.close(fd)
            return "just ending"
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{self.doing}, process {os.getpid()}\n".encode(), 0)
        self.fd = fd
        return None
