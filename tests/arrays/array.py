# SPDX-License-Identifier: Apache-2.0
"""What every array in a lab has: a model on the storage node, and nodes with its provider."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, ClassVar

from tests.appliances.running import InLab
from tests.lab.calls import RUN_DIR, THERE, CallingNode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.conftest import Result
    from tests.lab.lab import Lab
    from tests.lab.node import Node

CONFIG = "/etc/ganeti/extstorage"
LINK = "/dev/ganeti-extstorage/v1"
ADDRESSES = ("10.78.1.10", "10.78.2.10")
OFFLINE = "/var/lib/ganeti/ssconf_offline_nodes"
TARGETS = "/sys/kernel/config/target/iscsi"
FORGET = f"""
for link in $(ls -A /dev/ganeti-extstorage 2>/dev/null); do
    fuser -s -k $(readlink /dev/ganeti-extstorage/$link)
done
iscsiadm -m session --logout >/dev/null 2>&1
rm -rf /etc/iscsi/nodes/* {RUN_DIR} /dev/ganeti-extstorage /var/lib/ganeti
"""


class Array:
    """A model that runs on the lab's storage node, and exports at both of its storage addresses."""

    NAME: ClassVar[str]
    """The provider's."""
    OPTIONS: ClassVar[tuple[str, ...]] = ()
    """How the model is started."""
    SIZE: ClassVar[int] = 16
    """A volume's, in MiB: the least."""
    POOLS: ClassVar[tuple[str, ...]] = ("default",)
    VENDOR: ClassVar[str]
    WWID: ClassVar[str]
    """How the disks' names begin."""
    AWAY: ClassVar[dict[str, Any]]
    """The order after which it answers no more."""
    ATTACH: ClassVar[tuple[str, ...]]
    """Where of its own an attach may die, in their order; a node is registered at the first time only."""
    REMOVE: ClassVar[tuple[str, ...]]

    def __init__(self, lab: Lab) -> None:
        portals = ",".join(f"{address}:3260" for address in ADDRESSES)
        self.machine = InLab(self.NAME, lab, *self.OPTIONS, portals=portals)
        self.pool = self.POOLS[0]

    def begin(self) -> None:
        """Begin with empty pools."""
        raise NotImplementedError

    def configuration(self, lines: str) -> str:
        """The provider's, with these lines more for all pools."""
        raise NotImplementedError

    def files(self) -> dict[str, str]:
        """What else a node needs in the configuration's directory."""
        raise NotImplementedError

    def both_addresses(self) -> dict[str, str]:
        """Let volumes be at both addresses; what a pool says for that."""
        return {"portals": ", ".join(ADDRESSES)}

    def volumes(self) -> list[str]:
        """What there is of volumes and snapshots."""
        raise NotImplementedError

    def access(self) -> Sequence[object]:
        """What lets nodes reach a volume; beside that, what is there more than once for a node."""
        raise NotImplementedError

    def losses(self) -> Sequence[Callable[[], object]]:
        """What takes away the export of the only volume, by somebody else's hand."""
        raise NotImplementedError

    def unregister(self, node: ArrayNode) -> None:
        """Forget a node that has nothing attached, if it is known at all."""
        raise NotImplementedError

    def away(self) -> None:
        """Answer no more."""
        self.machine.order(**self.AWAY)

    def back(self) -> None:
        """Answer again."""
        self.machine.order(clear=True)

    def order_line(self, **order: Any) -> str:
        """The shell command line that gives it an order."""
        control = [str(THERE / "tests/appliances/control.py"), self.machine.socket, json.dumps(order)]
        line = shlex.join(["/usr/bin/python3", *control])
        return shlex.join([*self.machine.node.prefix, line])

    def proves(self, node: ArrayNode, secret: str = "") -> str:
        """What a node is shown at the only target, if it may log in; ``secret`` is that from now on."""
        file = f"{TARGETS}/*/tpgt_1/acls/{node.machine.initiator}/auth/password_mutual"
        change = f"echo -n {shlex.quote(secret)} >$file; " if secret else ""
        line = f"for file in {file}; do [ ! -e $file ] || {{ {change}cat $file; }}; done"
        return self.machine.node.run(line).stdout.strip()


class ArrayNode(CallingNode):
    """A node of the lab, with an array's provider; its calls choose the array's ``pool``."""

    def __init__(self, machine: Node, array: Array) -> None:
        super().__init__(machine, array.NAME)
        self.array = array
        self.said = ""
        self.install()

    def install(self) -> None:
        """Write all that is there before any volume; what was not on the disk yet is lost in a crash."""
        for name, text in self.array.files().items():
            self.machine.put(f"{CONFIG}/{name}", text, 0o600)
        self.said = ""
        self.configure()
        self.machine.run("mkdir -p /var/log/ganeti/extstorage")

    def configure(self, **options: str) -> None:
        """Configure the provider, with these options more for all pools."""
        said = self.array.configuration("".join(f"{key} = {value}\n" for key, value in options.items()))
        if said != self.said:
            self.machine.put(f"{CONFIG}/{self.array.NAME}.conf", said)
        self.said = said

    def call(self, action: str, volume: str = "v1", *arguments: str, **variables: str) -> Result:
        return super().call(action, volume, *arguments, **{"EXTP_POOL": self.array.pool, **variables})

    def create(self, volume: str = "v1", size: int = 0, **variables: str) -> None:
        super().create(volume, size or self.array.SIZE, **variables)

    def snapshot(self, volume: str = "v1") -> Result:
        told = {"VOL_SNAPSHOT_NAME": f"{volume}.snap", "VOL_SNAPSHOT_SIZE": str(self.array.SIZE)}
        return self.call("snapshot", volume, **told)

    def mark_offline(self, *nodes: ArrayNode) -> None:
        """Mark nodes offline, as ``gnt-node modify -O yes`` does on every node."""
        self.machine.put(OFFLINE, "".join(node.name + "\n" for node in nodes))

    def write(self, text: str, volume: str = "v1") -> bool:
        """Write to an attached volume, past the cache; whether that worked."""
        return self.put(f"/dev/ganeti-extstorage/{volume}", text)

    def read(self, volume: str = "v1") -> str:
        """What is at the beginning of an attached volume, past the cache."""
        return self.get(f"/dev/ganeti-extstorage/{volume}")

    def disk(self, name: str) -> str:
        """What the attached volume ``v1`` says of itself: ``wwid``, ``vendor``, ``model``."""
        return self.sh(f"cat /sys/block/$(basename $(readlink -f {LINK}))/device/{name}").strip()

    def dies(self, point: str, action: str, volume: str = "v1", **variables: str) -> None:
        """Let a call be killed at a point."""
        result = self.call(action, volume, EXTSTORAGE_CRASH_AT=point, **variables)
        assert result.status == 6, (point, result)
        assert "signal 9" in result.stderr

    def try_again(self) -> None:
        """Ask an array again that just did not answer."""
        self.machine.run(f"rm -rf {RUN_DIR}/timed-out")

    def left(self) -> list[str]:
        """What is left of any volume: also sessions, node records and disks."""
        places = "/sys/class/iscsi_session/* /etc/iscsi/nodes/* /sys/block/sd*"
        return [*super().left(), *self.sh(f"ls -d {places} 2>/dev/null || true").split()]

    def forget(self) -> None:
        """Forget all volumes, sessions first."""
        self.machine.run(["sh", "-c", FORGET])
