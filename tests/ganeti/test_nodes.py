# SPDX-License-Identifier: Apache-2.0
"""Nodes without Ganeti: what they share, what a crash takes away, how packages get in."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ganeti import leftovers, loop0
from tests.ganeti.namespace_cluster import NamespaceCluster
from tests.machines import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator


SSH = "ssh -o StrictHostKeyChecking=no -o ConnectTimeout=10"


@pytest.fixture(scope="module")
def bare(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamespaceCluster]:
    """Two nodes and a package in them."""
    directory = tmp_path_factory.mktemp("bare")
    debs = [package(directory, "1")]
    with NamespaceCluster(directory / "cluster", nodes=2, debs=debs, bare=True) as cluster:
        yield cluster


def package(directory: Path, version: str) -> Path:
    """Build the Debian package ``sample``."""
    tree = directory / version
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr").mkdir()
    (tree / "usr/version").write_text(version)
    (tree / "DEBIAN/control").write_text(
        f"Package: sample\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@example.test>\n"
        "Depends: python3-click, python3-rich\nDescription: for a test\n"
    )
    deb = directory / f"sample_{version}_all.deb"
    subprocess.run(["dpkg-deb", "--build", "-Znone", str(tree), str(deb)], check=True, capture_output=True)
    return deb


def test_a_command_passes_text_and_status_on(bare: NamespaceCluster) -> None:
    one = bare.nodes[0]
    done = one.run("cat; echo oops >&2; exit 3", check=False, input="text")
    assert (done.returncode, done.stdout, done.stderr) == (3, "text", "oops\n")
    with pytest.raises(CommandFailed, match=r"node1\.example\.test: false: exit status 1"):
        one.run("false")
    one.put("/a/new/file", "text", mode=0o600)
    assert one.run("stat -c '%a %s' /a/new/file").stdout == "600 4\n"


def test_nodes_share_a_directory_but_not_their_links(bare: NamespaceCluster) -> None:
    one, two = bare.nodes
    one.run("touch /srv/shared/seen /dev/ganeti-extstorage/unseen /etc/unseen")
    assert two.run("ls /srv/shared /dev/ganeti-extstorage").stdout == (
        "/dev/ganeti-extstorage:\n\n/srv/shared:\nseen\nsharedfile\n"
    )
    assert two.run("ls /etc/unseen", check=False).returncode == 2
    assert two.run("dd if=/dev/zero of=/srv/shared/direct bs=4k count=1 oflag=direct").returncode == 0


def test_nodes_reach_each_other_only(bare: NamespaceCluster) -> None:
    one, two = bare.nodes
    assert one.run(f"{SSH} {two.name} hostname").stdout == f"{two.name}\n"
    assert one.run("ip -o link | wc -l").stdout == "2\n"
    assert one.run("ip route show default").stdout == ""


def test_a_package_is_there_and_can_be_replaced(bare: NamespaceCluster, tmp_path: Path) -> None:
    versions = [node.run("cat /usr/version").stdout for node in bare.nodes]
    assert versions == ["1", "1"]
    bare.nodes[0].install(package(tmp_path, "2"))
    bare.nodes[0].install(tmp_path / "sample_2_all.deb")
    versions = [node.run("cat /usr/version").stdout for node in bare.nodes]
    assert versions == ["2", "1"]


def test_a_crash_takes_the_nodes_own_loop_devices_and_no_others(bare: NamespaceCluster) -> None:
    one, two = bare.nodes
    for node in (one, two):
        for path in ("/srv/shared", "/var/lib"):
            node.run(f"truncate -s 1M {path}/{node.name}.img && losetup --find {path}/{node.name}.img")
    lost = {loop[:3] for loop in leftovers.loops() if loop.file.endswith(f"/{one.name}.img")}
    kept = {loop[:3] for loop in leftovers.loops() if loop.file.endswith(f"/{two.name}.img")}
    assert (len(lost), len(kept)) == (2, 2)
    one.crash()
    left = {loop[:3] for loop in leftovers.loops()}  # without the path, of which the beginning is gone now
    assert kept <= left
    assert not lost & left
    one.start()
    assert two.run(f"{SSH} {one.name} hostname").stdout == f"{one.name}\n"
    assert one.run(f"stat -c %s /var/lib/{one.name}.img").stdout == "1048576\n"


def test_loop0_is_out_of_reach(bare: NamespaceCluster) -> None:
    assert loop0.FILE in loop0.bound()
