# SPDX-License-Identifier: Apache-2.0
"""A cluster on one machine whose nodes have kernels of their own, and a machine beside it for the storage.

    with LabCluster(Path("/run/mine")) as cluster:
        cluster.gnt("gnt-instance list")
        cluster.storage.run("vgs")

It is a lab (tests.lab) whose compute nodes are Ganeti's nodes. Ganeti's initialisation takes most of the time
that a cluster needs, so the nodes' disks are kept after it, next to the layers (tests.layer).
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ganeti import base, cluster, nodes
from tests.ganeti.cluster import HYPERVISORS, Cluster
from tests.ganeti.nodes import DOMAIN, Node
from tests.lab import lab
from tests.lab import node as lab_node
from tests.layer import Layer, cache_directory
from tests.machines import MachineError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

LAYER = Layer("ganeti-lab", (*lab.LAYER.packages, *base.PACKAGES), base.LAYER.recipe)
MEMORY = 768
DISKS = "ganeti-lab-disks"
SECONDS = 120  # within which Ganeti's daemons agree with each other
SSHD = "/usr/sbin/sshd"
# The daemon is in the background before it listens.
LISTENS = "for i in $(seq 600); do ss -Hltn sport = :1811 | grep -q . && exit; sleep 0.1; done; exit 1"
DAEMONS = "/usr/lib/ganeti/daemon-util"
log = logging.getLogger(__name__)


class LabNode(Node):
    """A node of a lab: number 0 is the storage's."""

    def __init__(self, machine: lab_node.Node, number: int) -> None:
        self.machine = machine
        self.number = number
        self.name = f"{machine.name}.{DOMAIN}"
        self.address = machine.address

    @property
    def storage_address(self) -> str:
        """Its address in a network that is for storage alone."""
        return self.machine.addresses[1]

    @property
    def running(self) -> bool:
        return self.machine.running

    def run(
        self, command: str | Sequence[str], check: bool = True, input: str | bytes = "", timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        return self.machine.run(command, check, input, timeout)

    def crash(self) -> None:
        """With all on its disk that was installed and configured half a minute ago, as on any node."""
        self.machine.run("sync")
        self.machine.crash()

    def restart(self) -> None:
        self.machine.boot()
        if self.number:
            self.start_ganeti()
        else:
            self.run(SSHD)

    def start_ganeti(self) -> None:
        """Start what an init system would, on the master, too."""
        self.start_node()
        if self.run("cat /var/lib/ganeti/ssconf_master_node").stdout.strip() == self.name:
            self.start_master()

    # Of Ganeti's daemons only those without which nothing works: each takes seconds to start.

    def start_node(self) -> None:
        """Start what an init system would on each node."""
        self.run(f"{SSHD} && {DAEMONS} start ganeti-noded && {LISTENS}")

    def start_master(self) -> None:
        """Start what an init system would on the master; it asks the other nodes whether it is that."""
        self.run(f"{DAEMONS} start ganeti-wconfd && {DAEMONS} start ganeti-luxid")


class LabCluster(Cluster):
    """The cluster in ``directory``, in whatever state it is."""

    address = "10.78.0.2"
    nodes: list[LabNode]

    def __init__(
        self, directory: Path = lab.DIRECTORY, nodes: int = 2, hypervisors: Sequence[str] = HYPERVISORS
    ) -> None:
        self.lab = lab.Lab(directory, nodes, MEMORY, LAYER)
        self.storage = LabNode(self.lab.storage, 0)  # the machine beside the cluster that has the storage
        self.nodes = [LabNode(machine, number) for number, machine in enumerate(self.lab.nodes, 1)]
        self.hypervisors = hypervisors

    @classmethod
    def standing(cls, directory: Path = lab.DIRECTORY) -> LabCluster | None:
        """The cluster that was left running in ``directory``, or None."""
        return cls(directory) if lab.Lab.standing(directory) else None

    def up(self) -> None:
        self.lab.disks = self._kept()
        self.lab.up()
        try:
            if not self.lab.disks:
                self._make()
            self._start()
        except BaseException:
            self.down()
            raise

    def leave(self) -> None:
        """Let the cluster run on after this program's end, for ``standing`` to find."""
        self.lab.leave()

    def down(self) -> None:
        self.lab.down()

    def _hosts(self) -> str:
        return super()._hosts() + f"{self.storage.address} {self.storage.name} storage\n"

    # --- disks that are kept ------------------------------------------------------------------------

    def _kept(self) -> dict[str, Path]:
        """The disks of an initialised cluster of this kind, if there are any."""
        place = self._place()
        return {node.machine.name: place / node.machine.name for node in self.nodes if place.exists()}

    def _place(self) -> Path:
        """Where the disks are kept; a digest of what they depend on is in the name."""
        sources = [Path(str(module.__file__)) for module in (base, cluster, nodes, lab_node)]
        sources += [Path(__file__), *sorted(cluster.OS_DEFINITIONS.rglob("*.*"))]
        parts = [LAYER.cache_file.name, *self.hypervisors, str(len(self.nodes))]
        contents = [part.encode() for part in parts] + [source.read_bytes() for source in sources]
        digest = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents))
        return cache_directory() / f"{DISKS}-{digest.hexdigest()[:24]}"

    def _make(self) -> None:
        """Initialise Ganeti, pull the plugs and keep the disks."""
        self.on_all(lambda node: node.run(SSHD))
        self.on_all(self._prepare)
        self._initialise()
        self.on_all(lambda node: node.run(f"{DAEMONS} stop-all; rm -f /var/log/ganeti/*.log; sync"))
        for node in self.nodes:
            node.crash()
        self._keep()
        for node in self.nodes:
            node.machine.start()
        for node in self.nodes:
            node.machine.wait()

    def _keep(self) -> None:
        """Keep the nodes' disks, all in one step, and drop those that they replace."""
        place = self._place()
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            # The cluster's keys are on them: nobody else may look into such a directory.
            with tempfile.TemporaryDirectory(prefix=f"{DISKS}-", dir=place.parent) as scratch:
                made = Path(scratch) / "disks"
                made.mkdir(mode=0o700)
                for node in self.nodes:
                    node.machine.keep(made / node.machine.name)
                made.rename(place)
        except OSError as error:
            log.warning("no cache: %s", error)
            return
        for old in place.parent.glob(f"{DISKS}-{'[0-9a-f]' * 24}"):
            if old != place:
                shutil.rmtree(old, ignore_errors=True)

    # --- daemons ------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start Ganeti, and wait until it knows how all nodes are."""
        self.storage.run(SSHD)
        with ThreadPoolExecutor() as pool:
            list(pool.map(LabNode.start_node, self.nodes))
        self.nodes[0].start_master()
        deadline = time.monotonic() + SECONDS
        while not self._is_ready():
            if time.monotonic() > deadline:
                raise MachineError(f"Ganeti does not get ready:\n{self.logs()}")
            time.sleep(0.2)
        log.info("Ganeti is ready")

    def _is_ready(self) -> bool:
        """Whether the master knows of each node how it is."""
        listed = self.gnt("gnt-node list --no-headers", check=False)
        return listed.returncode == 0 and "?" not in listed.stdout
