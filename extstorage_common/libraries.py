# SPDX-License-Identifier: Apache-2.0
"""The libraries that a storage needs: Python modules of Debian's packages, and Ceph's C library in good time.

The C library takes as long to load as all modules that a call needs. Python's own way to load it keeps all
threads waiting, a function that is called by way of ``ctypes`` does not: so a thread calls dlopen(3), for its
effect only, while Python imports modules. Whoever imports the storage's Python module finds the library
loaded, or says why it can't be.
"""

from __future__ import annotations

import _thread
import sys

from extstorage_common.errors import NodeUnfit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIST_PACKAGES = "/usr/lib/python3/dist-packages"
BY_BACKEND = {"rbd": b"librbd.so.1"}
RTLD_NOW = 2

_loaded = _thread.allocate_lock()


def python_module(name: str, package: str, imports_later: bool = False) -> Any:
    """The module ``name``, which Debian's ``package`` brings. Raises NodeUnfit.

    The door runs Python without any directory of packages. Debian's is added for this import alone, since
    every later one would search it; it stays for a module that ``imports_later`` what it needs.
    """
    if name in sys.modules:
        return sys.modules[name]
    was_there = DIST_PACKAGES in sys.path
    if not was_there:
        sys.path.append(DIST_PACKAGES)
    try:
        return __import__(name)
    except ModuleNotFoundError:
        raise NodeUnfit(reason=f"Python can't import {name}; install it: apt install {package}") from None
    finally:
        if not (was_there or imports_later):
            sys.path.remove(DIST_PACKAGES)


def start(backend: str) -> None:
    """Begin to load what this backend will need, if it is one that needs much."""
    library = BY_BACKEND.get(backend)
    if library is None or not _loaded.acquire(blocking=False):
        return
    import ctypes

    dlopen = ctypes.CDLL(None).dlopen

    def load() -> None:
        dlopen(library, RTLD_NOW)
        _loaded.release()

    _thread.start_new_thread(load, ())


def wait() -> None:
    """Return when it is loaded: to be called before a fork, which takes no thread along."""
    with _loaded:
        pass
