# SPDX-License-Identifier: Apache-2.0
"""The policy of who may open, for a storage that can fence and tells who is alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from extstorage_common import holders
from extstorage_common.backends.base import (
    EXCLUSIVE,
    SHARED,
    Backend,
    Capabilities,
    Holder,
    Holders,
    Volume,
)
from extstorage_common.deadline import Deadline
from extstorage_common.errors import HeldElsewhere, TimedOut

if TYPE_CHECKING:
    from collections.abc import Sequence

VOLUME = Volume("v1", 1 << 24)


class Storage:
    """Holders in memory, with the backend's calls that the policy makes."""

    CAPABILITIES = Capabilities(fences=True, liveness=True, clones="", userspace=False, shared_open="")
    pool = {"takeover": "offline"}

    def __init__(self, *entries: Holder, alive: Sequence[str] = (), rivals: int = 0) -> None:
        self.entries = entries
        self.version = 0
        self.node = "n1"
        self.alive = alive
        self.rivals = rivals
        self.fenced: list[str] = []
        self.deadline = Deadline(60)

    def read_holders(self, volume: Volume) -> Holders:
        return Holders(self.version, self.entries)

    def replace_holders(self, volume: Volume, old: Holders, new: Sequence[Holder]) -> bool:
        if self.rivals:
            self.rivals -= 1
            self.version += 1
        if old.version != self.version:
            return False
        self.version += 1
        self.entries = tuple(new)
        return True

    def is_alive(self, volume: Volume, holder: Holder) -> bool:
        return holder.node in self.alive

    def fence(self, volume: Volume, holder: Holder) -> None:
        self.fenced.append(holder.node)

    def modes(self) -> dict[str, str]:
        return {holder.node: holder.mode for holder in self.entries}


def as_backend(storage: Any) -> Backend:
    return cast("Backend", storage)


def open_(storage: Storage, exclusive: bool = True, offline: Sequence[str] = ()) -> bool:
    return holders.open_volume(as_backend(storage), VOLUME, exclusive, "address-1", offline)


def test_nobody_else() -> None:
    storage = Storage()
    assert open_(storage) is True
    assert storage.modes() == {"n1": EXCLUSIVE}
    assert storage.entries[0].address == "address-1"
    version = storage.version
    assert open_(storage) is False
    assert storage.version == version, "nothing changed, so nothing is written"


def test_living_exclusive_holder_is_never_fenced() -> None:
    storage = Storage(Holder("n2", EXCLUSIVE), alive=["n2"])
    for exclusive in (True, False):
        with pytest.raises(HeldElsewhere, match="node n2"):
            open_(storage, exclusive)
    assert storage.fenced == []
    assert storage.modes() == {"n2": EXCLUSIVE}


@pytest.mark.parametrize("exclusive", [True, False])
def test_dead_exclusive_holder_is_fenced_first(exclusive: bool) -> None:
    storage = Storage(Holder("n2", EXCLUSIVE))
    assert open_(storage, exclusive) is True
    assert storage.fenced == ["n2"]
    assert storage.modes() == {"n1": EXCLUSIVE if exclusive else SHARED}


def test_offline_holder_is_fenced_without_asking_whether_it_lives() -> None:
    storage = Storage(Holder("n2", EXCLUSIVE), alive=["n2"])
    assert open_(storage, offline=["n2"]) is True
    assert storage.fenced == ["n2"]


def test_shared_holder_is_fenced_by_an_exclusive_opening() -> None:
    storage = Storage(Holder("n2", SHARED), Holder("n1", SHARED), alive=["n2"])
    assert open_(storage) is True
    assert storage.fenced == ["n2"]
    assert storage.modes() == {"n1": EXCLUSIVE}


def test_shared_beside_shared() -> None:
    storage = Storage(Holder("n2", SHARED), alive=["n2"])
    assert open_(storage, exclusive=False) is True
    assert storage.fenced == []
    assert storage.modes() == {"n1": SHARED, "n2": SHARED}


def test_exclusive_becomes_shared() -> None:
    storage = Storage(Holder("n1", EXCLUSIVE))
    assert open_(storage, exclusive=False) is False
    assert storage.modes() == {"n1": SHARED}


def test_somebody_else_is_quicker() -> None:
    storage = Storage(rivals=3)
    assert open_(storage) is True
    assert storage.modes() == {"n1": EXCLUSIVE}


def test_somebody_else_is_always_quicker() -> None:
    storage = Storage(rivals=10**9)
    storage.deadline = Deadline(0.05)
    with pytest.raises(TimedOut, match="changing the holders"):
        open_(storage)


def test_close_drops_only_what_is_ours() -> None:
    storage = Storage(Holder("n1", SHARED), Holder("n2", SHARED))
    holders.close_volume(as_backend(storage), VOLUME)
    holders.close_volume(as_backend(storage), VOLUME)
    assert storage.modes() == {"n2": SHARED}
    assert storage.fenced == []


@pytest.mark.parametrize("mode", [EXCLUSIVE, SHARED])
def test_reserving_takes_from_nobody_that_may_live(mode: str) -> None:
    storage = Storage(Holder("n2", mode))
    with pytest.raises(HeldElsewhere):
        holders.reserve(as_backend(storage), VOLUME, [])
    assert holders.reserve(as_backend(storage), VOLUME, ["n2"]) is True
    assert storage.modes() == {"n1": EXCLUSIVE}
    assert storage.fenced == []


def test_a_node_that_left_is_fenced_before_it_is_no_holder_any_more() -> None:
    storage = Storage(Holder("n2", SHARED), Holder("n3", SHARED), alive=["n2"], rivals=1)
    holding_when_fenced = []
    storage.fence = lambda volume, holder: holding_when_fenced.append(storage.modes())  # type: ignore[method-assign]
    released = holders.release(as_backend(storage), VOLUME, "n2")
    assert released is not None
    assert released.node == "n2"
    assert holding_when_fenced[0] == {"n2": SHARED, "n3": SHARED}
    assert storage.modes() == {"n3": SHARED}
    assert holders.release(as_backend(storage), VOLUME, "n4") is None
    assert storage.modes() == {"n3": SHARED}
