# SPDX-License-Identifier: Apache-2.0
"""Logical volumes as disks of the kernel's iSCSI target, exported as their files say (``lvm_state.py``).

The file is changed first and the kernel then brought to agree with it, so that a call that is killed in
between leaves what the next one, or the next start of the machine, finishes.
"""

from __future__ import annotations

import hashlib

from extstorage_common.backends import lvm_state, sessions
from extstorage_common.crash import crash_point
from extstorage_common.errors import Refused
from extstorage_common.targets import iscsi_names, lio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extstorage_common.backends.base import Connection, Holder
    from extstorage_common.backends.lvm_commands import Lvm, Row
    from extstorage_common.backends.lvm_state import State

IQN = "iqn.2026-01.org.ganeti.extstorage"
"""Two dots after the date, else rtslib, and so targetcli, would not show our targets."""


class InitiatorTaken(Refused):
    template = (
        "node {other} has the volume attached by the same initiator's name ({initiator}); "
        "give each node its own in /etc/iscsi/initiatorname.iscsi"
    )


class StillExported(Refused):
    template = "initiator {initiator} can still reach the volume, though it was taken off its list"


class Exports:
    """What is exported of a volume group. The caller has the volume's lock where something changes."""

    def __init__(self, lvm: Lvm) -> None:
        self.lvm = lvm
        self.portals: Sequence[str] = lvm.pool["portals"]

    def state(self, row: Row) -> State:
        """What a volume's file says."""
        return lvm_state.load(self.lvm.group, row.lv, row.name)

    def of(self, row: Row) -> lio.Export:
        """What a volume is as an iSCSI disk."""
        return self.named(row.group_uuid, row.name, row.lv)

    def named(self, group_uuid: str, volume: str, lv: str) -> lio.Export:
        """What a volume is as an iSCSI disk, which follows from its name and its group alone."""
        group = _short(group_uuid)
        name = volume if iscsi_names.CHARACTERS.issuperset(volume) else _digest(volume)[:40]
        digest = _digest(f"{group_uuid}/{volume}")
        serial = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
        device = self.lvm.device(lv)
        return lio.Export(f"{group}.{name}", f"{IQN}:{group}:{name}", device, serial, self.portals)

    def bring_about(self, row: Row, state: State) -> lio.Export:
        """Let the kernel export what the volume's file says, and nothing else. Raises Refused."""
        export = self.of(row)
        if state.attachments:
            lio.load_modules(self.lvm.deadline)
            self.lvm.activate(row)
            lio.ensure(export, state.initiators())
        else:
            lio.remove(export)
        return export

    def attach(self, row: Row, node: str, initiator: str) -> Connection:
        """Export the volume to this node, too. Raises NotAnInitiator, InitiatorTaken, Refused."""
        iscsi_names.check_initiator(initiator)
        state = self.state(row)
        for other, told in state.attachments.items():
            if told["initiator"] == initiator and other != node:
                raise InitiatorTaken(other=other, initiator=initiator)
        before = state.dump()
        state.attach(node, initiator)
        if state.dump() != before:
            lvm_state.save(self.lvm.group, row.lv, state)
        crash_point("lvm.noted")
        export = self.bring_about(row, state)
        connection = _connection(row, export, state.attachments[node])
        connection["data"]["connector"] = self.lvm.pool["connector"]
        return connection

    def revoke(self, row: Row, node: str) -> None:
        """Export the volume to this node no more; its session has ended then. Raises Refused."""
        state = self.state(row)
        if state.attachments.pop(node, None):
            lvm_state.save(self.lvm.group, row.lv, state)
        crash_point("lvm.revoked")
        self.bring_about(row, state)

    def end(self, row: Row) -> None:
        """Export the volume to nobody; what its file says stays."""
        lio.remove(self.of(row))

    def is_alive(self, row: Row, holder: Holder) -> bool:
        """The kernel ends the session of an initiator that answers no more."""
        export = self.of(row)
        looks = self.lvm.deadline.attempts(lio.SILENCE_SECONDS + sessions.RETURN_SECONDS)
        return sessions.is_alive(lambda: lio.has_session(export, holder.address), looks)

    def fence(self, row: Row, holder: Holder) -> None:
        """Its secrets go, too, so that a session that waits for the storage can't come back with them."""
        self.revoke(row, holder.node)
        if lio.is_exported(self.of(row), holder.address):
            raise StillExported(initiator=holder.address)

    def targets(self, group_uuid: str) -> set[str]:
        """All targets of a group, ours or such as somebody made of what ours once were."""
        return set(lio.targets(f"{IQN}:{_short(group_uuid)}:"))

    def remove_target(self, iqn: str) -> None:
        """End the export of a target of which nothing is known but its name. Raises Refused."""
        group, name = iqn.split(":")[-2:]
        lio.remove(lio.Export(f"{group}.{name}", iqn, iqn, "", ()))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _short(group_uuid: str) -> str:
    return _digest(group_uuid)[:12]


def _connection(row: Row, export: lio.Export, attachment: Mapping[str, str]) -> Connection:
    data: dict[str, object] = {
        "target_discovered": False,
        "target_portal": export.portals[0],
        "target_iqn": export.iqn,
        "target_lun": 0,
        "target_portals": list(export.portals),
        "target_iqns": [export.iqn] * len(export.portals),
        "target_luns": [0] * len(export.portals),
        "auth_method": "CHAP",
        "auth_username": attachment["user"],
        "auth_password": attachment["password"],
        "mutual_auth_username": attachment["mutual_user"],
        "mutual_auth_password": attachment["mutual_password"],
        "access_mode": "rw",
        "encrypted": False,
        "discard": lio.has_unmap(export),
        "size": row.size,
        "wwn": export.wwn,
        "serial": export.serial,
    }
    return {"driver_volume_type": "iscsi", "data": data}
