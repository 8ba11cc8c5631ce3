# SPDX-License-Identifier: Apache-2.0
"""Disks over iSCSI through several portals, with dm-multipath, by OpenStack's os-brick.

The sessions are begun here, as for one portal: so secrets are in files only, target and node prove to each
other who they are, and a portal that does not answer costs as long as one login may take. os-brick then
finds the disk in each session and lets multipathd make one device of them. The way back is our own: os-brick
would wait for dead paths.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from extstorage_common import blockdevices, bounded, guests
from extstorage_common.connectors import iscsi_records, iscsi_sessions, multipath, os_brick_library, scsi
from extstorage_common.connectors.iscsi_portal import ANSWER_SECONDS, PortalConnector, listens
from extstorage_common.connectors.iscsi_records import Portal
from extstorage_common.errors import ExtStorageError, NodeUnfit, WrongDevice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from extstorage_common.connectors.iscsi_sessions import Session

    Way = tuple[Portal, int]
    """A portal, and the number that the disk has there."""

MULTIPATHD = "@/org/kernel/linux/storage/multipathd"


class OsBrickConnector(PortalConnector):
    """A disk behind one portal or more, as ``/dev/sd<x>`` or ``/dev/dm-<n>``."""

    NAME = "os_brick"
    KEEP = ("target_portals", "target_iqns", "target_luns", "wwn")

    @classmethod
    def validate_connector(cls) -> None:
        super().validate_connector()
        if not os_brick_library.is_installed():
            raise NodeUnfit(reason="os-brick is not installed; install python3-os-brick")
        if not listens(MULTIPATHD):
            raise NodeUnfit(reason="multipathd is not running; start it: systemctl enable --now multipathd")

    def kept(self, data: Mapping[str, Any]) -> dict[str, str]:
        kept = {key: " ".join(str(item) for item in data[key]) for key in self.KEEP if key != "wwn"}
        return {**kept, "wwn": data["wwn"]}

    # --- connecting -------------------------------------------------------------------------------

    def connect_volume(self, data: Mapping[str, Any], known: str, remember: Callable[[str], None]) -> str:
        ways = _ways(data)
        self.validate_connector()
        with self._locks(ways):
            live = self._begin_sessions(ways, data)
            self._announce(live, data["wwn"])
            found = os_brick_library.connect_volume(_properties(live), len(ways) > 1, self.deadline)
            if len(ways) > 1 and not found.get("multipath_id"):
                raise NodeUnfit(reason="multipathd made no map; look at its log and at /etc/multipath.conf")
            device = str(found["path"])
            self._check_identity(device, data["wwn"])
            self._resize(live, device, data["size"])
        return device

    def _locks(self, ways: list[Way]) -> ExitStack:
        """The locks of all targets, in one order for all processes."""
        stack = ExitStack()
        targets = {portal.iqn: portal for portal, _ in ways}
        try:
            for iqn in sorted(targets):
                stack.enter_context(self._lock(targets[iqn]))
        except BaseException:
            stack.close()
            raise
        return stack

    def _begin_sessions(self, ways: list[Way], data: Mapping[str, Any]) -> list[Way]:
        """Log in to all portals at once; those that let us in. Raises what the first said if none did."""

        def begin(way: Way) -> ExtStorageError | None:
            try:
                self._session(*way, data)
            except ExtStorageError as error:
                return error
            return None

        with ThreadPoolExecutor(len(ways)) as threads:
            ended = zip(ways, threads.map(begin, ways), strict=True)
            failures = {way: failure for way, failure in ended if failure is not None}
        for portal, _ in failures:
            # Only now: the records of one target's portals share a directory, which goes with the last.
            iscsi_records.remove(portal)
        if len(failures) == len(ways):
            raise failures[ways[0]]
        return [way for way in ways if way not in failures]

    def _announce(self, ways: list[Way], wwn: str) -> None:
        """Tell udev that what os-brick will find is a guest's."""
        guests.mark(multipath.uuid(wwn))
        for session, lun in self._sessions(ways):
            session.announce(lun)

    def _check_identity(self, device: str, wwn: str) -> None:
        identity = self.identity(device)
        if not identity or identity[0][1] not in (wwn, multipath.uuid(wwn)):
            found = identity[0][1] if identity else "gone"
            raise WrongDevice(device=device, reason=f"it is {found}, the volume is {wwn}")

    # --- disconnecting ----------------------------------------------------------------------------

    def cleanup_connection(self, kept: Mapping[str, str]) -> None:
        ways, wwn = _ways(kept), kept["wwn"]
        with self._locks(ways):
            device = multipath.find(wwn)
            if device:
                self._refuse_users(device)
                multipath.stop_queueing(device, self.deadline)
                if self._sessions(ways) and self._flushes(device):
                    multipath.remove(device, wwn, self.deadline)
            for portal, lun in ways:
                self._leave_portal(portal, lun, wwn)
            guests.unmark(multipath.uuid(wwn))
            if device:
                # It was in use by commands that waited for the paths.
                multipath.remove(device, wwn, self.deadline)

    def abandon(self, kept: Mapping[str, str], device: str) -> bool:
        """Here multipathd lets paths fail after some seconds, and ``stop_queueing`` the map with them."""
        return False

    def users(self, kept: Mapping[str, str], device: str) -> list[str]:
        """Not of a path the map, whose users are what counts."""
        return [user for user in super().users(kept, device) if not multipath.is_map(f"/dev/{user}")]

    def _sessions(self, ways: list[Way]) -> list[tuple[Session, int]]:
        """The sessions that are logged in, with the disk's number."""
        found = [(iscsi_sessions.find(portal), lun) for portal, lun in ways]
        return [(session, lun) for session, lun in found if session is not None and session.is_logged_in()]

    # --- while it is connected --------------------------------------------------------------------

    def is_volume(self, kept: Mapping[str, str], device: str) -> bool:
        return any(name in (kept["wwn"], multipath.uuid(kept["wwn"])) for _, name in self.identity(device))

    def _name_file(self, device: str) -> str:
        return multipath.uuid_file(device) if multipath.is_map(device) else super()._name_file(device)

    def extend_volume(self, data: Mapping[str, Any], device: str) -> None:
        """All paths must answer: a map can't be larger than any of its paths."""
        self._check_identity(device, data["wwn"])
        self._resize(_ways(data), device, data["size"])
        self._check_identity(device, data["wwn"])

    def _resize(self, ways: list[Way], device: str, size: int) -> None:
        for portal, lun in ways:
            session = iscsi_sessions.find(portal)
            path = session.disk(lun) if session is not None else ""
            if not path:
                continue
            if session is None or not session.is_logged_in():
                raise iscsi_sessions.PortalUnreachable(portal=portal, target=portal.iqn)
            scsi.wait_for_size(path, size, self.deadline)
        if multipath.is_map(device):
            multipath.resize(device, size, self.deadline)

    def is_connected(self, data: Mapping[str, Any], device: str) -> bool:
        paths = [session.disk(lun) for session, lun in self._sessions(_ways(data))]
        if not any(paths):
            return False

        def rescan() -> None:
            for path in paths:
                if path:
                    scsi.rescan(path)

        def answers() -> bool:
            return blockdevices.answers_read(device)

        # One that has just died is waited for until the kernel notices; then the read takes another.
        bounded.succeeds(rescan, self.deadline, ANSWER_SECONDS)
        is_alive = bounded.succeeds(answers, self.deadline, ANSWER_SECONDS)
        is_right = self.is_volume({"wwn": data["wwn"]}, device)
        return is_alive and is_right and blockdevices.size(device) == data["size"]


def _ways(data: Mapping[str, Any]) -> list[Way]:
    """The portals of a connection, whose values are lists, or of what was kept of it, where they are text."""
    portals, iqns, luns = (
        value.split() if isinstance(value := data[key], str) else value
        for key in ("target_portals", "target_iqns", "target_luns")
    )
    return [
        (Portal(str(iqn), str(portal)), int(lun))
        for portal, iqn, lun in zip(portals, iqns, luns, strict=True)
    ]


def _properties(ways: list[Way]) -> dict[str, Any]:
    """A connection in os-brick's words, without secrets: the sessions are there."""
    (first, lun), *_ = ways
    return {
        "target_discovered": False,
        "target_portal": str(first),
        "target_iqn": first.iqn,
        "target_lun": lun,
        "target_portals": [str(portal) for portal, _ in ways],
        "target_iqns": [portal.iqn for portal, _ in ways],
        "target_luns": [lun for _, lun in ways],
        "access_mode": "rw",
        "encrypted": False,
    }


CONNECTOR = OsBrickConnector
