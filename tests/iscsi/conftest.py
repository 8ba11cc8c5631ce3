# SPDX-License-Identifier: Apache-2.0
"""Disks of a real target, and two nodes with a real initiator each."""

from __future__ import annotations

import json
import secrets
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.node import Node

DRIVER = ["/usr/bin/python3", "/srv/checkout/tests/iscsi/driver.py"]
UDEV = Path(__file__).resolve().parents[2] / "gnt_storage/install/system/udev"
RULES = "/etc/udev/rules.d/59-ganeti-extstorage.rules"
MIB = 1 << 20
TARGET = "iqn.2026-01.test.example.extstorage"


class Failure(Exception):
    """What the library said no with; ``seconds`` is how long it took, if it came to say so."""

    def __init__(self, status: int, sentence: str, seconds: float = 3600.0) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.seconds = seconds


def drive(node: Node, told: dict[str, Any], crash_at: str = "") -> Any:
    """Let the library in a node do something, and die at a point if told so. Raises Failure."""
    command = ["env", f"EXTSTORAGE_CRASH_AT={crash_at}", *DRIVER]
    done = node.run(command, check=False, input=json.dumps(told))
    if done.returncode:
        seconds = json.loads(done.stdout)["seconds"] if done.stdout else 3600.0
        raise Failure(done.returncode, done.stderr.strip(), seconds)
    return json.loads(done.stdout)


class Disk:
    """A logical volume of the storage node, and its export."""

    def __init__(self, storage: Node, name: str, mib: int, portals: list[str]) -> None:
        self.storage = storage
        self.name = name
        self.iqn = f"{TARGET}:{name}"
        self.serial = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
        self.portals = portals
        self.size = mib * MIB
        self.initiators: dict[str, list[str]] = {}
        # By this file udev knows a volume of ours.
        storage.put(f"/var/lib/ganeti-extstorage/lvm/vg/{name}", "")
        storage.run(
            f"lvcreate -qq -y -Wn -Zn -n {name} -L {mib}M vg && head -c {mib}M /dev/zero >/dev/vg/{name}"
        )

    def _told(self, function: str) -> dict[str, Any]:
        told = {"function": function, "name": self.name, "iqn": self.iqn, "serial": self.serial}
        return {
            **told,
            "device": f"/dev/vg/{self.name}",
            "portals": self.portals,
            "initiators": self.initiators,
        }

    def export(self) -> None:
        """Export to the present initiators."""
        drive(self.storage, self._told("export"))

    def unexport(self) -> None:
        drive(self.storage, self._told("unexport"))

    def let_in(self, node: Node) -> dict[str, Any]:
        """Export to this node, with new secrets; the connection that a backend would give."""
        user, mutual_user = (f"{kind}-{secrets.token_hex(4)}" for kind in ("node", "target"))
        self.initiators[node.initiator] = [user, secrets.token_hex(8), mutual_user, secrets.token_hex(8)]
        self.export()
        return self.connection(node)

    def lock_out(self, node: Node) -> None:
        """Export to this node no more: what a fence does."""
        del self.initiators[node.initiator]
        self.export()

    def connection(self, node: Node) -> dict[str, Any]:
        user, password, mutual_user, mutual_password = self.initiators[node.initiator]
        count = len(self.portals)
        return {
            "target_discovered": False,
            "target_portal": self.portals[0],
            "target_iqn": self.iqn,
            "target_lun": 0,
            "target_portals": self.portals,
            "target_iqns": [self.iqn] * count,
            "target_luns": [0] * count,
            "auth_method": "CHAP",
            "auth_username": user,
            "auth_password": password,
            "mutual_auth_username": mutual_user,
            "mutual_auth_password": mutual_password,
            "access_mode": "rw",
            "encrypted": False,
            "discard": True,
            "size": self.size,
            "wwn": "naa.6001405" + self.serial.replace("-", "")[:25],
            "serial": self.serial,
        }

    def extend(self, mib: int) -> None:
        self.storage.run(f"lvextend -qq -L {mib}M vg/{self.name}")
        self.size = mib * MIB

    def destroy(self) -> None:
        self.unexport()
        self.storage.run(f"lvremove -qq -f vg/{self.name}")


class Initiator:
    """A compute node, and its connector."""

    def __init__(self, node: Node, connector: str = "iscsi") -> None:
        self.node = node
        self.connector = connector
        self.seconds = 3600.0

    def call(self, method: str, *arguments: Any, seconds: float = 50.0, crash_at: str = "") -> Any:
        """Call the connector; its result. Raises Failure. ``self.seconds`` is how long that took there."""
        told = {"function": "connector", "connector": self.connector, "method": method}
        try:
            answer = drive(self.node, {**told, "arguments": list(arguments), "seconds": seconds}, crash_at)
        except Failure as failure:
            self.seconds = failure.seconds
            raise
        self.seconds = answer["seconds"]
        return answer["result"]

    def fails(self, status: int, method: str, *arguments: Any, seconds: float = 50.0) -> str:
        """A call that must fail with this status; returns its sentence."""
        with pytest.raises(Failure) as failure:
            self.call(method, *arguments, seconds=seconds)
        assert failure.value.status == status, failure.value.sentence
        assert "\n" not in failure.value.sentence
        return failure.value.sentence

    def connect(self, data: dict[str, Any], seconds: float = 50.0) -> str:
        device: str = self.call("connect_volume", data, seconds=seconds)
        return device

    def disconnect(self, data: dict[str, Any], device: str, seconds: float = 50.0) -> None:
        kept = self.call("kept", data)
        self.call("disconnect_volume", kept, device, self.call("identity", device), seconds=seconds)

    def cleanup(self, data: dict[str, Any]) -> None:
        self.call("cleanup_connection", self.call("kept", data))

    def clear(self) -> None:
        """Remove what a test that failed has left."""
        self.node.run(
            "iscsiadm -m session --logout; rm -rf /etc/iscsi/nodes/* /run/ganeti-extstorage/guests",
            check=False,
        )

    def wait_for_udev(self, device: str) -> None:
        """Return when udev has done all it does with a disk, of which the kernel may not have told it yet."""
        self.node.run(f"udevadm wait --timeout=100 {device} && udevadm settle")

    def session_state(self) -> str:
        """The state of the only session; ``""`` if there is none."""
        return self.node.run("cat /sys/class/iscsi_session/session*/state", check=False).stdout.strip()

    def leftovers(self) -> list[str]:
        """Sessions, disks, maps and node records that are there."""
        script = (
            "ls -d /sys/class/iscsi_session/* /sys/block/sd* /sys/block/dm-* 2>/dev/null; "
            "ls -d /run/ganeti-extstorage/*/* 2>/dev/null; "
            "find /etc/iscsi/nodes -mindepth 1"
        )
        return self.node.run(script).stdout.split()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab") / "lab") as lab:
        lab.storage.run("vgcreate -qq vg /dev/ubdb")
        for node in lab.all:
            node.put(RULES, UDEV.read_text())
        yield lab


@pytest.fixture
def node(lab: Lab) -> Iterator[Initiator]:
    """A node that nothing is left on afterwards."""
    initiator = Initiator(lab.nodes[0])
    yield initiator
    leftovers = initiator.leftovers()
    initiator.clear()
    assert leftovers == []


@pytest.fixture
def other(lab: Lab) -> Initiator:
    return Initiator(lab.nodes[1])


@pytest.fixture
def disk(lab: Lab) -> Iterator[Disk]:
    """A disk of 16 MiB behind one portal."""
    disk = Disk(lab.storage, "disk", 16, [f"{lab.storage.addresses[1]}:3260"])
    yield disk
    disk.destroy()
