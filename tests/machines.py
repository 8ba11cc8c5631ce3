# SPDX-License-Identifier: Apache-2.0
"""What tests make on this machine: processes with a mark, by which they are found and ended.

A mark is a variable in the environment (``NAME=value``). Nothing relies on a list that somebody kept: the
kernel is asked. A process is ended through a pidfd, so that one that has taken over its number is never hit.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import select
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SECONDS = 60  # how long anything may take to go away


class MachineError(Exception):
    """Something can't be made or ended; says why."""


class CommandFailed(MachineError):
    """A command in a node failed; the message shows all that it wrote, ``done`` is its result."""

    def __init__(self, node: str, done: subprocess.CompletedProcess[str]) -> None:
        command = done.args if isinstance(done.args, str) else shlex.join(done.args)
        super().__init__(f"{node}: {command}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        self.done = done


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Return once ``condition`` is true. Raises MachineError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise MachineError(f"it did not come to pass within {seconds:.0f} s")
        time.sleep(0.01)


def environment(mark: str) -> dict[str, str]:
    """An environment with ``mark``, and else nothing of ours."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    name, _, value = mark.partition("=")
    return {"PATH": path, "LC_ALL": "C.UTF-8", "HOME": "/root", name: value}


def processes(*marks: str) -> list[int]:
    """The processes that have all these marks."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and is_marked(int(name), *marks)]


def is_marked(pid: int, *marks: str) -> bool:
    """Whether the process has all these marks."""
    return {mark.encode() for mark in marks} <= set(_variables(pid))


def value(pid: int, name: str) -> str:
    """The value of a variable in a process's environment; empty if it has none."""
    found = (text for text in _variables(pid) if text.startswith(name.encode() + b"="))
    return next(found, b"").decode().partition("=")[2]


def _variables(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended
        return []


def end(pid: int, mark: str) -> None:
    """SIGKILL the process ``pid`` and wait for its end; one that has not the ``mark`` is left alone.

    The first process of a pid namespace ends after all others in there.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if is_marked(pid, mark):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], SECONDS)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def end_all(mark: str) -> None:
    """End all processes with the mark. Raises MachineError naming those that stay."""
    deadline = time.monotonic() + SECONDS
    while found := processes(mark):
        if time.monotonic() > deadline:
            raise MachineError(f"processes do not end: {found}")
        for pid in found:
            end(pid, mark)


def spawn(
    command: Sequence[str], mark: str, own_mark: str, stdin: int | IO[bytes] = subprocess.DEVNULL
) -> tuple[subprocess.Popen[str], int]:
    """Start ``command``; returns its process and the process number that it prints on its first line.

    It has succeeded when the process of that number has ``own_mark`` too, and raises MachineError with what
    the command wrote if that does not come. It gets a session of its own: an interrupt from the keyboard
    must reach this program alone, which then ends everything in order.
    """
    process = subprocess.Popen(
        command, env=environment(mark), start_new_session=True, text=True,
        stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout
    with process.stdout as output:
        written = output.readline()
        while written.strip().isdigit() and process.poll() is None:
            if is_marked(int(written), mark, own_mark):
                return process, int(written)
            time.sleep(0.001)
        raise MachineError(f"{command[0]}: {written}{output.read()}")


def lock(name: str) -> socket.socket | None:
    """A lock that leaves no file and goes with this program (an abstract socket); None if it is taken."""
    taken = socket.socket(socket.AF_UNIX)
    try:
        taken.bind("\0" + hashlib.sha256(name.encode()).hexdigest())
    except OSError:
        taken.close()
        return None
    return taken


def free_port() -> int:
    """A TCP port for a server on loopback that this program starts, and perhaps starts again.

    None that the kernel gives to who asks for any (32768 and up, ip(7)), that Ceph's daemons get, or that
    another program of ours has got.
    """
    for port in random.sample(range(30_000, 32_700), 1000):
        if (ours := lock(f"port {port}")) is None:
            continue
        with socket.socket() as free, contextlib.suppress(OSError):
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("", port))
            _PORTS.append(ours)
            return port
        ours.close()
    raise MachineError("no port is free")


_PORTS: list[socket.socket] = []


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep SIGINT and SIGTERM waiting."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
