# SPDX-License-Identifier: Apache-2.0
"""Exports as the volumes' files say, all of a group: when the machine has started, or at any other time."""

from __future__ import annotations

from extstorage_common.backends import lvm_state
from extstorage_common.errors import ExtStorageError, Refused, VolumeNotFound
from extstorage_common.targets import lio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extstorage_common.backends.lvm_commands import Row
    from extstorage_common.backends.lvm_exports import Exports


class NotRestored(Refused):
    template = "{count} of the exports could not be restored, the first of which is {first}"


class Restoration:
    """The exports of one group. ``row`` tells of a volume by its name, and raises VolumeNotFound."""

    def __init__(self, exports: Exports, row: Callable[[str], Row]) -> None:
        self.exports = exports
        self.lvm = exports.lvm
        self.row = row
        self.done: list[str] = []
        self.failures: list[str] = []

    def run(self) -> list[str]:
        """Bring all of them about; returns the volumes. Raises NotRestored at the end, PoolUnreachable.

        Debian's own service may have restored exports from a file that somebody once saved. A fenced
        initiator may be among them, so a target that has none of our files goes. Targets are looked for
        before files: what a call exports meanwhile has a file, and is not among them.
        """
        lio.load_modules(self.lvm.deadline)
        group_uuid = self.lvm.group_report()["vg_uuid"]
        targets = self.exports.targets(group_uuid)
        for lv in lvm_state.known(self.lvm.group):
            self.lvm.deadline.restart(self.lvm.pool["timeout"])  # there may be many
            if name := self._restore(lv):
                targets.discard(self.exports.named(group_uuid, name, lv).iqn)
        for iqn in targets:
            self.exports.remove_target(iqn)
        if self.failures:
            raise NotRestored(count=len(self.failures), first=self.failures[0])
        return self.done

    def _restore(self, lv: str) -> str:
        """The volume whose file it is; ``""`` if there is none, or nobody can tell who may log in."""
        name = ""
        try:
            name = lvm_state.volume(self.lvm.group, lv)
            with lvm_state.lock(self.lvm.group, lv, "restore", self.lvm.deadline):
                self._bring_about(lv, name)
        except VolumeNotFound:
            return ""
        except ExtStorageError as error:
            self.failures.append(f"{lv}: {error}")
        return name

    def _bring_about(self, lv: str, name: str) -> None:
        try:
            row = self.row(name)
        except VolumeNotFound:
            lvm_state.forget(self.lvm.group, lv)
            raise
        self.exports.bring_about(row, self.exports.state(row))
        self.done.append(name)
