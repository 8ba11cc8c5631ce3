# SPDX-License-Identifier: Apache-2.0
"""One deadline a call: every wait gets what is left of it."""

from __future__ import annotations

import time

from extstorage_common.errors import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Deadline:
    """The moment by which a call must have answered.

    ``seconds`` is the time from now on.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def restart(self, seconds: float) -> None:
        """Let ``seconds`` be the time from now on."""
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.end - time.monotonic())

    def check(self, doing: str) -> None:
        """Raise :class:`TimedOut` if the deadline has passed while ``doing`` something."""
        if not self.left():
            raise TimedOut(seconds=self.seconds, doing=doing)

    def attempts(self, at_most: float | None = None) -> Iterator[None]:
        """Yield for another attempt, with growing pauses (1 to 100 ms) between, until time is up.

        The first attempt comes at once; ``at_most`` seconds limit the attempts further.
        """
        end = self.end if at_most is None else min(self.end, time.monotonic() + at_most)
        pause = 0.001
        yield
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(pause * 2, 0.1)
            yield
