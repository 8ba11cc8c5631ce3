# SPDX-License-Identifier: Apache-2.0
"""Block devices of this node, whatever is behind them: looks at sysfs and /proc, reads, flushes."""

from __future__ import annotations

import fcntl
import os

from extstorage_common.errors import SystemRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

BLKFLSBUF = 0x1261
READ = 4096
ATTRIBUTE = 1 << 16
"""A file of sysfs has at most a page, which no machine has larger."""


def sysfs(device: str) -> str:
    """The device's directory in sysfs."""
    return os.path.join("/sys/block", os.path.basename(device))


def content(path: str) -> str:
    """What a file of sysfs says; empty if it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.fsdecode(os.read(fd, ATTRIBUTE)).rstrip("\n")
        finally:
            os.close(fd)
    except OSError:
        return ""


def write_attribute(path: str, text: str) -> None:
    """Tell the kernel something through a file of sysfs. Raises SystemRefused."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise SystemRefused(what=f"writing '{text}' to {path}", reason=error.strerror) from error


def is_unchanged(identity: Sequence[tuple[str, str]]) -> bool:
    """Whether each of these files of sysfs still says what it said."""
    return all(content(file) == expected for file, expected in identity)


def load_module(name: str) -> None:
    """Load a kernel module, where there is one; whether that worked shows in sysfs."""
    try:
        environment = {"PATH": "/usr/sbin:/sbin"}
        os.waitpid(os.posix_spawn("/sbin/modprobe", ["modprobe", "--quiet", name], environment), 0)
    except OSError:
        pass


def size(device: str) -> int:
    """The device's size in bytes (sysfs counts sectors of 512 bytes, whatever the device's own)."""
    return int(content(os.path.join(sysfs(device), "size")) or 0) * 512


def ioctl(device: str, request: int, argument: Any = 0) -> int:
    """One request to a device. Raises SystemRefused."""
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        return int(fcntl.ioctl(fd, request, argument))
    except OSError as error:
        raise SystemRefused(what=f"request {request:#x} to {device}", reason=error.strerror) from error
    finally:
        os.close(fd)


def flush(device: str) -> None:
    """Write what this node caches of the device. Raises SystemRefused.

    The device is opened only for reading, which is enough for that. When a writer closes a device, udev looks
    into it once more, and whoever wants to release it next finds it busy.
    """
    try:
        fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise SystemRefused(what=f"flushing {device}", reason=error.strerror) from error


def drop_cache(device: str) -> None:
    """Forget what this node caches of the device. Raises SystemRefused."""
    ioctl(device, BLKFLSBUF)


def answers_read(device: str) -> bool:
    """One read past every cache (the buffer of direct I/O must be aligned, as a mapping is)."""
    import mmap

    try:
        fd = os.open(device, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        with mmap.mmap(-1, READ) as buffer:
            return os.preadv(fd, [buffer], 0) == READ
    except OSError:
        return False
    finally:
        os.close(fd)


def users(device: str, *past_it: str) -> list[str]:
    """What on this node has the device open, or a path ``past_it``: processes, mounts, other devices."""
    found = _processes_with_open({device, *past_it} - {""})
    if device:
        holders = os.path.join(sysfs(device), "holders")
        found += os.listdir(holders) if os.path.isdir(holders) else []
        found += _mounts(device)
    return found


def _mounts(device: str) -> list[str]:
    number = content(os.path.join(sysfs(device), "dev"))
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return [f"mounted on {line.split()[4]}" for line in file if line.split()[2] == number]


def _processes_with_open(paths: set[str]) -> list[str]:
    """Other processes with an open descriptor of one of the paths; looks at names only, opens nothing."""
    found = []
    others = {pid for pid in os.listdir("/proc") if pid.isdigit()} - {str(os.getpid())}
    for pid in sorted(others):
        directory = f"/proc/{pid}/fd"
        try:
            os.readlink(f"/proc/{pid}/exe")  # the kernel's own threads have no program, and nothing open
            if any(_link(f"{directory}/{fd}") in paths for fd in os.listdir(directory)):
                found.append(f"{content(f'/proc/{pid}/comm')} (process {pid})")
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
