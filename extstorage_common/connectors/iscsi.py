# SPDX-License-Identifier: Apache-2.0
"""Disks over iSCSI: through one portal by our own small functions, through several by os-brick.

The connection decides: how many portals it has, or ``connector``, where it says ``os-brick``.
"""

from __future__ import annotations

from extstorage_common.connectors.iscsi_portal import PortalConnector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

OS_BRICK = "os-brick"


class IscsiConnector(PortalConnector):
    """A disk as ``/dev/sd<x>`` or, with several paths, as ``/dev/dm-<n>``."""

    NAME = "iscsi"

    def _way(self, data: Mapping[str, Any]) -> PortalConnector:
        """The connector for a connection, or for what was kept of one: of several portals, a text."""
        portals = data.get("target_portals", ())
        is_brick = isinstance(portals, str) or len(portals) > 1 or data.get("connector") == OS_BRICK
        return self._os_brick() if is_brick else PortalConnector(self.deadline)

    def _os_brick(self) -> PortalConnector:
        # Whoever has one portal does not pay for the import.
        from extstorage_common.connectors.os_brick import OsBrickConnector

        return OsBrickConnector(self.deadline)

    def kept(self, data: Mapping[str, Any]) -> dict[str, str]:
        return self._way(data).kept(data)

    def connect_volume(self, data: Mapping[str, Any], known: str, remember: Callable[[str], None]) -> str:
        return self._way(data).connect_volume(data, known, remember)

    def cleanup_connection(self, kept: Mapping[str, str]) -> None:
        self._way(kept).cleanup_connection(kept)

    def abandon(self, kept: Mapping[str, str], device: str) -> bool:
        return self._way(kept).abandon(kept, device)

    def is_volume(self, kept: Mapping[str, str], device: str) -> bool:
        return self._way(kept).is_volume(kept, device)

    def extend_volume(self, data: Mapping[str, Any], device: str) -> None:
        self._way(data).extend_volume(data, device)

    def is_connected(self, data: Mapping[str, Any], device: str) -> bool:
        return self._way(data).is_connected(data, device)

    def users(self, kept: Mapping[str, str], device: str) -> list[str]:
        return self._way(kept).users(kept, device)

    def identity(self, device: str) -> list[tuple[str, str]]:
        """A disk has a name of its own; else the device is a map."""
        return super().identity(device) or self._os_brick().identity(device)


CONNECTOR = IscsiConnector
