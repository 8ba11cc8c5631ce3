# SPDX-License-Identifier: Apache-2.0
"""Commands of this machine: run with an environment of ours, bounded by the deadline."""

from __future__ import annotations

import os
import select

from extstorage_common.errors import NodeUnfit, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extstorage_common.deadline import Deadline

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
SIGTERM, SIGKILL = 15, 9
IGNORED_BY_PYTHON = (13, 25)
"""SIGPIPE and SIGXFSZ, which commands expect to find at their defaults."""
GRACE = 2.0
"""Seconds that a command gets to end by itself when it is told to."""


class Ended:
    """How a command ended: its exit status and what it said."""

    def __init__(self, status: int, stdout: bytes, stderr: bytes) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr

    @property
    def reason(self) -> str:
        """Its complaint, or else its status, in words."""
        lines = [line.strip() for line in self.stderr.decode(errors="backslashreplace").splitlines()]
        return "; ".join(line for line in lines if line) or self.ending

    @property
    def ending(self) -> str:
        """Its status, in words."""
        return f"ended by signal {-self.status}" if self.status < 0 else f"exit status {self.status}"


def run(
    command: Sequence[str],
    deadline: Deadline,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a command to its end; it inherits no descriptor. Raises NodeUnfit (not installed), TimedOut.

    What it reads and writes are files in memory, so a daemon that it leaves behind keeps nobody waiting.
    (Importing subprocess would cost as much as starting the interpreter.)
    """
    streams = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    try:
        os.pwrite(streams[0], stdin, 0)
        process = _start(command, streams, {**ENVIRONMENT, **(environment or {})})
        if not _ends(process, deadline.left()):
            _end(process)
            raise TimedOut(seconds=deadline.seconds, doing=f"running {' '.join(command[:2])}")
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        return Ended(status, _content(streams[1]), _content(streams[2]))
    finally:
        for fd in streams:
            os.close(fd)


def is_installed(name: str) -> bool:
    """Whether there is a command of this name."""
    try:
        return bool(_program(name))
    except FileNotFoundError:
        return False


def _start(command: Sequence[str], streams: Sequence[int], environment: Mapping[str, str]) -> int:
    """Start a command as the leader of a session of its own; returns its process."""
    actions: list[tuple[int, ...]] = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)]
    actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable()]
    try:
        return os.posix_spawn(
            _program(command[0]),
            list(command),
            environment,
            file_actions=actions,
            setsid=True,
            setsigdef=IGNORED_BY_PYTHON,
        )
    except FileNotFoundError:
        raise NodeUnfit(reason=f"{command[0]} is not installed") from None


def _program(name: str) -> str:
    """The file of a command, by a ``PATH`` of ours whatever the caller's is. Raises FileNotFoundError."""
    if "/" in name:
        return name
    for directory in ENVIRONMENT["PATH"].split(":"):
        path = f"{directory}/{name}"
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(name)


def _inheritable() -> list[int]:
    """Descriptors that this process got from its own caller; those that Python opens are not inherited."""
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if fd > 2 and os.get_inheritable(fd):
                found.append(fd)
        except OSError:  # the directory's own
            continue
    return found


def _ends(process: int, seconds: float) -> bool:
    """Whether a process ends within this time."""
    ended = os.pidfd_open(process)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(ended)


def _end(process: int) -> None:
    """Ask the command to end, then force it; one that sleeps in the kernel is left behind."""
    for signal in (SIGTERM, SIGKILL):
        os.killpg(process, signal)
        if _ends(process, GRACE):
            os.waitpid(process, 0)
            return


def _content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)
