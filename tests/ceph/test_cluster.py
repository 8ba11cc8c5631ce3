# SPDX-License-Identifier: Apache-2.0
"""The cluster that the tests use is a real one, and leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ceph import processes
from tests.ceph.cluster import MON, OSD, Ceph
from tests.ceph.processes import CephError
from tests.machines import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = CHECKOUT / "tests/ceph/cluster"


def test_it_stores_images(ceph: Ceph) -> None:
    ceph.rbd("create", "--size", "64M", "rbd/first", user="client.ganeti")
    ceph.rbd("snap", "create", "rbd/first@now", user="client.ganeti")
    assert ceph.rbd("ls", "rbd").split() == ["first"]
    ceph.rbd("snap", "rm", "rbd/first@now")
    ceph.rbd("rm", "--no-progress", "rbd/first")
    assert "HEALTH" in ceph.ceph("status")


def test_users_are_checked(ceph: Ceph) -> None:
    ceph.add_user("client.guest", mon="allow r")
    with pytest.raises(CephError, match="not permitted"):
        ceph.rbd("create", "--size", "64M", "rbd/denied", user="client.guest")


def test_osd_with_bluestore_comes_back_from_a_kill(tmp_path: Path) -> None:
    with Ceph(tmp_path / "c", store="bluestore", size="2G") as ceph:
        ceph.rbd("create", "--size", "64M", "rbd/kept")
        ceph.kill(OSD)
        ceph.start(OSD)
        assert ceph.rbd("ls", "rbd").split() == ["kept"]


def test_with_a_manager_there_are_figures(tmp_path: Path) -> None:
    with Ceph(tmp_path / "c", mgr=True) as ceph:
        wait_until(lambda: ceph.admin.get_cluster_stats()["kb"] > 0)


def test_paused_osd_goes_on(ceph: Ceph) -> None:
    ceph.pause(OSD)
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(ceph.command(["rbd", "--conf", str(ceph.conf), "ls", "rbd"]), check=True, timeout=0.3)
    ceph.resume(OSD)
    assert ceph.rbd("ls", "rbd") == ""


def test_end_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "c"
    with Ceph(directory) as ceph:
        pids = [ceph.pid(daemon) for daemon in (MON, OSD)]
        assert "ceph-test-cluster" not in Path("/proc/self/mountinfo").read_text()
    assert not any(processes.is_alive(pid) for pid in pids)
    assert not directory.exists()


def test_killed_owner_takes_the_daemons_with_it(tmp_path: Path) -> None:
    directory = tmp_path / "c"
    owner = f"""
import os, signal, sys
from pathlib import Path
from tests.ceph.cluster import Ceph
Ceph(Path({str(directory)!r})).up()
print("up", flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", owner], cwd=CHECKOUT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert len(processes.marked(directory)) >= 3
        process.kill()
    wait_until(lambda: processes.marked(directory) == [])
    with Ceph(directory) as again:
        assert again.rbd("ls", "rbd") == ""


def test_command(tmp_path: Path) -> None:
    def cluster(*words: str, status: int = 0) -> str:
        command = [str(COMMAND), words[0], "--dir", str(tmp_path / "c"), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status, done
        return done.stdout + done.stderr

    assert "no cluster is up" in cluster("exec", "true", status=1)
    assert str(tmp_path / "c/ceph.conf") in cluster("up")
    assert "up already" in cluster("up", status=1)
    cluster("exec", "rbd", "create", "--size", "1G", "rbd/x")
    assert cluster("exec", "rbd", "ls") == "x\n"
    cluster("exec", "sh", "-c", "exit 3", status=3)
    cluster("down")
    cluster("down")
    assert processes.marked(tmp_path / "c") == []
    assert not (tmp_path / "c").exists()


def test_a_stranger_s_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(CephError, match="no cluster's"):
        Ceph(tmp_path).up()
    assert (tmp_path / "precious").read_text() == "data"
