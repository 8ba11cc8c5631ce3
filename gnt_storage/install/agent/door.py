# SPDX-License-Identifier: Apache-2.0
"""The way in and out of the agent: an archive on standard input, an answer on standard output."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable
from typing import Any

from gnt_storage.install.agent.files import Change, Done, Entry, Tree
from gnt_storage.install.agent.installing import Installing
from gnt_storage.install.agent.node import NO_SPACE, REFUSED, Stop
from gnt_storage.install.agent.uninstalling import Uninstalling


def parts(archive: bytes) -> tuple[dict[str, Any], Tree, Tree]:
    """The request, the release's tree and the single files of an archive (see ``payload``)."""
    request: dict[str, Any] = {}
    trees: dict[str, Tree] = {"tree": {}, "root": {}}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            kind, _, path = member.name.partition("/")
            stream = tar.extractfile(member) if member.isfile() else None
            content = stream.read() if stream else os.fsencode(member.linkname)
            if kind in trees:
                trees[kind][path] = Entry(member.mode if stream else None, content)
            else:
                request = json.loads(content)
    return request, trees["tree"], trees["root"]


def work(archive: bytes, root: str) -> Done:
    """Do what the archive asks for below ``root``. Raises Stop, OSError."""
    request, tree, files = parts(archive)
    if request["action"] == "install":
        return Installing(root, request, tree, files).run()
    return Uninstalling(root, request).run()


def answer(do: Callable[[], Done]) -> dict[str, Any]:
    """What came of it: changed, unchanged, or failed with an exit status of the suite and a reason."""
    changes: list[Change] = []
    status = 0
    try:
        changes, reason = do()
    except Stop as stop:
        status, reason = stop.status, str(stop)
    except OSError as error:
        status = NO_SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else REFUSED
        reason = f"{error.filename or 'the file system'}: {error.strerror}"
    return {
        "result": "failed" if status else "changed" if changes else "unchanged",
        "status": status,
        "reason": reason,
        "changes": [change._asdict() for change in changes],
    }


def main() -> None:
    """Read an archive, do what it asks for, print what came of it."""
    os.umask(0o022)
    archive = sys.stdin.buffer.read()
    root = os.environ.get("EXTSTORAGE_ROOT", "/")
    print(json.dumps(answer(lambda: work(archive, root))))
