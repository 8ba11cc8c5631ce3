# SPDX-License-Identifier: Apache-2.0
"""The modelled machine on a lab's storage node, which exports for it, and nodes with the provider."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from tests.appliances.running import InLab
from tests.conftest import Result
from tests.lab.calls import THERE, CallingNode

if TYPE_CHECKING:
    from tests.lab.lab import Lab
    from tests.lab.node import Node

KEY = "a line of random text for the secrets of nodes"
PASSWORD = "secret"
LINKS = "/dev/ganeti-extstorage"
CONFIG = "/etc/ganeti/extstorage"
CONFIGURATION = """
[DEFAULT]
address = {address}
port = {port}
password_file = {config}/password
chap_key_file = {config}/chap
portals = {address}
[{first}]
dataset = tank/{first}
layout = {first}
[{second}]
dataset = tank/{second}
layout = {second}
[open]
dataset = tank/open
chap = none
"""
LAYOUTS = ("target", "shared")
POOLS = (*LAYOUTS, "open")
FORGET = """
for link in $(ls -A /dev/ganeti-extstorage 2>/dev/null); do
    fuser -s -k $(readlink /dev/ganeti-extstorage/$link)
done
iscsiadm -m node -u >/dev/null 2>&1
cd /run/ganeti-extstorage && rm -rf attachments locks dev
rm -rf /etc/iscsi/nodes/* /dev/ganeti-extstorage/* /var/lib/ganeti
"""


class Storage:
    """The machine."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.machine = InLab("comstar", lab, "--user", "ganeti")

    def begin(self) -> None:
        """Begin with empty pools."""
        self.machine.call("reset")
        self.machine.order(clear=True)
        for pool in POOLS:
            self.run(f"zfs create tank/{pool}")
            self.run(f"zfs set org.ganeti.extstorage:pool=pool-{pool} tank/{pool}")
        self.machine.call("seen")
        self.machine.order(connections=True)

    def run(self, line: str) -> str:
        """Run a command on the machine itself, which must succeed; what it prints."""
        ended = self.machine.call("run", line=f"/usr/sbin/{line}")
        assert ended["status"] == 0, ended
        printed: str = ended["stdout"]
        return printed

    def datasets(self) -> list[str]:
        """What there is of volumes."""
        listed = self.run("zfs list -H -o name -t filesystem,volume,snapshot -r tank").split()
        return [name for name in listed if name.count("/") > 1]

    def left(self) -> list[str]:
        """What is there of volumes at all."""
        units = [*self.run("stmfadm list-lu").split(), *self.run("stmfadm list-tg").split()]
        return [*self.datasets(), *units, *self.run("itadm list-target").split()]

    def seen(self) -> list[str]:
        """The commands that came since the last time, without paths and prefixes."""
        return [
            " ".join(words).replace("LC_ALL=C pfexec /usr/sbin/", "") for words in self.machine.call("seen")
        ]

    def order_line(self, **order: Any) -> str:
        """The shell command line that gives the appliance an order."""
        control = [str(THERE / "tests/appliances/control.py"), self.machine.socket, json.dumps(order)]
        line = shlex.join(["/usr/bin/python3", *control])
        return shlex.join([*self.machine.node.prefix, line])

    def connections(self) -> int:
        """How often somebody connected since the last time."""
        count: int = self.machine.order(connections=True)
        return count


class LabNode(CallingNode):
    """A node of the lab, with the provider; its calls choose ``pool``."""

    def __init__(self, machine: Node, storage: Storage) -> None:
        super().__init__(machine, "comstar")
        self.pool = LAYOUTS[0]
        files = {
            "comstar.conf": CONFIGURATION.format(
                address=storage.machine.address, port=storage.machine.port, config=CONFIG,
                first=LAYOUTS[0], second=LAYOUTS[1],
            ),
            "password": PASSWORD, "chap": KEY, "known_hosts": storage.machine.known_hosts(),
        }  # fmt: skip
        for name, text in files.items():
            machine.put(f"{CONFIG}/{name}", text, 0o600)
        machine.run("mkdir -p /var/log/ganeti/extstorage")

    def call(self, action: str, volume: str = "v1", *arguments: str, **variables: str) -> Result:
        return super().call(action, volume, *arguments, **{"EXTP_POOL": self.pool, **variables})

    def mark_offline(self, *nodes: LabNode) -> None:
        """Mark nodes offline, as ``gnt-node modify -O yes`` does on every node."""
        names = "".join(node.name + "\n" for node in nodes)
        self.machine.put("/var/lib/ganeti/ssconf_offline_nodes", names)

    def write(self, text: str, volume: str = "v1") -> bool:
        """Write to an attached volume, past the cache; whether that worked."""
        return self.put(f"{LINKS}/{volume}", text)

    def read(self, volume: str = "v1") -> str:
        """What is at the beginning of an attached volume, past the cache."""
        return self.get(f"{LINKS}/{volume}")

    def left(self) -> list[str]:
        """What this node still has of any volume, its sessions, their records and its disks, too."""
        script = "ls -d /sys/class/iscsi_session/* /etc/iscsi/nodes/* /sys/block/sd* 2>/dev/null || true"
        return [*super().left(), *self.sh(script).split()]

    def forget(self) -> None:
        """Forget all volumes, sessions first."""
        self.machine.run(["sh", "-c", FORGET])
