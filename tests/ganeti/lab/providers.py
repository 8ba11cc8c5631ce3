# SPDX-License-Identifier: Apache-2.0
"""Our providers for storage that a kernel reaches: they need nodes that have one of their own."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from extstorage_common.backends.solidfire_volumes import cluster_name
from tests.appliances.running import InLab
from tests.ceph.cluster import POOL, Ceph
from tests.ganeti.providers import Provider

if TYPE_CHECKING:
    from tests.ganeti.lab.cluster import LabCluster
    from tests.ganeti.nodes import Node

CONFIG = "/etc/ganeti/extstorage"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"


class KernelProvider(Provider):
    """A provider whose volumes are disks of the node's kernel; the nodes have no others of that kind."""

    cluster: LabCluster
    other = ""
    disks: ClassVar[str] = "sd"
    """How the kernel's names of such disks begin."""

    def devices(self) -> int:
        running = [node for node in self.cluster.nodes if node.running]
        count = f"ls /sys/block | grep -c '^{self.disks}'"
        return sum(int(node.run(count, check=False).stdout) for node in running)

    def holders(self, volume: str, name: str = "") -> dict[str, str]:
        show = f"gnt-storage volume show --provider {self.name} --json {volume}"
        return dict(json.loads(self.cluster.master.run(show).stdout)["volume"]["opened"])


class LvmProvider(KernelProvider):
    """The provider ``lvm``: the storage machine has a volume group and is the controller."""

    name = "lvm"
    group = "vg0"
    state = "/var/lib/ganeti-extstorage/lvm/vg0"
    targets = "/sys/kernel/config/target/iscsi"
    prefix = "iqn.2026-01.org.ganeti.extstorage:[0-9a-f]*:"

    def install(self, package: Path) -> None:
        self._make_group(package)
        super().install(package)

    def _make_group(self, package: Path) -> None:
        """What the guide tells the administrator of the storage machine to do."""
        storage = self.cluster.storage
        storage.install(package)
        storage.run(
            f"vgcreate -q {self.group} /dev/ubdb"
            f" && lvcreate -q --type thin-pool -l 90%FREE -n thin {self.group}"
        )
        text = f"[gold]\nvolume_group = {self.group}\nportals = {storage.storage_address}\n"
        storage.put(f"{CONFIG}/{self.name}.conf", text)
        storage.run(f"gnt-storage pool init {self.name}")

    def _install_on(self, node: Node, package: Path) -> None:
        """And of each node."""
        super()._install_on(node, package)
        storage = self.cluster.storage
        node.run(f"mkdir -p {CONFIG} && ssh-keygen -q -t ed25519 -N '' -C '' -f {CONFIG}/controller_key")
        node.put(f"{CONFIG}/known_hosts", f"{storage.name} {storage.run(f'cat {HOST_KEY}').stdout}")
        storage.run(
            f"gnt-storage controller authorize {node.name} - {self.name} --cluster cluster.example.test"
            " >>/root/.ssh/authorized_keys",
            input=node.run(f"cat {CONFIG}/controller_key.pub").stdout,
        )

    def make_pools(self) -> None:
        """The volume group is there."""

    def pool_options(self, name: str) -> str:
        return f"controller = {self.cluster.storage.name}\n"

    # --- the storage ------------------------------------------------------------------------------

    def volumes(self, name: str = "") -> list[str]:
        """Logical volumes, and targets that have none."""
        listing = self.cluster.storage.run(
            f"lvs --noheadings -o lv_name -S 'lv_name!=thin' {self.group}"
            f" && ls {self.targets} | sed -n 's/^{self.prefix}//p'"
        )
        return sorted(set(listing.stdout.split()))

    def holders(self, volume: str, name: str = "") -> dict[str, str]:
        told = self._state(volume).get("holders", {"entries": []})
        return {node: mode for node, mode, *_ in told["entries"]}

    def is_fenced(self, node: Node, volume: str) -> None:
        """The kernel's target lets the node's initiator in no more."""
        let_in = self.cluster.storage.run(f"ls {self.targets}/{self.prefix}{volume}/tpgt_1/acls").stdout
        names = [one.name for one in self.cluster.nodes if one.machine.initiator in let_in.split()]
        assert names
        assert node.name not in names

    def _state(self, volume: str) -> dict[str, Any]:
        text = self.cluster.storage.run(f"cat {self.state}/{volume}", check=False).stdout
        told: dict[str, Any] = json.loads(text or "{}")
        return told

    def empty_pools(self) -> None:
        self.cluster.on_all(
            lambda node: node.run("iscsiadm -m node -u; rm -rf /etc/iscsi/nodes/*", check=False)
        )
        self.cluster.storage.run(
            f"targetctl clear; lvremove -q -y -S 'lv_name!=thin' {self.group}; rm -rf {self.state}/*"
        )

    def forget_pools(self) -> None:
        self.cluster.storage.run(
            f"vgremove -q -ff -y {self.group} && dpkg --purge ganeti-extstorage && rm -r {CONFIG}"
            " && sed -i /^restrict/d /root/.ssh/authorized_keys"
        )


class RbdProvider(KernelProvider):
    """The provider ``rbd``, with volumes mapped by the kernel."""

    name = "rbd"
    disks = "rbd"

    def install(self, package: Path) -> None:
        """With a Ceph cluster in the networks of the nodes."""
        self._directory = tempfile.TemporaryDirectory()
        self.ceph = Ceph(
            Path(self._directory.name) / "ceph", address="10.78.1.1", network=str(self.cluster.lab.hub)
        )
        self.ceph.up()
        super().install(package)

    def _install_on(self, node: Node, package: Path) -> None:
        super()._install_on(node, package)
        lines = self.ceph.conf.read_text().splitlines(keepends=True)
        node.put("/etc/ceph/ceph.conf", "".join(line for line in lines if not line.startswith("keyring")))
        keyring = (self.ceph.directory / "client.ganeti.keyring").read_bytes()
        node.put("/etc/ceph/ceph.client.ganeti.keyring", keyring, mode=0o600)

    def pool_options(self, name: str) -> str:
        return f"rbd_pool = {POOL}\n"

    def volumes(self, name: str = "") -> list[str]:
        return sorted(self.ceph.rbd("ls", POOL).split())

    def is_fenced(self, node: Node, volume: str) -> None:
        """Its client is on the list of those that Ceph does not serve, and watches no more."""
        address = next(one.storage_address for one in self.cluster.nodes if one is node)
        assert f"{address}:" in self.ceph.mon("osd blocklist ls").decode()
        assert f"{address}:" not in self.ceph.rbd("status", f"{POOL}/{volume}")

    def empty_pools(self) -> None:
        for volume in self.volumes():
            self.ceph.rbd("rm", f"{POOL}/{volume}")

    def forget_pools(self) -> None:
        self.ceph.down()
        self._directory.cleanup()


class ApplianceProvider(KernelProvider):
    """A provider for an array, which the storage machine models; the disks that it exports are real."""

    options: ClassVar[tuple[str, ...]] = ()

    def install(self, package: Path) -> None:
        self.array = InLab(self.name, self.cluster.lab, *self.options)
        super().install(package)

    def _install_on(self, node: Node, package: Path) -> None:
        super()._install_on(node, package)
        files = {"password": "secret\n"}
        if "host_key" in self.array.said:
            files["known_hosts"] = self.array.known_hosts()
        for name, text in files.items():
            node.put(f"{CONFIG}/{name}", text, mode=0o600)

    def pool_options(self, name: str) -> str:
        return (
            f"address = {self.array.address}\nport = {self.array.port}\npassword_file = {CONFIG}/password\n"
        )

    def is_fenced(self, node: Node, volume: str) -> None:
        """Its session was ended, and none came since."""
        initiator = next(one.machine.initiator for one in self.cluster.nodes if one is node)
        sessions = [one for target, one in self.array.order(sessions=True) if volume in target]
        assert sessions
        assert initiator not in sessions

    def forget_pools(self) -> None:
        self.array.stop()


class LefthandProvider(ApplianceProvider):
    """The provider ``lefthand``."""

    name = "lefthand"

    def pool_options(self, name: str) -> str:
        return super().pool_options(name) + "cluster = c1\ntimeout = 100\n"

    def volumes(self, name: str = "") -> list[str]:
        return sorted(self.array.call("state")["volumes"])

    def empty_pools(self) -> None:
        self.array.call("reset")


class ComstarProvider(ApplianceProvider):
    """The provider ``comstar``."""

    name = "comstar"
    options = ("--user", "ganeti")
    dataset = "tank/ganeti"

    def _install_on(self, node: Node, package: Path) -> None:
        super()._install_on(node, package)
        node.put(f"{CONFIG}/chap", "a line of random text\n", mode=0o600)

    def pool_options(self, name: str) -> str:
        return super().pool_options(name) + (
            f"dataset = {self.dataset}\nportals = {self.array.address}\nchap_key_file = {CONFIG}/chap\n"
        )

    def _run(self, line: str) -> str:
        ended = self.array.call("run", line=f"/usr/sbin/{line}")
        assert ended["status"] == 0, ended
        return str(ended["stdout"])

    def volumes(self, name: str = "") -> list[str]:
        """Datasets, and targets that have none."""
        datasets = self._run(f"zfs list -H -o name -d 1 -t filesystem {self.dataset}").split()[1:]
        targets = [line.split()[0] for line in self._run("itadm list-target").splitlines()[1:]]
        found = [one.rpartition("/")[2] for one in datasets]
        return sorted({*found, *(one.rpartition(":")[2] for one in targets)})

    def is_fenced(self, node: Node, volume: str) -> None:
        """No view of the unit is for the node's group."""
        unit = next(
            words[2]
            for words in map(str.split, self._run("stmfadm list-lu").splitlines())
            if f"/{volume}/disk" in self._run(f"stmfadm list-lu -v {words[2]}")
        )
        groups = self._run(f"stmfadm list-view -l {unit}")
        assert "Host group" in groups
        assert f"ganeti-{node.name}" not in groups.split()

    def empty_pools(self) -> None:
        self.array.call("reset")
        self.make_pools()


class SolidFireProvider(ApplianceProvider):
    """The provider ``solidfire``; the cluster makes smaller volumes than a real one."""

    name = "solidfire"
    options = (f"--least-size {1 << 20}",)

    def _install_on(self, node: Node, package: Path) -> None:
        super()._install_on(node, package)
        node.put(f"{CONFIG}/ca.pem", self.array.said["certificate"])

    def pool_options(self, name: str) -> str:
        return super().pool_options(name) + f"user = admin\nca_file = {CONFIG}/ca.pem\n"

    def volumes(self, name: str = "") -> list[str]:
        listed = self.array.call("call", method="ListVolumes")["volumes"]
        return sorted(volume["attributes"]["ganeti"]["volume"] for volume in listed)

    def is_fenced(self, node: Node, volume: str) -> None:
        super().is_fenced(node, cluster_name(volume))

    def empty_pools(self) -> None:
        self.array.call("clear")
        self.array.call("call", method="AddAccount", username="ganeti")


FULL: list[type[Provider]] = [LvmProvider]
"""Those for which the rows of test_matrix are run."""

SHORT: list[type[Provider]] = [RbdProvider, ComstarProvider, LefthandProvider, SolidFireProvider]
"""Those for which test_golden is enough: the rest of what they do is tried by other tests."""
