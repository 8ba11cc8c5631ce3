# SPDX-License-Identifier: Apache-2.0
"""``verify --report``: what ``gnt-storage diagnose`` wants to know of a provider on this node, as JSON.

It is told by the node's own version of the library, so that nodes of different versions can be compared.
The document, version 1::

    {"version": 1, "suite": "0.1.0", "library": "/usr/share/ganeti-extstorage", "backend": "file",
     "connector": "loop", "configured": true, "problem": "",
     "pools": {"gold": {"uuid": "2f2df27f-...", "options": {"directory": "/srv/gold"},
                        "secrets": {"password_file": ["/etc/...", "0600", 0, "9f86d081..."]}}},
     "checks": [["pool", "gold", ""], ["filesystem", "gold", "the filesystem of ... has no hard links"]]}

``problem`` is why there is nothing else. A secret is told as its file's path, mode and owner and a keyed
digest of its content: the key, the first line of standard input, is new each time, so the digests tell
whether two nodes have the same secret and nothing more. A check is its name, its pool (``""``: the node
itself) and what is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys

from extstorage_common import __version__, provider, verify, worker
from extstorage_common.config import SecretFile
from extstorage_common.errors import ExtStorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from extstorage_common.config import Option, Pool
    from extstorage_common.deadline import Deadline
    from extstorage_common.provider import Provider
    from extstorage_common.worker import Asking, Work


def run(name: str, real_directory: str) -> list[str]:
    """The document, as the lines for stdout."""
    key = sys.stdin.buffer.readline().strip()
    library = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    document: dict[str, Any] = {"version": 1, "suite": __version__, "library": library, "problem": ""}
    try:
        document |= _of_provider(provider.load(name, real_directory), key)
    except ExtStorageError as error:
        document["problem"] = str(error)
    return [json.dumps(document)]


def _of_provider(loaded: Provider, key: bytes) -> dict[str, Any]:
    backend, configuration = loaded.backend, loaded.configuration
    told: dict[str, Any] = {
        "backend": backend.NAME,
        "connector": backend.CONNECTOR,
        "configured": not configuration.is_absent,
        "pools": {},
        "checks": [],
    }
    if configuration.pool_names():
        told["checks"] += _results(verify.node_checks(loaded), "")
    for name in configuration.pool_names():
        try:
            pool = loaded.pool(name)
            told["pools"][name] = {"uuid": "", **_options(pool, loaded.table, key)}
            uuid, *checks = worker.run(_looking_at(loaded, pool), loaded.name, pool["timeout"])
            told["pools"][name]["uuid"] = uuid
            told["checks"] += [json.loads(check) for check in checks]
        except ExtStorageError as error:
            told["checks"].append(["pool", name, str(error)])
    return told


def _looking_at(loaded: Provider, pool: Pool) -> Work:
    """Work that looks at one pool: its UUID (empty if it does not say), then a line a check."""

    def work(deadline: Deadline, asking: Asking) -> list[str]:
        asking(pool.name)
        backend = loaded.open_pool(pool, deadline)
        try:
            uuid = backend.pool_uuid()
        except ExtStorageError:
            uuid = ""  # one of the checks says why
        return [uuid, *(json.dumps(result) for result in _results(backend.checks(), pool.name))]

    return work


def _results(checks: Any, pool: str) -> list[list[str]]:
    results = []
    for name, check in checks:
        try:
            check()
            results.append([name, pool, ""])
        except ExtStorageError as error:
            results.append([name, pool, str(error)])
    return results


def _options(pool: Pool, table: Sequence[Option], key: bytes) -> dict[str, Any]:
    options = {}
    secrets = {}
    for option in table:
        value = pool[option.name]
        if not isinstance(option.kind, SecretFile):
            options[option.name] = list(value) if isinstance(value, tuple) else value
        elif value is not None:
            options[option.name] = value
            secrets[option.name] = [value, *_secret(value, key)]
    return {"options": options, "secrets": secrets}


def _secret(file: str, key: bytes) -> tuple[str, int, str]:
    """A secret file's mode, owner and keyed digest; empty ones if it can't be read."""
    try:
        with open(file, "rb") as stream:
            status = os.fstat(stream.fileno())
            digest = hmac.new(key, stream.read(1 << 16), hashlib.sha256).hexdigest()
    except OSError:
        return "", -1, ""
    return f"{status.st_mode & 0o7777:04o}", status.st_uid, digest
