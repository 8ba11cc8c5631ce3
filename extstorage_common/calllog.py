# SPDX-License-Identifier: Apache-2.0
"""One line a call in ``/var/log/ganeti-extstorage/<provider>.log``, of scripts and of a controller."""

from __future__ import annotations

import os
import time

from extstorage_common import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def write(provider: str, words: Sequence[str], status: int, seconds: float, sentence: str) -> None:
    """Write a line: the time, ``words`` (node, action, volume, pool), how it ended."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = f"{' '.join([when, *words])} status={status} seconds={seconds:.3f} {sentence}".rstrip() + "\n"
    _append(f"{provider}.log", line, 0o640)


def transcript(provider: str, text: str, secrets: Sequence[str] = ()) -> None:
    """Add what was said to a storage to ``<provider>.transcript.log``, for root alone, without secrets."""
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    _append(f"{provider}.transcript.log", f"{when} {text}\n", 0o600)


def _append(name: str, line: str, mode: int) -> None:
    """Append to a file of the log directory; a log that can't be written never fails a call."""
    directory = paths.log_dir()
    try:
        os.makedirs(directory, mode=0o750, exist_ok=True)
        path = os.path.join(directory, name)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
        try:
            os.write(fd, line.encode("utf-8", "backslashreplace"))
        finally:
            os.close(fd)
    except OSError:
        pass
