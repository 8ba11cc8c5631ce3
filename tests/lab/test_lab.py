# SPDX-License-Identifier: Apache-2.0
"""The lab: kernels of their own, disks that survive a crash, networks with cables, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import machines
from tests.lab.lab import Lab
from tests.machines import CommandFailed, MachineError

CHECKOUT = Path(__file__).resolve().parents[2]


def test_each_node_has_a_kernel_of_its_own(lab: Lab) -> None:
    boots = {node.run("cat /proc/sys/kernel/random/boot_id").stdout for node in lab.all}
    boots.add(Path("/proc/sys/kernel/random/boot_id").read_text())
    assert len(boots) == 4


def test_output_status_and_input_are_passed_on(lab: Lab) -> None:
    done = lab.storage.run("cat; echo oops >&2; exit 7", check=False, input="in\n")
    assert (done.stdout, done.stderr, done.returncode) == ("in\n", "oops\n", 7)
    assert lab.storage.run(["printf", "%s", "$HOME; 'x'"]).stdout == "$HOME; 'x'"
    megabytes = "0123456789abcdef" * 300_000
    assert lab.storage.run("cat", input=megabytes).stdout == megabytes
    with pytest.raises(CommandFailed, match="node1: false: exit status 1"):
        lab.nodes[0].run("false")


def test_a_command_out_of_time_is_killed(lab: Lab) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        lab.storage.run("echo $$ >/tmp/pid; exec sleep 1000", timeout=1)
    gone = "for i in $(seq 1200); do kill -0 $(cat /tmp/pid) 2>/dev/null || exit 0; sleep 0.05; done; exit 1"
    lab.storage.run(gone)


def test_nodes_reach_each_other_by_name_until_a_cable_is_pulled(lab: Lab) -> None:
    node = lab.nodes[0]
    node.run("ping -c 1 -w 60 storage && ping -c 1 -w 60 10.78.1.10 && ping -c 1 -w 60 10.78.2.12")
    lab.storage.unplug(1)
    try:
        assert node.run("ping -c 1 -W 1 10.78.1.10", check=False).returncode
        node.run("ping -c 1 -w 60 10.78.2.10")
    finally:
        lab.storage.plug(1)
    node.run("ping -c 1 -w 60 10.78.1.10")


def test_a_crash_keeps_what_reached_the_disk_and_nothing_else(lab: Lab) -> None:
    node = lab.nodes[1]
    node.run("echo kept >/srv/kept && sync /srv/kept && echo memory >/run/lost && mount -t tmpfs none /opt")
    before = node.run("cat /proc/sys/kernel/random/boot_id").stdout
    node.crash()
    assert not node.running
    with pytest.raises(MachineError, match="node2 is not running"):
        node.run("true")
    node.boot()
    assert node.run("cat /srv/kept; ls /run/lost 2>&1 || true").stdout.startswith("kept\nls: cannot")
    assert node.run("cat /proc/sys/kernel/random/boot_id").stdout != before


def test_a_crash_in_a_command_is_told(lab: Lab) -> None:
    node = lab.nodes[1]
    with ThreadPoolExecutor() as pool:
        running = pool.submit(node.run, "touch /run/started; sleep 60")
        node.run("until [ -e /run/started ]; do sleep 0.01; done")
        node.crash()
        with pytest.raises(MachineError, match=r"the node died|the agent is gone"):
            running.result()
    node.boot()


def test_lvm_and_an_export_over_iscsi_are_real(lab: Lab) -> None:
    storage, node = lab.storage, lab.nodes[0]
    storage.run("vgcreate lab /dev/ubdb && lvcreate -qq -y -Wn -n lv -L 12m lab")
    name = "iqn.2020-01.test.example:disk"
    storage.python(
        "import sys, rtslib_fb as r; root = r.RTSRoot()\n"
        "disk = r.BlockStorageObject('disk', '/dev/lab/lv', wwn='0123456789abcdef')\n"
        "portal = r.TPG(r.Target(r.FabricModule('iscsi'), sys.argv[1]), 1)\n"
        "portal.enable = True; portal.set_attribute('authentication', '0')\n"
        "portal.network_portal('10.78.1.10', 3260); r.LUN(portal, 0, disk)\n"
        "r.MappedLUN(r.NodeACL(portal, sys.argv[2]), 0, 0)\n",
        name,
        node.initiator,
    )
    record = f"iscsiadm -m node -T {name} -p 10.78.1.10"
    node.run(f"{record} -o new && {record} --login")
    # The disk and its link come a moment after the login.
    there = "[ -b /dev/disk/by-path/ip-10.78.1.10* ]"
    machines.wait_until(lambda: node.run(there, check=False).returncode == 0)
    disk = node.run("readlink -f /dev/disk/by-path/ip-10.78.1.10*").stdout.strip()
    node.run(f"echo through the wire | dd of={disk} conv=fsync status=none")
    assert storage.run("head -c 16 /dev/lab/lv").stdout == "through the wire"
    node.run(f"{record} --logout && {record} -o delete")
    storage.run("targetctl clear && vgremove -qq -f lab")


def test_nothing_is_left_when_it_is_down(directory: Path) -> None:
    lab = Lab(directory, nodes=1)
    with lab:
        mark = f"EXTSTORAGE_LAB={lab.directory}"
        assert len(machines.processes(mark)) > 3
    assert not machines.processes(mark)
    assert not directory.exists()
    assert str(directory) not in Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_its_program_is_ended(directory: Path, how: signal.Signals) -> None:
    code = (
        "import pathlib, sys, time; from tests.lab.lab import Lab\n"
        "with Lab(pathlib.Path(sys.argv[1]), nodes=1): print('up', flush=True); time.sleep(1000)"
    )
    command = [sys.executable, "-c", code, str(directory)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        assert program.stdout.readline() == "up\n"
        mark = f"EXTSTORAGE_LAB={directory.resolve()}"
        os.kill(program.pid, how)
    machines.wait_until(lambda: not machines.processes(mark))


def test_a_lab_that_was_left_is_found_again_and_has_one_master(directory: Path) -> None:
    lab = Lab(directory, nodes=1)
    lab.up()
    lab.leave()
    try:
        found = Lab.standing(directory)
        assert found
        assert found.node("node1").run("hostname").stdout == "node1.example.test\n"
        with pytest.raises(MachineError, match="up already"):
            Lab(directory).up()
    finally:
        Lab(directory).down()
    assert Lab.standing(directory) is None
