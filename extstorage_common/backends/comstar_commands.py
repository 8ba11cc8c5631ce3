# SPDX-License-Identifier: Apache-2.0
"""The commands of a Solaris or illumos machine, and what they say when they can't.

A line is one command with each of its words quoted. It is named by its absolute path, since without a
terminal a user's PATH lacks ``/usr/sbin``, and runs in the C locale, since only the text on standard
error tells why it failed: what the exit statuses mean differs from command to command. Where a server
sends no status, a command has succeeded if it wrote nothing there, for no command used here fails in
silence.
"""

from __future__ import annotations

import contextlib
import os
import shlex

from extstorage_common.errors import NoSpace, PoolUnreachable, Refused
from extstorage_common.transports import ssh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline

PASSING = ("Configuration changed during processing", "resource busy", "dataset is busy", "data file error")
"""Troubles that pass: others' commands at work, a device node that is not there yet or still open."""
PASSING_SECONDS = 10
DOWN = ("STMF service", "The iSCSI target service must be online")
DENIED = ("permission denied", "requires authorization")
FULL = ("out of space", "greater than available space", "quota exceeded")


class CommandFailed(Refused):
    template = "{command} failed on {address}: {reason}"


class NotAllowed(Refused):
    template = "user '{user}' of {address} may not run {command}; give it the rights profiles of the manual"


class PoolFull(NoSpace):
    template = "the ZFS pool on {address} is full: {command} says: {reason}"


class ServiceDown(PoolUnreachable):
    template = "{address} does not serve: {reason}"


class Ended:
    """How a command ended: its lines on standard output; ``trouble`` is empty, or says what went wrong."""

    def __init__(self, lines: list[str], trouble: str) -> None:
        self.lines = lines
        self.trouble = trouble

    def says(self, *texts: str) -> bool:
        """Whether the trouble is one of those."""
        return any(text in self.trouble for text in texts)


class Machine:
    """The machine that a pool names, reached over SSH."""

    def __init__(self, pool: Pool, deadline: Deadline) -> None:
        self.pool = pool
        self.deadline = deadline
        self.shell = ssh.shell_of_call(pool, deadline)
        self.prefix = "LC_ALL=C pfexec" if pool["pfexec"] else "LC_ALL=C"

    def ask(self, program: str, *words: str) -> Ended:
        """Run a command; one whose answer was lost is given once more.

        So whoever makes something may find that it is there already. Raises what :meth:`ask_once` does.
        """
        try:
            return self.ask_once(program, *words)
        except ssh.AnswerLost:
            return self.ask_once(program, *words)

    def ask_once(self, program: str, *words: str) -> Ended:
        """Run a command, again while its trouble is a passing one.

        Raises AnswerLost, another Unreachable, NotAllowed.
        """
        line = f"{self.prefix} {shlex.join([f'/usr/sbin/{program}', *words])}"
        doing = f"{program} {words[0]}"
        ended = Ended([], "")
        for _ in self.deadline.attempts(PASSING_SECONDS):
            answer = self.shell.run(line, doing)
            errors = answer.stderr.decode("utf-8", "replace").strip()
            failed = answer.status not in (0, None) or (answer.status is None and errors)
            if failed and not errors:
                # Wrong usage, which COMSTAR's commands tell on standard output.
                errors = answer.stdout.decode("utf-8", "replace").strip() or f"exit status {answer.status}"
            lines = answer.stdout.decode("utf-8", "surrogateescape").splitlines()
            ended = Ended(lines, errors if failed else "")
            if not ended.says(*PASSING):
                break
        if ended.says(*DOWN):
            raise ServiceDown(pool=self.pool.name, address=self.shell.address, reason=_first(ended))
        if ended.says(*DENIED):
            raise NotAllowed(user=self.shell.user, address=self.shell.address, command=doing)
        return ended

    def do(self, program: str, *words: str, unless: Sequence[str] = ()) -> Ended:
        """Run a command that must succeed, or find one of these troubles. Raises CommandFailed, NoSpace."""
        ended = self.ask(program, *words)
        if ended.trouble and not ended.says(*unless):
            raise self.failure(ended, program, words[0])
        return ended

    def failure(self, ended: Ended, program: str, subcommand: str) -> Refused | NoSpace:
        """The error for a command's trouble."""
        kind = PoolFull if ended.says(*FULL) else CommandFailed
        command = f"{program} {subcommand}"
        return kind(command=command, address=self.shell.address, reason=_first(ended))

    @contextlib.contextmanager
    def secret_file(self, secret: str) -> Iterator[str]:
        """The path of a file with a secret, which is there for the moment. Raises CommandFailed."""
        path = f"{self.pool['secret_directory']}/ganeti-extstorage.{os.urandom(16).hex()}"
        try:
            self._put(path, secret)
            yield path
        finally:
            self._remove(path)

    def _remove(self, path: str) -> None:
        for is_last in (False, True):
            try:
                self.shell.run(f"rm -f {shlex.quote(path)}", "removing a secret's file")
                return
            except ssh.AnswerLost:
                if is_last:
                    raise

    def _put(self, path: str, content: str) -> None:
        """Make a file that only its owner can read, which must not be there yet, nor a link."""
        line = f"umask 077; set -C; cat > {shlex.quote(path)}"
        answer = self.shell.run(line, "writing a secret's file", content.encode(), [content])
        if answer.status or (answer.status is None and answer.stderr):
            reason = answer.stderr.decode("utf-8", "replace").strip() or f"exit status {answer.status}"
            raise CommandFailed(command=f"writing {path}", address=self.shell.address, reason=reason)


def _first(ended: Ended) -> str:
    return ended.trouble.partition("\n")[0] or "it said nothing"
