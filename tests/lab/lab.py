# SPDX-License-Identifier: Apache-2.0
"""A lab on one machine: a storage node and compute nodes with kernels of their own, networks between them.

    with Lab(Path("/run/mine")) as lab:
        lab.storage.run("vgcreate vg /dev/ubdb")
        lab.nodes[0].run("modprobe rbd")

It leaves nothing behind, however its program ends: all of it is in namespaces that end with the program (or,
after ``leave``, with ``down``). A lock keeps two programs from working on one lab.
"""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests import machines
from tests.lab.hub import Hub
from tests.lab.node import CHECKOUT, Node
from tests.layer import Layer
from tests.machines import MachineError

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

DIRECTORY = Path("/run/ganeti-extstorage-lab")
LAYER = Layer(
    "lab",
    (
        *("user-mode-linux", "lvm2", "thin-provisioning-tools", "python3-rtslib-fb", "udev", "kmod"),
        *("open-iscsi", "multipath-tools", "lsscsi", "sg3-utils", "iproute2", "iputils-ping", "procps"),
        *("openssh-server", "openssh-client", "python3", "e2fsprogs", "util-linux", "mdadm", "fdisk"),
        *("python3-os-brick",),
    ),
    Path(__file__).with_name("layer-recipe"),
)
log = logging.getLogger(__name__)


class Lab:
    """The lab in ``directory``. ``up`` makes it, ``down`` ends it, whatever state it is in.

    ``directory`` is made and removed. There is one storage node and ``nodes`` compute nodes, each with
    ``memory`` MiB; ``layer`` is what is installed in them beside this machine's packages. Networks are
    10.78.0.0/24 (commands come over it) and, for storage traffic, 10.78.1.0/24
    and 10.78.2.0/24; in each the hub has .1, the storage .10, compute node N .10+N.
    """

    def __init__(
        self, directory: Path = DIRECTORY, nodes: int = 2, memory: int = 512, layer: Layer = LAYER
    ) -> None:
        self.directory = directory.resolve()
        for path in (self.directory, CHECKOUT):
            if set(str(path)) & set(":,\\'\" \t\n"):
                raise MachineError(f"{path}: no such characters, please: it becomes a mount option")
        self.layer = layer
        self.disks: dict[str, Path] = {}
        """Disks that were kept from nodes of these names, to start with."""
        self._hub = Hub(self.directory)
        self.storage = Node(self._hub, "storage", 10, memory)
        self.nodes = [Node(self._hub, f"node{number}", 10 + number, memory) for number in range(1, nodes + 1)]
        self._lock: socket.socket | None = None

    @classmethod
    def standing(cls, directory: Path = DIRECTORY) -> Lab | None:
        """The lab that was left running in ``directory``, or None."""
        nodes = Hub(directory.resolve()).standing()
        return cls(directory, nodes) if nodes else None

    def __enter__(self) -> Lab:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def all(self) -> list[Node]:
        """The storage node, then the compute nodes."""
        return [self.storage, *self.nodes]

    def node(self, name: str) -> Node:
        """The node ``name``. Raises MachineError."""
        for node in self.all:
            if node.name == name:
                return node
        raise MachineError(f"no node {name}: there are {', '.join(node.name for node in self.all)}")

    def up(self) -> None:
        """Make the lab. If that fails, nothing is left.

        Raises MachineError if another program is at work on it or it was left running.
        """
        self._acquire()
        if self._hub.standing():
            self._release()
            raise MachineError(f"the lab in {self.directory} is up already")
        try:
            self._clear()
            if self.directory.exists() and any(self.directory.iterdir()):
                raise MachineError(f"{self.directory} is not empty")
            self.directory.mkdir(parents=True, exist_ok=True)
            self._make()
        except BaseException:
            self.down()
            raise

    def _make(self) -> None:
        with self.layer.archive(self._hub.mark) as archive:
            self._hub.start(archive)
        log.info("hub is there")
        hosts = "127.0.0.1 localhost\n"
        hosts += "".join(f"{node.address} {node.fqdn} {node.name}\n" for node in self.all)
        for node in self.all:
            node.create(hosts, self.disks.get(node.name))
            node.start()
        for node in self.all:
            node.wait()
            log.info("%s is ready", node.name)

    def leave(self) -> None:
        """Let the lab run on after this program's end, for ``standing`` to find."""
        self._hub.stay(len(self.nodes))
        self._release()

    def down(self) -> None:
        """End the lab and all that it made. Raises MachineError if another program is at work on it."""
        if not self._lock:
            self._acquire()
        with machines.uninterrupted():
            self._clear()
            for node in self.all:
                node.reap()
            self._release()
            log.info("down")

    def _clear(self) -> None:
        self._hub.end()
        if self.directory.exists() and not any(self.directory.iterdir()):
            self.directory.rmdir()

    # --- for programs of this machine ---------------------------------------------------------------

    @property
    def hub(self) -> Path:
        """The network namespace in which the hub's addresses are; what listens there is seen by all nodes."""
        return self._hub.network

    def in_hub(self, command: str | Sequence[str]) -> list[str]:
        """The argument list that runs ``command`` (a string: by the shell) with the hub's network."""
        words = ["sh", "-c", command] if isinstance(command, str) else list(command)
        return [*self._hub.enter("--net"), *words]

    def logs(self, lines: int = 20) -> str:
        """The last lines of each node's console and kernel log."""
        return "\n".join(f"===== {node.name}\n{_log(node, lines)}" for node in self.all)

    # --- one program at a time ----------------------------------------------------------------------

    def _acquire(self) -> None:
        self._lock = machines.lock(self._hub.mark)
        if not self._lock:
            raise MachineError(f"another program is at work on {self.directory}")

    def _release(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None


def _log(node: Node, lines: int) -> str:
    try:
        return node.console()[-1000:] + node.run(f"dmesg | tail -n {lines}", check=False, timeout=5).stdout
    except (MachineError, OSError, subprocess.TimeoutExpired) as error:
        return f"({error})"
