# SPDX-License-Identifier: Apache-2.0
"""Commands in a node: to its agent (guest/agent.py) through the network of the lab, a connection a command.

A request is a line of JSON (``command``: a list of words, or a string for the shell; ``input``: how many
bytes follow), the answer too (``status``, ``stdout`` and ``stderr``: how many bytes follow of each).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import tty
from typing import TYPE_CHECKING

from tests.machines import MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PORT = 999
CONNECT_SECONDS = 20
CLONE_NEWNET = 0x40000000


class Channel:
    """The way to the agent at ``address`` in a network namespace, as long as the process ``pid`` lives."""

    def __init__(self, network: Path, address: str, pid: int) -> None:
        self.network = network
        self.address = address
        self.pid = pid

    def run(
        self, command: str | Sequence[str], data: bytes, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Raises subprocess.TimeoutExpired, and MachineError if the node dies."""
        answer = _Answer(self, command, time.monotonic() + timeout, timeout)
        words = command if isinstance(command, str) else list(command)
        with self._connect() as answer.connection:
            answer.send(json.dumps({"command": words, "input": len(data)}).encode() + b"\n" + data)
            fields = json.loads(answer.line())
            stdout, stderr = (
                answer.read(fields[part]).decode(errors="replace") for part in ("stdout", "stderr")
            )
        return subprocess.CompletedProcess(words, fields["status"], stdout, stderr)

    def terminal(self, command: Sequence[str]) -> None:
        """Run a command on this program's terminal; returns when it ends."""
        columns, rows = shutil.get_terminal_size()
        options = {"rows": rows, "columns": columns, "type": os.environ.get("TERM", "dumb")}
        before = termios.tcgetattr(sys.stdin)
        with self._connect() as connection:
            connection.sendall(json.dumps({"command": list(command), "terminal": options}).encode() + b"\n")
            try:
                tty.setraw(sys.stdin)
                _relay(connection)
            finally:
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)

    def _connect(self) -> socket.socket:
        """Tried again where nobody seems to have the address: the node may not have had its turn."""
        deadline = time.monotonic() + CONNECT_SECONDS
        while True:
            connection = socket_in(self.network)
            connection.settimeout(CONNECT_SECONDS)
            try:
                connection.connect((self.address, PORT))
            except OSError as error:
                connection.close()
                is_alive = os.path.exists(f"/proc/{self.pid}")
                if error.errno != errno.EHOSTUNREACH or not is_alive or time.monotonic() > deadline:
                    raise MachineError(f"{self.address} does not answer: {error}") from None
            else:
                connection.setblocking(False)
                return connection


class _Answer:
    """What comes from the agent, until the deadline, or until the node dies."""

    connection: socket.socket

    def __init__(
        self, channel: Channel, command: str | Sequence[str], deadline: float, timeout: float
    ) -> None:
        self.channel = channel
        self.command = command
        self.deadline = deadline
        self.timeout = timeout
        self.buffer = b""

    def send(self, data: bytes) -> None:
        """Send all of it; an agent that answers early (the command did not want the input) is heard."""
        view = memoryview(data)
        while view:
            self._wait(write=True)
            view = view[self.connection.send(view) :]

    def line(self) -> bytes:
        while b"\n" not in self.buffer:
            self._more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def read(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def _more(self) -> None:
        self._wait()
        data = self.connection.recv(1 << 20)
        if not data:
            raise MachineError(f"{self.channel.address}: the agent is gone")
        self.buffer += data

    def _wait(self, write: bool = False) -> None:
        node = os.pidfd_open(self.channel.pid)
        try:
            left = self.deadline - time.monotonic()
            mine = self.connection.fileno()
            reading, writing = ([node], [mine]) if write else ([node, mine], [])
            ready = select.select(reading, writing, [], max(left, 0))
        finally:
            os.close(node)
        if node in ready[0]:
            raise MachineError(f"{self.channel.address}: the node died during {self.command}")
        if not any(ready):
            raise subprocess.TimeoutExpired(self.command, self.timeout)


def _relay(connection: socket.socket) -> None:
    """Pass on what comes from the terminal and from the connection, until this ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        for source in select.select([0, connection.fileno()], [], [])[0]:
            if source == 0:
                connection.sendall(os.read(0, 1 << 16))
            else:
                data = connection.recv(1 << 16)
                if not data:
                    return
                os.write(1, data)


def socket_in(network: Path) -> socket.socket:
    """A TCP socket in a network namespace: a thread goes there to make it, and ends."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        try:
            with network.open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                made.append(socket.socket())
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise MachineError(f"{network}: {made[0]}")
    return made[0]
