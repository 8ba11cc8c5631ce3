# SPDX-License-Identifier: Apache-2.0
"""The contract of a connector: how a node reaches a volume.

A connector turns a connection (what a backend said) into a block device, and back. It never talks
to the storage's management side, and it touches no device but the one that it connected.

Rules for every method: twice is success with the same result; every wait ends with
``self.deadline``; nothing that it keeps for the disconnection is a secret.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, ClassVar

    from extstorage_common.deadline import Deadline


NO_DEVICE = "-"
"""In the place of a device, where only hypervisors reach the volume, by its URI."""


class Connector(ABC):
    """One data path, for one call."""

    NAME: ClassVar[str]
    """The connection's ``driver_volume_type``."""
    KEEP: ClassVar[tuple[str, ...]]
    """The keys of a connection's ``data`` that :meth:`disconnect_volume` needs; never a secret."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline

    @classmethod
    @abstractmethod
    def validate_connector(cls) -> None:
        """Raise NodeUnfit, with what is missing and what to do, on a node that can't connect."""

    @abstractmethod
    def get_connector_properties(self) -> dict[str, str]:
        """What a backend must know of this node to export a volume to it.

        An iSCSI connector gives ``{"initiator": "iqn....", "boot": "..."}``; ``boot`` differs after each
        start of the node, which ended its sessions. A connector of which nothing must be known gives ``{}``.
        """

    def kept(self, data: Mapping[str, Any]) -> dict[str, str]:
        """What is kept of a connection until its disconnection: the ``KEEP`` of its ``data``, as text."""
        return {key: str(data[key]) for key in self.KEEP}

    def device_properties(self, device: str) -> dict[str, str]:
        """What a backend may want to know of a connected device: what the storage calls this connection.

        >>> connector.device_properties("/dev/rbd0")
        {"client": "192.0.2.11:0/1407434398"}
        """
        return {}

    @abstractmethod
    def connect_volume(self, data: Mapping[str, Any], known: str, remember: Callable[[str], None]) -> str:
        """Make the device of a volume appear, and return it (``/dev/loop3``, or ``NO_DEVICE``).

        ``known`` is the device that an earlier, interrupted call remembered (or ``""``); if it is this
        volume's, it is used. ``remember`` must be called with the device, *before* it comes into being
        if its name is known by then::

            >>> data = {"path": "/srv/pool/v1/disk", "size": 16777216}
            >>> connector.connect_volume(data, "", remember)
            '/dev/loop3'

        Raises WrongDevice, NodeUnfit, Refused, TimedOut.
        """

    @abstractmethod
    def disconnect_volume(
        self, kept: Mapping[str, str], device: str, identity: Sequence[tuple[str, str]]
    ) -> None:
        """Flush this volume's device and make it disappear.

        ``kept`` are the ``KEEP`` of the connection. A device that is not that ``identity`` (any more)
        belongs to somebody else, and is left alone::

            >>> kept, identity = {"path": "/srv/pool/v1/disk"}, [("/sys/block/loop3/diskseq", "17")]
            >>> connector.disconnect_volume(kept, "/dev/loop3", identity)

        Raises DeviceBusy, and leaves the device usable then.
        """

    def cleanup_connection(self, kept: Mapping[str, str]) -> None:  # noqa: B027
        """Undo what else ``connect_volume`` did, when there is no device (any more) to disconnect.

        For connectors that make more than a device: a session with the storage, say. Raises DeviceBusy.
        """

    def abandon(self, kept: Mapping[str, str], device: str) -> bool:
        """Give up a device that is in use, since its storage serves this node no more.

        What waits for the storage then fails at once. Returns whether this was done: a device that may still
        answer is left alone, and nothing needs to be done where the waiting ends by itself.
        """
        return False

    @abstractmethod
    def is_volume(self, kept: Mapping[str, str], device: str) -> bool:
        """Whether ``device``, which an interrupted call remembered, came into being as this volume's."""

    @abstractmethod
    def extend_volume(self, data: Mapping[str, Any], device: str) -> None:
        """Return once the device has the size that ``data`` says. Raises WrongDevice, TimedOut."""

    @abstractmethod
    def is_connected(self, data: Mapping[str, Any], device: str) -> bool:
        """Whether ``device`` is this volume, of the size that ``data`` says, and answers a read."""

    @abstractmethod
    def identity(self, device: str) -> list[tuple[str, str]]:
        """Files of sysfs, and what each contains as long as ``device`` is the one that was connected.

        It must tell the device from any other that has its name later, whether or not the storage is
        there. A warm attach compares it, and asks nothing else::

            [("/sys/block/loop3/diskseq", "17")]
        """

    def gone(self, device: str) -> list[tuple[str, str]]:
        """Files of sysfs, and what each ends with once the volume was deleted under ``device``.

        None where the kernel does not tell. A warm attach that finds one of them leaves the answer to the
        storage::

            [("/sys/block/loop3/loop/backing_file", " (deleted)")]
        """
        return []

    @abstractmethod
    def is_coherent(self, device: str) -> bool:
        """Whether two nodes that have the device open see the same data."""

    @abstractmethod
    def flush(self, device: str) -> None:
        """Write what this node still caches of the device to the storage."""

    @abstractmethod
    def invalidate(self, kept: Mapping[str, str], device: str) -> None:
        """Forget what this node caches of the device, since another node may have written."""

    @abstractmethod
    def users(self, kept: Mapping[str, str], device: str) -> list[str]:
        """What on this node has the device open, or the volume without it (a file, by its path).

            >>> connector.users({"path": "/srv/pool/v1/disk"}, "/dev/loop3")
            ['qemu-system-x86 (process 123)', 'mounted on /mnt']

        Asks no storage.
        """
