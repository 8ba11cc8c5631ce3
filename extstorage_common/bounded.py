# SPDX-License-Identifier: Apache-2.0
"""Work that may sleep in the kernel for long, done by a child process that can be left behind.

Reading from or flushing a disk whose storage is away lasts until the kernel gives the disk up, minutes
perhaps, and no signal ends it.
"""

from __future__ import annotations

import os
import select

from extstorage_common import libraries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extstorage_common.deadline import Deadline

SIGKILL = 9


def succeeds(work: Callable[[], object], deadline: Deadline, seconds: float) -> bool:
    """Whether ``work`` returns within ``seconds``, and something other than False."""
    libraries.wait()
    child = os.fork()
    if not child:
        _be_child(work)
    ended = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        if poll.poll(min(seconds, deadline.left()) * 1000):
            return os.waitpid(child, 0)[1] == 0
    finally:
        os.close(ended)
    os.kill(child, SIGKILL)
    return False


def _be_child(work: Callable[[], object]) -> None:
    status = 1
    try:
        # It may outlive the call, and nothing must wait for it.
        for fd in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), fd)
        status = 1 if work() is False else 0
    finally:
        os._exit(status)
