# SPDX-License-Identifier: Apache-2.0
"""A modelled array that exports real disks, and nodes with kernels of their own that use them."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from tests.lab.calls import RUN_DIR, THERE, CallingNode

if TYPE_CHECKING:
    from tests.appliances.running import InLab
    from tests.lab.lab import Lab
    from tests.lab.node import Node

CONFIG = "/etc/ganeti/extstorage"
POOL = """\
[default]
address = {address}
port = {port}
password_file = {config}/lefthand.password
cluster = c1
timeout = 100
"""
CLEAN = f"""
iscsiadm -m session --logout >/dev/null 2>&1
rm -rf /etc/iscsi/nodes/* {RUN_DIR} /dev/ganeti-extstorage /var/lib/ganeti/ssconf_offline_nodes
"""


class LefthandNode(CallingNode):
    """A node with an initiator."""

    def __init__(self, machine: Node) -> None:
        super().__init__(machine, "lefthand")
        self.initiator = machine.initiator

    def left(self) -> list[str]:
        """What is there of any volume, sessions, disks and records of Open-iSCSI among it."""
        places = "/sys/class/iscsi_session/* /sys/block/sd* /etc/iscsi/nodes/*"
        return [*super().left(), *self.sh(f"ls -d {places} 2>/dev/null || true").split()]

    def offline(self, *nodes: LefthandNode) -> None:
        """What Ganeti tells this node of those that the administrator marked offline."""
        text = "".join(f"{node.name}\n" for node in nodes)
        self.machine.put("/var/lib/ganeti/ssconf_offline_nodes", text)


class LabSite:
    """An array on the lab's storage node, and two nodes with a pool on it."""

    def __init__(self, lab: Lab, array: InLab) -> None:
        self.array = array
        self.nodes = [LefthandNode(machine) for machine in lab.nodes]
        for node in self.nodes:
            node.machine.put(f"{CONFIG}/known_hosts", array.known_hosts())
            node.machine.put(f"{CONFIG}/lefthand.password", "secret\n", mode=0o600)
            text = POOL.format(address=array.address, port=array.port, config=CONFIG)
            node.machine.put(f"{CONFIG}/lefthand.conf", text)

    def state(self) -> dict[str, Any]:
        """What the array has."""
        state: dict[str, Any] = self.array.call("state")
        return state

    def sessions(self) -> list[tuple[str, str]]:
        """The initiators that are logged in, and where."""
        return [(target, initiator) for target, initiator in self.array.order(sessions=True)]

    def order_line(self, **order: Any) -> str:
        """The shell command line that gives the array an order."""
        control = [str(THERE / "tests/appliances/control.py"), self.array.socket, json.dumps(order)]
        line = shlex.join(["/usr/bin/python3", *control])
        return shlex.join([*self.array.node.prefix, line])

    def asked(self) -> list[str]:
        """The verbs of the commands since the last time."""
        return [line.split()[0] for line in self.array.requests()]

    def clean(self) -> None:
        """Take away what a test left."""
        self.array.order(clear=True)
        for node in self.nodes:
            node.machine.run(["sh", "-c", CLEAN], check=False)
        self.array.call("reset")
