# SPDX-License-Identifier: Apache-2.0
"""One child process, started and awaited the way Ganeti's node daemon does it, but never for ever."""

from __future__ import annotations

import os
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RELEASE_GRACE = 3.0
"""Seconds after a process's end in which its children may still let go of its output."""

_TICK = 0.05


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    ``status`` is negative for a signal and None where the time limit had to end it. ``stdout`` holds
    both streams where they went into one log file. ``held``: after its end some other process still
    had its output open.
    """

    status: int | None
    stdout: str
    stderr: str
    held: bool
    seconds: float


class Unstarted:
    """A process that could not be started; it looks as a shell would report it."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def wait(self, limit: float) -> Ended:
        """What a shell would say."""
        return Ended(127, "", f"it can't be run: {self._reason}\n", False, 0.0)


class Process:
    """A process with an empty standard input, in a session of its own.

    With ``log`` both streams go into that file, without it into two pipes. The session is not
    Ganeti's way (there it is the node daemon's), but whoever interrupts the suite at a terminal must not kill
    a script half-way.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: str | None = None,
        umask: int = -1,
        log: str | None = None,
    ) -> None:
        """Start it. Raises OSError if it can't be run (no such file, not executable, no interpreter)."""
        self._log = log
        self._begun = time.monotonic()
        with open(log or os.devnull, "ab") as file:
            self._child = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=file if log else subprocess.PIPE,
                stderr=subprocess.STDOUT if log else subprocess.PIPE,
                env=dict(environment),
                cwd=directory,
                umask=umask,
                start_new_session=True,
            )
        assert self._child.stdin is not None
        self._child.stdin.close()

    def wait(self, limit: float) -> Ended:
        """Wait for the end, at most ``limit`` seconds from the start; then the whole session is killed."""
        if self._log is None:
            stdout, stderr, held = self._drain(limit)
        else:
            self._wait_until(limit)
        status = self._child.poll()
        if status is None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        if self._log is not None:
            with open(self._log, "rb") as file:
                stdout, stderr, held = file.read(), b"", False
        seconds = time.monotonic() - self._begun
        return Ended(status, _text(stdout), _text(stderr), held, seconds)

    def _wait_until(self, limit: float) -> None:
        """Wait for the process itself; its descriptor tells at once, where Popen.wait would poll."""
        if self._child.poll() is not None:
            return
        fd = os.pidfd_open(self._child.pid)
        try:
            select.select([fd], [], [], max(0.0, self._begun + limit - time.monotonic()))
        finally:
            os.close(fd)

    def _drain(self, limit: float) -> tuple[bytes, bytes, bool]:
        """Read both pipes to their end, or until the process is over and the grace has passed."""
        stdout, stderr = self._child.stdout, self._child.stderr
        assert stdout is not None and stderr is not None
        collected = {stdout: bytearray(), stderr: bytearray()}
        give_up = self._begun + limit
        ended = False
        with selectors.DefaultSelector() as selector, stdout, stderr:
            for stream in collected:
                selector.register(stream, selectors.EVENT_READ, stream)
            while selector.get_map() and time.monotonic() < give_up:
                for key, _ in selector.select(_TICK):
                    data = os.read(key.fd, 65536)
                    if data:
                        collected[key.data].extend(data)
                    else:
                        selector.unregister(key.fileobj)
                if not ended and self._child.poll() is not None:
                    ended, give_up = True, min(give_up, time.monotonic() + RELEASE_GRACE)
            held = bool(selector.get_map())
        if not held:
            self._wait_until(limit)
        return bytes(collected[stdout]), bytes(collected[stderr]), held


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
