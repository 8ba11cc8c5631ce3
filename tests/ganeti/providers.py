# SPDX-License-Identifier: Apache-2.0
"""A provider of ours on the cluster's nodes, and what its volumes must look like after each command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ganeti.cluster import Cluster
    from tests.ganeti.nodes import Node

DOOR = "/usr/share/ganeti-extstorage/extstorage_common/door"
INSTALLED = "/usr/share/ganeti/extstorage"
LOCAL = "/usr/local/lib/ganeti/extstorage"
"""Where an administrator's own providers are; what is here wins over what is installed."""
BLOCK = 4096


class FileProvider:
    """The provider ``file`` on a directory that all nodes share; ``other`` is the same under another name.

    A further provider of the matrix is a class with these attributes and methods.
    """

    name = "file"
    other = "file2"
    pool = "/srv/shared/pool"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def install(self, package: Path) -> None:
        """Install our package on all nodes, and configure two pools."""
        self.cluster.on_all(lambda node: self._install_on(node, package))
        for name in (self.name, self.other):
            self.gnt_storage(self.cluster.master, f"pool init {name}")

    def _install_on(self, node: Node, package: Path) -> None:
        node.install(package)
        node.run(f"mkdir -p {LOCAL}; ln -sfn {INSTALLED}/file {LOCAL}/{self.other}")
        for name in (self.name, self.other):
            node.put(f"/etc/ganeti/extstorage/{name}.conf", f"[gold]\ndirectory = {self.pool}-{name}\n")

    def uninstall(self) -> None:
        """Leave the nodes as they were."""
        self.clear()
        left = f"{LOCAL} /etc/ganeti/extstorage /run/ganeti-extstorage"
        self.cluster.on_all(lambda node: node.run(f"dpkg --purge ganeti-extstorage; rm -rf {left}"))
        self.cluster.master.run(f"rm -rf {self.pool}-*")

    def gnt_storage(self, node: Node, arguments: str) -> str:
        """Our own command on a node."""
        return node.run(f"gnt-storage {arguments}").stdout

    def clear(self) -> None:
        """Remove what a test that failed left, as far as it can be."""
        for node in self.cluster.nodes:
            self.mend(node)
            for volume in node.run("ls /run/ganeti-extstorage/attachments", check=False).stdout.split():
                node.run(self.script("detach", volume), check=False)
        self.cluster.master.run(f"rm -rf {self.pool}-*/[0-9a-z]*")

    def script(self, action: str, volume: str, variables: str = "") -> str:
        """The shell command line with which a person calls a script."""
        return f"cd / && VOL_NAME={volume} {variables} {INSTALLED}/{self.name}/{action}"

    # --- what is really there ---------------------------------------------------------------------

    def volumes(self, name: str = "") -> list[str]:
        """Everything in the pool: volumes, and whatever else should not be there."""
        return self.cluster.master.run(f"ls {self.pool}-{name or self.name}").stdout.split()

    def attached(self, node: Node) -> list[str]:
        """The volumes for which a node has a device and a record."""
        directory = "/run/ganeti-extstorage/attachments"
        records = node.run(f"ls {directory} 2>/dev/null", check=False).stdout.split()
        links = node.run("ls /dev/ganeti-extstorage").stdout.split()
        assert records == links, f"{node.name}: records {records}, links {links}"
        for link in links:
            node.run(f"test -b /dev/ganeti-extstorage/{link}")
        return links

    def devices(self) -> int:
        """How many loop devices there are on the pools, on all nodes together."""
        listed = self.cluster.master.run("losetup --list --noheadings --output BACK-FILE").stdout
        return listed.count(self.pool)

    def holders(self, volume: str, name: str = "") -> dict[str, str]:
        """The nodes that hold a volume, and how."""
        lines = self.cluster.master.run(
            f"cat {self.pool}-{name or self.name}/{volume}/holders-* 2>/dev/null", check=False
        ).stdout.splitlines()
        words = [line.split() for line in lines if line.startswith("holder ")]
        return {node: mode for _, node, mode, *_ in words}

    # --- breaking and mending ---------------------------------------------------------------------

    def take_away(self) -> None:
        """Let the storage be unreachable from every node, as an unmounted share is."""
        self.cluster.master.run(
            f"mv {self.pool}-{self.name} {self.pool}.away && mkdir {self.pool}-{self.name}"
        )

    def bring_back(self) -> None:
        """Undo :meth:`take_away`."""
        self.cluster.master.run(
            f"rmdir {self.pool}-{self.name} && mv {self.pool}.away {self.pool}-{self.name}"
        )

    def fail(self, node: Node, action: str) -> None:
        """Let one script fail on one node, as long as its instance's storage says no."""
        script = f'#!/bin/sh\necho "{self.name}: {action} failed on purpose" >&2\nexit 9\n'
        broken = f"{LOCAL}/{self.name}"
        node.run(f"cp -a {INSTALLED}/{self.name} {broken}; cd {broken}; rm {action}")
        node.run(f"cd {broken} && find . -type l -exec ln -sfn {DOOR} {{}} \\;")
        node.put(f"{broken}/{action}", script, mode=0o755)

    def mend(self, node: Node) -> None:
        """Undo :meth:`fail`."""
        node.run(f"rm -rf {LOCAL}/{self.name}")


class Instance:
    """An instance with disks of a provider."""

    def __init__(self, provider: FileProvider, name: str, node: Node, hypervisor: str = "fake") -> None:
        self.provider = provider
        self.cluster = provider.cluster
        self.name = name
        self.node = node
        self.hypervisor = hypervisor
        self.marks: dict[int, str] = {}

    def disk(self, size: int = 16, provider: str = "") -> str:
        """What ``--disk`` says of a disk."""
        return f"size={size},provider={provider or self.provider.name}"

    def add(self, options: str = "") -> None:
        """``gnt-instance add`` with one disk, and a start unless ``options`` say otherwise."""
        self.gnt(
            f"add -t ext --disk 0:{self.disk()} -o minimal+default -n {self.node.name} -H {self.hypervisor}"
            f" -B memory=64 --no-nics --no-name-check --no-ip-check {options}"
        )

    def gnt(self, command: str, check: bool = True) -> str:
        """``gnt-instance COMMAND OPTIONS NAME``; everything that it printed."""
        done = self.cluster.gnt(f"gnt-instance {command} {self.name}", check=check)
        return done.stdout + done.stderr

    def fails(self, command: str) -> str:
        """``gnt-instance`` with a command that must fail; everything that it printed."""
        done = self.cluster.gnt(f"gnt-instance {command} {self.name}", check=False)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def status(self) -> list[str]:
        """Node and state, as Ganeti lists them."""
        return self.cluster.instance(self.name, "pnode", "status")

    def volume(self, disk: int = 0) -> str:
        """The name of a disk's volume."""
        info = self.gnt("info --static")
        names = [line.split()[-1].rstrip(")]'") for line in info.splitlines() if ".ext.disk" in line]
        return names[disk].strip("'[(,")

    def device(self, disk: int = 0) -> str:
        """The device of a disk on the node where it is attached."""
        return f"/dev/ganeti-extstorage/{self.volume(disk)}"

    def write(self, disk: int = 0) -> None:
        """Write a new mark into a disk, past every cache."""
        self.marks[disk] = f"{self.name}-{disk}-{len(self.marks)}-" + "x" * 64
        self.node.run(
            f"dd of={self.device(disk)} bs={BLOCK} seek=100 conv=sync,notrunc oflag=direct status=none",
            input=self.marks[disk],
        )

    def read(self, disk: int = 0, node: Node | None = None) -> str:
        """The mark that a disk has, read past every cache."""
        command = f"dd if={self.device(disk)} bs={BLOCK} skip=100 count=1 iflag=direct status=none"
        return (node or self.node).run(command).stdout.rstrip("\0")

    def size(self, disk: int = 0) -> int:
        """The device's size in MiB."""
        return int(self.node.run(f"blockdev --getsize64 {self.device(disk)}").stdout) >> 20

    def runs(self, disks: int = 1) -> None:
        """Check that it runs on its node, with its data, and that nothing else is anywhere."""
        assert self.status() == [self.node.name, "running"]
        self.is_only_here(disks)
        for disk in range(disks):
            assert self.provider.holders(self.volume(disk)) == {self.node.name: "exclusive"}

    def is_only_here(self, disks: int = 1) -> None:
        """Check that its volumes are attached on its node and on no other, with their data."""
        for node in self.cluster.nodes:
            if node.running:
                assert len(self.provider.attached(node)) == (disks if node is self.node else 0), node.name
        assert self.provider.devices() == disks
        for disk, mark in self.marks.items():
            assert self.read(disk) == mark

    def is_down(self, disks: int = 1) -> None:
        """Check that it is stopped, and nothing is attached or held anywhere."""
        assert self.status()[1] == "ADMIN_down"
        self.is_detached(disks)

    def is_detached(self, disks: int = 1) -> None:
        """Check that nothing is attached or held anywhere, while the volumes are all there."""
        for node in self.cluster.nodes:
            if node.running:
                assert self.provider.attached(node) == []
        assert self.provider.devices() == 0
        assert len(self.provider.volumes()) == disks
        for volume in self.provider.volumes():
            assert self.provider.holders(volume) == {}

    def remove(self) -> None:
        """``gnt-instance remove``, after which nothing is left."""
        self.gnt("remove -f --shutdown-timeout=0")
        assert self.provider.volumes() == []
        assert self.provider.devices() == 0
        for node in self.cluster.nodes:
            if node.running:
                assert self.provider.attached(node) == []
