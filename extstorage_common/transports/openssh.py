# SPDX-License-Identifier: Apache-2.0
"""Sessions with a controller over OpenSSH, which all share one connection.

The first session makes the connection: a master process of OpenSSH in the background, which has none
of our descriptors and ends when nobody used it for a while. Its control socket lies under /run.
Nobody's configuration of ssh counts but what is said here: host keys are checked against a
``known_hosts`` of ours, and the key is the one that the pool names.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import subprocess

from extstorage_common import paths
from extstorage_common.errors import NodeUnfit, TimedOut, Unreachable
from extstorage_common.transports.local import ENVIRONMENT
from extstorage_common.wire import MAX_LINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline

COMMAND = "ganeti-extstorage-controller"
"""What is asked for. The key's forced command on the controller runs instead; no such command exists."""
CONNECT_SECONDS = 10
GREETING_SECONDS = 10
PERSIST_SECONDS = 300
SSH_FAILED = 255
"""ssh's exit status when it failed itself, or was told of no other."""
BUSY = ("closed by", "reset by", "Broken pipe", "Session open refused")
"""What ssh says when a server drops a connection, or a shared one ends."""

NO_MASTER = "Control socket connect"
"""It says so when it can't share a connection, and makes one of its own then."""


class ControllerDown(Unreachable):
    template = "controller {host} does not answer: {reason}"


class ControllerBusy(ControllerDown):
    """It may answer if it is asked again."""


class ControllerKeyUnknown(Unreachable):
    template = (
        "the host key of controller {host} is not in {known_hosts}; put it there once you have compared it: "
        "ssh-keyscan -p {port} {host}"
    )


class ControllerKeyChanged(Unreachable):
    template = (
        "controller {host} has another host key than {known_hosts} says; "
        "if it was reinstalled, put its new key there; if not, somebody may be intercepting the connection"
    )


class ControllerRefusesKey(Unreachable):
    template = (
        "controller {host} does not accept this node's key {key}; "
        "on the controller, gnt-storage controller authorize prints the line for its authorized_keys"
    )


class OwnKeyMissing(Unreachable):
    template = (
        "this node has no key {key} for controller {host} ({reason}); make it: "
        "ssh-keygen -t ed25519 -N '' -f {key}"
    )


class OwnKeyOpen(Unreachable):
    template = (
        "ssh takes no key that others may read, such as {key} for controller {host} (mode {mode}); "
        "chmod 600 {key}"
    )


class ControllerUnfit(Unreachable):
    template = (
        "what answers on controller {host} is not this suite ({reason}); "
        "its authorized_keys must have the line of gnt-storage controller authorize for this node's key"
    )


class ControllerGone(Unreachable):
    template = "controller {host} was gone before it answered; call again to finish what it began"


class Destination:
    """A controller as a pool names it."""

    def __init__(self, pool: Pool) -> None:
        self.host: str = pool["controller"]
        self.user: str = pool["controller_user"]
        self.port: int = pool["controller_port"]
        self.key: str = pool["controller_key"] or os.path.join(paths.config_dir(), "controller_key")
        self.known_hosts = os.path.join(paths.config_dir(), "known_hosts")

    @property
    def identity(self) -> str:
        """A short name for the connection, the same for all calls that can share it."""
        said = "\0".join((self.host, self.user, str(self.port), self.key, self.known_hosts))
        return hashlib.sha256(said.encode()).hexdigest()[:12]

    @property
    def socket(self) -> str:
        """The control socket."""
        return os.path.join(paths.run_dir(), "ssh", self.identity)

    def command(self, *words: str) -> list[str]:
        """The command line of an ssh."""
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": f'"{self.known_hosts}"',
            "GlobalKnownHostsFile": "/dev/null",
            "UpdateHostKeys": "no",
            "IdentityFile": f'"{self.key}"',
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "PreferredAuthentications": "publickey",
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
            "ControlPath": f'"{self.socket}"',
            "ControlPersist": str(PERSIST_SECONDS),
            "EscapeChar": "none",
            "LogLevel": "ERROR",
        }
        line = ["ssh", "-F", "none", "-T", *(f"-o{name}={value}" for name, value in options.items())]
        return [*line, "-p", str(self.port), "-l", self.user, *words]


class Session:
    """One conversation in lines with the controller's executable."""

    def __init__(self, destination: Destination, deadline: Deadline) -> None:
        self.destination = destination
        self.deadline = deadline
        self.errors = os.memfd_create("stderr")
        self.process = _start(
            destination.command("-oControlMaster=no", "--", destination.host, COMMAND), self.errors
        )
        self.rest = b""
        self.suite = ""
        """The version of the suite on the controller, once it has told that."""

    def write(self, line: bytes) -> None:
        """Send a line. Raises ControllerGone."""
        assert self.process.stdin
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except OSError:
            raise ControllerGone(host=self.destination.host) from None

    def read(self, at_most: float | None = None) -> bytes:
        """The next line; ``b""`` when there is none any more. Raises TimedOut."""
        assert self.process.stdout
        waiting = select.poll()
        waiting.register(self.process.stdout, select.POLLIN)
        pieces = [self.rest]
        while b"\n" not in pieces[-1]:
            left = self.deadline.left() if at_most is None else min(at_most, self.deadline.left())
            if not waiting.poll(left * 1000):
                doing = f"waiting for controller {self.destination.host}"
                raise TimedOut(seconds=self.deadline.seconds, doing=doing)
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            if not chunk or sum(map(len, pieces)) > MAX_LINE:
                return b""
            pieces.append(chunk)
        line, _, self.rest = b"".join(pieces).partition(b"\n")
        return line

    def close(self) -> None:
        """End the conversation, whatever it was about."""
        self.process.kill()
        self.process.communicate()
        os.close(self.errors)

    def failure(self) -> Unreachable:
        """Why there is no line any more."""
        try:
            status = self.process.wait(1)
        except subprocess.TimeoutExpired:
            status = SSH_FAILED
        return _failure(self.destination, status, _content(self.errors))


def open_session(destination: Destination, deadline: Deadline) -> tuple[Session, bytes]:
    """A session, and the first line that it said. Raises an Unreachable of this module, TimedOut.

    A connection that is broken without anybody having noticed is replaced. A server that has more
    callers than it takes drops some (sshd_config(5), MaxStartups): these try again.
    """
    reason: Unreachable | None = None
    for _ in deadline.attempts(CONNECT_SECONDS + GREETING_SECONDS):
        _ensure_master(destination, deadline)
        session = Session(destination, deadline)
        try:
            line = session.read(GREETING_SECONDS)
            if line:
                return session, line
            reason = session.failure()
        except TimedOut:
            deadline.check(f"connecting to controller {destination.host}")
            reason = ControllerBusy(host=destination.host, reason=f"no word within {GREETING_SECONDS} s")
            _drop_master(destination)
        session.close()
        if not isinstance(reason, ControllerBusy):
            break
    assert reason
    raise reason


def _ensure_master(destination: Destination, deadline: Deadline) -> None:
    """Make the shared connection, unless it is there; while somebody else makes it, wait for that.

    If there is none in the end, the session makes a connection of its own. Raises what :func:`_failure`
    returns.
    """
    if _is_answered(destination.socket):
        return
    os.makedirs(os.path.dirname(destination.socket), mode=0o700, exist_ok=True)
    lock = os.open(destination.socket + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if _locked(lock):
            if not _is_answered(destination.socket):
                _drop_master(destination)
                _start_master(destination, deadline)
            return
        for _ in deadline.attempts(CONNECT_SECONDS):
            if os.path.exists(destination.socket) or _locked(lock):
                return
    finally:
        os.close(lock)


def _is_answered(path: str) -> bool:
    """Whether there is a process behind a control socket; one that was killed leaves the socket."""
    import socket

    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0)
        try:
            client.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except BlockingIOError:
            pass  # it has too much to do
    return True


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_master(destination: Destination, deadline: Deadline) -> None:
    errors = os.memfd_create("stderr")
    process = _start(destination.command("-fNM", "--", destination.host), errors, subprocess.DEVNULL)
    try:
        status = process.wait(min(deadline.left(), 2 * CONNECT_SECONDS))
        said = _content(errors)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        deadline.check(f"connecting to controller {destination.host}")
        raise ControllerDown(
            host=destination.host, reason=f"no connection within {2 * CONNECT_SECONDS} s"
        ) from None
    finally:
        os.close(errors)
    if status:
        raise _failure(destination, status, said)


def _drop_master(destination: Destination) -> None:
    """Let nobody use the shared connection any more; its process ends when it notices."""
    try:
        os.unlink(destination.socket)
    except FileNotFoundError:
        pass


def _start(command: list[str], errors: int, streams: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Start ssh; what it complains of goes to a file in memory, which no background process keeps open.

    Raises NodeUnfit.
    """
    try:
        return subprocess.Popen(command, stdin=streams, stdout=streams, stderr=errors, env=ENVIRONMENT)
    except FileNotFoundError:
        raise NodeUnfit(reason="ssh is not installed (Debian: openssh-client)") from None


def _content(fd: int) -> str:
    return os.pread(fd, 1 << 16, 0).decode(errors="backslashreplace")


def _failure(destination: Destination, status: int, said: str) -> Unreachable:
    """What ssh's exit status and its words mean."""
    host, known_hosts = destination.host, destination.known_hosts
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith(NO_MASTER)]
    last = lines[-1] if lines else f"it ended with status {status} and without a word"
    if status != SSH_FAILED:
        return ControllerUnfit(host=host, reason=last)
    if "HOST IDENTIFICATION HAS CHANGED" in said:
        return ControllerKeyChanged(host=host, known_hosts=known_hosts)
    if "host key is known for" in said or "Host key verification failed" in said:
        return ControllerKeyUnknown(host=host, known_hosts=known_hosts, port=destination.port)
    if "Permission denied" in said:
        return _refused_key(destination)
    again = any(words in said for words in BUSY) or not lines
    return (ControllerBusy if again else ControllerDown)(host=host, reason=last.removeprefix("ssh: "))


def _refused_key(destination: Destination) -> Unreachable:
    """Why a controller let nobody in. ssh goes on without a key that it does not like, and says little."""
    host, key = destination.host, destination.key
    try:
        mode = os.stat(key).st_mode & 0o777
    except OSError as error:
        return OwnKeyMissing(host=host, key=key, reason=error.strerror)
    if mode & 0o077:
        return OwnKeyOpen(host=host, key=key, mode=f"{mode:04o}")
    return ControllerRefusesKey(host=host, key=key)
