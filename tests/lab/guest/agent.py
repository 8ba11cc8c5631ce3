# SPDX-License-Identifier: Apache-2.0
"""Runs commands in a node of the lab: one connection a command, see tests.lab.channel. agent.py ADDRESS."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from typing import Any

PORT = 999
ENVIRONMENT = {"HOME": "/root", "LC_ALL": "C.UTF-8", "TERM": "dumb", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def main(address: str) -> None:
    """Serve for ever."""
    os.environ.clear()
    with socket.create_server((address, PORT), backlog=64) as server:
        print("agent: ready", flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve(connection: socket.socket) -> None:
    """Run what one client asks for."""
    with connection, connection.makefile("rb") as stream:
        request = json.loads(stream.readline())
        words = request["command"]
        if isinstance(words, str):
            words = ["sh", "-c", words]
        if "stream" in request:
            Relay(connection, words).run(stream)
        elif "terminal" in request:
            terminal(connection, words, request["terminal"])
        else:
            connection.sendall(answer(connection, words, stream.read(request["input"])))


def answer(connection: socket.socket, words: list[str], data: bytes) -> bytes:
    """Run a command to its end; it is killed when the client goes away."""
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=ENVIRONMENT, cwd="/", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return head(status=127, stdout=0, stderr=len(str(error))) + str(error).encode()
    threading.Thread(target=watch, args=(connection, process), daemon=True).start()
    stdout, stderr = process.communicate(data)
    return head(status=process.returncode, stdout=len(stdout), stderr=len(stderr)) + stdout + stderr


class Relay:
    """A command whose input and output are passed on as they come (see tests/lab/remote)."""

    def __init__(self, connection: socket.socket, words: list[str]) -> None:
        self.connection = connection
        self.sending = threading.Lock()
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=ENVIRONMENT, cwd="/", start_new_session=True,
        )  # fmt: skip

    def run(self, stream: Any) -> None:
        """Return when the command has ended, and nobody has its output open any more."""
        pipes = (("stdout", self.process.stdout), ("stderr", self.process.stderr))
        threads = [threading.Thread(target=self.tell, args=pipe, daemon=True) for pipe in pipes]
        for thread in threads:
            thread.start()
        threading.Thread(target=self.feed, args=(stream,), daemon=True).start()
        for thread in threads:
            thread.join()
        self.connection.sendall(b"status %d\n" % self.process.wait())

    def tell(self, kind: str, pipe: Any) -> None:
        while data := os.read(pipe.fileno(), 1 << 16):
            with self.sending:
                self.connection.sendall(f"{kind} {len(data)}\n".encode() + data)

    def feed(self, stream: Any) -> None:
        """Pass the input on; the command is killed when the client goes away first."""
        assert self.process.stdin
        while line := stream.readline():
            try:
                self.process.stdin.write(stream.read(int(line)))
                self.process.stdin.flush()
                if int(line) == 0:
                    self.process.stdin.close()
            except BrokenPipeError:
                pass
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)


def head(**fields: int) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def watch(connection: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Kill the command if the client goes first."""
    try:
        connection.recv(1)
    except OSError:
        pass
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def terminal(connection: socket.socket, words: list[str], options: Any) -> None:
    """Run a command on a terminal of its own, and pass everything on in both directions."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir("/root")
        os.execvpe(words[0], words, {**ENVIRONMENT, "TERM": options["type"]})
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", options["rows"], options["columns"], 0, 0))
    ends = {master: connection.fileno(), connection.fileno(): master}
    try:
        while True:
            for source in select.select(list(ends), [], [])[0]:
                data = os.read(source, 1 << 16)
                if not data:
                    return
                os.write(ends[source], data)
    except OSError:  # the terminal's last user is gone
        pass
    finally:
        os.close(master)
        os.waitpid(pid, 0)


main(sys.argv[1])
