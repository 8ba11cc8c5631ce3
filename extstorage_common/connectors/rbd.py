# SPDX-License-Identifier: Apache-2.0
"""Images of Ceph as block devices: the kernel's own client (krbd), told through sysfs.

``/sys/bus/rbd/add_single_major`` takes one line: monitors, options, pool, image, snapshot. The user's key
goes into the calling process's keyring and is named there (``key=``), never written into the line
(``secret=`` stays readable in sysfs). Every image gets a Ceph client of its own (``noshare``), so
that one disk of a node can be cut off and the others go on. The name of the key also says that a mapping is
ours.
"""

from __future__ import annotations

import binascii
import os
from functools import partial

from extstorage_common import blockdevices, bounded, guests
from extstorage_common.blockdevices import content, is_unchanged
from extstorage_common.connectors.block import BlockConnector
from extstorage_common.crash import crash_point
from extstorage_common.errors import (
    BadConfiguration,
    DeviceBusy,
    DeviceHung,
    NodeUnfit,
    SystemRefused,
    TimedOut,
    WrongDevice,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

BUS = "/sys/bus/rbd"
KEY_NAME = "ganeti-extstorage"
BUSY_SECONDS = 5.0
"""udev looks into every device that appears; it is let finish before a device counts as busy."""
UNMAP_SECONDS = 8.0
"""Unmapping gives the image's lock back, and the kernel waits for that as long as no OSD answers."""
MOUNT_SECONDS = 30
"""How long the kernel waits for the monitors, and at the end for the image's OSD."""
PROCESS_KEYRING = -2
ADD_KEY = {"x86_64": 248, "aarch64": 217, "ppc64le": 269, "s390x": 278, "riscv64": 217}
"""The number of the system call, by machine: the C library has no function for it."""


class RbdConnector(BlockConnector):
    """An image of a Ceph pool as ``/dev/rbd<n>``."""

    NAME = "rbd"
    KEEP = ("cluster", "pool", "namespace", "image", "image_id")

    @classmethod
    def validate_connector(cls) -> None:
        if not _has_client():
            raise NodeUnfit(
                reason=f"{BUS} is not there; load the kernel module: modprobe rbd "
                "(where the kernel has none: connector = rbd_nbd, or userspace_only = yes)"
            )

    def get_connector_properties(self) -> dict[str, str]:
        """The features of images that this kernel knows, a hexadecimal number."""
        supported = content(f"{BUS}/supported_features") if _has_client() else ""
        return {"features": supported} if supported else {}

    def device_properties(self, device: str) -> dict[str, str]:
        client = content(f"{_directory(device)}/client_addr")
        return {"client": client} if client else {}

    def connect_volume(self, data: Mapping[str, Any], known: str, remember: Callable[[str], None]) -> str:
        self.validate_connector()
        device = known if known and _shows(known, data) else self._find(data)
        if device and not _is_alive(device):
            # A mapping that was made before this node was cut off never comes to life again.
            self.disconnect_volume(data, device, self.identity(device))
            device = ""
        if not device:
            self._map(data)
            crash_point("rbd.mapped")
            device = self._find(data)
        if not device:
            raise WrongDevice(device="/dev/rbd", reason="the kernel mapped the image, but does not show it")
        remember(device)
        self._wait_for_node(device)
        self.extend_volume(data, device)
        return device

    def cleanup_connection(self, kept: Mapping[str, str]) -> None:
        """Unmap what a call mapped that was killed before it could remember the device."""
        if device := self._find(kept):
            self.disconnect_volume(kept, device, self.identity(device))

    def _find(self, kept: Mapping[str, str]) -> str:
        directory = f"{BUS}/devices"
        for number in os.listdir(directory) if os.path.isdir(directory) else ():
            if content(f"{directory}/{number}/image_id") == kept["image_id"] and _shows(f"rbd{number}", kept):
                return f"/dev/rbd{number}"
        return ""

    def _map(self, data: Mapping[str, Any]) -> None:
        what = f"mapping image {data['image']}"
        if not data["monitors"]:
            other = "prefer-crc" if data["ms_mode"] == "legacy" else "legacy"
            reason = f"no monitor has an address for ms_mode = {data['ms_mode']}; try {other}"
            raise SystemRefused(what=what, reason=reason)
        _add_key(_key_name(data), data["keyring"], data["user"])
        monitors, options = ",".join(data["monitors"]), ",".join(self._options(data))
        guests.mark(_guest(data))
        try:
            _write(f"{BUS}/add_single_major", f"{monitors} {options} {data['pool']} {data['image']} -")
        except OSError as error:
            raise SystemRefused(what=what, reason=_map_reason(error)) from error

    def _options(self, data: Mapping[str, Any]) -> list[str]:
        seconds = max(1, min(MOUNT_SECONDS, int(self.deadline.left())))
        options = [f"name={data['user']}", f"key={_key_name(data)}", "noshare", f"mount_timeout={seconds}"]
        options += [f"ms_mode={data['ms_mode']}"] if data["ms_mode"] != "legacy" else []
        options += [f"_pool_ns={data['namespace']}"] if data["namespace"] else []
        return options

    def _wait_for_node(self, device: str) -> None:
        for _ in self.deadline.attempts():
            if os.path.exists(device):
                return
        raise TimedOut(seconds=self.deadline.seconds, doing=f"waiting for {device}")

    def disconnect_volume(
        self, kept: Mapping[str, str], device: str, identity: Sequence[tuple[str, str]]
    ) -> None:
        if not is_unchanged(identity):
            return
        try:
            self.flush(device)
        except SystemRefused:
            if _is_alive(device):
                raise
            # This node was cut off: what it has not written is lost already.
        until_hung = self.deadline.left() - UNMAP_SECONDS
        number = os.path.basename(_directory(device))
        for _ in self.deadline.attempts(BUSY_SECONDS):
            if is_unchanged(identity):
                unmap = partial(_write, f"{BUS}/remove_single_major", number)
                bounded.succeeds(unmap, self.deadline, UNMAP_SECONDS)
            if not is_unchanged(identity):
                guests.unmark(_guest(kept))
                return
        users = self.users(kept, device)
        if not users and self.deadline.left() <= until_hung:
            raise DeviceHung(device=device)
        raise DeviceBusy(device=device, users=", ".join(users) or "by the kernel")

    def is_volume(self, kept: Mapping[str, str], device: str) -> bool:
        return _shows(device, kept)

    def extend_volume(self, data: Mapping[str, Any], device: str) -> None:
        """The kernel hears of a new size by itself; it is asked to look again all the same."""
        if not _shows(device, data):
            raise WrongDevice(device=device, reason=f"it shows another image than {data['image']}")
        for _ in self.deadline.attempts():
            if blockdevices.size(device) == data["size"]:
                return
            try:
                _write(f"{_directory(device)}/refresh", "1")
            except OSError as error:
                raise SystemRefused(what=f"refreshing {device}", reason=error.strerror) from error
        reason = f"it has {blockdevices.size(device)} bytes, the volume has {data['size']}"
        raise WrongDevice(device=device, reason=reason)

    def is_connected(self, data: Mapping[str, Any], device: str) -> bool:
        right = _shows(device, data) and blockdevices.size(device) == data["size"]
        return right and _is_alive(device)

    def identity(self, device: str) -> list[tuple[str, str]]:
        """Ceph's number of this mapping's client is its own in a cluster, and each mapping has one."""
        files = [f"{_directory(device)}/{name}" for name in ("client_id", "cluster_fsid", "image_id")]
        return [(file, content(file)) for file in files]


# --- the kernel's interface -------------------------------------------------------------------------


def _has_client() -> bool:
    """Whether this kernel has a Ceph client, loaded now if need be."""
    if not os.path.exists(f"{BUS}/add_single_major"):
        blockdevices.load_module("rbd")
    return os.path.exists(f"{BUS}/add_single_major")


def _write(path: str, text: str) -> None:
    """One write to a file of sysfs; its effect is complete when it returns."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)


def _directory(device: str) -> str:
    return f"{BUS}/devices/{os.path.basename(device).removeprefix('rbd')}"


def _shows(device: str, data: Mapping[str, Any]) -> bool:
    """Whether ``device`` is a mapping of ours that shows the image, not a snapshot of it."""
    directory = _directory(device)
    wanted = {
        "cluster_fsid": data["cluster"],
        "pool": data["pool"],
        "pool_ns": data["namespace"],
        "image_id": data["image_id"],
        "current_snap": "-",
    }
    if any(content(f"{directory}/{name}") != value for name, value in wanted.items()):
        return False
    return f"key={KEY_NAME}." in content(f"{directory}/config_info")


def _is_alive(device: str) -> bool:
    """Whether the cluster still serves this mapping.

    A read alone does not tell: what was never written reads as zeros without asking the cluster.
    Refreshing the mapping asks it for the image's size.
    """
    try:
        _write(f"{_directory(device)}/refresh", "1")
    except OSError:
        return False
    return blockdevices.answers_read(device)


def _key_name(data: Mapping[str, Any]) -> str:
    return f"{KEY_NAME}.{data['image']}"


def _add_key(name: str, keyring: str, user: str) -> None:
    """Give this process, and the kernel's Ceph client on its behalf, the user's key (keyrings(7))."""
    import ctypes

    key = _key_of(keyring, user)
    number = ADD_KEY.get(os.uname().machine)
    if number is None:
        raise NodeUnfit(reason=f"adding a key to the kernel is not known for {os.uname().machine}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, b"ceph", name.encode("ascii"), key, len(key), PROCESS_KEYRING) < 0:
        reason = os.strerror(ctypes.get_errno())
        raise SystemRefused(what="giving the kernel the Ceph user's key", reason=reason)


def _key_of(keyring: str, user: str) -> bytes:
    """The user's key in a keyring file. Raises BadConfiguration."""
    section = ""
    try:
        with open(keyring, encoding="utf-8") as file:
            for line in file:
                name, _, value = line.strip().partition("=")
                if name.startswith("["):
                    section = line.strip()
                elif name.strip() == "key" and section == f"[client.{user}]":
                    return binascii.a2b_base64(value.strip())
    except (OSError, ValueError) as error:
        raise BadConfiguration(file=keyring, reason=error) from error
    raise BadConfiguration(file=keyring, reason=f"there is no key of client.{user}")


def _guest(data: Mapping[str, Any]) -> str:
    """The name by which our udev rule knows the disk as a guest's."""
    return f"rbd-{data['image_id']}"


def _map_reason(error: OSError) -> str:
    reasons = {
        1: "the monitors do not take the user's key: compare the keyring with ceph auth get",
        2: "the kernel does not find it: the image, or the pool's namespace",
        6: "the image has features that this kernel does not know (see dmesg)",
        16: "somebody locked the image by hand (rbd lock list)",
        22: "the kernel does not know an option; Linux before 5.11 needs ms_mode = legacy (see dmesg)",
        30: "another client holds the image's lock exclusively and does not give it up",
        108: "this node's Ceph client was cut off: detach its other disks first",
        110: "the monitors do not answer the kernel: is ms_mode right, does a firewall keep it away?",
    }
    return reasons.get(error.errno or 0, str(error.strerror))


CONNECTOR = RbdConnector
