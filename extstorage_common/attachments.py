# SPDX-License-Identifier: Apache-2.0
"""What this node knows of the volumes that it is connected to: one record a volume, under /run.

A record is written *before* the step it announces, so that after a kill at any point the next
``attach`` or ``detach`` knows what may be there. The door reads records too, without this module:
see ``door`` for what it looks at.
"""

from __future__ import annotations

import os

from extstorage_common import blockdevices, paths, records
from extstorage_common.connectors.base import NO_DEVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TITLE = "attachment 1"
ATTACHING = "attaching"
ATTACHED = "attached"
DETACHING = "detaching"


class Attachment:
    """One volume on this node.

    - ``device`` is the kernel's device (``/dev/loop3``), ``""`` while there is none.
    - ``identity`` are files of sysfs, each with what it contains as long as the device is the one that was
      made for this attachment; none while connecting.
    - ``gone`` are files of sysfs, each with what it ends with once the volume was deleted under the device.
    - ``uris`` are for hypervisors that open the volume themselves.
    - ``kept`` is what the connector needs to disconnect; never a secret.
    """

    def __init__(
        self,
        volume: str,
        provider: str,
        pool: str,
        state: str,
        connector: str,
        device: str = "",
        identity: Sequence[tuple[str, str]] = (),
        gone: Sequence[tuple[str, str]] = (),
        uris: Sequence[str] = (),
        kept: dict[str, str] | None = None,
    ) -> None:
        self.volume = volume
        self.provider = provider
        self.pool = pool
        self.state = state
        self.connector = connector
        self.device = device
        self.identity = list(identity)
        self.gone = list(gone)
        self.uris = list(uris)
        self.kept = kept or {}

    @property
    def link(self) -> str:
        """The stable link to the device that ``attach`` prints; ``""`` where there is no device."""
        return "" if self.device == NO_DEVICE else os.path.join(paths.device_dir(), self.volume)

    def is_bound(self) -> bool:
        """Whether the device is still the one that was made for this attachment; asks no storage."""
        return bool(self.device) and blockdevices.is_unchanged(self.identity)

    def is_here(self) -> bool:
        """Whether it is bound, and its volume was not deleted under it."""
        return self.is_bound() and not any(
            blockdevices.content(file).endswith(end) for file, end in self.gone
        )

    def save(self) -> None:
        """Write the record; make the link if attached, remove it if there is no device."""
        os.makedirs(_directory(), mode=0o700, exist_ok=True)
        if self.state == ATTACHED and self.link:
            self._make_link()
        if not self.device:
            records.unlink_if_there(self.link)
        records.write(_path(self.volume), self._record(), durable=False)

    def forget(self) -> None:
        """Remove the link and the record."""
        records.unlink_if_there(self.link)
        records.unlink_if_there(_path(self.volume))

    def _record(self) -> records.Record:
        lines = [
            ("state", self.state),
            ("provider", self.provider),
            ("volume", self.volume),
            ("pool", self.pool),
            ("connector", self.connector),
            ("link", self.link),
            ("device", self.device),
        ]
        lines += [("identity", f"{file} {expected}") for file, expected in self.identity]
        lines += [("gone", f"{file} {end}") for file, end in self.gone]
        lines += [("uri", uri) for uri in self.uris]
        lines += [("kept", f"{key} {value}") for key, value in self.kept.items()]
        return records.Record(TITLE, lines)

    def _make_link(self) -> None:
        os.makedirs(os.path.dirname(self.link), mode=0o755, exist_ok=True)
        temporary = os.path.join(os.path.dirname(self.link), "." + self.volume)
        records.unlink_if_there(temporary)
        os.symlink(self.device, temporary)
        os.rename(temporary, self.link)


def load(volume: str) -> Attachment | None:
    """This node's record of a volume, if there is one. Raises BadRecord."""
    try:
        record = records.read(_path(volume), TITLE)
    except FileNotFoundError:
        return None
    return Attachment(
        volume,
        record.get("provider"),
        record.get("pool"),
        record.get("state"),
        record.get("connector"),
        record.get("device"),
        [_pair(value) for value in record.all("identity")],
        [_pair(value) for value in record.all("gone")],
        record.all("uri"),
        dict(_pair(value) for value in record.all("kept")),
    )


def _pair(text: str) -> tuple[str, str]:
    first, _, second = text.partition(" ")
    return first, second


def _directory() -> str:
    return os.path.join(paths.run_dir(), "attachments")


def _path(volume: str) -> str:
    return os.path.join(_directory(), volume)
