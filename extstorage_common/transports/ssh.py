# SPDX-License-Identifier: Apache-2.0
"""Commands of an appliance over SSH: one connection a call, made at the first command.

Arrays have SSH servers of their own making: some ask questions instead of taking a password, some send no
exit status, some write long answers to both streams, some print what nobody asked for. What a command line
means is known elsewhere; here it is text, and its answer an exit status, output and errors.
"""

from __future__ import annotations

import os
import select
import socket
import weakref

from extstorage_common import calllog, paths, secret_files
from extstorage_common.config import TRANSCRIPT, AbsolutePath, Host, Option, Port, SecretFile, User
from extstorage_common.errors import ConfigurationError, TimedOut, Unreachable
from extstorage_common.libraries import python_module
from extstorage_common.secret_files import BadSecret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Any

    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline

CONNECT_SECONDS = 15
PAUSES = (0.2, 0.6, 1.8)
"""Before another try where the server hung up, as a busy one does with some of those who come at once."""
CHUNK = 1 << 16


def options(port: int, user: str) -> tuple[Option, ...]:
    """The options of every pool on an appliance with SSH; ``port`` and ``user`` are its usual ones."""
    return (
        Option("address", Host(), None, "name or address of its management side"),
        Option("port", Port(), str(port), "the port of its SSH server"),
        Option("user", User(), user, "the user to log in as"),
        Option("password_file", SecretFile(), "", "a file of mode 0600 with that user's password"),
        Option(
            "key_file",
            SecretFile(),
            "",
            "a file of mode 0600 with a private key for that user, without a passphrase",
        ),
        Option(
            "known_hosts",
            AbsolutePath(),
            "",
            "a file with its host key; by default known_hosts beside the provider's configuration",
        ),
        TRANSCRIPT,
    )


class ArrayDown(Unreachable):
    template = "{address} does not answer: {reason}"


class HungUp(ArrayDown):
    template = (
        "{address} hangs up before '{user}' is logged in ({reason}); its SSH server may take too few "
        "connections at once (MaxStartups)"
    )


class ArrayKeyUnknown(Unreachable):
    template = (
        "the host key of {address} is not in {known_hosts}; put it there once you have compared it: "
        "ssh-keyscan -p {port} {address}"
    )


class ArrayKeyChanged(Unreachable):
    template = (
        "{address} has another host key than {known_hosts} says; "
        "if it was reinstalled, put its new key there; if not, somebody may be intercepting the connection"
    )


class LoginRefused(Unreachable):
    template = "{address} does not let '{user}' in with {what}: {reason}"


class LoginCut(Unreachable):
    template = (
        "{address} ended the connection while '{user}' was logging in with {what} ({reason}), and did not "
        "say whether it refuses that; try again, and if it stays so, see what its SSH server logs"
    )


class AnswerLost(Unreachable):
    """The connection ended after a command was sent: it may have had its effect, or not."""

    template = "{address} ended the connection during {doing}; call again to finish what it began"


class NoLogin(ConfigurationError):
    template = "pool '{pool}' must say password_file or key_file, with which '{user}' logs in at {address}"


_shells: weakref.WeakKeyDictionary[Deadline, dict[str, Shell]] = weakref.WeakKeyDictionary()


class Answer:
    """What a command was answered; ``status`` is None where the server told none."""

    def __init__(self, status: int | None, stdout: bytes, stderr: bytes) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr


class Shell:
    """The appliance that a pool names, as one user; a context that ends the connection.

    ``asks`` says that its server is expected to ask for the password (keyboard-interactive) instead of taking
    it; one that does otherwise costs a second connection.
    """

    def __init__(self, pool: Pool, deadline: Deadline, asks: bool = False) -> None:
        self.pool = pool
        self.deadline = deadline
        self.address: str = pool["address"]
        self.port: int = pool["port"]
        self.user: str = pool["user"]
        self.known_hosts: str = pool["known_hosts"] or os.path.join(paths.config_dir(), "known_hosts")
        self._asks = asks
        self._client: Any = None

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, if there is one."""
        client, self._client = self._client, None
        if client:
            client.close()

    def run(
        self,
        line: str,
        doing: str,
        stdin: bytes = b"",
        secrets: Sequence[str] = (),
        secrets_in: Callable[[bytes], Sequence[str]] | None = None,
    ) -> Answer:
        """Run a command line, with ``stdin`` as its input, to its end.

        ``doing`` stands for the line in errors; ``secrets``, and those that ``secrets_in`` finds in the
        standard output, are left out of the transcript. Raises AnswerLost, TimedOut, and what connecting
        raises: another Unreachable, ConfigurationError.
        """
        paramiko = _paramiko()
        channel = self._channel()
        try:
            channel.exec_command(line)
            if stdin:
                channel.sendall(stdin)
            channel.shutdown_write()
            answer = self._answer(channel, doing)
        except (paramiko.SSHException, OSError, EOFError):
            self.close()
            raise AnswerLost(address=self.address, doing=doing) from None
        finally:
            channel.close()
        if self.pool["transcript"]:
            secrets = [*secrets, *(secrets_in(answer.stdout) if secrets_in else ())]
            said = f"{line}\n{answer.status} {answer.stdout!r} {answer.stderr!r}"
            calllog.transcript(self.pool.provider, f"{self.address}: {said}", secrets)
        return answer

    def _channel(self) -> Any:
        """A way for one command; a connection that has ended since the last one is made anew."""
        import paramiko

        is_old = self._client is not None
        self._connect()
        try:
            return self._client.get_transport().open_session(timeout=self.deadline.left())
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            if is_old:
                return self._channel()
            raise ArrayDown(address=self.address, reason=_reason(error)) from None

    def _answer(self, channel: Any, doing: str) -> Answer:
        """Read both streams as they come: a server that is stuck with one never ends the other."""
        output: list[bytes] = []
        errors: list[bytes] = []
        while True:
            ended = channel.closed or (channel.eof_received and channel.exit_status_ready())
            read = len(output) + len(errors)
            if channel.recv_ready():
                output.append(channel.recv(CHUNK))
            if channel.recv_stderr_ready():
                errors.append(channel.recv_stderr(CHUNK))
            if len(output) + len(errors) > read:
                continue
            if ended:
                break
            self._wait(channel, doing)
        status = channel.recv_exit_status() if channel.exit_status_ready() else -1
        if status == -1:  # paramiko's word for a status that was never sent
            self._prove_connected(channel)
        return Answer(None if status == -1 else status, b"".join(output), b"".join(errors))

    def _prove_connected(self, channel: Any) -> None:
        """Ask for a channel: an answer that was cut off is none. Raises SSHException, OSError, EOFError.

        A connection that ends closes its channels before it tells paramiko's users that it has ended.
        """
        import paramiko

        try:
            channel.get_transport().open_session(timeout=self.deadline.left()).close()
        except paramiko.ChannelException:
            pass  # refused: that is an answer, too

    def _wait(self, channel: Any, doing: str) -> None:
        """Wait for more, or for the end. Raises TimedOut, having ended the connection."""
        left = self.deadline.left()
        if not left:
            self.close()
            raise TimedOut(seconds=self.deadline.seconds, doing=f"waiting for {self.address} ({doing})")
        # Its end makes a channel readable, but an exit status alone does not.
        select.select([channel], [], [], min(left, 0.05 if channel.eof_received else 1.0))

    # --- connecting -------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Make sure that there is a connection."""
        import time

        is_cut = False
        for pause in PAUSES:
            try:
                self._log_in()
                return
            except (HungUp, LoginCut) as error:
                # Some servers refuse a login so, and lock out who tries again and again.
                if self.deadline.left() <= pause or is_cut:
                    raise
                is_cut = isinstance(error, LoginCut)
            time.sleep(pause)
        self._log_in()

    def _log_in(self) -> None:
        """Make a connection, if there is none.

        Each way to log in has a connection of its own: paramiko before 3.2 announces each as a new service,
        at which some servers hang up.
        """
        if self._client:
            return
        paramiko = _paramiko()
        ways = self._ways()
        for way in ways:
            client = paramiko.SSHClient()
            try:
                self._try(way, self._open(client))
            except BaseException as error:
                client.close()
                if isinstance(error, (paramiko.AuthenticationException, LoginCut)) and way is not ways[-1]:
                    continue
                raise self._failure(error) from None
            self._client = client
            return

    def _ways(self) -> list[Callable[[Any], object]]:
        """What to try on a connection, in this order, until one lets us in."""
        ways: list[Callable[[Any], object]] = []
        if file := self.pool["key_file"]:
            key = self._key(file)
            ways.append(lambda transport: transport.auth_publickey(self.user, key))
        if file := self.pool["password_file"]:
            password = secret_files.read_line(file)
            take = [
                lambda transport: transport.auth_password(self.user, password, fallback=False),
                lambda transport: transport.auth_interactive(
                    self.user, lambda title, text, fields: [password] * len(fields)
                ),
            ]
            ways += reversed(take) if self._asks else take
        if not ways:
            raise NoLogin(pool=self.pool.name, user=self.user, address=self.address)
        return ways

    def _try(self, way: Callable[[Any], object], transport: Any) -> None:
        """Try one way to log in. Raises AuthenticationException where it is refused, LoginCut, TimeoutError.

        To paramiko, a connection that ends and a server that says nothing are refusals, too.
        """
        import paramiko

        try:
            way(transport)
        except (paramiko.SSHException, OSError, EOFError) as error:
            if not transport.is_active():
                cause = transport.get_exception()
                reason = _reason(cause) if isinstance(cause, OSError) else "no reason given"
                raise LoginCut(
                    address=self.address, user=self.user, what=self._files(), reason=reason
                ) from None
            if "timeout" in str(error).lower():
                raise TimeoutError("it says nothing to a login") from None
            raise

    def _files(self) -> str:
        """The options that say with what to log in."""
        return " and ".join(name for name in ("password_file", "key_file") if self.pool[name])

    def _open(self, client: Any) -> Any:
        """Connect and check the host key, without logging in."""
        import paramiko

        client.set_missing_host_key_policy(_refuse(self))
        try:
            client.load_host_keys(self.known_hosts)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise BadSecret(file=self.known_hosts, reason=error.strerror) from None
        seconds = max(min(CONNECT_SECONDS, self.deadline.left()), 0.001)
        try:
            client.connect(
                self.address, self.port, self.user, timeout=seconds, banner_timeout=seconds,
                auth_timeout=seconds, allow_agent=False, look_for_keys=False,
            )  # fmt: skip
        except paramiko.BadHostKeyException:
            raise
        except paramiko.SSHException:
            # paramiko has checked the host key, and complains that it has nothing to log in with.
            transport = client.get_transport()
            if transport is None or not transport.is_active():
                raise
        transport = client.get_transport()
        # Each command is a few small packets; one would wait 40 ms for the acknowledgement of the last.
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return transport

    @staticmethod
    def _key(file: str) -> Any:
        """A private key of any kind."""
        import io

        import paramiko

        text = secret_files.read(file)
        for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
            try:
                return kind.from_private_key(io.StringIO(text))
            except paramiko.PasswordRequiredException:
                raise BadSecret(file=file, reason="the key has a passphrase") from None
            except (paramiko.SSHException, ValueError, IndexError):
                continue
        raise BadSecret(file=file, reason="it is no private key that paramiko knows")

    def _failure(self, error: BaseException) -> BaseException:
        """What went wrong in connecting, as one of our errors."""
        import paramiko

        fields = {"address": self.address, "known_hosts": self.known_hosts, "port": self.port}
        if isinstance(error, paramiko.BadHostKeyException):
            return ArrayKeyChanged(**fields)
        if isinstance(error, paramiko.AuthenticationException):
            return LoginRefused(
                address=self.address, user=self.user, what=self._files(), reason=_reason(error)
            )
        if isinstance(error, (paramiko.SSHException, OSError, EOFError)):
            if not self.deadline.left():
                return TimedOut(seconds=self.deadline.seconds, doing=f"connecting to {self.address}")
            if not isinstance(error, OSError) or isinstance(error, ConnectionResetError):
                return HungUp(address=self.address, user=self.user, reason=_reason(error))
            return ArrayDown(address=self.address, reason=_reason(error))
        return error


def shell_of_call(pool: Pool, deadline: Deadline, asks: bool = False) -> Shell:
    """A pool's shell for one call, shared by all parts of that call: they have the same deadline."""
    shells = _shells.setdefault(deadline, {})
    if pool.name not in shells:
        shells[pool.name] = Shell(pool, deadline, asks)
    return shells[pool.name]


def _paramiko() -> Any:
    return python_module("paramiko", "python3-paramiko", imports_later=True)


def _refuse(shell: Shell) -> Any:
    """What is to be done about an unknown host key."""
    import paramiko

    class Refuse(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
            raise ArrayKeyUnknown(address=shell.address, known_hosts=shell.known_hosts, port=shell.port)

    return Refuse()


def _reason(error: BaseException) -> str:
    """The system's or paramiko's words for it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
