# SPDX-License-Identifier: Apache-2.0
"""A real SSH server in front of a modelled appliance: one command a channel, faults on demand."""

from __future__ import annotations

import asyncio
import hmac
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh

from tests.appliances.model import Answer

if TYPE_CHECKING:
    import argparse

    from tests.appliances.model import ShellModel

METHODS = ("password", "keyboard-interactive", "publickey")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be said of the server."""
    parser.add_argument("--user", default="admin", help="who may log in (default: %(default)s)")
    parser.add_argument("--password", default="secret", help="with which password (default: %(default)s)")
    parser.add_argument("--authorized-keys", help="a file with the public keys that may log in")
    parser.add_argument("--host-key", type=Path, help="a file with the private host key (default: a new one)")
    parser.add_argument(
        "--methods", default=",".join(METHODS), help="ways to log in that are offered (default: %(default)s)"
    )


class Server(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, model: ShellModel, options: argparse.Namespace) -> None:
        self.model = model
        self.options = options
        self.methods = options.methods.split(",")
        self.connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Count it."""
        self.connection = conn
        with self.model.lock:
            self.model.connections += 1
            hangs_up = self.model.faults.take("hang-up", "connect")
        if hangs_up:
            conn.abort()

    async def begin_auth(self, username: str) -> bool:
        """Everybody must log in."""
        with self.model.lock:
            hangs_up, hangs = (self.model.faults.take(kind, "login") for kind in ("hang-up", "hang"))
        if hangs_up and self.connection:
            self.connection.abort()
        if hangs:
            await asyncio.Event().wait()
        if self.connection and self.options.authorized_keys and username == self.options.user:
            self.connection.set_authorized_keys(asyncssh.read_authorized_keys(self.options.authorized_keys))
        return True

    def public_key_auth_supported(self) -> bool:
        """Whether keys are taken."""
        return "publickey" in self.methods

    def password_auth_supported(self) -> bool:
        """Whether a password is taken."""
        return "password" in self.methods

    def kbdint_auth_supported(self) -> bool:
        """Whether questions are asked."""
        return "keyboard-interactive" in self.methods

    def validate_password(self, username: str, password: str) -> bool:
        """Whether this is the user and the password."""
        return self._is_user(username) and hmac.compare_digest(password, self.options.password)

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        """The one question that arrays ask."""
        return "", "", "", [("Password: ", False)]

    def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        """Whether the answer is the password."""
        return len(responses) == 1 and self.validate_password(username, responses[0])

    def _is_user(self, name: str) -> bool:
        return hmac.compare_digest(name, self.options.user)


async def serve(model: ShellModel, options: argparse.Namespace, address: str, port: int) -> Any:
    """Listen; returns the server, an asyncio server."""

    async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
        try:
            await _handle(model, process)
        except (BrokenPipeError, ConnectionError):
            pass

    return await asyncssh.create_server(
        lambda: Server(model, options), address, port,
        server_host_keys=[str(options.host_key)], process_factory=handle, encoding=None, line_editor=False,
    )  # fmt: skip


def public_key(path: Path) -> str:
    """The public half of a host key, as a line of ``known_hosts`` has it after the name."""
    words = asyncssh.read_private_key(str(path)).export_public_key().decode().split()
    return " ".join(words[:2])


def make_host_key(path: Path) -> None:
    """Make a private host key in a file."""
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(path))


async def _handle(model: ShellModel, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run the command of one channel, and let happen what shall go wrong."""
    line = process.command or ""
    connection = process.channel.get_connection()
    with model.lock:
        model.requests.append(line)
        faults = {kind: model.faults.take(kind, line) for kind in
                  ("latency", "drop", "cut", "hang", "no-status", "noise", "flood", "reply")}  # fmt: skip
    if fault := faults["latency"]:
        await asyncio.sleep(fault.value)
    if faults["drop"]:
        connection.abort()
        return
    if faults["hang"]:
        await process.wait_closed()
        return
    user = connection.get_extra_info("username")
    stdin = await process.stdin.read() if model.READS_INPUT else b""
    if fault := faults["reply"]:
        answer = Answer(**fault.value)
    else:
        answer = await asyncio.get_running_loop().run_in_executor(None, _execute, model, user, line, stdin)
    if faults["cut"]:
        connection.abort()
        return
    if fault := faults["flood"]:
        for _ in range(fault.value // 8000):
            process.stderr.write((b"x" * 79 + b"\n") * 100)
            await process.stderr.drain()
    if fault := faults["noise"]:
        process.stdout.write(fault.value.encode())
    process.stdout.write(answer.stdout.encode())
    process.stderr.write(answer.stderr.encode())
    if answer.status is None or faults["no-status"]:
        process.close()
    else:
        process.exit(answer.status)


def _execute(model: ShellModel, user: str, line: str, stdin: bytes) -> Answer:
    with model.lock:
        return model.execute_with_input(user, line, stdin)
