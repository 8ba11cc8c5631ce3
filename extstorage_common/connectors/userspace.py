# SPDX-License-Identifier: Apache-2.0
"""Volumes that only hypervisors reach, by a URI: there is nothing on the node to be made or taken away."""

from __future__ import annotations

from extstorage_common.connectors.base import NO_DEVICE, Connector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


class UserspaceConnector(Connector):
    """No device. Ganeti can use such a volume only where its disk has ``access=userspace``."""

    NAME = "userspace"
    KEEP = ()

    @classmethod
    def validate_connector(cls) -> None:
        """Any node will do; which URIs it can use is its hypervisor's business."""

    def get_connector_properties(self) -> dict[str, str]:
        return {}

    def connect_volume(self, data: Mapping[str, Any], known: str, remember: Callable[[str], None]) -> str:
        return NO_DEVICE

    def disconnect_volume(
        self, kept: Mapping[str, str], device: str, identity: Sequence[tuple[str, str]]
    ) -> None:
        """A hypervisor that still has the volume open keeps it open."""

    def is_volume(self, kept: Mapping[str, str], device: str) -> bool:
        return True

    def extend_volume(self, data: Mapping[str, Any], device: str) -> None:
        """The hypervisor is told by Ganeti."""

    def is_connected(self, data: Mapping[str, Any], device: str) -> bool:
        return True

    def identity(self, device: str) -> list[tuple[str, str]]:
        return []

    def is_coherent(self, device: str) -> bool:
        return True

    def flush(self, device: str) -> None:
        """Nothing is cached on the node but by the hypervisor."""

    def invalidate(self, kept: Mapping[str, str], device: str) -> None:
        """Nothing is cached on the node but by the hypervisor."""

    def users(self, kept: Mapping[str, str], device: str) -> list[str]:
        return []


CONNECTOR = UserspaceConnector
