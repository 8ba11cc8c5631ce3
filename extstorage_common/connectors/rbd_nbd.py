# SPDX-License-Identifier: Apache-2.0
"""Images of Ceph as network block devices, served by a process with Ceph's own library (rbd-nbd).

For kernels without the Ceph client, or images with features that it does not know. The device lives as
long as that process.
"""

from __future__ import annotations

import json
import os
import subprocess

from extstorage_common import blockdevices
from extstorage_common.blockdevices import content, sysfs
from extstorage_common.connectors.base import Connector
from extstorage_common.crash import crash_point
from extstorage_common.errors import DeviceBusy, NodeUnfit, SystemRefused, TimedOut, WrongDevice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

PROGRAM = "/usr/bin/rbd-nbd"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
BUSY_SECONDS = 5.0


class RbdNbdConnector(Connector):
    """An image of a Ceph pool as ``/dev/nbd<n>``."""

    NAME = "rbd_nbd"
    KEEP = ("pool", "namespace", "image")

    @classmethod
    def validate_connector(cls) -> None:
        if not os.path.exists(PROGRAM):
            raise NodeUnfit(reason=f"{PROGRAM} is not there; install it: apt install rbd-nbd")
        if not os.path.exists("/sys/block/nbd0"):
            subprocess.run(
                ["modprobe", "--quiet", "nbd"],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
            )
        if not os.path.exists("/sys/block/nbd0"):
            raise NodeUnfit(reason="/sys/block/nbd0 is not there; load the kernel module: modprobe nbd")

    def get_connector_properties(self) -> dict[str, str]:
        return {}

    def connect_volume(self, data: Mapping[str, Any], known: str, remember: Callable[[str], None]) -> str:
        self.validate_connector()
        device = self._find(data)
        if not device:
            user = ["--id", data["user"], "--conf", data["conf"], "--keyring", data["keyring"]]
            self._run("mapping", "map", *user, _spec(data))
            crash_point("rbd_nbd.mapped")
            device = self._find(data)
        if not device:
            raise WrongDevice(device="/dev/nbd", reason="rbd-nbd mapped the image, but does not show it")
        remember(device)
        self.extend_volume(data, device)
        return device

    def disconnect_volume(
        self, kept: Mapping[str, str], device: str, identity: Sequence[tuple[str, str]]
    ) -> None:
        if not _is(identity):
            return
        try:
            self.flush(device)
        except SystemRefused:
            pass  # this node was cut off: what it has not written is lost already
        for _ in self.deadline.attempts(BUSY_SECONDS):
            if not (users := self.users(kept, device)):
                break
        else:
            raise DeviceBusy(device=device, users=", ".join(users))
        self._run("unmapping", "unmap", device)
        for _ in self.deadline.attempts():
            if not _is(identity):
                return
        raise TimedOut(seconds=self.deadline.seconds, doing=f"unmapping {device}")

    def is_volume(self, kept: Mapping[str, str], device: str) -> bool:
        return self._find(kept) == device

    def extend_volume(self, data: Mapping[str, Any], device: str) -> None:
        if self._find(data) != device:
            raise WrongDevice(device=device, reason=f"it shows another image than {data['image']}")
        for _ in self.deadline.attempts():
            if blockdevices.size(device) == data["size"]:
                return
        reason = f"it has {blockdevices.size(device)} bytes, the volume has {data['size']}"
        raise WrongDevice(device=device, reason=reason)

    def is_connected(self, data: Mapping[str, Any], device: str) -> bool:
        right = self._find(data) == device and blockdevices.size(device) == data["size"]
        return right and blockdevices.answers_read(device)

    def identity(self, device: str) -> list[tuple[str, str]]:
        """The process that serves the device, and the kernel's count of bindings, where it has one."""
        files = [f"{sysfs(device)}/{name}" for name in ("pid", "diskseq")]
        return [(file, text) for file in files if (text := content(file))]

    def is_coherent(self, device: str) -> bool:
        return True

    def flush(self, device: str) -> None:
        blockdevices.flush(device)

    def invalidate(self, kept: Mapping[str, str], device: str) -> None:
        blockdevices.drop_cache(device)

    def users(self, kept: Mapping[str, str], device: str) -> list[str]:
        """The process that serves the device does not have it open once it is served."""
        return [user for user in blockdevices.users(device) if not user.startswith("rbd-nbd ")]

    def _find(self, data: Mapping[str, Any]) -> str:
        """The device of an image; ``""`` if there is none."""
        wanted = [data[key] for key in ("pool", "namespace", "image")]
        for one in json.loads(self._run("listing", "list-mapped", "--format", "json") or "[]"):
            if [one["pool"], one["namespace"], one["image"]] == wanted and one["snap"] in ("", "-"):
                return str(one["device"])
        return ""

    def _run(self, doing: str, *words: str) -> str:
        """Run the program; the server that ``map`` leaves has none of our descriptors."""
        what = f"{doing} with rbd-nbd"
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
        except OSError as error:
            raise SystemRefused(what=what, reason=error.strerror) from error
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
            raise SystemRefused(what=what, reason=reason)
        return done.stdout


def _spec(data: Mapping[str, Any]) -> str:
    return "/".join(filter(None, (data["pool"], data["namespace"], data["image"])))


def _is(identity: Sequence[tuple[str, str]]) -> bool:
    return all(content(file) == expected for file, expected in identity)


CONNECTOR = RbdNbdConnector
