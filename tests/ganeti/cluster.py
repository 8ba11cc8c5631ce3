# SPDX-License-Identifier: Apache-2.0
"""A real Ganeti cluster on one machine: Debian's package in nodes made of namespaces.

    with Cluster(Path("/run/mine")) as cluster:
        cluster.gnt("gnt-instance list")
        cluster.nodes[2].run("ls /srv/shared")

Everything lies on one tmpfs, mounted on the cluster's directory, and goes with it. A lock keeps two
programs from working on one cluster. What a killed program left is cleared by the next ``up`` or ``down``.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ganeti import base, leftovers
from tests.ganeti.leftovers import ClusterError
from tests.ganeti.nodes import DOMAIN, NETWORK, Node, start_hub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DIRECTORY = Path("/run/ganeti-extstorage-tests")
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


class Cluster:
    """The cluster in ``directory``. ``up`` makes it, ``down`` ends it, whatever state it is in.

    ``directory`` is made and removed; ``debs`` are installed in each node before Ganeti is initialised;
    ``bare`` leaves Ganeti uninitialised. Nothing but Ganeti's package is set up on the nodes: what our own
    package has to provide (/var/log/ganeti/extstorage for one) is not there without it.
    """

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
            raise ClusterError(f"{self.directory}: no such characters, please: it becomes a mount option")
        self.nodes = [Node(self.directory, number) for number in range(1, nodes + 1)]
        self.hypervisors = hypervisors
        self.debs = debs
        self.bare = bare
        self._lock: socket.socket | None = None
        self._hub: subprocess.Popen[str] | None = None

    @classmethod
    def standing(cls, directory: Path = DIRECTORY) -> Cluster | None:
        """The cluster that was left running in ``directory``, or None."""
        try:
            nodes = int((directory / "standing").read_text())
        except FileNotFoundError:
            return None
        return cls(directory, nodes)

    def __enter__(self) -> Cluster:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def master(self) -> Node:
        """The node on which commands are given; the first one, after ``up``."""
        return self.nodes[0]

    def up(self) -> None:
        """Make the cluster; clear what a killed program left there before. If that fails, nothing is left.

        Raises ClusterError if another program is at work on it or it was left running.
        """
        self._acquire()
        if (self.directory / "standing").exists():
            self._release()
            raise ClusterError(f"the cluster in {self.directory} is up already")
        try:
            leftovers.clear(self.directory)
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
        """End the cluster and all that it made. Raises ClusterError if another program is at work on it."""
        if not self._lock:
            self._acquire()
        with _uninterrupted():
            leftovers.clear(self.directory)
            for node in self.nodes:
                node.reap()
            if self._hub:
                self._hub.wait(leftovers.SECONDS)
            self._release()
            log.info("down")

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
        ignore = "" if Path("/proc/sysrq-trigger").exists() else "--ignore-errors=ENODESETUP"
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

    def _mount(self) -> None:
        """Make the file system for everything, and the directory that the nodes share."""
        if self.directory.exists() and any(self.directory.iterdir()):
            raise ClusterError(f"{self.directory} is not empty")
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
        self._hold_loop0()

    def _hold_loop0(self) -> None:
        """Keep /dev/loop0 from the nodes: Ganeti takes a disk whose minor number is 0 for not attached.

        Of two clusters on this machine only the first has it; after its end the other may meet that disk.
        """
        held = self.directory / "loop0"
        held.write_bytes(bytes(4096))
        if (device := _command(f"losetup --find --show {held}").strip()) != "/dev/loop0":
            _command(f"losetup --detach {device}")

    def _start_nodes(self) -> None:
        hosts = "127.0.0.1 localhost\n" + f"{NETWORK}.1 cluster.{DOMAIN} cluster\n"
        hosts += "".join(f"{node.address} {node.name} node{node.number}\n" for node in self.nodes)
        self._hub = start_hub(self.directory)
        for node in self.nodes:
            node.create({"/etc/hosts": hosts, "/etc/ganeti/file-storage-paths": "\n".join(FILE_STORAGE)})
            node.start()
            node.run(["mkdir", "-p", *FILE_STORAGE])
            node.put_tree(OS_DEFINITIONS, "/srv/ganeti/os")
        log.info("%d nodes started", len(self.nodes))

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

    def _acquire(self) -> None:
        """Lock the directory: an abstract socket leaves no file, and goes when this program does."""
        name = hashlib.sha256(str(self.directory).encode()).hexdigest()
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0ganeti-test-cluster-{name}")
        except OSError:
            lock.close()
            raise ClusterError(f"another program is at work on {self.directory}") from None
        self._lock = lock

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
    """Run a command of this machine; its output. Raises ClusterError with its message."""
    done = subprocess.run(command.split(), check=False, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"{command}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep SIGINT and SIGTERM waiting."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
