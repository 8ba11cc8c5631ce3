# SPDX-License-Identifier: Apache-2.0
"""A storage's C library, loaded by a thread while Python imports its modules.

Ceph's takes as long as all modules that a call needs. Python's own way to load one keeps all threads waiting,
a function that is called by way of ``ctypes`` does not: so dlopen(3) is called, for its effect only. Whoever
imports the storage's Python package finds the library loaded, or says why it can't be.
"""

from __future__ import annotations

import _thread

BY_BACKEND = {"rbd": b"librbd.so.1"}
RTLD_NOW = 2

_loaded = _thread.allocate_lock()


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
