# SPDX-License-Identifier: Apache-2.0
"""The machine as a whole: who may do what, its few files, its commands, and what they were asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.appliances.comstar.answers import Failure
from tests.appliances.comstar.datasets import Datasets
from tests.appliances.comstar.iscsi import Iscsi
from tests.appliances.comstar.itadm import Itadm
from tests.appliances.comstar.sbdadm import Sbdadm
from tests.appliances.comstar.shell import Command, ShellSyntax, parse
from tests.appliances.comstar.stmf import Stmf
from tests.appliances.comstar.stmfadm import Stmfadm
from tests.appliances.comstar.zfs import Zfs

ZFS = ("File System Management", "Primary Administrator")
TARGETS = ("iSCSI Target Management", "COMSTAR", "Primary Administrator")
HARMLESS = {"list", "get"}
"""What anybody may ask of zfs and zpool."""


@dataclass
class File:
    """A file of the machine."""

    content: bytes = b""
    mode: int = 0o600
    is_regular: bool = True


@dataclass
class Reply:
    """What a line printed, and its exit status."""

    stdout: str = ""
    stderr: str = ""
    status: int = 0


@dataclass
class Seen:
    """A command as the machine understood it, for tests to look at."""

    words: list[str]
    reply: Reply


@dataclass
class Trouble:
    """Commands that match fail so, ``times`` of them; ``after`` they have done what they were asked."""

    pattern: str
    message: str
    status: int = 1
    times: int = 1
    after: bool = False


@dataclass
class Comstar:
    """A machine with these ZFS pools (bytes each), whose data lie in ``directory``."""

    directory: Path
    pools: dict[str, int]
    users: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"ganeti": (ZFS[0], TARGETS[0])})
    """Who may log in, and with which profiles; ``root`` needs none."""
    changed: Callable[[], None] = lambda: None
    """Called after each command."""

    def __post_init__(self) -> None:
        self.datasets = Datasets(self.directory, self.pools)
        self.zfs = Zfs(self.datasets)
        self.stmf = Stmf(self.datasets)
        self.iscsi = Iscsi()
        self.stmfadm = Stmfadm(self.stmf, self.iscsi)
        self.sbdadm = Sbdadm(self.stmf)
        self.itadm = Itadm(self.iscsi, self._secret)
        self.files = {"/dev/stdin": File(mode=0o666, is_regular=False)}
        self.seen: list[Seen] = []
        self.troubles: list[Trouble] = []
        self.odd: list[str] = []
        """Lines that would have made a shell do more than run what is written there."""
        self._programs: dict[str, tuple[Callable[[list[str]], str], tuple[str, ...], str]] = {
            "zfs": (self.zfs.zfs, ZFS, "cannot complete: permission denied"),
            "zpool": (self.zfs.zpool, ZFS, "cannot complete: permission denied"),
            "stmfadm": (self.stmfadm.run, TARGETS, "stmfadm: permission denied"),
            "sbdadm": (self.sbdadm.run, TARGETS, "sbdadm: permission denied"),
            "itadm": (
                self.itadm.run,
                TARGETS,
                "Error, operation requires authorization solaris.smf.modify.stmf",
            ),
        }

    def execute(self, user: str, line: str, stdin: bytes = b"") -> Reply:
        """What a user's line prints and how it ends."""
        try:
            commands = parse(line)
        except ShellSyntax as error:
            self.odd.append(line)
            return Reply(stderr=f"ksh: syntax error: {error}\n", status=2)
        shell = _Shell(self, user, stdin)
        reply = Reply()
        for command in commands:
            if command.joined == "&&" and reply.status:
                continue
            if command.words == ["exit"]:
                break
            ended = shell.run(command)
            self.seen.append(Seen(command.words, ended))
            reply = Reply(reply.stdout + ended.stdout, reply.stderr + ended.stderr, ended.status)
        for command in shell.at_end:
            shell.run(command)
        self.changed()
        return reply

    def run(self, user: str, words: list[str]) -> str:
        """Run one of the machine's own commands. Raises Failure."""
        profiled = words[0].endswith("pfexec")
        path, *rest = words[1:] if profiled else words
        name = path.removeprefix("/usr/sbin/")
        if name not in self._programs or not path.startswith("/usr/sbin/"):
            # What a session without a terminal has for its PATH lacks /usr/sbin.
            raise Failure(f"ksh: {path}: not found", 127)
        run, profiles, denied = self._programs[name]
        may = user == "root" or (profiled and any(one in profiles for one in self.users.get(user, ())))
        if not may and not (profiles is ZFS and rest[:1] and rest[0] in HARMLESS):
            raise Failure(denied)
        trouble = self._trouble(" ".join([name, *rest]))
        if trouble is not None and not trouble.after:
            raise Failure(trouble.message, trouble.status)
        printed = run(rest)
        if trouble is not None:
            raise Failure(trouble.message, trouble.status)
        return printed

    def _trouble(self, command: str) -> Trouble | None:
        for trouble in self.troubles:
            if trouble.times and re.search(trouble.pattern, command):
                trouble.times -= 1
                return trouble
        return None

    def _secret(self, path: str) -> str | None:
        """A file that holds a secret: a regular one, and nobody else's to read."""
        file = self.files.get(path)
        if file is None or not file.is_regular or file.mode & 0o077:
            return None
        return file.content.decode("utf-8", "replace")


class _Shell:
    """One line's shell: what it remembers from command to command."""

    def __init__(self, machine: Comstar, user: str, stdin: bytes) -> None:
        self.machine = machine
        self.user = user
        self.stdin = stdin
        self.umask = 0o022
        self.noclobber = False
        self.at_end: list[Command] = []

    def run(self, command: Command) -> Reply:
        files = self.machine.files
        if command.output and self.noclobber and command.output in files:
            return Reply(stderr=f"ksh: {command.output}: file already exists\n", status=1)
        try:
            printed = self._run(command.words)
        except Failure as failure:
            reply = Reply(failure.stdout, failure.stderr, failure.status)
        else:
            reply = Reply(printed)
        if command.output:
            mode = 0o666 & ~self.umask
            files[command.output] = File(reply.stdout.encode("utf-8", "surrogateescape"), mode)
            reply.stdout = ""
        return reply

    def _run(self, words: list[str]) -> str:
        if words[0] == "LC_ALL=C":
            words = words[1:]
        name, *rest = words
        if name == "umask" and len(rest) == 1:
            self.umask = int(rest[0], 8)
        elif words == ["set", "-C"]:
            self.noclobber = True
        elif name == "trap" and rest[1:] == ["0"]:
            self.at_end = parse(rest[0])
        elif name == "trap" and rest[:1] == ["exit 1"]:
            pass  # signals don't come here
        elif name in ("cat", "/usr/bin/cat") and not rest:
            return self.stdin.decode("utf-8", "surrogateescape")
        elif name in ("rm", "/usr/bin/rm") and rest[:1] == ["-f"]:
            for path in rest[1:]:
                self.machine.files.pop(path, None)
        else:
            return self.machine.run(self.user, words)
        return ""
