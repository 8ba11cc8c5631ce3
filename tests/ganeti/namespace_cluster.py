# SPDX-License-Identifier: Apache-2.0
"""A cluster on one machine whose nodes are made of namespaces; they share its kernel and a directory.

    with NamespaceCluster(Path("/run/mine")) as cluster:
        cluster.gnt("gnt-instance list")
        cluster.nodes[2].run("ls /srv/shared")

Everything lies on one tmpfs, mounted on the cluster's directory, and goes with it. A lock keeps two
programs from working on one cluster. What a killed program left is cleared by the next ``up`` or ``down``.
"""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests import machines
from tests.ganeti import base, leftovers
from tests.ganeti.cluster import HYPERVISORS, Cluster
from tests.ganeti.namespaces import NETWORK, NamespaceNode, start_hub
from tests.machines import MachineError

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

DIRECTORY = Path("/run/ganeti-extstorage-tests")
log = logging.getLogger(__name__)


class NamespaceCluster(Cluster):
    """The cluster in ``directory``, in whatever state it is.

    ``directory`` is made and removed; ``debs`` are installed in each node before Ganeti is initialised;
    ``bare`` leaves Ganeti uninitialised.
    """

    address = f"{NETWORK}.1"
    nodes: list[NamespaceNode]

    def __init__(
        self,
        directory: Path = DIRECTORY,
        nodes: int = 3,
        hypervisors: Sequence[str] = HYPERVISORS,
        debs: Sequence[Path] = (),
        bare: bool = False,
    ) -> None:
        self.directory = directory.resolve()
        if set(str(self.directory)) & set(":,\\ \t\n"):
            raise MachineError(f"{self.directory}: no such characters, please: it becomes a mount option")
        self.nodes = [NamespaceNode(self.directory, number) for number in range(1, nodes + 1)]
        self.hypervisors = hypervisors
        self.debs = debs
        self.bare = bare
        self._lock: socket.socket | None = None
        self._hub: subprocess.Popen[str] | None = None

    @classmethod
    def standing(cls, directory: Path = DIRECTORY) -> NamespaceCluster | None:
        """The cluster that was left running in ``directory``, or None."""
        try:
            nodes = int((directory / "standing").read_text())
        except FileNotFoundError:
            return None
        return cls(directory, nodes)

    def up(self) -> None:
        """Make the cluster; clear what a killed program left there before. If that fails, nothing is left.

        Raises MachineError if another program is at work on it or it was left running.
        """
        self._acquire()
        if (self.directory / "standing").exists():
            self._release()
            raise MachineError(f"the cluster in {self.directory} is up already")
        try:
            leftovers.clear(self.directory)
            self._hub = start_hub(self.directory)
            self._mount()
            base.provide(self.directory)
            self._start_nodes()
            self.on_all(lambda node: node.install(*self.debs))
            if not self.bare:
                self._initialise()
        except BaseException:
            self.down()
            raise

    def leave(self) -> None:
        """Let the cluster run on after this program's end, for ``standing`` to find."""
        (self.directory / "standing").write_text(str(len(self.nodes)))
        self._release()

    def down(self) -> None:
        """End the cluster and all that it made. Raises MachineError if another program is at work on it."""
        if not self._lock:
            self._acquire()
        with machines.uninterrupted():
            leftovers.clear(self.directory)
            for node in self.nodes:
                node.reap()
            if self._hub:
                self._hub.wait(machines.SECONDS)
            self._release()
            log.info("down")

    def _mount(self) -> None:
        """Make the file system for everything, and the directory that the nodes share."""
        if self.directory.exists() and any(self.directory.iterdir()):
            raise MachineError(f"{self.directory} is not empty")
        self.directory.mkdir(parents=True, exist_ok=True)
        _command(f"mount -t tmpfs -o mode=755,size=75% {leftovers.TMPFS} {self.directory}")
        shared = self.directory / "shared"
        shared.mkdir()
        if not supports_direct(shared):
            image = self.directory / "shared.img"
            _command(f"truncate --size=16G {image}")
            _command(f"mkfs.ext4 -q -E nodiscard,lazy_itable_init=1 {image}")
            _command(f"mount -o loop {image} {shared}")
        (shared / "sharedfile").mkdir()

    def _start_nodes(self) -> None:
        for node in self.nodes:
            node.create()
            node.start()
            self._prepare(node)
        log.info("%d nodes started", len(self.nodes))

    def _acquire(self) -> None:
        self._lock = machines.lock(leftovers.mark(self.directory))
        if not self._lock:
            raise MachineError(f"another program is at work on {self.directory}")

    def _release(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None


def supports_direct(directory: Path) -> bool:
    """Whether files there can be opened with O_DIRECT (tmpfs: since Linux 6.6)."""
    probe = directory / "probe"
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_DIRECT))
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


def _command(command: str) -> str:
    """Run a command of this machine; its output. Raises MachineError with its message."""
    done = subprocess.run(command.split(), check=False, capture_output=True, text=True)
    if done.returncode:
        raise MachineError(f"{command}: {done.stderr.strip()}")
    return done.stdout
