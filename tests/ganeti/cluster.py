# SPDX-License-Identifier: Apache-2.0
"""A real Ganeti cluster, as the tests see it: what Ganeti is told to do on its nodes, whatever those are.

Debian's package runs on the nodes. They are made of namespaces (tests.ganeti.namespace_cluster), which is
fast, or have kernels of their own (tests.ganeti.lab.cluster), for storage that is reached by a kernel.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.ganeti.nodes import DOMAIN

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

    from tests.ganeti.nodes import Node

OS_DEFINITIONS = Path(__file__).with_name("os")
HYPERVISORS = ("fake", "kvm")
DISK_TEMPLATES = "ext,file,sharedfile,diskless"
FILE_STORAGE = ("/srv/ganeti/file-storage", "/srv/ganeti/shared-file-storage")
# Software emulation: not every machine has /dev/kvm. Without a kernel it boots from the (empty) disk.
KVM_PARAMETERS = "kvm:kvm_flag=disabled,kernel_path=,vnc_bind_address=,serial_console=true"
SPECS = (  # the smallest instances are allowed
    "min:cpu-count=1,disk-count=0,disk-size=1,memory-size=1,nic-count=0,spindle-use=1"
    "/max:cpu-count=8,disk-count=16,disk-size=1048576,memory-size=32768,nic-count=8,spindle-use=12"
)
log = logging.getLogger(__name__)


class Cluster(ABC):
    """A cluster; ``up`` makes it, ``down`` ends it, whatever state it is in.

    Nothing but Ganeti's package is set up on the nodes: what our own package has to provide
    (/var/log/ganeti/extstorage for one) is not there without it.
    """

    nodes: Sequence[Node]
    hypervisors: Sequence[str]
    address: str
    """Of the master, whichever node that is."""

    @abstractmethod
    def up(self) -> None:
        """Make the cluster. If that fails, nothing is left."""

    @abstractmethod
    def down(self) -> None:
        """End the cluster and all that it made."""

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def master(self) -> Node:
        """The node on which commands are given; the first one, after ``up``."""
        return self.nodes[0]

    def gnt(self, command: str | Sequence[str], check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on the master node; see Node.run. Ganeti's questions are answered with no."""
        return self.master.run(command, check=check)

    def fails(self, command: str) -> str:
        """Run a command on the master node that must fail; all that it wrote."""
        done = self.gnt(command, check=False)
        assert done.returncode, f"{command} did not fail:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def add_instance(self, name: str, disk: str, node: Node, hypervisor: str = "fake") -> None:
        """Make, install and start an instance; ``disk`` is for example ``-t sharedfile --disk 0:size=8``."""
        self.gnt(
            f"gnt-instance add -o minimal+default {disk} -n {node.name} -H {hypervisor} -B memory=64"
            f" --no-nics --no-name-check --no-ip-check {name}"
        )

    def instance(self, name: str, *fields: str) -> list[str]:
        """What ``gnt-instance list`` tells of an instance, ``pnode`` and ``status`` for example."""
        return self.gnt(f"gnt-instance list --no-headers -o {','.join(fields)} {name}").stdout.split()

    def reset(self) -> None:
        """Make the cluster as it was after ``up``, as far as Ganeti knows: all nodes there, no instance."""
        for node in self.nodes:
            if not node.running:
                node.restart()
        listing = self.gnt("gnt-node list --no-headers --separator=: -o name,offline").stdout
        offline = {line.split(":")[0] for line in listing.splitlines() if line.endswith(":Y")}
        for node in self.nodes:
            if node.name in offline:
                self.set_online(node)
        for name in self.gnt("gnt-instance list --no-headers -o name").stdout.split():
            self.gnt(f"gnt-instance remove -f --shutdown-timeout=0 --ignore-failures {name}")

    def verify(self) -> subprocess.CompletedProcess[str]:
        """Run ``gnt-cluster verify``. Raises CommandFailed if it finds anything wrong."""
        # Kernels without the magic SysRq key lack a file that Ganeti asks for.
        has_it = self.master.run("test -e /proc/sysrq-trigger", check=False).returncode == 0
        ignore = "" if has_it else "--ignore-errors=ENODESETUP"
        return self.gnt(f"gnt-cluster verify {ignore}")

    def set_offline(self, node: Node) -> None:
        """Tell Ganeti that ``node`` is dead, as the administrator does."""
        self.gnt(f"gnt-node modify --offline=yes {node.name}")

    def set_online(self, node: Node) -> None:
        """Take a node back that was offline and runs again."""
        self.gnt(f"gnt-node add --readd --no-ssh-key-check --no-node-setup {node.name}")

    def on_all(self, action: Callable[[Node], object]) -> None:
        """Do ``action`` on all nodes at once; raises what the first that fails raises."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(action, self.nodes))

    def logs(self, lines: int = 30) -> str:
        """The last lines of the node daemon's log and of the newest provider logs, of each node."""
        script = (
            f"cd /var/log/ganeti && tail -n {lines} node-daemon.log"
            f" $(ls -t extstorage/* 2>/dev/null | head -n 10) 2>&1"
        )
        return "\n".join(
            f"===== {node.name}\n"
            + (node.run(script, check=False).stdout if node.running else "(not running)")
            for node in self.nodes
        )

    def _hosts(self) -> str:
        """All names that there are, for /etc/hosts."""
        names = [f"127.0.0.1 localhost\n{self.address} cluster.{DOMAIN} cluster\n"]
        names += [f"{node.address} {node.name} node{node.number}\n" for node in self.nodes]
        return "".join(names)

    def _prepare(self, node: Node) -> None:
        """Give a node what Ganeti wants to find."""
        node.put("/etc/hosts", self._hosts())
        node.put("/etc/ganeti/file-storage-paths", "\n".join(FILE_STORAGE))
        node.run(["mkdir", "-p", *FILE_STORAGE])
        node.put_tree(OS_DEFINITIONS, "/srv/ganeti/os")

    def _initialise(self) -> None:
        kvm = f"-H {KVM_PARAMETERS}" if "kvm" in self.hypervisors else ""
        self.gnt(
            f"gnt-cluster init --enabled-hypervisors={','.join(self.hypervisors)} {kvm}"
            f" --enabled-disk-templates={DISK_TEMPLATES} --default-iallocator=hail"
            " --master-netdev=eth0 --master-netmask=32 --no-etc-hosts --ssh-key-type=ecdsa"
            f" --nic-parameters=mode=routed,link=main --ipolicy-bounds-specs={SPECS}"
            f" cluster.{DOMAIN}"
        )
        log.info("Ganeti initialised")
        for node in self.nodes[1:]:  # not at once: Ganeti mixes up their ssh keys then
            self.gnt(f"gnt-node add --no-ssh-key-check {node.name}")
            log.info("%s added", node.name)
