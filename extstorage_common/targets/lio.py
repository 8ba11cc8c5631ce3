# SPDX-License-Identifier: Apache-2.0
"""The kernel's iSCSI target (LIO): one target a volume, made through configfs, by name.

No library stands between: rtslib lists all objects to find one, while a path is the same few system
calls however many exports there are. What is made of a volume, all of it with the export's ``name``::

    core/iblock_7473/NAME                          the block device, with its serial number
    iscsi/IQN/tpgt_1/lun/lun_0/NAME             -> that
    iscsi/IQN/tpgt_1/np/192.0.2.1:3260             a portal
    iscsi/IQN/tpgt_1/acls/INITIATOR                who may log in, and with which secrets
    iscsi/IQN/tpgt_1/acls/INITIATOR/lun_0/NAME  -> lun/lun_0

Each function brings about what it says, whatever was there before. An access list with nobody else on
it and no demo mode: who is not listed can neither log in nor see the target. Removing an initiator from the
list ends its session; the kernel returns from that when the session's last command has ended.
"""

from __future__ import annotations

import errno
import os

from extstorage_common import files
from extstorage_common.errors import NodeUnfit
from extstorage_common.transports import local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extstorage_common.deadline import Deadline

ROOT = "/sys/kernel/config/target"
MODULES = ("target_core_mod", "target_core_iblock", "iscsi_target_mod")
HBA = "iblock_7473"
"""A host adapter of ours alone; rtslib counts its own from 0."""
TPG_ATTRIBUTES = {
    "authentication": "1",
    "generate_node_acls": "0",
    "cache_dynamic_acls": "0",
    "demo_mode_write_protect": "1",
    "demo_mode_discovery": "0",
}
NOPIN_SECONDS = 5
NOPIN_RESPONSE_SECONDS = 5
"""The kernel asks an idle initiator this often, and ends its session when no answer comes for so long."""
SILENCE_SECONDS = NOPIN_SECONDS + NOPIN_RESPONSE_SECONDS + 5
"""After this time the session of an initiator that is dead has been ended."""
ACL_ATTRIBUTES = {
    "nopin_timeout": str(NOPIN_SECONDS),
    "nopin_response_timeout": str(NOPIN_RESPONSE_SECONDS),
}
UNMAPPING = ("emulate_tpu", "emulate_tpws")
"""Two ways to unmap. Newer targets tell so little of the first one that newer initiators take the second."""
NO_SESSION = "No active iSCSI Session"


class Secrets:
    """With what an initiator and a target prove to each other who they are (CHAP, both ways)."""

    def __init__(self, user: str, password: str, mutual_user: str, mutual_password: str) -> None:
        self.user = user
        self.password = password
        self.mutual_user = mutual_user
        self.mutual_password = mutual_password


class Export:
    """What the kernel shall export: a block device as the only disk of a target.

    ``name`` is the storage object's, ``serial`` the disk's (a UUID as text), ``portals`` are
    ``address:port``.
    """

    def __init__(self, name: str, iqn: str, device: str, serial: str, portals: Sequence[str]) -> None:
        self.name = name
        self.iqn = iqn
        self.device = device
        self.serial = serial
        self.portals = portals

    @property
    def object(self) -> str:
        """The directory of the block device."""
        return f"{ROOT}/core/{HBA}/{self.name}"

    @property
    def group(self) -> str:
        """The directory of the target's only portal group."""
        return f"{ROOT}/iscsi/{self.iqn}/tpgt_1"

    @property
    def lun(self) -> str:
        """The directory of the target's only disk."""
        return f"{self.group}/lun/lun_0"

    def acl(self, initiator: str) -> str:
        """The directory of an initiator that may log in."""
        return f"{self.group}/acls/{initiator}"

    @property
    def wwn(self) -> str:
        """The disk's name as the kernel makes it of the serial number: NAA, LIO's own company number."""
        return "naa.6001405" + self.serial.replace("-", "")[:25]


# --- exports ----------------------------------------------------------------------------------------


def load_modules(deadline: Deadline) -> None:
    """Make sure that the kernel has its target. Raises NodeUnfit."""
    if not os.path.isdir(f"{ROOT}/core") or not os.path.isdir(f"{ROOT}/iscsi"):
        ended = local.run(["modprobe", "-a", *MODULES], deadline)
        if ended.status or not os.path.isdir(ROOT):
            reason = f"the kernel's iSCSI target can't be loaded (modprobe -a {' '.join(MODULES)}): "
            raise NodeUnfit(reason=reason + (ended.reason if ended.status else f"no {ROOT}"))
        _directory(f"{ROOT}/iscsi")


def ensure(export: Export, initiators: Mapping[str, Secrets]) -> None:
    """Export to these initiators, and to nobody else.

    What is there is compared, not made anew: running sessions go on. Raises Refused.
    """
    with files.refusals(f"exporting {export.device}"):
        _ensure_object(export)
        _ensure_target(export)
        for initiator in os.listdir(f"{export.group}/acls"):
            if initiator not in initiators:
                _remove_initiator(export, initiator)
        for initiator, secrets in initiators.items():
            _ensure_initiator(export, initiator, secrets)
        _set(f"{export.group}/enable", "1")


def remove(export: Export) -> None:
    """End all sessions, and export no more. Raises Refused."""
    with files.refusals(f"ending the export of {export.device}"):
        if os.path.isdir(export.group):
            for initiator in os.listdir(f"{export.group}/acls"):
                _remove_initiator(export, initiator)
            _set(f"{export.group}/enable", "0")
            stranger = _linked(export.lun)
            _remove_tree(export.lun)
            for portal in os.listdir(f"{export.group}/np"):
                _rmdir(f"{export.group}/np/{portal}")
            _rmdir(export.group)
            if os.path.basename(stranger) == export.name:
                _rmdir(stranger)
        _rmdir(os.path.dirname(export.group))
        _rmdir(export.object)


def is_exported(export: Export, initiator: str) -> bool:
    """Whether an initiator may log in."""
    return os.path.isdir(export.acl(initiator))


def has_session(export: Export, initiator: str) -> bool:
    """Whether an initiator is logged in."""
    return NO_SESSION not in (_content(f"{export.acl(initiator)}/info") or NO_SESSION)


def has_unmap(export: Export) -> bool:
    """Whether the disk takes unmap commands (a guest's discard, TRIM)."""
    return _content(f"{export.object}/attrib/emulate_tpu") == "1"


def targets(prefix: str) -> list[str]:
    """The names of all targets that begin so."""
    try:
        return sorted(name for name in os.listdir(f"{ROOT}/iscsi") if name.startswith(prefix))
    except FileNotFoundError:
        return []


def _ensure_object(export: Export) -> None:
    """The block device. One that is of another device or serial number is made anew, with all on it.

    So is a disk that is linked to another object: rtslib makes it below an adapter of its own when it
    restores what it saved.
    """
    found = _content(f"{export.object}/udev_path")
    changed = found is not None and (found != export.device or not _is_enabled(export))
    if changed or _linked(export.lun) not in ("", export.object):
        remove(export)
    if os.path.isdir(export.object):
        return
    _directory(os.path.dirname(export.object))
    _directory(export.object)
    _write(f"{export.object}/control", f"udev_path={export.device}")
    _write(f"{export.object}/udev_path", export.device)
    _write(f"{export.object}/wwn/vpd_unit_serial", export.serial)
    _write(f"{export.object}/enable", "1")
    try:
        for name in UNMAPPING:
            _write(f"{export.object}/attrib/{name}", "1")
    except OSError as error:
        # A device that can't discard.
        if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            raise


def _is_enabled(export: Export) -> bool:
    serial = _content(f"{export.object}/wwn/vpd_unit_serial") or ""
    return _content(f"{export.object}/enable") == "1" and serial.endswith(f" {export.serial}")


def _ensure_target(export: Export) -> None:
    _directory(os.path.dirname(export.group))
    _directory(export.group)
    for name, value in TPG_ATTRIBUTES.items():
        _set(f"{export.group}/attrib/{name}", value)
    _set(f"{export.group}/param/AuthMethod", "CHAP")
    _link(export.lun, export.object, export.name)
    for portal in os.listdir(f"{export.group}/np"):
        if portal not in export.portals:
            _rmdir(f"{export.group}/np/{portal}")
    for portal in export.portals:
        _directory(f"{export.group}/np/{portal}")


def _ensure_initiator(export: Export, initiator: str, secrets: Secrets) -> None:
    """Who may log in; with other secrets than before, the session that used those is ended."""
    acl = export.acl(initiator)
    told = {
        "userid": secrets.user,
        "password": secrets.password,
        "userid_mutual": secrets.mutual_user,
        "password_mutual": secrets.mutual_password,
    }
    if os.path.isdir(acl) and any(_content(f"{acl}/auth/{name}") != value for name, value in told.items()):
        _remove_initiator(export, initiator)
    _directory(acl)
    for name, value in told.items():
        _set(f"{acl}/auth/{name}", value)
    for name, value in ACL_ATTRIBUTES.items():
        _set(f"{acl}/attrib/{name}", value)
    _link(f"{acl}/lun_0", export.lun, export.name)


def _remove_initiator(export: Export, initiator: str) -> None:
    """Who may not log in any more; returns when its session has ended."""
    acl = export.acl(initiator)
    for name in os.listdir(acl) if os.path.isdir(acl) else []:
        if name.startswith("lun_"):
            _remove_tree(f"{acl}/{name}")
    _rmdir(acl)


# --- configfs ---------------------------------------------------------------------------------------


def _directory(path: str) -> None:
    try:
        os.mkdir(path)
    except FileExistsError:
        pass


def _rmdir(path: str) -> None:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass


def _link(directory: str, target: str, name: str) -> None:
    """A directory with a link to ``target`` in it, and to nothing else."""
    _directory(directory)
    for found in os.listdir(directory):
        path = f"{directory}/{found}"
        if os.path.islink(path):
            if os.path.realpath(path) == target:
                return
            os.unlink(path)
    os.symlink(target, f"{directory}/{name}")


def _linked(directory: str) -> str:
    """What the link in a directory leads to; ``""`` if there is none."""
    found = os.listdir(directory) if os.path.isdir(directory) else []
    links = [f"{directory}/{name}" for name in found if os.path.islink(f"{directory}/{name}")]
    return os.path.realpath(links[0]) if links else ""


def _remove_tree(directory: str) -> None:
    """A directory and the links in it; all else in it is the kernel's."""
    if not os.path.isdir(directory):
        return
    for found in os.listdir(directory):
        if os.path.islink(f"{directory}/{found}"):
            os.unlink(f"{directory}/{found}")
    _rmdir(directory)


def _content(path: str) -> str | None:
    """What an attribute says; None if it is not there."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "surrogateescape").strip("\0\n ")
    except FileNotFoundError:
        return None


def _set(path: str, value: str) -> None:
    """Write an attribute unless it has that value: some can't be written while they are used."""
    if _content(path) != value:
        _write(path, value)


def _write(path: str, value: str) -> None:
    """Write an attribute in one system call, as configfs wants it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)
