# SPDX-License-Identifier: Apache-2.0
"""Who is alive, told by sessions: a storage that was restarted has them back, a dead node has not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from extstorage_common.backends import sessions


class Clock:
    """A clock that goes on by a second a look."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def looks(self, seconds: int) -> Iterator[None]:
        for _ in range(seconds + 1):
            yield
            self.now += 1


@pytest.mark.parametrize(
    ("seen", "alive", "looked"),
    [
        ("++++++++++++++++++++", True, 21),
        ("--------------------", False, 6),
        ("----++++++++++++++++", True, 21),
        ("++++-----+++++++++++", True, 21),
        ("+++++++++++++++-----", False, 21),
        ("++++++++++++++++++--", True, 21),
    ],
    ids=["there", "gone", "comes back", "was away for a while", "noticed at last", "away just now"],
)
def test_who_has_no_session_for_long_enough_is_dead(
    monkeypatch: pytest.MonkeyPatch, seen: str, alive: bool, looked: int
) -> None:
    clock = Clock()
    monkeypatch.setattr(sessions, "time", clock)
    answers = iter(seen + seen[-1])
    asked: list[bool] = []

    def has_session() -> bool:
        asked.append(next(answers) == "+")
        return asked[-1]

    assert sessions.is_alive(has_session, clock.looks(20)) is alive
    assert len(asked) == looked
