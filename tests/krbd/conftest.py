# SPDX-License-Identifier: Apache-2.0
"""Nodes with kernels of their own that map images of a real Ceph cluster; each test has a Ceph namespace."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.ceph.cluster import POOL, Ceph
from tests.lab.calls import RUN_DIR, CallingNode, compile_libraries
from tests.lab.lab import Lab
from tests.machines import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.node import Node

STORAGE_LAN = 1
ADDRESS = f"10.78.{STORAGE_LAN}.1"
CONFIG = "/etc/ganeti/extstorage/rbd.conf"
CONF = "/etc/ceph/ceph.conf"
KEYRING = "/etc/ceph/ceph.client.ganeti.keyring"
CLEAN = f"""
for device in /sys/bus/rbd/devices/*; do
    [ ! -e $device ] || echo "${{device##*/}} force" >/sys/bus/rbd/remove_single_major || true
done
for pid in /sys/block/nbd*/pid; do
    [ ! -e $pid ] || kill -KILL $(cat $pid) || true
    while [ -e $pid ]; do sleep 0.01; done
done
rm -rf {RUN_DIR} /dev/ganeti-extstorage /var/lib/ganeti/ssconf_offline_nodes
"""
_NUMBERS = itertools.count(1)


class KrbdNode(CallingNode):
    """A node, whose Ceph traffic has a cable of its own."""

    def __init__(self, machine: Node) -> None:
        super().__init__(machine, "rbd")

    def offline(self, *nodes: KrbdNode) -> None:
        """What Ganeti tells this node of those that the administrator marked offline."""
        text = "".join(f"{node.name}\n" for node in nodes)
        self.machine.put("/var/lib/ganeti/ssconf_offline_nodes", text)

    def forget_timeouts(self) -> None:
        """Let no pool that timed out be left alone any longer."""
        self.sh(f"rm -rf {RUN_DIR}/timed-out")

    def mappings(self) -> list[str]:
        """The images that this node has mapped, however."""
        krbd = self.sh("for one in /sys/bus/rbd/devices/*/name; do [ ! -e $one ] || cat $one; done")
        serving = self.sh(
            "for one in /sys/block/nbd*/pid; do [ ! -e $one ] || cat /proc/$(cat $one)/cmdline; done"
        )
        nbd = [word.rpartition("/")[2] for word in serving.split("\0") if word.startswith(f"{POOL}/")]
        return sorted([*krbd.split(), *nbd])

    def client(self, device: str) -> str:
        """The address of the Ceph client that is behind a device of krbd."""
        return self.sh(
            f"cat /sys/bus/rbd/devices/$(basename $(readlink -f {device}) | tr -d rbd)/client_addr"
        )


class KrbdSite:
    """A pool in a Ceph namespace of its own, and the nodes that share it."""

    def __init__(self, lab: Lab, ceph: Ceph) -> None:
        self.lab = lab
        self.ceph = ceph
        self.namespace = f"test{next(_NUMBERS)}"
        ceph.rbd("namespace", "create", f"{POOL}/{self.namespace}")
        self.n1, self.n2 = (KrbdNode(machine) for machine in lab.nodes[:2])
        self.set(self.n1)
        self.set(self.n2)

    def set(self, node: KrbdNode, **options: str) -> None:
        """Write a node's configuration: one pool, with these options on top."""
        told = {"namespace": self.namespace, **options}
        node.machine.put(CONFIG, "[gold]\n" + "".join(f"{name} = {text}\n" for name, text in told.items()))

    def rbd(self, *words: str) -> str:
        """The command ``rbd`` of Ceph's administrator; ``:v1`` is an image of this pool."""
        space = f"{POOL}/{self.namespace}/"
        return self.ceph.rbd(*(space + word[1:] if word.startswith(":") else word for word in words))

    def images(self) -> list[str]:
        """The images of the pool."""
        return self.rbd("ls", f"{POOL}/{self.namespace}").split()

    def watchers(self, image: str = "v1") -> list[str]:
        """The clients that have an image open to write."""
        told: dict[str, Any] = json.loads(self.rbd("status", f":{image}", "--format", "json"))
        return [one["address"] for one in told["watchers"]]

    def cut_off(self, image: str) -> None:
        """Put the clients that have an image open on the blocklist."""
        for client in self.watchers(image):
            self.ceph.mon("osd blocklist", blocklistop="add", addr=client)
        wait_until(lambda: not self.watchers(image))

    def blocklisted(self) -> str:
        """The clients that are cut off."""
        return self.ceph.mon("osd blocklist ls").decode()

    def resume(self, daemon: str) -> None:
        """Let a daemon that was paused go on, and wait until the cluster serves."""
        self.ceph.resume(daemon)
        wait_until(lambda: json.loads(self.ceph.mon("osd stat", format="json"))["num_up_osds"] == 1)
        self.ceph.rbd("ls", POOL)

    def boot(self, node: KrbdNode, **options: str) -> None:
        """Switch a node on that crashed; its pool has these options then."""
        node.machine.boot()
        _prepare(node.machine, self.ceph)
        self.set(node, **options)


def _prepare(machine: Node, ceph: Ceph) -> None:
    """Let a node be a client of the cluster."""
    lines = ceph.conf.read_text().splitlines(keepends=True)
    machine.put(CONF, "".join(line for line in lines if not line.startswith("keyring")))
    machine.put(KEYRING, (ceph.directory / "client.ganeti.keyring").read_bytes(), mode=0o600)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two compute nodes, and a machine for storage that has nothing to do."""
    compile_libraries()
    with Lab(tmp_path_factory.mktemp("lab") / "lab") as lab:
        yield lab


@pytest.fixture(scope="session")
def ceph(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """A cluster at the hub of the lab, in the network of the nodes' second cards."""
    with Ceph(tmp_path_factory.mktemp("ceph"), address=ADDRESS, network=str(lab.hub)) as ceph:
        # Clients say that they are there every 5 s, and are believed dead after 30 s by default.
        ceph.mon("config set", who="osd", name="osd_client_watch_timeout", value="12")
        for machine in lab.nodes:
            _prepare(machine, ceph)
        yield ceph


@pytest.fixture
def site(lab: Lab, ceph: Ceph) -> Iterator[KrbdSite]:
    """A pool named ``gold``; what a test leaves mapped is taken away."""
    site = KrbdSite(lab, ceph)
    yield site
    for machine in lab.nodes:
        machine.run(["sh", "-c", CLEAN])


@pytest.fixture
def n1(site: KrbdSite) -> KrbdNode:
    """The first node."""
    return site.n1


@pytest.fixture
def n2(site: KrbdSite) -> KrbdNode:
    """The second node."""
    return site.n2
