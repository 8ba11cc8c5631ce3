# SPDX-License-Identifier: Apache-2.0
"""Images of Ceph as network block devices, served by a process with Ceph's own library (rbd-nbd).

For kernels without the Ceph client, or images with features that it does not know. The device lives as
long as that process, by whose arguments it is found: a word of ours (``--cookie``) names the cluster and the
image.
"""

from __future__ import annotations

import os
import subprocess

from extstorage_common import blockdevices, guests
from extstorage_common.blockdevices import content, is_unchanged, sysfs
from extstorage_common.connectors.block import BlockConnector
from extstorage_common.crash import crash_point
from extstorage_common.errors import DeviceBusy, NodeUnfit, SystemRefused, TimedOut, WrongDevice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

PROGRAM = "/usr/bin/rbd-nbd"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
BUSY_SECONDS = 5.0
"""udev looks into every device that appears; it is let finish before a device counts as busy."""


class RbdNbdConnector(BlockConnector):
    """An image of a Ceph pool as ``/dev/nbd<n>``."""

    NAME = "rbd_nbd"
    KEEP = ("cluster", "image_id")

    @classmethod
    def validate_connector(cls) -> None:
        if not os.path.exists(PROGRAM):
            raise NodeUnfit(reason=f"{PROGRAM} is not there; install it: apt install rbd-nbd")
        if not os.path.exists("/sys/block/nbd0"):
            blockdevices.load_module("nbd")
        if not os.path.exists("/sys/block/nbd0"):
            raise NodeUnfit(reason="/sys/block/nbd0 is not there; load the kernel module: modprobe nbd")

    def get_connector_properties(self) -> dict[str, str]:
        return {}

    def connect_volume(self, data: Mapping[str, Any], known: str, remember: Callable[[str], None]) -> str:
        self.validate_connector()
        device = self._find(data)
        if device and not blockdevices.answers_read(device):
            self.disconnect_volume(data, device, self.identity(device))
            device = ""
        if not device:
            self._map(data)
            crash_point("rbd_nbd.mapped")
            device = self._find(data)
        if not device:
            raise WrongDevice(device="/dev/nbd", reason="rbd-nbd mapped the image, but does not serve it")
        remember(device)
        self.extend_volume(data, device)
        return device

    def _map(self, data: Mapping[str, Any]) -> None:
        """Start the process; it makes sure of the cluster (``--fsid``), and has none of our descriptors."""
        spec = "/".join(filter(None, (data["pool"], data["namespace"], data["image"])))
        user = ["--id", data["user"], "--conf", data["conf"], "--keyring", data["keyring"]]
        identity = ["--fsid", data["cluster"], "--cookie", _cookie(data)]
        what = f"mapping image {data['image']}"
        for name in _free_devices():
            guests.mark(name)
            try:
                self._run(what, "map", *user, *identity, "--device", f"/dev/{name}", spec)
                return
            except SystemRefused:
                if not _is_taken(name):
                    guests.unmark(name)
                    raise
        raise SystemRefused(what=what, reason="others took every device that was free")

    def disconnect_volume(
        self, kept: Mapping[str, str], device: str, identity: Sequence[tuple[str, str]]
    ) -> None:
        """The kernel would disconnect a device that is open, too; so its users are asked for first.

        The program does it by netlink: the kernel then ends what is still asked of the device, and udev may
        just be asking. With the ioctl it would wait for that, and the process for the kernel.
        """
        if not is_unchanged(identity):
            return
        for _ in self.deadline.attempts(BUSY_SECONDS):
            if not (users := self.users(kept, device)):
                break
        else:
            raise DeviceBusy(device=device, users=", ".join(users))
        try:
            self.flush(device)
        except SystemRefused:
            pass  # this node was cut off: what it has not written is lost already
        self._run(f"unmapping {device}", "unmap", device)
        for _ in self.deadline.attempts():
            if not is_unchanged(identity):
                guests.unmark(os.path.basename(device))
                return
        raise TimedOut(seconds=self.deadline.seconds, doing=f"unmapping {device}")

    def cleanup_connection(self, kept: Mapping[str, str]) -> None:
        """Unmap what a call mapped that was killed before it could remember the device."""
        if device := self._find(kept):
            self.disconnect_volume(kept, device, self.identity(device))

    def _find(self, kept: Mapping[str, str]) -> str:
        for name in os.listdir("/sys/block"):
            if name.startswith("nbd") and self.is_volume(kept, name):
                return f"/dev/{name}"
        return ""

    def is_volume(self, kept: Mapping[str, str], device: str) -> bool:
        pid = content(f"{sysfs(device)}/pid")
        words = content(f"/proc/{pid}/cmdline").split("\0") if pid else []
        return _cookie(kept) in words

    def extend_volume(self, data: Mapping[str, Any], device: str) -> None:
        """The process hears of a new size, and tells the kernel."""
        if not self.is_volume(data, device):
            raise WrongDevice(device=device, reason=f"it shows another image than {data['image']}")
        for _ in self.deadline.attempts():
            if blockdevices.size(device) == data["size"]:
                return
        reason = f"it has {blockdevices.size(device)} bytes, the volume has {data['size']}"
        raise WrongDevice(device=device, reason=reason)

    def is_connected(self, data: Mapping[str, Any], device: str) -> bool:
        right = self.is_volume(data, device) and blockdevices.size(device) == data["size"]
        return right and blockdevices.answers_read(device)

    def identity(self, device: str) -> list[tuple[str, str]]:
        """The process that serves the device, and the kernel's number of the disk, where it has one."""
        files = [f"{sysfs(device)}/{name}" for name in ("pid", "diskseq")]
        return [(file, text) for file in files if (text := content(file))]

    def users(self, kept: Mapping[str, str], device: str) -> list[str]:
        """The process that serves the device has it open, too."""
        server = f"(process {content(f'{sysfs(device)}/pid')})"
        return [user for user in super().users(kept, device) if not user.endswith(server)]

    def _run(self, what: str, *words: str) -> None:
        try:
            done = subprocess.run(
                [PROGRAM, *words],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=max(1.0, self.deadline.left()),
                env=ENVIRONMENT,
            )
        except subprocess.TimeoutExpired:
            raise TimedOut(seconds=self.deadline.seconds, doing=what) from None
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["rbd-nbd does not say why"])[-1]
            raise SystemRefused(what=what, reason=reason)


def _free_devices() -> list[str]:
    """The names of devices that nobody has, and of one that the kernel will make."""
    numbers = sorted(int(name[3:]) for name in os.listdir("/sys/block") if name.startswith("nbd"))
    free = [f"nbd{number}" for number in numbers if not _is_taken(f"nbd{number}")]
    return [*free, f"nbd{max(numbers, default=-1) + 1}"]


def _is_taken(name: str) -> bool:
    return os.path.exists(f"/sys/block/{name}/pid")


def _cookie(data: Mapping[str, str]) -> str:
    return f"ganeti-extstorage/{data['cluster']}/{data['image_id']}"


CONNECTOR = RbdNbdConnector
