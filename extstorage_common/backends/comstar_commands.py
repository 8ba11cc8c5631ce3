# SPDX-License-Identifier: Apache-2.0
"""The commands of a Solaris or illumos machine, and what they say when they can't.

A line is one command with each of its words quoted. It is named by its absolute path, since without a
terminal a user's PATH lacks ``/usr/sbin``, and runs in the C locale, since only the text on standard
error tells why it failed: what the exit statuses mean differs from command to command. Where a server
sends no status, a command has succeeded if it wrote nothing there, for no command used here fails in
silence.
"""

from __future__ import annotations

import os
import shlex

from extstorage_common.errors import NoSpace, PoolUnreachable, Refused
from extstorage_common.transports import ssh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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

    def ask(self, program: str, *words: str, secret: str = "") -> Ended:
        """Run a command; one whose answer was lost is given once more.

        So whoever makes something may find that it is there already. Raises what :meth:`ask_once` does.
        """
        try:
            return self.ask_once(program, *words, secret=secret)
        except ssh.AnswerLost:
            return self.ask_once(program, *words, secret=secret)

    def ask_once(self, program: str, *words: str, secret: str = "") -> Ended:
        """Run a command, again while its trouble is a passing one.

        A ``secret`` is given to it in a file, as ``-S`` after the first word. Raises AnswerLost, another
        Unreachable, NotAllowed.
        """
        doing = f"{program} {words[0]}"
        ended = Ended([], "")
        for _ in self.deadline.attempts(PASSING_SECONDS):
            line = self._line_with_secret(program, *words) if secret else self._line(program, *words)
            answer = self.shell.run(line, doing, secret.encode(), [secret] if secret else [])
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

    def _line(self, program: str, *words: str) -> str:
        return f"{self.prefix} {shlex.join([f'/usr/sbin/{program}', *words])}"

    def _line_with_secret(self, program: str, subcommand: str, *words: str) -> str:
        """A line that gives its input to a command as a file, for itadm takes no pipe.

        Only the owner can read that file, which must not be there yet, nor a link. All of its life is in
        this line, which the machine's shell runs to its end whatever becomes of the connection. ``exit`` is
        last since some shells let the last command take their own place: then nobody would remove the file.
        """
        path = f"{self.pool['secret_directory']}/ganeti-extstorage.{os.urandom(16).hex()}"
        removal = shlex.quote(f"rm -f {shlex.quote(path)}")
        return (
            f"umask 077; set -C; trap {removal} 0; trap 'exit 1' 1 2 13 15; "
            f"cat > {shlex.quote(path)} && {self._line(program, subcommand, '-S', path, *words)}; exit"
        )

    def do(self, program: str, *words: str, secret: str = "", unless: Sequence[str] = ()) -> Ended:
        """Run a command that must succeed, or find one of these troubles. Raises CommandFailed, NoSpace."""
        ended = self.ask(program, *words, secret=secret)
        if ended.trouble and not ended.says(*unless):
            raise self.failure(ended, program, words[0])
        return ended

    def failure(self, ended: Ended, program: str, subcommand: str) -> Refused | NoSpace:
        """The error for a command's trouble."""
        kind = PoolFull if ended.says(*FULL) else CommandFailed
        command = f"{program} {subcommand}"
        return kind(command=command, address=self.shell.address, reason=_first(ended))


def _first(ended: Ended) -> str:
    return ended.trouble.partition("\n")[0] or "it said nothing"
