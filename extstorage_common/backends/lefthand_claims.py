# SPDX-License-Identifier: Apache-2.0
"""Changing what is kept in a volume's description, while nobody else does.

CLIQ replaces a description whatever it was, so of two nodes that change it at once, one would lose its
change. But CLIQ makes no two volumes of one name. So whoever has made the tiny volume
``gx-claim-<number>``, which takes no space, may change the description of the volume with this number,
after reading it again; then the tiny volume is deleted. A claim that a dead node left is deleted once its
call must have ended. That is done under a second claim, so that nobody deletes a claim that was made anew
meanwhile. The name of the second one has a digest of who is dead, so that it can be deleted in the same way
if its own maker dies.
"""

from __future__ import annotations

import hashlib

from extstorage_common.backends import lefthand_deletion as deletion
from extstorage_common.backends.lefthand_cliq import AlreadyThere, NotThere, attributes
from extstorage_common.backends.lefthand_notes import Maker
from extstorage_common.crash import crash_point
from extstorage_common.errors import Busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.backends.lefthand_cliq import Cliq

PREFIX = "gx-claim-"
MARK = "gxclaim1"
SIZE = "256MB"
"""More than the least size of a volume, whichever unit an array tells that in. It is never written to."""


class Claimed(Busy):
    template = (
        "{maker} is just changing the volume's description; if that ended, delete volume {claim} on the array"
    )


class Claim:
    """The right to change the description of the volume with this number, while in the block.

    Raises Claimed or StillDeleting after half of the time that is left.
    """

    def __init__(self, cliq: Cliq, cluster: str, number: str, node: str) -> None:
        self.cliq = cliq
        self.cluster = cluster
        self.name = f"{PREFIX}{number}"
        self.node = node

    def __enter__(self) -> None:
        maker = None
        deadline = self.cliq.shell.deadline
        for _ in deadline.attempts(deadline.left() / 2):
            if self._make(self.name):
                return
            maker = self._maker(self.name)
            if maker is not None and not maker.is_alive(self.node):
                self._break(self.name, maker)
        if maker is None:
            raise deletion.StillDeleting(volume=self.name)
        raise Claimed(maker=maker, claim=self.name)

    def __exit__(self, *_: object) -> None:
        deletion.begin(self.cliq, self.name)

    def _make(self, name: str) -> bool:
        """Make a claim, unless it is there. One that has our own words is ours: only the answer was lost."""
        maker = Maker.this(self.node, self.cliq.shell.deadline.left())
        told = {"volumeName": name, "clusterName": self.cluster, "size": SIZE, "thinProvision": "1"}
        try:
            self.cliq.run("createVolume", **told, description=f"{MARK} {maker.text}")
        except AlreadyThere:
            found = self._maker(name)
            return found is not None and found.text == maker.text
        crash_point("lefthand.claimed")
        return True

    def _maker(self, name: str) -> Maker | None:
        """Who made a claim; None if it is gone, or the array is deleting it."""
        try:
            told = attributes(self.cliq.run("getVolumeInfo", volumeName=name), "volume")
        except NotThere:
            return None
        if deletion.is_told(told):
            return None
        return Maker(told.get("description", "").removeprefix(f"{MARK} "))

    def _break(self, name: str, maker: Maker) -> None:
        """Delete a claim that a dead call left, unless another call is at it; if that one died, its claim."""
        breaking = f"{self.name}-{hashlib.sha256(maker.text.encode()).hexdigest()[:12]}"
        if not self._make(breaking):
            breaker = self._maker(breaking)
            if breaker is not None and not breaker.is_alive(self.node):
                self._break(breaking, breaker)
            return
        try:
            found = self._maker(name)
            if found is not None and found.text == maker.text:
                deletion.begin(self.cliq, name)
        finally:
            deletion.begin(self.cliq, breaking)
