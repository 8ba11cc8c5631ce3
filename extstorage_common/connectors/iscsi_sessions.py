# SPDX-License-Identifier: Apache-2.0
"""The iSCSI sessions of this node: what sysfs tells of them; ``iscsiadm`` begins and ends them.

A session is logged in to one portal of one target; its disks are numbered as the target numbers them. It
scans for a disk only when it is told to, so no disk appears that nobody asked for.
"""

from __future__ import annotations

import os
import time

from extstorage_common import guests
from extstorage_common.blockdevices import content, write_attribute
from extstorage_common.connectors.iscsi_records import LOGIN_SECONDS
from extstorage_common.errors import NodeUnfit, Refused, SystemRefused, TimedOut, Unreachable
from extstorage_common.records import unlink_if_there
from extstorage_common.transports import local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extstorage_common.connectors.iscsi_records import Portal
    from extstorage_common.deadline import Deadline

SESSIONS = "/sys/class/iscsi_session"
CONNECTIONS = "/sys/class/iscsi_connection"
HOSTS = "/sys/class/scsi_host"
LOGGED_IN = "LOGGED_IN"
PROBE_SECONDS = 2.0
DATABASE_LOCK = "/run/lock/iscsi/lock.write"
LOCK_SECONDS = 10.0
RETRY_SECONDS = 10.0
LOGOUT_SECONDS = 5.0

# What iscsiadm exits with (iscsiadm(8)).
SESSION_NOT_FOUND = 2
SESSION_EXISTS = 15
NOTHING_FOUND = 21
NO_DAEMON = (18, 20)
AUTHENTICATION_FAILED = 24
DISTURBED = (6, 22, *NO_DAEMON)
NOT_NOW = (9, 28, 32)
NO_ANSWER = (4, 5, 8, 11)


class PortalUnreachable(Unreachable):
    template = "portal {portal} of target {target} does not answer; look at the storage and the network"


class TargetNotThere(Unreachable):
    template = "portal {portal} answers, but not for target {target}; look whether the storage exports it"


class LoginRefused(Refused):
    template = (
        "target {target} at {portal} does not let this node in: the node is not on the target's list, "
        "or has another secret; attach again"
    )


class LoginFailed(Refused):
    template = (
        "the login to target {target} at {portal} failed: {reason}; where target and node do not trust each "
        "other, their secrets differ: attach again"
    )


class Session:
    """The session that the kernel calls ``name`` (``session3``)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = os.path.realpath(f"{SESSIONS}/{name}/device")

    @property
    def number(self) -> str:
        """As ``iscsiadm`` names it."""
        return self.name.removeprefix("session")

    def is_logged_in(self) -> bool:
        """Whether the target answered until now; else the kernel holds commands back, or fails them."""
        return content(f"{SESSIONS}/{self.name}/state") == LOGGED_IN

    def exists(self) -> bool:
        """Whether it has not been ended."""
        return os.path.isdir(f"{SESSIONS}/{self.name}")

    def luns(self) -> dict[int, str]:
        """Its disks: the number of each, and its directory in sysfs."""
        found = {}
        for target in _names(self.directory, "target"):
            prefix = target.removeprefix("target") + ":"
            for address in _names(f"{self.directory}/{target}", prefix):
                found[int(address.removeprefix(prefix))] = f"{self.directory}/{target}/{address}"
        return found

    def disk(self, lun: int) -> str:
        """The block device of a disk (``/dev/sdb``); ``""`` if it has none."""
        directory = self.luns().get(lun, "")
        names = _names(f"{directory}/block", "sd") if directory else []
        return f"/dev/{names[0]}" if names else ""

    def announce(self, lun: int) -> None:
        """Tell udev that this disk will be a guest's."""
        guests.mark(self._address(lun))

    def scan(self, lun: int) -> None:
        """Look for this disk and no other; returns when the kernel has it, or the target has not."""
        self.announce(lun)
        write_attribute(f"{HOSTS}/{self._host()}/scan", f"- - {lun}")

    def remove(self, lun: int) -> None:
        """Make a disk disappear; the kernel flushes it, if it answers."""
        if directory := self.luns().get(lun):
            write_attribute(f"{directory}/delete", "1")
        guests.unmark(self._address(lun))

    def _host(self) -> str:
        """The session as a host adapter (``host2``), which it is alone."""
        return os.path.basename(os.path.dirname(self.directory))

    def _address(self, lun: int) -> str:
        """What the kernel will call a disk, or calls it (``2:0:0:1``)."""
        target = content(f"{SESSIONS}/{self.name}/target_id") or "0"
        return f"{self._host().removeprefix('host')}:0:{target}:{lun}"

    def end(self, portal: Portal, deadline: Deadline) -> None:
        """Log out; its disks are gone then, and commands that waited for the target fail.

        Asked for by its portal, since ``iscsiadm`` looks at more than twice as much when it is asked for the
        session's number. Raises SystemRefused, TimedOut.
        """
        for _ in deadline.attempts():
            # A daemon that was just started anew, or that logs in again, takes no logout for this moment.
            ended = _iscsiadm([*_node(portal), "--logout"], deadline, NOT_NOW)
            if ended.status not in (0, SESSION_NOT_FOUND, NOTHING_FOUND) and self.exists():
                raise SystemRefused(what=f"ending iSCSI session {self.number}", reason=ended.reason)
            # Or it does not know the session yet, or forgets the logout: it is asked again after a while.
            for _ in deadline.attempts(LOGOUT_SECONDS):
                if not self.exists():
                    guests.unmark_all(f"{self._host().removeprefix('host')}:")
                    return
        raise TimedOut(seconds=deadline.seconds, doing=f"ending iSCSI session {self.number}")


def find(portal: Portal) -> Session | None:
    """The session with this portal of its target, in whatever state."""
    for session in of_target(portal.iqn):
        connection = f"{CONNECTIONS}/connection{session.number}:0"
        address = content(f"{connection}/persistent_address")
        if (address, content(f"{connection}/persistent_port")) == (portal.address, portal.port):
            return session
    return None


def of_target(iqn: str) -> Iterator[Session]:
    """The sessions with any portal of a target."""
    for name in _names(SESSIONS, "session"):
        if content(f"{SESSIONS}/{name}/targetname") == iqn:
            yield Session(name)


def begin(portal: Portal, deadline: Deadline) -> Session:
    """Log in as the portal's record says.

    Raises PortalUnreachable, TargetNotThere, LoginRefused, LoginFailed, NodeUnfit, TimedOut.
    """
    was_dropped = False
    for _ in deadline.attempts():
        ended = _iscsiadm([*_node(portal), "--login"], deadline)
        session = find(portal)
        if ended.status == SESSION_EXISTS and (session is None or not session.is_logged_in()):
            continue  # the daemon is still busy with a login that an earlier call has begun
        if ended.status not in NO_ANSWER or was_dropped or deadline.left() < 2 * LOGIN_SECONDS:
            break
        # Linux drops a portal's logins, silently, while another target there is switched on or off.
        if not (was_dropped := _answers(portal)):
            break
    if session is not None and ended.status in (0, SESSION_EXISTS):
        return session
    about = {"portal": portal, "target": portal.iqn}
    if ended.status in NO_DAEMON:
        raise NodeUnfit(reason="iscsid does not answer; start it: systemctl start iscsid")
    if ended.status == AUTHENTICATION_FAILED:
        raise LoginRefused(**about)
    if ended.status in NO_ANSWER:
        raise TargetNotThere(**about) if _answers(portal) else PortalUnreachable(**about)
    raise LoginFailed(reason=ended.reason, **about)


def _node(portal: Portal) -> list[str]:
    """How ``iscsiadm`` is told one portal of a target."""
    return ["-m", "node", "-T", portal.iqn, "-p", str(portal)]


def _iscsiadm(arguments: list[str], deadline: Deadline, passing: Sequence[int] = ()) -> local.Ended:
    """Run ``iscsiadm``; again if what it failed for passes by itself.

    It came upon another's record, or session, that was just going away: it reads all of them, whichever it is
    asked for, and fails for any that is gone then. Or the daemon was just started anew. ``passing`` are more
    such exit statuses.
    """
    _drop_old_lock()
    ended = local.run(["iscsiadm", *arguments], deadline)
    for _ in deadline.attempts(RETRY_SECONDS):
        if ended.status not in (*DISTURBED, *passing):
            break
        ended = local.run(["iscsiadm", *arguments], deadline)
    return ended


def _drop_old_lock() -> None:
    """Remove the database's lock that an ``iscsiadm`` which was killed has left.

    Every other would wait 30 seconds for it and fail; none has it for longer than some milliseconds.
    """
    try:
        if time.time() - os.stat(DATABASE_LOCK).st_ctime > LOCK_SECONDS:
            unlink_if_there(DATABASE_LOCK)
    except FileNotFoundError:
        pass


def _answers(portal: Portal) -> bool:
    """Whether anything listens there."""
    import socket

    try:
        with socket.create_connection((portal.address, int(portal.port)), PROBE_SECONDS):
            return True
    except OSError:
        return False


def _names(directory: str, prefix: str) -> list[str]:
    """The names in a directory of sysfs that begin so; none if it is gone."""
    try:
        return sorted(name for name in os.listdir(directory) if name.startswith(prefix))
    except (FileNotFoundError, NotADirectoryError):
        return []
