# SPDX-License-Identifier: Apache-2.0
"""Files as block devices: Linux loop devices, with direct I/O where the filesystem can.

The kernel's interface is used directly (loop(4), linux/loop.h): LOOP_CONFIGURE binds a file with
all its settings in one step, so that nobody sees a half-configured device.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from extstorage_common import guests
from extstorage_common.blockdevices import answers_read, content, ioctl, is_unchanged, size, sysfs, users
from extstorage_common.connectors.block import BlockConnector
from extstorage_common.crash import crash_point
from extstorage_common.errors import DeviceBusy, NodeUnfit, SystemRefused, TimedOut, WrongDevice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

CONTROL = "/dev/loop-control"
LOOP_CTL_GET_FREE = 0x4C82
LOOP_CONFIGURE = 0x4C0A
LOOP_CLR_FD = 0x4C01
LOOP_SET_STATUS64 = 0x4C04
LOOP_GET_STATUS64 = 0x4C05
LOOP_SET_CAPACITY = 0x4C07
LO_FLAGS_AUTOCLEAR = 4
LO_FLAGS_DIRECT_IO = 16

INFO = struct.Struct("=QQQQQIIII64s64s32s2Q")
"""struct loop_info64: device, inode, ..., flags at index 8, ..."""
FLAGS = 8
CONFIG = struct.Struct("=iI232s64x")
"""struct loop_config: file descriptor, block size (0: the kernel's choice), loop_info64, reserved."""

BUSY_SECONDS = 3.0
"""udev looks into every device that appears; it is let finish before a device counts as busy."""


class LoopConnector(BlockConnector):
    """A file of this node's filesystems as ``/dev/loop<n>``."""

    NAME = "loop"
    KEEP = ("path",)

    @classmethod
    def validate_connector(cls) -> None:
        if not os.path.exists(CONTROL):
            raise NodeUnfit(reason=f"{CONTROL} is not there; load the kernel module: modprobe loop")

    def get_connector_properties(self) -> dict[str, str]:
        return {}

    def connect_volume(self, data: Mapping[str, Any], known: str, remember: Callable[[str], None]) -> str:
        if known and _is_file_of(known, data["path"]):
            self.extend_volume(data, known)
            return known
        self.validate_connector()
        for _ in self.deadline.attempts():
            device = _free_device()
            remember(device)
            guests.mark(os.path.basename(device))
            crash_point("loop.remembered")
            if _configure(device, data["path"]):
                crash_point("loop.configured")
                self._check(data, device)
                return device
        raise TimedOut(seconds=self.deadline.seconds, doing="looking for a free loop device")

    def _check(self, data: Mapping[str, Any], device: str) -> None:
        if not _is_file_of(device, data["path"]):
            raise WrongDevice(device=device, reason=f"it shows another file than {data['path']}")
        if size(device) != data["size"]:
            reason = f"it has {size(device)} bytes, the volume has {data['size']}"
            raise WrongDevice(device=device, reason=reason)

    def disconnect_volume(
        self, kept: Mapping[str, str], device: str, identity: Sequence[tuple[str, str]]
    ) -> None:
        self.flush(device)
        for _ in self.deadline.attempts(BUSY_SECONDS):
            if _release(device, identity):
                guests.unmark(os.path.basename(device))
                return
        raise DeviceBusy(device=device, users=", ".join(self.users(kept, device)) or "by the kernel")

    def is_volume(self, kept: Mapping[str, str], device: str) -> bool:
        """Goes by the path: the filesystem may be away by now, and is not asked."""
        return content(os.path.join(sysfs(device), "loop/backing_file")) == kept["path"]

    def extend_volume(self, data: Mapping[str, Any], device: str) -> None:
        if not _is_file_of(device, data["path"]):
            raise WrongDevice(device=device, reason=f"it shows another file than {data['path']}")
        if size(device) != data["size"]:
            ioctl(device, LOOP_SET_CAPACITY)
        self._check(data, device)

    def is_connected(self, data: Mapping[str, Any], device: str) -> bool:
        return _is_file_of(device, data["path"]) and size(device) == data["size"] and answers_read(device)

    def identity(self, device: str) -> list[tuple[str, str]]:
        """``diskseq`` grows with every binding of any disk; kernels before 5.15 have only the path."""
        files = [os.path.join(sysfs(device), name) for name in ("diskseq", "loop/backing_file")]
        return [(file, text) for file in files if (text := content(file))][:1]

    def gone(self, device: str) -> list[tuple[str, str]]:
        return [(os.path.join(sysfs(device), "loop/backing_file"), " (deleted)")]

    def is_coherent(self, device: str) -> bool:
        return content(os.path.join(sysfs(device), "loop/dio")) == "1"

    def invalidate(self, kept: Mapping[str, str], device: str) -> None:
        """Drop the device's pages, then those of its file (which direct I/O has not)."""
        super().invalidate(kept, device)
        fd = os.open(kept["path"], os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def users(self, kept: Mapping[str, str], device: str) -> list[str]:
        return users(device, kept["path"])


# --- the kernel's interface -------------------------------------------------------------------------


def _free_device() -> str:
    return f"/dev/loop{ioctl(CONTROL, LOOP_CTL_GET_FREE)}"


def _configure(device: str, path: str) -> bool:
    """Bind a file to a device; False if somebody else was quicker to take the device."""
    backing = _open_backing(path)
    fd = -1
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        info = INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, LO_FLAGS_DIRECT_IO, os.fsencode(path)[:63], b"", b"", 0, 0)
        fcntl.ioctl(fd, LOOP_CONFIGURE, CONFIG.pack(backing, 0, info))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise SystemRefused(what=f"binding {path} to {device}", reason=error.strerror) from error
    finally:
        os.close(backing)
        if fd >= 0:
            os.close(fd)
    return True


def _open_backing(path: str) -> int:
    """Open with direct I/O where the filesystem can, since old kernels go by the open file's flags."""
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise SystemRefused(what=f"opening {path}", reason=error.strerror) from error
    return os.open(path, flags)


def _release(device: str, identity: Sequence[tuple[str, str]]) -> bool:
    """Unbind the file if the device is still this binding; False if somebody has the device open.

    While we have it open nobody can bind it anew, so what is compared then is what is released. With
    other openers the kernel only makes a note to unbind when the last one closes (it sets
    LO_FLAGS_AUTOCLEAR, and reports success); that note is taken back, since the device must stay.
    """
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        if not is_unchanged(identity):
            return True
        fcntl.ioctl(fd, LOOP_CLR_FD)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise SystemRefused(what=f"releasing {device}", reason=error.strerror) from error
    finally:
        os.close(fd)
    if not is_unchanged(identity):
        return True
    _clear_autoclear(device, identity)
    return False


def _clear_autoclear(device: str, identity: Sequence[tuple[str, str]]) -> None:
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        if not is_unchanged(identity):
            return
        status = bytearray(INFO.size)
        fcntl.ioctl(fd, LOOP_GET_STATUS64, status)
        fields = list(INFO.unpack(status))
        fields[FLAGS] &= ~LO_FLAGS_AUTOCLEAR
        fcntl.ioctl(fd, LOOP_SET_STATUS64, INFO.pack(*fields))
    except OSError as error:
        if error.errno != errno.ENXIO:  # released meanwhile
            raise SystemRefused(what=f"keeping {device}", reason=error.strerror) from error
    finally:
        os.close(fd)


def _is_file_of(device: str, path: str) -> bool:
    """Whether ``device`` shows the file that is at ``path`` now."""
    try:
        fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = bytearray(INFO.size)
        fcntl.ioctl(fd, LOOP_GET_STATUS64, status)
    except OSError:
        return False
    finally:
        os.close(fd)
    found = os.stat(path)
    return INFO.unpack(status)[:2] == (found.st_dev, found.st_ino)


CONNECTOR = LoopConnector
