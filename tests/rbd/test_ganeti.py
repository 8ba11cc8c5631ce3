# SPDX-License-Identifier: Apache-2.0
"""Ganeti's commands on instances whose disks QEMU opens by itself (``access=userspace``), under KVM.

Three nodes made of namespaces, and a Ceph cluster at their bridge.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import machines
from tests.ceph.cluster import POOL, Ceph
from tests.conftest import CHECKOUT, MIB
from tests.ganeti import leftovers
from tests.ganeti.namespace_cluster import NamespaceCluster
from tests.ganeti.namespaces import HUB, NETWORK, in_hub
from tests.machines import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ganeti.nodes import Node

DIRECTORY = Path("/run/ganeti-extstorage-rbd-tests")
ADDRESS = f"{NETWORK}.2"
RBD = f"[gold]\nrbd_pool = {POOL}\nuserspace_only = yes\ntimeout = 40\n"
FILE = "[gold]\ndirectory = /srv/shared/pool\n"
KEYRING = "/etc/ceph/ceph.client.ganeti.keyring"
DATA = random.Random(1).randbytes(MIB)
OPTIONS = "-H kvm -B memory=64 -o minimal+default --no-install --no-nics --no-name-check --no-ip-check"


class Lab:
    """The nodes and their storage."""

    def __init__(self, cluster: NamespaceCluster, ceph: Ceph) -> None:
        self.cluster = cluster
        self.ceph = ceph
        self.nodes = cluster.nodes
        self.gnt = cluster.gnt
        self.ioctx = ceph.admin.open_ioctx(POOL)

    def configure(self, package: Path) -> None:
        """Install our package on all nodes, and tell it where volumes go."""
        files = {"/etc/ganeti/extstorage/rbd.conf": RBD, "/etc/ganeti/extstorage/file.conf": FILE}
        files["/etc/ceph/ceph.conf"] = self.ceph.conf.read_text()
        for node in self.nodes:
            node.install(package)
            for path, text in files.items():
                node.put(path, text)
            self.give_key(node)
        self.nodes[0].run("gnt-storage pool init rbd && gnt-storage pool init file")

    def give_key(self, node: Node) -> None:
        """Let a node have the key."""
        node.put(KEYRING, (self.ceph.directory / "client.ganeti.keyring").read_text(), mode=0o600)

    def images(self) -> list[str]:
        """All images."""
        import rbd

        return sorted(rbd.RBD().list(self.ioctx))

    def image(self) -> str:
        """The only image."""
        (image,) = self.images()
        return image

    def clients(self) -> set[str]:
        """The addresses that have the image open."""
        import rbd

        with rbd.Image(self.ioctx, self.image(), read_only=True) as image:
            return {watcher["addr"].partition(":")[0] for watcher in image.watchers_list()}

    def size(self) -> int:
        """MiB of the image."""
        import rbd

        with rbd.Image(self.ioctx, self.image(), read_only=True) as image:
            return int(image.size()) // MIB

    def write(self) -> None:
        """Write data into the image, behind everybody's back."""
        import rbd

        with rbd.Image(self.ioctx, self.image()) as image:
            image.write(DATA, 4 * MIB)

    def holders(self) -> dict[str, str]:
        """Who holds the image, and how."""
        import rbd

        with rbd.Image(self.ioctx, self.image(), read_only=True) as image:
            name = f"ganeti-extstorage.state.{image.id()}"
        lines = self.ioctx.read(name).decode().splitlines()
        return {line.split()[1]: line.split()[2] for line in lines if line.startswith("holder ")}

    def blocklist(self) -> str:
        """The addresses that Ceph serves no more."""
        return self.ceph.ceph("osd", "blocklist", "ls")

    def runs(self, name: str, node: Node) -> None:
        """Check that an instance runs there, and that only this node has its image open and holds it."""
        assert self.cluster.instance(name, "pnode", "status") == [node.name, "running"]
        assert self.holders() == {node.name: "exclusive"}
        assert self.clients() == {node.address}

    def is_empty(self) -> None:
        """Check that nothing is left of any volume."""
        assert self.images() == []
        for node in self.nodes:
            kept = "/run/ganeti-extstorage/attachments"
            assert node.run(f"[ ! -d {kept} ] || ls -A {kept}").stdout == ""
        files = self.nodes[0].run("ls /srv/shared/pool").stdout
        assert files == ""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The nodes with our package, and Ceph."""
    build = [str(CHECKOUT / "debian/build"), str(tmp_path_factory.mktemp("package"))]
    package = Path(subprocess.run(build, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
    with contextlib.ExitStack() as stack:
        cluster = _cluster(stack)
        in_hub(cluster.directory, f"ip link set lo up; ip address replace {ADDRESS}/24 dev bridge")
        (hub,) = machines.processes(leftovers.mark(cluster.directory), HUB)
        directory = tmp_path_factory.mktemp("ceph")
        ceph = stack.enter_context(Ceph(directory, address=ADDRESS, network=f"/proc/{hub}/ns/net"))
        lab = Lab(cluster, ceph)
        lab.configure(package)
        yield lab
        cluster.reset()


def _cluster(stack: contextlib.ExitStack) -> NamespaceCluster:
    """One that was left running, where EXTSTORAGE_TEST_CLUSTER says so; else one of our own."""
    if standing := NamespaceCluster.standing(Path(os.environ.get("EXTSTORAGE_TEST_CLUSTER") or DIRECTORY)):
        return standing
    return stack.enter_context(NamespaceCluster(DIRECTORY, hypervisors=("kvm",)))


def test_life(lab: Lab) -> None:
    """gnt-instance add, migrate (live), grow-disk, failover from a dead node, remove; gnt-backup export."""
    one, two, three = lab.nodes
    disk = "--disk 0:size=16,provider=rbd,access=userspace"
    lab.gnt(f"gnt-instance add -t ext {disk} -n {one.name} --no-start {OPTIONS} vm")
    lab.write()
    lab.gnt("gnt-instance startup vm")
    lab.runs("vm", one)
    lab.gnt(f"gnt-instance migrate -f -n {two.name} vm")
    lab.runs("vm", two)
    assert lab.blocklist() == ""
    lab.gnt("gnt-instance grow-disk --absolute vm 0 24m")
    assert lab.size() == 24
    lab.runs("vm", two)
    lab.gnt(f"gnt-backup export -n {three.name} --noshutdown vm")
    dump = three.run("cat $(ls -d /var/lib/ganeti/export/vm/* | grep -v config.ini) | sha256sum").stdout
    assert dump.split()[0] == _checksum(24)
    wait_until(lambda: len(lab.images()) == 1)
    lab.runs("vm", two)
    two.crash()
    lab.cluster.set_offline(two)
    lab.gnt(f"gnt-instance failover -f -n {three.name} vm")
    lab.runs("vm", three)
    two.restart()
    lab.cluster.set_online(two)
    lab.gnt("gnt-instance remove -f --shutdown-timeout=0 vm")
    lab.is_empty()


def _checksum(size: int) -> str:
    import hashlib

    return hashlib.sha256(bytes(4 * MIB) + DATA + bytes((size - 5) * MIB)).hexdigest()


def test_disks_of_two_providers(lab: Lab) -> None:
    """gnt-instance startup, migrate, where one disk of two is refused."""
    one, two, _ = lab.nodes
    disks = "--disk 0:size=16,provider=file --disk 1:size=16,provider=rbd,access=userspace"
    lab.gnt(f"gnt-instance add -t ext {disks} -n {one.name} --no-start {OPTIONS} both")
    lab.gnt("gnt-instance deactivate-disks both")
    held = f"VOL_NAME={lab.image()} EXTP_ACCESS=userspace VOL_OPEN_EXCLUSIVE=True EXTSTORAGE_NODE=stranger"
    scripts = "/usr/share/ganeti/extstorage/rbd"
    stranger = f"cd /; export EXTSTORAGE_RUN_DIR=/run/stranger {held}; {scripts}"
    two.run(f"{stranger}/attach && {stranger}/open")
    lab.cluster.fails("gnt-instance startup both")
    assert "stranger has the volume open" in one.run("cat /var/log/ganeti-extstorage/rbd.log").stdout
    assert lab.holders() == {"stranger": "exclusive"}
    assert "\nholder " not in one.run("cat /srv/shared/pool/*/holders-* 2>/dev/null || true").stdout
    two.run(f"{stranger}/close && {stranger}/detach")
    lab.gnt("gnt-instance startup both")
    lab.runs("both", one)

    two.run(f"mv {KEYRING} {KEYRING}.away")
    lab.cluster.fails(f"gnt-instance migrate -f -n {two.name} both")
    lab.runs("both", one)
    assert one.run("cat /srv/shared/pool/*/holders-*").stdout.count(f"holder {one.name} exclusive") == 1
    two.run(f"mv {KEYRING}.away {KEYRING}")
    lab.gnt(f"gnt-instance migrate -f -n {two.name} both")
    lab.runs("both", two)
    lab.gnt("gnt-instance remove -f --shutdown-timeout=0 both")
    lab.is_empty()
