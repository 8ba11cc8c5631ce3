# SPDX-License-Identifier: Apache-2.0
"""The hub of a lab: the namespaces in which its kernels run, a tmpfs for all its files, and its networks.

Its first process (hub-init) takes all with it when it ends: kernels, file system, interfaces. It ends with
the program that made it, be that killed, until it is told to stay. Programs of this machine can join its
network.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests import machines
from tests.lab.kernel import Kernel
from tests.machines import MachineError

INIT = Path(__file__).with_name("hub-init")
HUB = "EXTSTORAGE_LAB_HUB=1"
STANDING = "EXTSTORAGE_LAB_NODES"  # in the environment of a hub that was told to stay: how many nodes


class Hub:
    """The hub of the lab in ``directory``, running or not."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.mark = f"EXTSTORAGE_LAB={directory}"
        self._process: subprocess.Popen[str] | None = None
        self._pid = 0

    def start(self, archive: Path) -> None:
        """Make namespaces, tmpfs and networks, and unpack the layer. Raises MachineError."""
        namespaces = ["--mount", "--propagation=slave", "--net", "--pid", "--fork", "--kill-child"]
        command = ["unshare", *namespaces, str(INIT), str(self.directory), str(archive), HUB]
        self._process, self._pid = machines.spawn(command, self.mark, HUB, subprocess.PIPE)
        self.kernel.provide()

    def stay(self, nodes: int) -> None:
        """Let it outlive this program; the number of nodes is kept with it."""
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(f"{STANDING}={nodes}\n")
        self._process.stdin.close()
        while not self.standing():
            self.pid  # noqa: B018 - raises if it is gone

    def standing(self) -> int:
        """How many nodes it has if it was told to stay; else 0."""
        return int(machines.value(self._find(), STANDING) or 0)

    def end(self) -> None:
        """End it, and all in it; nothing there is fine."""
        if pid := self._find():
            machines.end(pid, self.mark)
        machines.end_all(self.mark)
        if self._process:
            self._process.communicate(timeout=machines.SECONDS)
            self._process = None

    @property
    def pid(self) -> int:
        """Its first process. Raises MachineError when there is none."""
        if pid := self._find():
            return pid
        raise MachineError(f"no lab is running in {self.directory}")

    def _find(self) -> int:
        if not (self._pid and machines.is_marked(self._pid, self.mark, HUB)):
            self._pid = next(iter(machines.processes(self.mark, HUB)), 0)
        return self._pid

    @property
    def path(self) -> Path:
        """The lab's tmpfs, as seen from here."""
        return Path(f"/proc/{self.pid}/root{self.directory}")

    @property
    def network(self) -> Path:
        """Its network namespace."""
        return Path(f"/proc/{self.pid}/ns/net")

    @property
    def kernel(self) -> Kernel:
        """What the nodes run."""
        return Kernel(self)

    def enter(self, *namespaces: str) -> list[str]:
        """The beginning of a command that is run in some of its namespaces (``--net``)."""
        return ["nsenter", f"--target={self.pid}", *namespaces, "--"]

    def run(self, script: str) -> str:
        """Run a shell script with its network and this machine's files; the output. Raises MachineError."""
        command = [*self.enter("--net"), "sh", "-ec", script]
        environment = machines.environment(self.mark)
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        if done.returncode:
            raise MachineError(f"{script}: {done.stderr.strip()}")
        return done.stdout
