# SPDX-License-Identifier: Apache-2.0
"""Nodes of a lab: machines with a kernel of their own, which is a process here (user-mode Linux).

A node sees this machine's programs, through the layer that all nodes share, and writes to a disk of its own,
which survives a crash: what reached the disk is there after the next boot, and nothing else. It has three
network cards, each at a bridge of the lab. It has no init system; guest/start tells what runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests import machines
from tests.lab.channel import Channel
from tests.machines import CommandFailed, MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.hub import Hub

INIT = Path(__file__).with_name("node-init")
GUEST = Path(__file__).with_name("guest")
REMOTE = Path(__file__).with_name("remote")
CHECKOUT = Path(__file__).resolve().parents[2]
DOMAIN = "example.test"
LANS = 3
DISK_SIZE, DATA_SIZE = 2 << 30, 8 << 30
BOOT_SECONDS = 180
# What of this machine is not seen there, only the layer's: data, configuration, programs from no packages.
HIDDEN = (
    *("etc/ganeti", "var/lib/ganeti", "var/log/ganeti", "var/lib/ganeti-extstorage"),
    *("var/log/ganeti-extstorage", "home", "opt", "root", "srv", "usr/local"),
    *("etc/iscsi/nodes", "etc/iscsi/send_targets", "etc/multipath", "etc/target", "etc/rtslib-fb-target"),
    *("etc/lvm/archive", "etc/lvm/backup", "etc/lvm/devices", "etc/ceph", "var/lib/apt/lists", "mnt"),
)


class Node:
    """The node ``name`` of the lab in ``hub``, running or not; ``number`` ends its addresses."""

    def __init__(self, hub: Hub, name: str, number: int, memory: int) -> None:
        self.hub = hub
        self.name = name
        self.fqdn = f"{name}.{DOMAIN}"
        self.number = number
        self.memory = memory
        self.addresses = [f"10.78.{lan}.{number}" for lan in range(LANS)]
        self.initiator = f"iqn.2020-01.test.example:{name}"
        self._process: subprocess.Popen[str] | None = None
        self._pid = 0

    @property
    def address(self) -> str:
        """Its address in the first network, over which commands come to it; cut paths in the others."""
        return self.addresses[0]

    @property
    def home(self) -> Path:
        """Its files, as seen from here while the lab lives: ``disk``, ``data`` and ``console``."""
        return self.hub.path / self.name

    # --- power --------------------------------------------------------------------------------------

    def create(self, hosts: str, disk: Path | None = None) -> None:
        """Make the node with an empty disk, and a second one, ``/dev/ubdb``, for the storage's data.

        A node whose ``disk`` was kept (:meth:`keep`) gets a copy of that instead.
        """
        self.home.mkdir()
        if disk:
            _copy(disk, self.home / "disk")
        else:
            self._make_disk(hosts)
        with (self.home / "data").open("wb") as image:
            image.truncate(DATA_SIZE)
        for lan in range(LANS):
            card = f"{self.name}-{lan}"
            self.hub.run(f"ip tuntap add dev {card} mode tap; ip link set {card} master lan{lan} up")

    def keep(self, disk: Path) -> None:
        """Copy the disk of the node, which is switched off, to a file."""
        _copy(self.home / "disk", disk)

    def _make_disk(self, hosts: str) -> None:
        upper = self.home / "tree/upper"
        for part in HIDDEN:
            (upper / part).mkdir(parents=True)
            if (layer := self.hub.path / "layer" / part).is_dir():
                subprocess.run(["cp", "--archive", f"{layer}/.", str(upper / part)], check=True)
            os.setxattr(upper / part, "trusted.overlay.opaque", b"y")
        (self.home / "tree/work").mkdir()
        (upper / "root").chmod(0o700)
        for name, text in self._files(hosts).items():
            path = upper / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
        mkfs = ["mkfs.ext4", "-q", "-F", "-E", options, "-J", "size=8", "-d", str(self.home / "tree")]
        with (self.home / "disk").open("wb") as image:
            image.truncate(DISK_SIZE)
        subprocess.run([*mkfs, str(self.home / "disk")], check=True, env={"PATH": "/usr/sbin:/sbin"})
        shutil.rmtree(self.home / "tree")

    def _files(self, hosts: str) -> dict[str, str]:
        return {
            "etc/hostname": f"{self.fqdn}\n",
            "etc/hosts": hosts,
            "etc/iscsi/initiatorname.iscsi": f"InitiatorName={self.initiator}\n",
            # Nobody listens on D-Bus, and dmeventd is not what is tested.
            "etc/lvm/lvmlocal.conf": "activation { monitoring = 0 }\nglobal { notify_dbus = 0 }\n",
        }

    def start(self) -> None:
        """Switch the node on; :meth:`wait` waits until it is ready. Raises MachineError."""
        if self.running:
            raise MachineError(f"{self.name} is running")
        home = f"{self.hub.directory}/{self.name}"
        command = [str(INIT), home, self._mark, *self.hub.kernel.command(self._cpu()), *self._arguments()]
        (self.home / "console").write_bytes(b"")
        inside = [*self.hub.enter("--mount", "--net", "--pid"), "unshare", "--pid", "--fork", "--kill-child"]
        self._process, self._pid = machines.spawn([*inside, *command], self.hub.mark, self._mark)

    def _arguments(self) -> list[str]:
        cards = [f"vec{lan}:transport=tap,ifname={self.name}-{lan},depth=128,gro=1" for lan in range(LANS)]
        return [
            f"mem={self.memory}M", "umid=kernel", "uml_dir=.", "ubd0=disk", "ubd1=data", *cards,
            "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "loglevel=3",
            "con=null", "con0=null,fd:1", "con1=null", "ssl=null",
            f"init={GUEST / 'init'}",
            f"LAB={self.hub.directory}", f"CHECKOUT={CHECKOUT}", f"ADDRESS={self.number}",
        ]  # fmt: skip

    def _cpu(self) -> int:
        """One processor for each kernel: handing over between two costs more than it gains."""
        mine = sorted(os.sched_getaffinity(0))
        return mine[(self.hub.pid + self.number) % len(mine)]

    def wait(self) -> None:
        """Return when the node takes commands. Raises MachineError with the end of its console."""
        deadline = time.monotonic() + BOOT_SECONDS
        while "agent: ready" not in (console := self.console()):
            if not self.running or time.monotonic() > deadline:
                raise MachineError(f"{self.name} did not boot:\n{console[-2000:]}")
            time.sleep(0.005)

    def boot(self) -> None:
        """Switch the node on and wait until it takes commands. Raises MachineError."""
        self.start()
        self.wait()

    def crash(self) -> None:
        """Pull the plug: kernel and memory are gone at once; no peer gets a farewell."""
        machines.end(self.pid, self.hub.mark)
        self.reap()

    def reap(self) -> None:
        """Collect the exit status of the node's process, which has ended."""
        if self._process:
            self._process.wait(machines.SECONDS)

    def plug(self, lan: int) -> None:
        """Plug the cable of network card ``lan`` in (again)."""
        self.hub.run(f"ip link set {self.name}-{lan} master lan{lan}")

    def unplug(self, lan: int) -> None:
        """Pull the cable of network card ``lan`` (1 or 2; commands come through 0). The node is not told."""
        self.hub.run(f"ip link set {self.name}-{lan} nomaster")

    @property
    def running(self) -> bool:
        """Whether the node is switched on."""
        return bool(self._find())

    @property
    def pid(self) -> int:
        """The first process of the node here. Raises MachineError when it is not running."""
        if pid := self._find():
            return pid
        raise MachineError(f"{self.name} is not running")

    @property
    def _mark(self) -> str:
        return f"EXTSTORAGE_LAB_NODE={self.name}"

    def _find(self) -> int:
        if not (self._pid and machines.is_marked(self._pid, self.hub.mark, self._mark)):
            self._pid = next(iter(machines.processes(self.hub.mark, self._mark)), 0)
        return self._pid

    def console(self) -> str:
        """What the kernel and guest/start said since the last boot."""
        return (self.home / "console").read_text(errors="replace")

    # --- commands -----------------------------------------------------------------------------------

    @property
    def channel(self) -> Channel:
        """The way to the node's agent."""
        return Channel(self.hub.network, self.address, self.pid)

    def run(
        self, command: str | Sequence[str], check: bool = True, input: str | bytes = "", timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` (a string: by the shell) in the node, as root; clean environment, no terminal.

        Raises CommandFailed, if ``check``, for an exit status other than 0; MachineError when the node is
        not running; subprocess.TimeoutExpired after ``timeout`` seconds, having killed the command.
        """
        data = input.encode() if isinstance(input, str) else input
        done = self.channel.run(command, data, timeout)
        if check and done.returncode:
            raise CommandFailed(self.name, done)
        return done

    @property
    def prefix(self) -> list[str]:
        """The command that runs a shell command line in the node, as one more argument, as ``ssh`` does."""
        return [*self.hub.enter("--net"), str(REMOTE), self.address]

    def python(self, code: str, *arguments: str, check: bool = True) -> str:
        """Run a Python program in the node; what it printed."""
        return self.run(["/usr/bin/python3", "-c", code, *arguments], check=check).stdout

    def put(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        """Write a file in the node, and the directories above it."""
        self.run(["install", "-D", "-m", f"{mode:o}", "/dev/stdin", path], input=text)

    def put_tree(self, source: Path, path: str) -> None:
        """Copy what is in the directory ``source`` of this machine to the directory ``path`` of the node."""
        tar = subprocess.run(["tar", "-c", "-C", str(source), "."], check=True, stdout=subprocess.PIPE)
        self.run(["mkdir", "-p", path])
        self.run(["tar", "-x", "-p", "--no-same-owner", "-C", path], input=tar.stdout)


def _copy(image: Path, copy: Path) -> None:
    """Copy a disk image, of which most is holes."""
    subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
