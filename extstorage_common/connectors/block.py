# SPDX-License-Identifier: Apache-2.0
"""What connectors have in common whose device is a block device that shows the storage's present content."""

from __future__ import annotations

from extstorage_common import blockdevices
from extstorage_common.connectors.base import Connector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class BlockConnector(Connector):
    """A block device, of which this kernel caches nothing but what it can drop."""

    def is_coherent(self, device: str) -> bool:
        return True

    def flush(self, device: str) -> None:
        blockdevices.flush(device)

    def invalidate(self, kept: Mapping[str, str], device: str) -> None:
        blockdevices.drop_cache(device)

    def users(self, kept: Mapping[str, str], device: str) -> list[str]:
        return blockdevices.users(device) if device else []
