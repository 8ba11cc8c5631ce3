# SPDX-License-Identifier: Apache-2.0
"""The backends: one module a kind of storage, named as the backend."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.backends.base import Backend

NAMES = ("file",)


def load(name: str) -> type[Backend]:
    """The backend of this name (one of ``NAMES``). Only its own module is imported."""
    module = __import__(f"{__name__}.{name}", fromlist=["BACKEND"])
    backend: type[Backend] = module.BACKEND
    return backend
