# SPDX-License-Identifier: Apache-2.0
"""The modelled cluster on a lab's storage node, which exports for it, and nodes with the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.appliances.running import InLab
from tests.lab.calls import CallingNode

if TYPE_CHECKING:
    from tests.lab.lab import Lab
    from tests.lab.node import Node

CONFIG = "/etc/ganeti/extstorage"
SIZE = 1024
CONFIGURATION = """
[gold]
address = {address}
port = {port}
user = admin
password_file = {config}/password
ca_file = {config}/ca.pem
session_timeout = 20
"""
FORGET = """
for link in $(ls -A /dev/ganeti-extstorage 2>/dev/null); do
    fuser -s -k $(readlink /dev/ganeti-extstorage/$link)
done
iscsiadm -m node -u >/dev/null 2>&1
cd /run/ganeti-extstorage && rm -rf attachments locks dev timed-out
rm -rf /etc/iscsi/nodes/* /dev/ganeti-extstorage/* /var/lib/ganeti
"""


class Storage:
    """The cluster."""

    def __init__(self, lab: Lab) -> None:
        self.machine = InLab("solidfire", lab)

    def begin(self) -> None:
        """Begin with nothing but the pool's account."""
        self.machine.call("clear")
        self.call("AddAccount", username="ganeti")

    def call(self, method: str, **parameters: Any) -> Any:
        """A call of the API by somebody else."""
        return self.machine.call("call", method=method, **parameters)

    def volumes(self) -> list[str]:
        """The volumes there are."""
        return sorted(one["name"] for one in self.call("ListVolumes")["volumes"])

    def groups(self) -> list[int]:
        """The access groups there are."""
        return [
            one["volumeAccessGroupID"] for one in self.call("ListVolumeAccessGroups")["volumeAccessGroups"]
        ]


class LabNode(CallingNode):
    """A node of the lab, with the provider."""

    def __init__(self, machine: Node, storage: Storage) -> None:
        super().__init__(machine, "solidfire")
        self.storage = storage
        self.configure()

    def configure(self) -> None:
        """Write the configuration; what was not on the disk yet is lost when a node crashes."""
        told = self.storage.machine
        files = {
            "solidfire.conf": CONFIGURATION.format(address=told.address, port=told.port, config=CONFIG),
            "password": "secret\n",
            "ca.pem": told.said["certificate"],
        }
        for name, text in files.items():
            self.machine.put(f"{CONFIG}/{name}", text, 0o600)
        self.machine.run("mkdir -p /var/log/ganeti/extstorage")

    def create(self, volume: str = "v1", size: int = SIZE, **variables: str) -> None:
        super().create(volume, size, **variables)

    def mark_offline(self, *nodes: LabNode) -> None:
        """Mark nodes offline, as ``gnt-node modify -O yes`` does on every node."""
        names = "".join(node.name + "\n" for node in nodes)
        self.machine.put("/var/lib/ganeti/ssconf_offline_nodes", names)

    def write(self, text: str, volume: str = "v1") -> bool:
        """Write to an attached volume, past the cache; whether that worked."""
        return self.put(f"/dev/ganeti-extstorage/{volume}", text)

    def read(self, volume: str = "v1") -> str:
        """What is at the beginning, past the cache."""
        return self.get(f"/dev/ganeti-extstorage/{volume}")

    def left(self) -> list[str]:
        """What is left of any volume: also sessions, node records and disks."""
        places = "/sys/class/iscsi_session/* /etc/iscsi/nodes/* /sys/block/sd*"
        return [*super().left(), *self.sh(f"ls -d {places} 2>/dev/null || true").split()]

    def forget(self) -> None:
        """Forget all volumes, sessions first."""
        self.machine.run(["sh", "-c", FORGET])
