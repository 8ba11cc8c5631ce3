# SPDX-License-Identifier: Apache-2.0
"""Instances on our volumes, and the checks that each cell of the matrix consists of.

A cell is: what Ganeti says of the instance, and of its disks' number and sizes; whether the device that
Ganeti has got is the volume, with all of its contents (a checksum); who holds it; and that nothing else is
anywhere: no other volume, device, record, link or held lock.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tests.ganeti.providers import LINKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.ganeti.nodes import Node
    from tests.ganeti.providers import Provider

SIZE = 16
NO_NET = "--no-nics --no-name-check --no-ip-check"
SYSTEM = "-o minimal+default -B memory=64"

# What a disk is, in one line: size, checksum from the second MiB on, the two devices, the first line of text.
LOOK = """
disk() {
    sum=$(dd if=$1 bs=1M skip=1 iflag=direct status=none | sha256sum | cut -c -64)
    first=$(dd if=$1 bs=4096 count=1 iflag=direct status=none | tr -d '\\0' | head -n 1)
    echo "$(blockdev --getsize64 $1) $sum $(readlink -f $1) $(readlink -f $2) $first"
}
"""


@dataclass
class Disk:
    """A disk as it must be: MiB, the line that its operating system begins with, contents after the 1st MiB.

    The rest of it is zeros.
    """

    size: int = SIZE
    first: str = ""
    data: bytes = b""

    def checksum(self) -> str:
        """Of all but the first MiB."""
        return hashlib.sha256(self.data.ljust((self.size - 1) << 20, b"\0")).hexdigest()


class Told(NamedTuple):
    """What Ganeti says of an instance."""

    node: str
    status: str
    uuids: list[str]
    sizes: list[int]


class Instance:
    """An instance with disks of a provider."""

    def __init__(self, provider: Provider, name: str, node: Node, hypervisor: str = "fake") -> None:
        self.provider = provider
        self.cluster = provider.cluster
        self.name = name
        self.node = node
        self.hypervisor = hypervisor
        self.disks: list[Disk] = []
        self._written = 0
        self._volumes: dict[str, str] = {}

    # --- Ganeti's commands ------------------------------------------------------------------------

    def spec(self, size: int = SIZE, more: str = "", provider: str = "") -> str:
        """What ``--disk`` says of a disk."""
        return f"size={size},provider={provider or self.provider.name}{more}"

    def command(self, options: str = "", disks: Sequence[str] = ("",), hypervisor: str = "") -> str:
        """``add`` with its options; ``disks`` has what is to be said of each disk beside its size."""
        specs = " ".join(f"--disk {number}:{self.spec(more=more)}" for number, more in enumerate(disks))
        where = f"-n {self.node.name} -H {self.hypervisor}{hypervisor}"
        return f"add -t ext {specs} {where} {SYSTEM} {NO_NET} {options}"

    def add(self, options: str = "", disks: Sequence[str] = ("",), hypervisor: str = "") -> None:
        """Make the instance; it is installed and started unless ``options`` say otherwise."""
        self.gnt(self.command(options, disks, hypervisor))
        installed = "--no-install" not in options
        self.disks = [
            Disk(first=f"minimal: disk {number} of {self.name}" if installed else "")
            for number, _ in enumerate(disks)
        ]

    def gnt(self, command: str, check: bool = True) -> str:
        """``gnt-instance COMMAND OPTIONS NAME``; everything that it printed."""
        done = self.cluster.gnt(f"gnt-instance {command} {self.name}", check=check)
        return done.stdout + done.stderr

    def fails(self, command: str) -> str:
        """``gnt-instance`` with a command that must fail; everything that it printed."""
        return self.cluster.fails(f"gnt-instance {command} {self.name}")

    def migrate(self, node: Node, options: str = "") -> None:
        """``gnt-instance migrate``."""
        self.gnt(f"migrate -f -n {node.name} {options}")
        self.node = node

    def grow(self, disk: int, mib: int) -> None:
        """``gnt-instance grow-disk --absolute``."""
        self.cluster.gnt(f"gnt-instance grow-disk --absolute {self.name} {disk} {mib}m")
        self.disks[disk].size = mib

    def stop(self) -> str:
        """``gnt-instance shutdown``; what it said."""
        return self.gnt("shutdown --timeout=0")

    # --- looking ----------------------------------------------------------------------------------

    def told(self) -> Told:
        """What Ganeti lists."""
        fields = "pnode,status,disk.uuids,disk.sizes"
        line = self.cluster.gnt(
            f"gnt-instance list --no-headers --separator=: --units=m -o {fields} {self.name}"
        ).stdout.strip()
        node, status, uuids, sizes = line.split(":")
        return Told(
            node, status, re.findall(r"[\w-]+", uuids), [int(size) for size in re.findall(r"\d+", sizes)]
        )

    def status(self) -> list[str]:
        """Node and state, as Ganeti lists them."""
        return self.cluster.instance(self.name, "pnode", "status")

    def volumes(self, uuids: Sequence[str] = ()) -> list[str]:
        """The names of the disks' volumes (with ``uuids``, where Ganeti has been asked for them already)."""
        uuids = uuids or self.told().uuids
        deadline = time.monotonic() + 60
        # Ganeti tells them in a job only, which takes a second; its configuration is written after a moment.
        while not set(uuids) <= set(self._volumes) and time.monotonic() < deadline:
            disks = json.loads(self.cluster.master.run("cat /var/lib/ganeti/config.data").stdout)["disks"]
            self._volumes = {uuid: disk["logical_id"][1] for uuid, disk in disks.items()}
        return [self._volumes[uuid] for uuid in uuids]

    def volume(self, disk: int = 0) -> str:
        """The name of a disk's volume."""
        return self.volumes()[disk]

    def write(self, disk: int = 0) -> None:
        """Fill a disk, but its first and its last MiB, with new data; past every cache."""
        self._written += 1
        seed = f"{self.name} {disk} {self._written}"
        data = random.Random(seed).randbytes((self.disks[disk].size - 2) << 20)
        flags = "iflag=fullblock oflag=direct conv=notrunc status=none"
        self.node.run(f"dd of={LINKS}/{self.volume(disk)} bs=1M seek=1 {flags}", input=data)
        self.disks[disk].data = data

    # --- checks -----------------------------------------------------------------------------------

    def runs(self) -> None:
        """Check that it runs on its node and holds its disks, and that nothing else is anywhere."""
        told = self.told()
        assert [told.node, told.status] == [self.node.name, "running"]
        volumes = self.volumes(told.uuids)
        self.holds({self.node.name: "exclusive"}, volumes)
        self.is_only_here(told)
        given = [f"/var/run/ganeti/instance-disks/{self.name}:{number}" for number, _ in enumerate(volumes)]
        self.contents(volumes, given)

    def is_attached(self, mode: str = "") -> None:
        """Check that it is stopped, its disks attached on its node, held by it in ``mode`` or by nobody."""
        told = self.told()
        assert told.status == "ADMIN_down"
        volumes = self.volumes(told.uuids)
        self.is_only_here(told)
        self.holds({self.node.name: mode} if mode else {}, volumes)
        self.contents(volumes, [f"{LINKS}/{volume}" for volume in volumes])

    def is_down(self) -> None:
        """Check that it is stopped, and nothing is attached or held anywhere."""
        told = self.told()
        assert told.status == "ADMIN_down"
        self.is_detached(told)

    def is_detached(self, told: Told | None = None) -> None:
        """Check that nothing is attached or held anywhere, while the volumes are all there."""
        told = told or self.told()
        volumes = self.volumes(told.uuids)
        self._sizes(told)
        assert self.provider.volumes() == sorted(volumes)
        assert self.provider.attached() == {}
        assert self.provider.devices() == 0
        self.holds({}, volumes)

    def is_only_here(self, told: Told) -> None:
        """Check that its volumes are attached on its node and on no other, and that there are no others."""
        volumes = self.volumes(told.uuids)
        self._sizes(told)
        assert self.provider.volumes() == sorted(volumes)
        assert self.provider.attached() == {self.node.name: sorted(volumes)}
        assert self.provider.devices() == len(volumes)

    def holds(self, holders: dict[str, str], volumes: Sequence[str] = ()) -> None:
        """Check who holds its disks."""
        for volume in volumes or self.volumes():
            assert self.provider.holders(volume) == holders

    def _sizes(self, told: Told) -> None:
        assert told.sizes == [disk.size for disk in self.disks]

    def contents(self, volumes: Sequence[str], given: Sequence[str]) -> None:
        """Check that the devices ``given`` are the volumes, of the right size and contents."""
        calls = [f"disk {device} {LINKS}/{volume}" for device, volume in zip(given, volumes, strict=True)]
        lines = self.node.run(LOOK + "\n".join(calls)).stdout.splitlines()
        for disk, line in zip(self.disks, lines, strict=True):
            size, checksum, device, link, *first = line.split(" ", 4)
            assert device == link
            assert int(size) == disk.size << 20
            assert " ".join(first) == disk.first
            assert checksum == disk.checksum()

    # --- the end ----------------------------------------------------------------------------------

    def remove(self) -> None:
        """``gnt-instance remove``, after which nothing is left."""
        self.gnt("remove -f --shutdown-timeout=0")
        is_empty(self.provider)

    def release(self, node: Node, *actions: str) -> None:
        """Let a person act on each volume on a node, by our command; ``detach`` by default."""
        for volume in self.volumes():
            for action in actions or ("detach",):
                node.run(self.provider.by_hand(action, volume))


def is_empty(provider: Provider) -> None:
    """Check that there is no volume, and nothing attached or locked on any node."""
    for name in provider.names:
        assert provider.volumes(name) == []
    assert provider.devices() == 0
    assert provider.attached() == {}
