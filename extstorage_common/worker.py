# SPDX-License-Identifier: Apache-2.0
"""Work in a child process that can be left behind.

Ganeti has no time limit for a script, and a hung one blocks the cluster. But a process can sleep in
the kernel where no signal reaches it, when a hard-mounted share or the last path to a disk is away.
So the work is done by a child; the parent only waits, and at the deadline it says so and leaves.
The child has none of Ganeti's descriptors, so that nothing waits for it.
"""

from __future__ import annotations

import os
import select
import time

from extstorage_common import paths
from extstorage_common.deadline import Deadline
from extstorage_common.errors import (
    ExtStorageError,
    Interrupted,
    PoolTimedOutLately,
    TimedOut,
    Unforeseen,
    unforeseen,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Asking = Callable[[str], None]
    Work = Callable[[Deadline, Asking], list[str]]

GRACE = 3.0
"""Seconds beyond the deadline in which the child can still say what it was waiting for."""
RESPITE = 10.0
"""Seconds for which a pool that has just timed out is left alone: Ganeti asks disk after disk."""
SIGKILL = 9

_unburied: list[int] = []
"""Children that nobody waited for; who makes many buries those that have ended with each new one."""


class FromWorker(ExtStorageError):
    """An error of the child: its exit status, and its sentence as ``reason``."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason=reason)
        self.status = status


def nobody_listens(pool: str) -> None:
    """For whoever need not know which pool is asked."""


def run(work: Work, provider: str, seconds: float, asking: Asking = nobody_listens) -> list[str]:
    """Let a child do ``work`` within ``seconds``; returns its lines for stdout.

    A child that restarts its deadline has the new time. ``work`` names each pool to its ``asking`` before it
    asks that pool anything: our ``asking`` hears of it, and a pool that has just timed out is refused.

    Raises what the child raised (as FromWorker), TimedOut, Interrupted, and Unforeseen for a child that left
    without an answer.
    """
    reading, writing = os.pipe()
    deadline = Deadline(seconds)
    _unburied[:] = [child for child in _unburied if not _bury(child)]
    child = os.fork()
    if not child:
        os.close(reading)
        _be_child(work, provider, seconds, writing)
    _lead_a_group(child)  # the child does it, too: whoever comes first
    os.close(writing)
    _unburied.append(child)
    try:
        return _Parent(child, reading, provider, deadline, asking).wait()
    except KeyboardInterrupt:
        os.killpg(child, SIGKILL)
        raise Interrupted(signal="SIGINT") from None
    finally:
        os.close(reading)


def _lead_a_group(child: int) -> None:
    try:
        os.setpgid(child, child)
    except ProcessLookupError:  # it has ended, and somebody above us ignores SIGCHLD
        pass


def _bury(child: int) -> bool:
    """Whether a child has ended; also one of another process, which forked this one."""
    try:
        return os.waitpid(child, os.WNOHANG)[0] == child
    except ChildProcessError:
        return True


class _Parent:
    """What waits for the child. The child tells it in lines, each a word and a text:

    ``seconds`` (its deadline begins anew), ``pool`` (which it asks now), ``out`` (a line for stdout), ``end``
    (that was all), ``late`` (its time is up), ``error`` (exit status and sentence), ``trace`` (a line of a
    traceback, for stderr).
    """

    def __init__(self, child: int, pipe: int, provider: str, deadline: Deadline, asking: Asking) -> None:
        self.child = child
        self.pipe = pipe
        self.provider = provider
        self.deadline = deadline
        self.asking = asking
        self.pool = ""
        self.lines: list[str] = []
        self.has_ended = False

    def wait(self) -> list[str]:
        """What the child said. Its exit is not waited for: a storage's libraries take their time over it."""
        text = b""
        while not self.has_ended and (chunk := self._chunk()):
            text += chunk
            *lines, text = text.split(b"\n")
            for line in lines:
                self._take(*line.decode("utf-8", "surrogateescape").split(" ", 1))
        if not self.has_ended:
            self._say_how_it_died()
        return self.lines

    def _say_how_it_died(self) -> None:
        _, status = os.waitpid(self.child, 0)
        _unburied.remove(self.child)
        if os.WIFSIGNALED(status):
            raise Interrupted(signal=os.WTERMSIG(status))
        raise Unforeseen(kind="SystemExit", reason="the child left without an answer")

    def _chunk(self) -> bytes:
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        while True:
            left = self.deadline.left() + GRACE
            if poll.poll(left * 1000):
                return os.read(self.pipe, 1 << 16)
            if not self.deadline.left():
                self._leave_behind()

    def _leave_behind(self) -> None:
        os.killpg(self.child, SIGKILL)
        self._note_timeout()
        doing = f"asking pool '{self.pool}'" if self.pool else "working on this node"
        raise TimedOut(seconds=self.deadline.seconds, doing=doing)

    def _note_timeout(self) -> None:
        if self.pool:
            _note_timeout(self.provider, self.pool)

    def _take(self, kind: str, text: str = "") -> None:
        if kind == "pool":
            self.pool = text
            self.asking(text)
        elif kind == "out":
            self.lines.append(text)
        elif kind == "seconds":
            self.deadline.restart(float(text))
        elif kind == "end":
            self.has_ended = True
        elif kind == "late":
            self._note_timeout()
        elif kind == "trace":
            os.write(2, (text + "\n").encode("utf-8", "backslashreplace"))
        elif kind == "error":
            status, _, sentence = text.partition(" ")
            raise FromWorker(int(status), sentence)


class _ToldDeadline(Deadline):
    """A deadline that tells the parent when it is begun anew."""

    def __init__(self, seconds: float, tell: Callable[[str, str], None]) -> None:
        super().__init__(seconds)
        self.tell = tell

    def restart(self, seconds: float) -> None:
        super().restart(seconds)
        self.tell("seconds", str(seconds))


def _be_child(work: Work, provider: str, seconds: float, pipe: int) -> None:
    """Do the work and tell the parent; never returns."""
    try:
        os.setpgid(0, 0)
        _let_go_of_ganeti()

        def tell(kind: str, text: str) -> None:
            os.write(pipe, f"{kind} {text}\n".encode("utf-8", "surrogateescape"))

        def asking(pool: str) -> None:
            tell("pool", pool)
            _refuse_after_timeout(provider, pool)

        deadline = _ToldDeadline(seconds, tell)
        try:
            for line in work(deadline, asking):
                tell("out", line)
            tell("end", "")
        except ExtStorageError as error:
            # Only here it is known: the parent learns late of a deadline that was restarted.
            if error.status == TimedOut.status and not deadline.left():
                tell("late", "")
            tell("error", f"{error.status} {error}")
        except Exception as error:
            if os.environ.get("EXTSTORAGE_DEBUG") == "1":
                import traceback

                for line in traceback.format_exc().splitlines():
                    tell("trace", line)
            told = unforeseen(error)
            tell("error", f"{told.status} {told}")
    finally:
        os._exit(0)


def _let_go_of_ganeti() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)


def _timeout_path(provider: str, pool: str) -> str:
    return os.path.join(paths.run_dir(), "timed-out", f"{provider}.{pool}")


def _note_timeout(provider: str, pool: str) -> None:
    path = _timeout_path(provider, pool)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path, "wb"):
        os.utime(path)


def _refuse_after_timeout(provider: str, pool: str) -> None:
    try:
        since = time.time() - os.stat(_timeout_path(provider, pool)).st_mtime
    except FileNotFoundError:
        return
    if 0 <= since < RESPITE:
        raise PoolTimedOutLately(pool=pool, seconds=since)
