# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Ganeti's node daemon: it calls a provider's executables just as that one does.

What is done here was traced on Ganeti 3.0.2. A script is started by its absolute path without
arguments, in the provider's directory, with umask 0077 and an empty standard input. Its environment
is the node daemon's own, uncleaned, plus ``VOL_*`` and ``EXTP_*``. ``attach`` writes into two pipes,
which are read to their end; every other action writes both streams into one log file.
"""

from __future__ import annotations

import itertools
import os
import shlex
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gnt_storage.conformance.process import Ended, Process, Unstarted

NODED_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "LC_ALL": "C",
    "LOGNAME": "root",
    "MAIL": "/var/mail/root",
    "OLDPWD": "/root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PWD": "/",
    "PYENV_ROOT": "/root/.pyenv",
    "PYTHONPATH": "/nonexistent/python",
    "SHELL": "/bin/bash",
    "SHLVL": "1",
    "SSH_CLIENT": "192.0.2.10 40022 22",
    "SSH_CONNECTION": "192.0.2.10 40022 192.0.2.11 22",
    "TERM": "dumb",
    "USER": "root",
    "_": "/usr/sbin/start-stop-daemon",
}
"""What a script inherits from a node daemon that somebody started over ssh; none of it is meant for it."""


@dataclass(frozen=True)
class Node:
    """A machine, or what passes for one.

    ``prefix`` is a command that takes ONE more argument, a shell command line, and runs it on the
    node: ``("ssh", "root@n2")``, or ``("env", "EXTSTORAGE_NODE=n2", "sh", "-c")`` for a second node on
    this machine. Without a prefix the node is this machine, and scripts are started directly.
    """

    name: str
    prefix: tuple[str, ...] = ()

    def shell_argv(self, line: str) -> list[str]:
        """The argument list that runs a shell command line on this node."""
        return [*(self.prefix or ("sh", "-c")), line]

    def shell(self, line: str, data: bytes = b"", limit: float = 120) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command line on this node, ``data`` on its input. Raises subprocess.TimeoutExpired."""
        return subprocess.run(
            self.shell_argv(line),
            input=data,
            capture_output=True,
            check=False,
            timeout=limit,
            env=_own_environment(),
        )

    def is_block_device(self, path: str) -> bool:
        """Whether ``path`` is a block device on this node (a link to one counts)."""
        if self.prefix:
            return self.shell(f"test -b {shlex.quote(path)}").returncode == 0
        try:
            return stat.S_ISBLK(os.stat(path).st_mode)
        except (OSError, ValueError):
            return False


@dataclass
class Volume:
    """A volume as Ganeti's configuration knows it; ``size`` is in MiB."""

    name: str
    uuid: str
    size: int
    cname: str | None = None
    access: str = "kernelspace"

    def snapshot(self, uuid: str) -> Volume:
        """The volume that a snapshot of this one becomes."""
        return Volume(self.name + ".snap", uuid, self.size, access=self.access)


@dataclass(frozen=True)
class Attachment:
    """What Ganeti makes of attach's output: the first line is the device, the others are URIs.

    ``device`` is empty for a volume that only hypervisors can reach.
    """

    device: str
    uris: tuple[str, ...]

    @classmethod
    def parse(cls, stdout: str) -> Attachment:
        device, *uris = stdout.split("\n")
        return cls(device, tuple(uri for uri in uris if uri))

    def uri(self, hypervisor: str) -> str | None:
        """The URI for this hypervisor, without its name."""
        prefix = hypervisor + ":"
        return next((uri[len(prefix) :] for uri in self.uris if uri.lower().startswith(prefix)), None)


@dataclass(frozen=True)
class Call:
    """One finished call of a script, with the variables that it was given."""

    node: str
    action: str
    variables: Mapping[str, str] = field(repr=False)
    end: Ended

    @property
    def ok(self) -> bool:
        """Whether the script succeeded."""
        return self.end.status == 0

    @property
    def text(self) -> str:
        """Everything that was printed."""
        return self.end.stdout + self.end.stderr

    def __str__(self) -> str:
        """The call and its end, in a few words."""
        if self.end.status is None:
            return f"{self.name} did not end within {self.end.seconds:.0f} s"
        if self.end.status < 0:
            return f"{self.name} was killed by signal {-self.end.status}"
        lines = self.text.strip().splitlines()
        said = "and said: " + lines[-1][:300] if lines else "and said nothing"
        return f"{self.name} ended with status {self.end.status} {said}"

    @property
    def name(self) -> str:
        """The call in a few words: where, what, on which volume."""
        return f"{self.node}: {self.action} {self.variables.get('VOL_NAME', '')[:60]}".rstrip()


@dataclass(frozen=True)
class Running:
    """A call that has not been awaited yet."""

    node: str
    action: str
    variables: Mapping[str, str]
    process: Process | Unstarted
    limit: float

    def wait(self) -> Call:
        """Wait for its end, which the engine's time limit sets at the latest."""
        return Call(self.node, self.action, self.variables, self.process.wait(self.limit))


class Engine:
    """Calls the executables of one provider directory, which has the same path on every node.

    ``parameters`` are the disk parameters as an administrator types them (``{"pool": "gold"}``);
    ``limit`` is the time in seconds after which a call counts as hung. ``away`` and ``back`` are shell
    command lines that make the storage unreachable and reachable again, where there are such.
    ``access`` is how a disk is reached where a case does not say.
    """

    def __init__(
        self,
        directory: str,
        parameters: Mapping[str, str] | None = None,
        limit: float = 120,
        away: str = "",
        back: str = "",
        access: str = "kernelspace",
    ) -> None:
        self.directory = os.path.abspath(directory)
        self.provider = os.path.basename(self.directory)
        self.parameters = dict(parameters or {})
        self.limit = limit
        self.away = away
        self.back = back
        self.access = access
        self.calls = 0
        self.stopping = False
        """Set by whoever wants the suite to end: no case makes another call, each still cleans up."""
        self._count = itertools.count()
        self._logs = tempfile.TemporaryDirectory(prefix="gnt-storage-conformance-")

    def close(self) -> None:
        """Drop the log files of the calls."""
        self._logs.cleanup()

    def has(self, action: str) -> bool:
        """Whether the provider has this script; Ganeti silently skips an optional one that is missing."""
        return os.path.exists(os.path.join(self.directory, action))

    def environment(
        self,
        action: str,
        volume: Volume,
        *,
        new_size: int = 0,
        metadata: str = "",
        exclusive: bool = True,
        parameters: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """The ``VOL_*`` and ``EXTP_*`` that Ganeti sets; names of parameters are upper-cased, values raw."""
        chosen = self.parameters if parameters is None else parameters
        variables = {"EXTP_" + name.upper(): value for name, value in chosen.items()}
        variables |= {"EXTP_PROVIDER": self.provider, "EXTP_ACCESS": volume.access, "VOL_NAME": volume.name}
        if action == "snapshot":
            variables["VOL_SNAPSHOT_NAME"] = volume.name + ".snap"
            variables["VOL_SNAPSHOT_SIZE"] = str(volume.size)
            return variables
        variables["VOL_UUID"] = volume.uuid
        if volume.cname is not None:
            variables["VOL_CNAME"] = volume.cname
        if action in ("create", "grow"):
            variables["VOL_SIZE"] = str(volume.size)
        if action == "grow":
            variables["VOL_NEW_SIZE"] = str(new_size)
        if action == "setinfo":
            variables["VOL_METADATA"] = metadata
        if action == "open":
            variables["VOL_OPEN_EXCLUSIVE"] = str(exclusive)
        return variables

    def call(
        self,
        node: Node,
        action: str,
        environment: Mapping[str, str],
        *,
        arguments: Sequence[str] = (),
        umask: int = 0o077,
        pipes: bool = False,
    ) -> Call:
        """Call one script with these variables (see :meth:`environment`), and wait for its end.

        ``arguments``, another ``umask`` and ``pipes`` (two pipes for an action that has a log file)
        are not Ganeti's way; they are there to probe a script.
        """
        running = self.start(node, action, environment, arguments=arguments, umask=umask, pipes=pipes)
        return running.wait()

    def start(
        self,
        node: Node,
        action: str,
        environment: Mapping[str, str],
        *,
        arguments: Sequence[str] = (),
        umask: int = 0o077,
        pipes: bool = False,
    ) -> Running:
        """Start what :meth:`call` waits for."""
        self.calls += 1
        script = os.path.join(self.directory, action)
        variables = {**NODED_ENVIRONMENT, **environment}
        log = None
        if action != "attach" and not pipes:
            log = os.path.join(self._logs.name, f"{next(self._count)}-{action}.log")
        process: Process | Unstarted
        try:
            if node.prefix:
                words = ["env", *(f"{name}={value}" for name, value in variables.items()), script, *arguments]
                line = f"umask {umask:04o}; cd {shlex.quote(self.directory)} && exec {shlex.join(words)}"
                process = Process(node.shell_argv(line), environment=_own_environment(), log=log)
            else:
                process = Process(
                    [script, *arguments],
                    environment={**_settings(), **variables},
                    directory=self.directory,
                    umask=umask,
                    log=log,
                )
        except OSError as error:
            process = Unstarted(error.strerror or str(error))
        return Running(node.name, action, variables, process, self.limit)


def _own_environment() -> dict[str, str]:
    """Our own environment for a node's prefix, which may need it (ssh does); nothing of a call is in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("VOL_", "EXTP_"))}


def _settings() -> dict[str, str]:
    """The variables with which this suite's own providers are redirected in tests."""
    return {name: value for name, value in os.environ.items() if name.startswith("EXTSTORAGE_")}
