# SPDX-License-Identifier: Apache-2.0
"""Points at which a test lets a call die, to see that the next call finishes the work.

``EXTSTORAGE_CRASH_AT=attach.reserved`` kills the process (SIGKILL, as a power cut or the kernel's
memory killer would) when it comes to that point.
"""

from __future__ import annotations

import os

SIGKILL = 9
"""As a number, since importing ``signal`` costs every call as much as the interpreter itself."""


def crash_point(name: str) -> None:
    """Die here if a test said so."""
    if os.environ.get("EXTSTORAGE_CRASH_AT") == name:
        os.kill(os.getpid(), SIGKILL)
