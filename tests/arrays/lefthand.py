# SPDX-License-Identifier: Apache-2.0
"""The modelled LeftHand array in a lab."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tests.arrays.array import ADDRESSES, CONFIG, Array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.arrays.array import ArrayNode

CONFIGURATION = """\
[DEFAULT]
address = {address}
port = {port}
password_file = {config}/lefthand.password
known_hosts = {config}/lefthand.known_hosts
cluster = c1
"""


class LeftHand(Array):
    """The array, with one virtual address."""

    NAME = "lefthand"
    OPTIONS = ("--vips", ADDRESSES[0])
    VENDOR = "LEFTHAND"
    WWID = "naa.6000eb3"
    AWAY = {"fault": {"kind": "drop", "pattern": "", "times": 0}}
    ATTACH = ("lefthand.registered", "lefthand.assigned")
    REMOVE = ("lefthand.unassigned", "lefthand.deleted")

    def begin(self) -> None:
        self.back()
        self.machine.call("reset")

    def configuration(self, lines: str) -> str:
        if "timeout" not in lines:
            lines += "timeout = 100\n"
        told = {"address": self.machine.address, "port": self.machine.port, "config": CONFIG}
        return CONFIGURATION.format(**told) + lines + "[default]\n"

    def files(self) -> dict[str, str]:
        return {"lefthand.password": "secret\n", "lefthand.known_hosts": self.machine.known_hosts()}

    def both_addresses(self) -> dict[str, str]:
        """It tells them itself."""
        self.machine.call("facts", vips=ADDRESSES)
        return {}

    def volumes(self) -> list[str]:
        state = self.state()
        return [*state["volumes"], *state["snapshots"]]

    def access(self) -> list[str]:
        return [server for one in self.state()["volumes"].values() for server in one["servers"]]

    def losses(self) -> Sequence[Callable[[], object]]:
        return [partial(self.run, "unassignVolume volumeName=v1")]

    def unregister(self, node: ArrayNode) -> None:
        for server in self.state()["servers"]:
            if server.startswith(f"gx-{node.name}-"):
                self.run(f"deleteServer serverName={server} prompt=false")

    def run(self, line: str) -> str:
        """What somebody else does at the array."""
        answer: str = self.machine.call("run", line=line)
        return answer

    def state(self) -> dict[str, Any]:
        """What the array has."""
        state: dict[str, Any] = self.machine.call("state")
        return state

    def sessions(self) -> list[tuple[str, str]]:
        """The initiators that are logged in, and where."""
        return [(target, initiator) for target, initiator in self.machine.order(sessions=True)]
