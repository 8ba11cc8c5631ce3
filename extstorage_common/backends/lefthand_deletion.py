# SPDX-License-Identifier: Apache-2.0
"""Volumes that the array is deleting.

A volume is told of with ``deleting="true"`` or ``"false"``. No source says more of it, so it is taken at its
word: the array has taken the deletion on, and what it still tells of is no volume any more. Until it has
finished, the name is taken, and the snapshot that a clone was made of may still be its clone point.
"""

from __future__ import annotations

from extstorage_common.backends.lefthand_cliq import NotThere, attributes
from extstorage_common.errors import Busy, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from extstorage_common.backends.lefthand_cliq import Cliq


class StillDeleting(Busy):
    template = (
        "the array has not finished deleting its volume {volume}, which is in the way until then; try again "
        "later, and if it stays so, look at that volume on the array"
    )


def is_told(told: Mapping[str, str]) -> bool:
    """Whether what is told of a volume says that it is being deleted."""
    return told.get("deleting", "").lower() in ("true", "1")


def is_going_on(cliq: Cliq, name: str) -> bool:
    """Whether the array is deleting the volume that it knows by this name."""
    try:
        return is_told(attributes(cliq.run("getVolumeInfo", volumeName=name), "volume"))
    except NotThere:
        return False


def begin(cliq: Cliq, name: str) -> None:
    """Delete a volume, unless the array has none of this name or is deleting it already."""
    try:
        cliq.remove("deleteVolume", volumeName=name)
    except (Busy, Refused):
        if not is_going_on(cliq, name):
            raise


def await_end(cliq: Cliq, name: str) -> None:
    """Return once the array is not deleting the volume (any more).

    Raises StillDeleting after half of the time that is left.
    """
    deadline = cliq.shell.deadline
    for _ in deadline.attempts(deadline.left() / 2):
        if not is_going_on(cliq, name):
            return
    raise StillDeleting(volume=name)
