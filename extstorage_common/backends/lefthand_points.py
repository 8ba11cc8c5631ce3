# SPDX-License-Identifier: Apache-2.0
"""The array's own snapshots, each between a volume and the clone that was made of it."""

from __future__ import annotations

from extstorage_common.backends import lefthand_deletion as deletion
from extstorage_common.backends.lefthand_cliq import AlreadyThere, CliqRefused, IsClonePoint, NotThere
from extstorage_common.backends.lefthand_notes import Maker
from extstorage_common.backends.lefthand_rows import NameTaken, array_name, point_name
from extstorage_common.errors import Busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.backends.lefthand_cliq import Cliq
    from extstorage_common.backends.lefthand_rows import Row
    from extstorage_common.errors import ExtStorageError

MARK = "gxpoint1"


class NeededByOthers(Busy):
    template = "it has snapshots ({snapshots}), which share its data; remove them first"


class Points:
    """The snapshots of one array; a description has at most ``limit`` characters."""

    def __init__(self, cliq: Cliq, node: str, limit: int) -> None:
        self.cliq = cliq
        self.node = node
        self.limit = limit

    def make(self, row: Row, clone: str) -> str:
        """Snapshot a volume, so that ``clone`` can be made of it; returns the snapshot's name.

        An earlier call may have left one of that name. Raises NameTaken, BeingMade, StillDeleting.
        """
        point = point_name(clone)
        maker = Maker.this(self.node, self.cliq.shell.deadline.left())
        description = f"{MARK} {maker.text} {clone}"[: self.limit]
        told = {"volumeName": row.array_name, "snapshotName": point, "description": description}
        try:
            self.cliq.run("createSnapshot", **told, inheritAccess="0")
        except AlreadyThere:
            found = self._description(point)
            if found == description:
                return point
            if found and not found.startswith(MARK):
                raise NameTaken(name=point) from None
            if found:
                Maker(found.split(" ")[1]).refuse_living(self.node)
            self.remove(clone)
            self.cliq.run("createSnapshot", **told, inheritAccess="0")
        return point

    def _description(self, point: str) -> str:
        try:
            found = self.cliq.run("getSnapshotInfo", snapshotName=point).all("snapshot")
        except NotThere:
            return ""
        return found[0].get("description", "") if found else ""

    def remove(self, clone: str) -> None:
        """Remove the snapshot that a clone was made of. Raises IsClonePoint (it is there), StillDeleting."""
        self._remove(point_name(clone), clone)

    def _remove(self, point: str, clone: str) -> None:
        try:
            self.cliq.remove("deleteSnapshot", snapshotName=point)
        except IsClonePoint:
            deletion.await_end(self.cliq, array_name(clone))
            self.cliq.remove("deleteSnapshot", snapshotName=point)

    def remove_all_of(self, name: str, refused: ExtStorageError) -> None:
        """Remove what killed calls left of snapshots of a volume.

        Raises NeededByOthers, StillDeleting, or ``refused``.
        """
        try:
            found = self.cliq.run("getSnapshotInfo", volumeName=array_name(name)).all("snapshot")
        except (CliqRefused, NotThere):
            # Not every version can be asked this; else the usual name is tried.
            self.remove(f"{name}.snap")
            return
        points = {one.get("name", ""): one.get("description", "") for one in found}
        if any(not text.startswith(MARK) for text in points.values()):
            raise refused
        needed = []
        for point, text in points.items():
            clone = text.split(" ", 2)[-1]
            try:
                self._remove(point, clone)
            except IsClonePoint:
                needed.append(clone)
        if needed:
            raise NeededByOthers(snapshots=", ".join(sorted(needed))) from None
