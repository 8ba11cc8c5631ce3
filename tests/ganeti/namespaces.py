# SPDX-License-Identifier: Apache-2.0
"""Nodes: machines that share one kernel, each with its own file system, processes, name and network.

A node is a process that sleeps as pid 1 of new mount, uts, ipc, net and pid namespaces (see node-init); to
kill it is to pull the node's plug. Its network card is one end of a veth pair whose other end is at a bridge
in a network namespace that holds nothing else, the hub. What a node does not have of its own is the kernel,
and so block devices and the clock.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests import machines
from tests.ganeti import leftovers, loop0
from tests.ganeti.nodes import DOMAIN, Node
from tests.machines import CommandFailed, MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence

INIT = Path(__file__).with_name("node-init")
NETWORK = "10.77.0"
ENVIRONMENT = ("HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
NODE = "GANETI_TEST_NODE"  # in the environment of a node's pid 1: its number
HUB = f"{NODE}=hub"


class NamespaceNode(Node):
    """Node ``number`` (from 1) of the cluster in ``directory``, running or not."""

    def __init__(self, directory: Path, number: int) -> None:
        self.directory = directory
        self.number = number
        self.name = f"node{number}.{DOMAIN}"
        self.address = f"{NETWORK}.{10 + number}"
        self.home = directory / f"node{number}"
        self.mark = leftovers.mark(directory)
        self._own_mark = f"{NODE}={number}"
        self._port = f"node{number}"  # its plug at the bridge
        self._process: subprocess.Popen[str] | None = None
        self._pid = 0

    def create(self) -> None:
        """Make the empty node."""
        for part in ("upper/etc", "work", "root"):
            (self.home / part).mkdir(parents=True)
        (self.home / "upper/etc/hostname").write_text(f"{self.name}\n")

    def start(self) -> None:
        """Switch the node on: file systems, network, sshd. Raises MachineError."""
        namespaces = ["--mount", "--propagation=slave", "--uts", "--ipc", "--net", "--pid"]
        init = [str(INIT), str(self.directory), str(self.number), self.name]
        self._process, self._pid = machines.spawn(
            ["unshare", *namespaces, "--fork", "--kill-child", *init], self.mark, self._own_mark
        )
        in_hub(self.directory, f"ip link delete {self._port} 2>/dev/null || true")  # left by a node that died
        in_hub(self.directory, f"ip link add {self._port} type veth peer name eth0 netns {self._pid}")
        in_hub(self.directory, f"ip link set {self._port} master bridge up")
        self.run(f"ip link set lo up; ip address add {self.address}/24 dev eth0; ip link set eth0 up")
        # That nobody has an address (any more) is noticed in one second instead of 3 (36): each call of
        # Ganeti to a dead node ends so, else after 5 s.
        self.run(
            "cd /proc/sys/net/ipv4/neigh/eth0; echo 100 >retrans_time_ms;"
            "echo 500 >base_reachable_time_ms; echo 1 >delay_first_probe_time"
        )
        self.run("/usr/sbin/sshd")

    def restart(self) -> None:
        """Switch a crashed node on again, with the same disk, and start what an init system would."""
        self.start()
        self.run("/usr/lib/ganeti/daemon-util start-all")

    def crash(self) -> None:
        """Pull the plug: the node's processes are gone at once, with /run and /tmp; no peer gets a farewell.

        Loop devices belong to the kernel, which does not go; as after a reset, they are detached. Other than
        in a real crash, what is still in their cache is written to their backing files by that.
        """
        pid = self.pid
        in_hub(self.directory, f"ip link delete {self._port}")
        # Which loop devices are this node's shows in the path to their files, while its mounts exist.
        inside = f"{self.home}/root/"
        loops = [loop for loop in leftovers.loops() if loop.file.startswith(inside)]
        machines.end(pid, self.mark)
        self.reap()
        leftovers.release(loops)
        (self.home / "filesystem").unlink()  # the number is free now, another cluster may get it

    def reap(self) -> None:
        """Collect the exit status of the node's process, which has ended."""
        if self._process:
            self._process.wait(machines.SECONDS)

    @property
    def running(self) -> bool:
        """Whether the node is switched on."""
        return bool(self._find())

    @property
    def pid(self) -> int:
        """The node's pid 1, as seen from outside. Raises MachineError when the node is not running."""
        if pid := self._find():
            return pid
        raise MachineError(f"{self.name} is not running")

    def _find(self) -> int:
        if not (self._pid and machines.is_marked(self._pid, self.mark, self._own_mark)):
            self._pid = next(iter(machines.processes(self.mark, self._own_mark)), 0)
        return self._pid

    def command(self, command: str | Sequence[str]) -> list[str]:
        """The argument list that runs ``command`` (a string: by the shell) in the node as root."""
        words = ["sh", "-c", command] if isinstance(command, str) else list(command)
        enter = f"nsenter --target {self.pid} --mount --uts --ipc --net --pid --root --wd --"
        return [*enter.split(), "env", "-i", *ENVIRONMENT, *words]

    def run(
        self, command: str | Sequence[str], check: bool = True, input: str | bytes = "", timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` (a string: by the shell) in the node, as root; clean environment, no terminal.

        Raises CommandFailed, if ``check``, for an exit status other than 0; MachineError when the node is
        not running; subprocess.TimeoutExpired after ``timeout`` seconds.
        """
        raw = subprocess.run(
            self.command(command),
            input=input.encode() if isinstance(input, str) else input,
            capture_output=True, timeout=timeout, env=machines.environment(self.mark), check=False,
        )  # fmt: skip
        stdout, stderr = (output.decode(errors="replace") for output in (raw.stdout, raw.stderr))
        done = subprocess.CompletedProcess(command, raw.returncode, stdout, stderr)
        if check and done.returncode:
            raise CommandFailed(self.name, done)
        return done


def start_hub(directory: Path) -> subprocess.Popen[str]:
    """Start the network of the cluster in ``directory``; it lasts as long as the process that is returned.

    As long, it keeps /dev/loop0 from the nodes.
    """
    sleep = f"read -r pid _ </proc/self/stat; echo $pid; exec env {HUB} sleep infinity >/dev/null 2>&1"
    with loop0.held() as device:
        command = ["unshare", "--net", "sh", "-c", sleep]
        process, _ = machines.spawn(command, leftovers.mark(directory), HUB, stdin=device)
    in_hub(directory, "ip link add bridge type bridge && ip link set bridge up")
    return process


def in_hub(directory: Path, script: str) -> None:
    """Run a shell script with the hub's network and this machine's files."""
    for pid in machines.processes(leftovers.mark(directory), HUB):
        enter = ["nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-ec", script]
        subprocess.run(enter, env=machines.environment(leftovers.mark(directory)), check=True)
