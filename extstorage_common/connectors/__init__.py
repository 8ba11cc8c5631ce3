# SPDX-License-Identifier: Apache-2.0
"""The connectors: one module a data path, named as the connection's ``driver_volume_type``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.connectors.base import Connector

NAMES = ("loop", "iscsi", "rbd", "rbd_nbd", "userspace", "os_brick")


def load(name: str) -> type[Connector]:
    """The connector of this name (one of ``NAMES``). Only its own module is imported."""
    module = __import__(f"{__name__}.{name}", fromlist=["CONNECTOR"])
    connector: type[Connector] = module.CONNECTOR
    return connector
