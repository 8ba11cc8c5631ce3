# SPDX-License-Identifier: Apache-2.0
"""The modelled Solaris machine in a lab."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.arrays.array import ADDRESSES, CONFIG, Array
from tests.comstar.conftest import KEY, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.arrays.array import ArrayNode

CONFIGURATION = """\
[DEFAULT]
address = {address}
port = {port}
password_file = {config}/comstar.password
chap_key_file = {config}/comstar.chap
known_hosts = {config}/comstar.known_hosts
"""
POOL = """\
[{layout}]
dataset = tank/{layout}
layout = {layout}
"""


class Comstar(Array):
    """The machine, with a pool of each layout."""

    NAME = "comstar"
    OPTIONS = ("--user", "ganeti")
    POOLS = ("target", "shared")
    VENDOR = "SUN"
    WWID = "naa.600144f"
    AWAY = {"fault": {"kind": "drop", "pattern": "", "times": 0}}
    ATTACH = ("comstar.target", "comstar.unit", "comstar.secret", "comstar.registered")
    REMOVE = ("comstar.unit-deleted", "comstar.target-deleted", "comstar.unexported", "comstar.destroyed")

    def begin(self) -> None:
        self.machine.call("reset")
        self.back()
        for pool in self.POOLS:
            self.run(f"zfs create tank/{pool}")
            self.run(f"zfs set org.ganeti.extstorage:pool=pool-{pool} tank/{pool}")

    def configuration(self, lines: str) -> str:
        if "portals" not in lines:
            lines += f"portals = {ADDRESSES[0]}\n"
        told = {"address": self.machine.address, "port": self.machine.port, "config": CONFIG}
        pools = [POOL.format(layout=layout) for layout in self.POOLS]
        return CONFIGURATION.format(**told) + lines + "".join(pools)

    def files(self) -> dict[str, str]:
        hosts = self.machine.known_hosts()
        return {"comstar.password": PASSWORD, "comstar.chap": KEY, "comstar.known_hosts": hosts}

    def volumes(self) -> list[str]:
        listed = self.run("zfs list -H -o name -t filesystem,volume,snapshot -r tank").split()
        return [name for name in listed if name.count("/") > 1]

    def exported(self) -> list[str]:
        """What shows volumes to nodes."""
        units = [*self.run("stmfadm list-lu").split(), *self.run("stmfadm list-tg").split()]
        return [*units, *self.run("itadm list-target").split()]

    def access(self) -> list[str]:
        views = []
        for guid in self.run("stmfadm list-lu").split()[2::3]:
            views += self.machine.call("run", line=f"/usr/sbin/stmfadm list-view -l {guid}")["stdout"].split()
        return views

    def losses(self) -> Sequence[Callable[[], object]]:
        iqn = self.run("itadm list-target").splitlines()[1].split()[0]
        guid = self.run("stmfadm list-lu").split()[-1]
        lines = [f"itadm delete-target -f {iqn}", f"stmfadm delete-lu {guid}"]
        lines += [f"stmfadm remove-view -l {guid} -a"]
        return [partial(self.run, line) for line in lines]

    def unregister(self, node: ArrayNode) -> None:
        self.machine.call("run", line=f"/usr/sbin/stmfadm delete-hg ganeti-{node.name}")

    def run(self, line: str) -> str:
        """Run a command on the machine itself, which must succeed; what it prints."""
        ended = self.machine.call("run", line=f"/usr/sbin/{line}")
        assert ended["status"] == 0, ended
        printed: str = ended["stdout"]
        return printed
