# SPDX-License-Identifier: Apache-2.0
"""Disks over iSCSI through one portal, by Open-iSCSI's ``iscsiadm`` and sysfs.

A session that is not logged in waits for a target that may have fenced this node, and would come back with
secrets that no longer count; it is ended, and a new one begun with those just given. Where one target has
many volumes, a session belongs to all of them, and ends with the last.
"""

from __future__ import annotations

from extstorage_common import blockdevices, bounded, paths
from extstorage_common.connectors import iscsi_records, iscsi_sessions, scsi
from extstorage_common.connectors.block import BlockConnector
from extstorage_common.connectors.iscsi_records import Portal
from extstorage_common.crash import crash_point
from extstorage_common.errors import DeviceBusy, NodeUnfit, SystemRefused, Unreachable
from extstorage_common.locks import Lock
from extstorage_common.transports import local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from extstorage_common.connectors.iscsi_sessions import Session

INITIATOR_NAME = "/etc/iscsi/initiatorname.iscsi"
SOCKETS = "/proc/net/unix"
ISCSID = "@ISCSIADM_ABSTRACT_NAMESPACE"
"""Where ``iscsid`` listens, or systemd for it."""
SCAN_SECONDS = 5.0
ANSWER_SECONDS = 15.0
"""The kernel notices within ten seconds that a target is silent."""
BUSY_SECONDS = 3.0
UDEV = ("(udev-worker)", "systemd-udevd", "scsi_id", "multipath", "partx")
"""udev, and the programs that it runs on a disk that appears; none of them keeps anything of it."""


class DiskNotThere(Unreachable):
    template = "target {target} has no disk {lun} for this node; look whether the storage exports it"


class PortalConnector(BlockConnector):
    """A disk of one target, behind one portal, as ``/dev/sd<x>``."""

    NAME = "iscsi"
    KEEP = ("target_portal", "target_iqn", "target_lun", "wwn")

    @classmethod
    def validate_connector(cls) -> None:
        if not local.is_installed("iscsiadm"):
            raise NodeUnfit(reason="iscsiadm is not installed; install open-iscsi")
        initiator_name()
        if not listens(ISCSID):
            raise NodeUnfit(reason="iscsid is not running; start it: systemctl enable --now iscsid")

    def get_connector_properties(self) -> dict[str, str]:
        return {"initiator": initiator_name(), "boot": paths.boot_id()}

    def connect_volume(self, data: Mapping[str, Any], known: str, remember: Callable[[str], None]) -> str:
        """The device's name is the kernel's choice, so it can't be remembered before it is there.

        A call that is killed leaves what ``cleanup_connection`` finds by the target's name.
        """
        portal, lun = _way(data)
        with self._lock(portal):
            session = self._session(portal, lun, data)
            device = self._disk(session, portal, lun, data["wwn"])
            scsi.wait_for_size(device, data["size"], self.deadline)
        return device

    def _lock(self, portal: Portal) -> Lock:
        return Lock(portal.iqn, "connecting or disconnecting a disk of this target", self.deadline)

    def _session(self, portal: Portal, lun: int, data: Mapping[str, Any]) -> Session:
        session = iscsi_sessions.find(portal)
        if session is not None and session.is_logged_in():
            return session
        if session is not None:
            self._end_silent(session, portal, lun)
        iscsi_records.write(portal, data, self.deadline.left())
        crash_point("iscsi.recorded")
        session = iscsi_sessions.begin(portal, self.deadline)
        crash_point("iscsi.logged_in")
        return session

    def _end_silent(self, session: Session, portal: Portal, lun: int) -> None:
        """End a session that waits for its target, unless disks of other volumes wait with it."""
        if session.luns().keys() - {lun}:
            raise iscsi_sessions.PortalUnreachable(portal=portal, target=portal.iqn)
        self._refuse_users(session.disk(lun))
        session.end(portal, self.deadline)

    def _disk(self, session: Session, portal: Portal, lun: int, wwn: str) -> str:
        self._drop_other(session, lun, wwn)
        for _ in self.deadline.attempts(SCAN_SECONDS):
            if lun not in session.luns():
                session.scan(lun)
            device = session.disk(lun)
            if device and scsi.is_ready(device):
                scsi.check_identity(device, wwn)
                return device
        raise DiskNotThere(target=portal.iqn, lun=lun)

    def _drop_other(self, session: Session, lun: int, wwn: str) -> None:
        """Remove a disk that the target had under this number before, if nobody uses it."""
        device = session.disk(lun)
        if not device:
            return
        scsi.rescan(device)
        if scsi.wwid(device) != wwn:
            if self.users({}, device):
                scsi.check_identity(device, wwn)
            session.remove(lun)

    # --- disconnecting ----------------------------------------------------------------------------

    def disconnect_volume(
        self, kept: Mapping[str, str], device: str, identity: Sequence[tuple[str, str]]
    ) -> None:
        self.cleanup_connection(kept)

    def cleanup_connection(self, kept: Mapping[str, str]) -> None:
        portal, lun = _way(kept)
        with self._lock(portal):
            self._leave_portal(portal, lun, kept["wwn"])

    def _leave_portal(self, portal: Portal, lun: int, wwn: str) -> None:
        session = iscsi_sessions.find(portal)
        if session is not None:
            self._leave(session, portal, lun, wwn)
        if iscsi_sessions.find(portal) is None:
            iscsi_records.remove(portal)

    def _leave(self, session: Session, portal: Portal, lun: int, wwn: str) -> None:
        """Log out, or remove only our disk where others have part in the session.

        Whoever closed the disk last wrote what was cached of it, and the kernel lets the disk itself flush
        before it removes it. A disk that has another name by now is left alone.
        """
        luns, device = session.luns(), session.disk(lun)
        if device and scsi.wwid(device) != wwn:
            return
        self._refuse_users(device)
        if not luns.keys() - {lun} and not iscsi_records.is_foreign(portal):
            session.end(portal, self.deadline)
        else:
            self._remove(session, portal, lun)

    def _remove(self, session: Session, portal: Portal, lun: int) -> None:
        """Remove a disk; if its target is away, the kernel does so when that has come back or is given up."""
        if not bounded.succeeds(lambda: session.remove(lun), self.deadline, ANSWER_SECONDS):
            raise iscsi_sessions.PortalUnreachable(portal=portal, target=portal.iqn)

    def abandon(self, kept: Mapping[str, str], device: str) -> bool:
        """The kernel would let commands wait for the target as long as ``replacement_timeout`` says."""
        portal, lun = _way(kept)
        with self._lock(portal):
            session = iscsi_sessions.find(portal)
            if session is None or session.is_logged_in() or session.luns().keys() - {lun}:
                return False
            session.end(portal, self.deadline)
            iscsi_records.remove(portal)
        return True

    def _refuse_users(self, device: str) -> None:
        """Raise DeviceBusy while anything of this node uses the device.

        udev looks into every device that appears, and is let finish, but it can't with a disk that does not
        answer.
        """
        users: list[str] = []
        for _ in self.deadline.attempts(BUSY_SECONDS):
            users = self.users({}, device) if device else []
            if not users:
                return
        if users := [user for user in users if not user.startswith(UDEV)]:
            raise DeviceBusy(device=device, users=", ".join(users))

    def _flushes(self, device: str) -> bool:
        return bounded.succeeds(lambda: blockdevices.flush(device), self.deadline, ANSWER_SECONDS)

    # --- while it is connected --------------------------------------------------------------------

    def is_volume(self, kept: Mapping[str, str], device: str) -> bool:
        return scsi.wwid(device) == kept["wwn"]

    def extend_volume(self, data: Mapping[str, Any], device: str) -> None:
        portal, _ = _way(data)
        scsi.check_identity(device, data["wwn"])
        session = iscsi_sessions.find(portal)
        if session is None or not session.is_logged_in():
            raise iscsi_sessions.PortalUnreachable(portal=portal, target=portal.iqn)
        scsi.wait_for_size(device, data["size"], self.deadline)
        scsi.check_identity(device, data["wwn"])

    def is_connected(self, data: Mapping[str, Any], device: str) -> bool:
        portal, lun = _way(data)
        session = iscsi_sessions.find(portal)
        if session is None or not session.is_logged_in() or session.disk(lun) != device:
            return False

        def answers() -> bool:
            scsi.rescan(device)
            return blockdevices.answers_read(device)

        is_alive = bounded.succeeds(answers, self.deadline, ANSWER_SECONDS)
        return is_alive and scsi.wwid(device) == data["wwn"] and blockdevices.size(device) == data["size"]

    def identity(self, device: str) -> list[tuple[str, str]]:
        """The name that no other disk has; the kernel keeps what the disk said when it came."""
        file = self._name_file(device)
        return [(file, name)] if (name := blockdevices.content(file).strip()) else []

    def _name_file(self, device: str) -> str:
        return scsi.wwid_file(device)

    def flush(self, device: str) -> None:
        if not self._flushes(device):
            raise SystemRefused(what=f"flushing {device}", reason="its storage does not answer, or refuses")

    def users(self, kept: Mapping[str, str], device: str) -> list[str]:
        """Not multipathd: it looks at every disk, but keeps nothing of it."""
        return [user for user in super().users(kept, device) if not user.startswith("multipathd (")]


def listens(socket: str) -> bool:
    """Whether anything on this node listens on this abstract socket (unix(7))."""
    with open(SOCKETS, encoding="utf-8", errors="replace") as file:
        return any(line.rstrip("\n").endswith(socket) for line in file)


def initiator_name() -> str:
    """The name of this node as an initiator. Raises NodeUnfit."""
    try:
        with open(INITIATOR_NAME, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file]
    except FileNotFoundError:
        lines = []
    for line in lines:
        key, _, name = line.partition("=")
        if key.strip() == "InitiatorName" and name.strip():
            return name.strip()
    raise NodeUnfit(reason=f"{INITIATOR_NAME} does not say InitiatorName=; install or configure open-iscsi")


def _way(data: Mapping[str, Any]) -> tuple[Portal, int]:
    """The portal, and the number of the disk, of a connection or of what was kept of it."""
    return Portal(str(data["target_iqn"]), str(data["target_portal"])), int(data["target_lun"])
