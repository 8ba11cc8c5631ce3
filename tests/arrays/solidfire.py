# SPDX-License-Identifier: Apache-2.0
"""The modelled SolidFire cluster in a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.arrays.array import CONFIG, Array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.arrays.array import ArrayNode

CONFIGURATION = """\
[DEFAULT]
address = {address}
port = {port}
user = admin
password_file = {config}/solidfire.password
ca_file = {config}/solidfire.pem
session_timeout = 20
"""


class SolidFire(Array):
    """The cluster."""

    NAME = "solidfire"
    OPTIONS = (f"--least-size {Array.SIZE << 20}",)
    POOLS = ("gold",)
    VENDOR = "SolidFir"
    WWID = "naa.6f47acc1"
    AWAY = {"call": "fault", "arguments": {"kind": "status", "method": "", "value": 503, "times": 0}}
    ATTACH = ("solidfire.node_account", "solidfire.node_group", "solidfire.granted")
    REMOVE = ("solidfire.deleted", "solidfire.state_forgotten")

    def begin(self) -> None:
        """Begin with nothing but the pool's account."""
        self.machine.call("clear")
        self.call("AddAccount", username="ganeti")

    def configuration(self, lines: str) -> str:
        told = {"address": self.machine.address, "port": self.machine.port, "config": CONFIG}
        return CONFIGURATION.format(**told) + lines + "[gold]\n"

    def files(self) -> dict[str, str]:
        return {"solidfire.password": "secret\n", "solidfire.pem": self.machine.said["certificate"]}

    def volumes(self) -> list[str]:
        return sorted(one["name"] for one in self.call("ListVolumes")["volumes"])

    def access(self) -> Sequence[object]:
        volumes = self.call("ListVolumes")["volumes"]
        groups = [group for volume in volumes for group in volume["volumeAccessGroups"]]
        names = [one["name"] for one in self.call("ListVolumeAccessGroups")["volumeAccessGroups"]]
        return [*groups, *(name for name in names if names.count(name) > 1)]

    def losses(self) -> Sequence[Callable[[], object]]:
        return [self._delete_groups]

    def unregister(self, node: ArrayNode) -> None:
        self._delete_groups()
        accounts = self.call("ListAccounts")["accounts"]
        for account in accounts:
            if account["username"] == f"ganeti-node-{node.name}":
                self.call("RemoveAccount", accountID=account["accountID"])

    def call(self, method: str, **parameters: Any) -> Any:
        """A call of the API by somebody else."""
        return self.machine.call("call", method=method, **parameters)

    def groups(self) -> list[int]:
        """The access groups there are."""
        groups = self.call("ListVolumeAccessGroups")["volumeAccessGroups"]
        return [one["volumeAccessGroupID"] for one in groups]

    def _delete_groups(self) -> None:
        for group in self.groups():
            self.call("DeleteVolumeAccessGroup", volumeAccessGroupID=group)
