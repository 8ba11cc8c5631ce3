# SPDX-License-Identifier: Apache-2.0
"""Who may have a volume open: the policy, over each storage's atomic compare-and-set.

In a live migration Ganeti attaches and closes on the target, opens shared on the source and on the
target, closes on the source, opens exclusively on the target. So another node's *shared* opening is
one that Ganeti has finished with; another node's *exclusive* opening is a running instance unless
that node is dead. A holder that is in the way is fenced before its place is taken; a storage that
can't fence takes only from nodes that the administrator marked offline (or, ``takeover = always``,
from any).
"""

from __future__ import annotations

import time

from extstorage_common.backends.base import EXCLUSIVE, SHARED, Holder
from extstorage_common.errors import HeldElsewhere, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extstorage_common.backends.base import Backend, Holders, Volume


def open_volume(
    backend: Backend, volume: Volume, exclusive: bool, address: str, offline: Sequence[str]
) -> bool:
    """Make this node a holder; whether it was none before, or becomes an exclusive one.

    ``offline`` are the nodes that the administrator marked so. Raises HeldElsewhere.
    """
    mode = EXCLUSIVE if exclusive else SHARED

    def taken(holders: Holders) -> list[Holder]:
        remaining = []
        for other in holders.others(backend.node):
            if exclusive or other.mode == EXCLUSIVE:
                _take_over(backend, volume, other, offline)
            else:
                remaining.append(other)
        return [*remaining, Holder(backend.node, mode, address, _now())]

    before = _change(backend, volume, taken).of(backend.node)
    return before is None or (exclusive and before.mode != EXCLUSIVE)


def close_volume(backend: Backend, volume: Volume) -> None:
    """Make this node no holder; nothing happens if it is none."""
    _change(backend, volume, lambda holders: holders.others(backend.node))


def reserve(backend: Backend, volume: Volume, offline: Sequence[str]) -> bool:
    """Keep every node from opening: become the only holder. Whether this node was none before.

    Used before a volume is deleted, or copied. Never takes from a living node. Raises HeldElsewhere.
    """

    def alone(holders: Holders) -> list[Holder]:
        for other in holders.others(backend.node):
            if other.node not in offline:
                advice = "stop the instance there, or release the volume there with detach"
                raise HeldElsewhere(node=other.node, mode=other.mode, advice=advice)
        own = holders.of(backend.node)
        return [own or Holder(backend.node, EXCLUSIVE, "-", _now())]

    return _change(backend, volume, alone).of(backend.node) is None


def release(backend: Backend, volume: Volume, node: str) -> Holder | None:
    """Make ``node`` no holder, fenced first where the storage can; returns what it was.

    For a node that is dead or has left the cluster, which the caller knows.
    """

    def without(holders: Holders) -> list[Holder]:
        holder = holders.of(node)
        if holder is not None and backend.CAPABILITIES.fences:
            backend.fence(volume, holder)
        return holders.others(node)

    return _change(backend, volume, without).of(node)


def _change(backend: Backend, volume: Volume, change: Callable[[Holders], Sequence[Holder]]) -> Holders:
    """Replace the holders by ``change`` of them, again if somebody was quicker; returns the old ones."""
    for _ in backend.deadline.attempts():
        old = backend.read_holders(volume)
        new = change(old)
        if _same(old.entries, new) or backend.replace_holders(volume, old, new):
            return old
    raise TimedOut(seconds=backend.deadline.seconds, doing="changing the holders")


def _same(old: Sequence[Holder], new: Sequence[Holder]) -> bool:
    """Whether nothing would change but the time."""
    return [(one.node, one.mode, one.address) for one in old] == [
        (one.node, one.mode, one.address) for one in new
    ]


def _take_over(backend: Backend, volume: Volume, other: Holder, offline: Sequence[str]) -> None:
    """Return once ``other`` can do no harm any more. Raises HeldElsewhere if it may be alive."""
    if backend.CAPABILITIES.fences:
        if other.mode == EXCLUSIVE and other.node not in offline and backend.is_alive(volume, other):
            raise HeldElsewhere(node=other.node, mode=other.mode, advice=_ADVICE)
        backend.fence(volume, other)
    elif other.node not in offline and backend.pool["takeover"] != "always":
        raise HeldElsewhere(node=other.node, mode=other.mode, advice=_ADVICE)


_ADVICE = (
    "if the instance does not run there, detach it there; if that node is dead, make sure that it is off "
    "and mark it offline: gnt-node modify -O yes"
)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
