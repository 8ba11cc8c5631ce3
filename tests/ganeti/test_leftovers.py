# SPDX-License-Identifier: Apache-2.0
"""A cluster leaves nothing behind on the machine, however it ends.

Each test has a machine of its own, as for processes, mounts, interfaces and /dev: namespaces in which nothing
appears but by the cluster. Loop devices are the kernel's; those of a test have a word in their files' names.
"""

from __future__ import annotations

import signal
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import machines
from tests.ganeti import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = str(Path(__file__).with_name("cluster"))
# Its /dev has what there is without an init system, and more loop devices than there ever are.
SLEEPER = """
set -e
read -r pid _ </proc/self/stat
mount -t proc proc /proc
cd /dev
mkdir -p shm
mount -t tmpfs dev shm
cp -a null zero full random urandom tty fd stdin stdout stderr loop-control shm
touch shm/of-a-test
mount --move shm .
/usr/bin/python3 -c 'import os
for number in range(1000):
    os.mknod(f"/dev/loop{number}", 0o60600, os.makedev(7, number))'
echo $pid
exec env --ignore-signal=CHLD MACHINE=1 sleep infinity >/dev/null 2>&1
"""
# A program with a cluster, whose node has a loop device on each of its file systems.
PROGRAM = """
import signal, sys, time
from pathlib import Path
from tests.ganeti import namespace_cluster
for number in (signal.SIGTERM, signal.SIGINT):  # a shell ignores the latter for what it starts with "&"
    signal.signal(number, signal.default_int_handler)
directory, share = Path(sys.argv[1]), sys.argv[2]
if share == "ext4":
    namespace_cluster.supports_direct = lambda path: False
with namespace_cluster.NamespaceCluster(directory, nodes=1, bare=True) as made:
    for path in ("/srv/shared", "/var/lib"):
        file = f"{path}/{directory.name}"
        made.nodes[0].run(f"truncate -s 1M {file} && losetup --find {file}")
    made.nodes[0].run("sleep 1000 >/dev/null 2>&1 &")
    print("up", flush=True)
    while True:  # a signal just before pause() would be slept through
        time.sleep(0.1)
"""


class Machine:
    """Namespaces that stand for this machine, and a word that names all that the cluster makes in them."""

    def __init__(self, directory: Path) -> None:
        self.home = directory
        self.word = uuid.uuid4().hex
        self.cluster = directory / self.word
        own = ["--mount", "--net", "--pid", "--fork", "--kill-child"]
        self._process, self.pid = machines.spawn(
            ["unshare", *own, "sh", "-c", SLEEPER], leftovers.mark(directory), "MACHINE=1"
        )
        self._before = self._state()

    def end(self) -> None:
        machines.end(self.pid, leftovers.mark(self.home))
        self._process.wait()

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", *command]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.inside(*command), check=False, capture_output=True, text=True)

    def command(self, action: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(COMMAND, action, "--dir", str(self.cluster), *arguments)

    def start(self, share: str = "tmpfs") -> subprocess.Popen[str]:
        """Start PROGRAM and wait until its cluster is up; returns it."""
        python = ["env", f"PYTHONPATH={CHECKOUT}", "/usr/bin/python3", "-c", PROGRAM]
        command = self.inside(*python, str(self.cluster), share)
        program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert program.stdout
        assert program.stdout.readline() == "up\n"
        return program

    def kill(self, program: subprocess.Popen[str], number: int) -> None:
        """Send the signal to the program; nsenter is between us and it."""
        (pid,) = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        subprocess.run(["kill", f"-{number}", pid], check=True)
        program.communicate(timeout=60)

    def loops(self) -> int:
        return sum(self.word in loop.file for loop in leftovers.loops())

    def left(self) -> str:
        """All that a cluster could leave, but for loop devices, and was not here before it."""
        return "\n".join(line for line in self._state() if line not in self._before)

    def _state(self) -> list[str]:
        """A mount that was here before may go, with its directory, by the machine around this one."""
        look = (
            "ps -eo pid,args | grep -vwE 'ps|defunct'; ip -o link;"  # what has ended needs a moment to vanish
            "cut -d' ' -f1-6 /proc/self/mountinfo; ls -d $0* /dev/ganeti-*"
        )
        return self.run("sh", "-c", look, str(self.cluster)).stdout.splitlines()


@pytest.fixture
def machine(root: None, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.command("down")
    machine.end()


@pytest.mark.parametrize("share", ["tmpfs", "ext4"])
def test_down_clears_what_a_killed_program_left(machine: Machine, share: str) -> None:
    program = machine.start(share)
    assert machine.loops() >= 2
    machine.kill(program, signal.SIGKILL)
    left = machine.left()
    assert "sleep 1000" in left
    assert f" {machine.cluster} " in left
    assert (f" {machine.cluster}/shared " in left) == (share == "ext4")
    assert machine.loops() >= 2

    done = machine.command("down")
    assert (done.returncode, machine.left(), machine.loops()) == (0, "", 0), done.stderr


def test_the_next_up_clears_it_too(machine: Machine) -> None:
    machine.kill(machine.start(), signal.SIGKILL)
    again = machine.command("up", "--bare", "--nodes=1")
    assert again.returncode == 0, again.stderr
    assert machine.command("exec", "1", "ls", f"/var/lib/{machine.word}").returncode == 2
    assert machine.command("down").returncode == 0
    assert (machine.left(), machine.loops()) == ("", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_program_clears_up_itself(machine: Machine, number: int) -> None:
    machine.kill(machine.start(), number)
    assert (machine.left(), machine.loops()) == ("", 0)


def test_a_failed_start_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    no_package = tmp_path / "no.deb"
    no_package.write_text("not a package")
    failed = machine.command("up", "--bare", "--nodes=1", "--deb", str(no_package))
    assert failed.returncode == 1
    assert "apt-get install" in failed.stderr
    assert (machine.left(), machine.loops()) == ("", 0)


def test_two_programs_cannot_have_one_directory(machine: Machine) -> None:
    program = machine.start()
    for action in ("up", "down"):
        refused = machine.command(action)
        assert refused.returncode == 1
        assert f"is at work on {machine.cluster}" in refused.stderr
    machine.kill(program, signal.SIGTERM)


def test_the_end_of_one_cluster_leaves_another_whole(machine: Machine) -> None:
    other = f"{machine.cluster}-other"
    looks = ("1", "mountpoint", "/dev/ganeti-extstorage")
    try:
        assert machine.command("up", "--bare", "--nodes=1").returncode == 0
        assert machine.command("up", "--bare", "--nodes=1", "--dir", other).returncode == 0
        assert machine.command("down").returncode == 0
        assert machine.command("exec", "--dir", other, *looks).stdout.endswith("is a mountpoint\n")
    finally:
        machine.command("down", "--dir", other)
    assert (machine.left(), machine.loops()) == ("", 0)


def test_what_is_not_the_clusters_is_left_alone(machine: Machine) -> None:
    machine.cluster.mkdir()
    kept = machine.cluster / "kept"
    kept.touch()
    refused = machine.command("up", "--bare", "--nodes=1")
    assert refused.returncode == 1
    assert "is not empty" in refused.stderr
    assert machine.command("down").returncode == 0
    assert kept.exists()
