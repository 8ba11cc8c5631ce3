# SPDX-License-Identifier: Apache-2.0
"""The backends: one module a kind of storage, named as the backend."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.backends.base import Backend
    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline

NAMES = ("file", "lvm", "rbd", "comstar", "lefthand", "solidfire")

BULK_ACTIONS = ("create", "grow", "remove", "snapshot")


def load(name: str) -> type[Backend]:
    """The backend of this name (one of ``NAMES``). Only its own module is imported."""
    module = __import__(f"{__name__}.{name}", fromlist=["BACKEND"])
    backend: type[Backend] = module.BACKEND
    return backend


def open_pool(backend: type[Backend], pool: Pool, node: str, deadline: Deadline) -> Backend:
    """The pool's backend, for one call of ``node``: here, or by way of the pool's controller."""
    if not is_remote(pool, node):
        return backend(pool, node, deadline)
    from extstorage_common.backends.remote import RemoteBackend

    return RemoteBackend(backend, pool, node, deadline)


def is_remote(pool: Pool, node: str) -> bool:
    """Whether the pool has a controller that is not this node itself."""
    return pool["controller"] not in (None, node)


def is_bulk(backend: type[Backend], action: str, pool: Pool) -> bool:
    """Whether a call may copy or write a whole volume; a controller knows that, and bounds its own part."""
    if pool["controller"] is not None and action in BULK_ACTIONS:
        return True
    return backend.is_bulk(action, pool)
