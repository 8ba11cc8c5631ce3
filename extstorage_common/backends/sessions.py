# SPDX-License-Identifier: Apache-2.0
"""Whether a node is alive, told by its session with the storage."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RETURN_SECONDS = 5.0
"""An initiator that lost its session, because the storage was restarted, tries again every 2 to 3 seconds."""


def is_alive(has_session: Callable[[], bool], looks: Iterable[object]) -> bool:
    """Whether an initiator has a session, or gets it again.

    ``has_session`` is asked at each of the ``looks``, which must go on for ``RETURN_SECONDS`` longer than the
    storage needs to notice a dead initiator. It is dead if it had no session for ``RETURN_SECONDS`` in a row.
    """
    away: float | None = None
    for _ in looks:
        now = time.monotonic()
        if has_session():
            away = None
        elif away is None:
            away = now
        elif now - away >= RETURN_SECONDS:
            return False
    return True
