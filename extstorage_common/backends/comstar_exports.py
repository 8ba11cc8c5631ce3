# SPDX-License-Identifier: Apache-2.0
"""Volumes as disks of COMSTAR's iSCSI targets, each shown only to the nodes that attached it.

- The *logical unit* is the disk. Its GUID is computed from the pool and the volume's name, so it is always
  the same disk.
- A *host group* for each node contains the node's initiator; COMSTAR lets an initiator be in one group only.
- A *target*: with ``layout = target`` each volume has its own, as LUN 0; with ``shared`` the pool has one.
- A *target group* contains that target alone. It is made first, since a target that is online can't join one.
- A *view* for each volume and node lets the node's host group see the unit in the target's group. The
  view *is* the attachment: nothing else records it, and without it the node finds no disk at the target.

COMSTAR keeps a CHAP secret for each initiator, not for each volume, and never shows it. So the secret is
computed, from a key of the pool and the initiator's name, and uploaded when the node is registered. With
mutual CHAP a target's secret is computed from the target's name, and uploaded when the target is made.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from extstorage_common import secret_files
from extstorage_common.backends.comstar_commands import Machine
from extstorage_common.crash import crash_point
from extstorage_common.errors import Refused
from extstorage_common.locks import Lock
from extstorage_common.targets import iscsi_names
from extstorage_common.transports.ssh import AnswerLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from extstorage_common.backends.comstar_state import State

COMPANY = "600144f"
"""How Sun's disk identities begin; those with a 0 next are what COMSTAR makes up itself."""
GROUP_PREFIX = "ganeti-"
LUNS = 255
"""How many volumes a pool's shared target shows a node: higher LUNs would need another way of addressing."""
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
PASSWORD_LENGTH = 20
SILENCE_SECONDS = 15
NOT_FOUND = "not found"
NO_UNIT = "could not set property: size: 32770"
"""What ``modify-lu`` says of a unit that is not there: the number of libstmf's error."""
IN_USE = "in use"
VIEW_THERE = "view entry exists"
THERE = ("already exists", "already configured")


class InitiatorTaken(Refused):
    template = (
        "initiator {initiator} is in another host group, and COMSTAR lets it be in one only; take it out "
        "(stmfadm remove-hg-member), or give the node another name in /etc/iscsi/initiatorname.iscsi"
    )


class WrongUnit(Refused):
    template = "logical unit {guid} has its data in {found} instead of {wanted}; it was left alone"


class UnknownLun(Refused):
    template = (
        "COMSTAR shows the volume to this node as LUN '{lun}', which tells no number; somebody else made the "
        "view: remove it with stmfadm remove-view -l {guid} {entry}"
    )


class NoLun(Refused):
    template = "target {iqn} shows this node {count} volumes already; detach some, or use layout = target"


class StillShown(Refused):
    template = "node {node} can still reach the volume, though its view was removed"


class Views:
    """To whom a unit is shown: by host group, the numbers of the entry and of the disk."""

    def __init__(self, lines: list[str]) -> None:
        self.entries: dict[str, tuple[str, str]] = {}
        entry = group = ""
        for line in lines:
            name, _, value = (part.strip() for part in line.partition(":"))
            if name == "View Entry":
                entry = value
            elif name == "Host group":
                group = value
            elif name == "LUN" and entry:
                self.entries[group] = (entry, value)

    def nodes(self) -> list[str]:
        """The nodes that see it."""
        return sorted(
            group.removeprefix(GROUP_PREFIX) for group in self.entries if group.startswith(GROUP_PREFIX)
        )


class Export:
    """What a volume is as an iSCSI disk, which follows from its pool's UUID and its name."""

    def __init__(self, prefix: str, state: State) -> None:
        short = digest(state.pool_uuid)[:12]
        self.guid = COMPANY + digest(f"{state.pool_uuid}/{state.volume}")[:25]
        self.device = f"/dev/zvol/rdsk/{state.disk.name if state.disk else ''}"
        self.is_shared = state.layout == "shared"
        self.group = f"{GROUP_PREFIX}{short}"
        self.iqn = f"{prefix}:{short}"
        if not self.is_shared:
            fits = iscsi_names.CHARACTERS.issuperset(state.volume) and len(prefix) + len(state.volume) < 200
            name = state.volume if fits else digest(state.volume)[:40]
            self.group += f"-{state.volume}"
            self.iqn += f":{name}"

    @property
    def wwn(self) -> str:
        """The disk's name as Linux shows it."""
        return f"naa.{self.guid}"


class Exports:
    """The commands that show volumes to nodes, and take them away."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.pool = machine.pool

    def of(self, state: State) -> Export:
        """What a volume is as a disk."""
        return Export(self.pool["iqn"], state)

    # --- showing ----------------------------------------------------------------------------------

    def show(self, export: Export, size: int, node: str, initiator: str) -> int:
        """Show the disk to a node, whatever of it was there before; returns its LUN. Raises Refused."""
        self._ensure_target(export)
        crash_point("comstar.target")
        self._ensure_unit(export, size)
        crash_point("comstar.unit")
        with Lock(f"comstar-{self.pool['address']}", "registering this node", self.machine.deadline):
            self.register(node, initiator)
        crash_point("comstar.registered")
        return self._ensure_view(export, node)

    def _ensure_target(self, export: Export) -> None:
        verbose = ("-v",) if self.pool["chap"] == "mutual" else ()
        listed = self.machine.ask("itadm", "list-target", *verbose, export.iqn)
        state = next((line.split()[1] for line in listed.lines if line.split()[:1] == [export.iqn]), "")
        if not state:
            if not listed.says(NOT_FOUND):
                raise self.machine.failure(listed, "itadm", "list-target")
            self.make_target(export)
            return
        if verbose:
            self._ensure_proof(export, _fields(listed.lines))
        if state != "online":
            self.machine.do("stmfadm", "online-target", export.iqn)

    def make_target(self, export: Export) -> None:
        """A target in its group; the group first, since a target that is online joins none."""
        self.machine.do("stmfadm", "create-tg", export.group, unless=THERE)
        self.machine.do("stmfadm", "add-tg-member", "-g", export.group, export.iqn, unless=THERE)
        words = ["create-target", "-a", "none" if self.pool["chap"] == "none" else "chap"]
        if group := self.pool["portal_group"]:
            words += ["-t", group]
        proof, secret = self._proof(export)
        self.machine.do("itadm", *words, *proof, "-n", export.iqn, secret=secret, unless=THERE)

    def _ensure_proof(self, export: Export, told: dict[str, str]) -> None:
        """Give a target its secret, if its user's name shows that it has none, or one of another key."""
        proved = told.get("targetchapsecret") == "set"
        if not proved or told.get("targetchapuser") != self.target_user(export):
            proof, secret = self._proof(export)
            self.machine.do("itadm", "modify-target", "-a", "chap", *proof, export.iqn, secret=secret)

    def _proof(self, export: Export) -> tuple[list[str], str]:
        """The words that name a target's user, and its secret; nothing where CHAP is not mutual."""
        if self.pool["chap"] != "mutual":
            return [], ""
        return ["-u", self.target_user(export)], self.secret(f"target {export.iqn}")

    def _ensure_unit(self, export: Export, size: int) -> None:
        if self._has_unit(export, size):
            return
        words = ["-p", f"guid={export.guid}", export.device]
        made = self.machine.do("stmfadm", "create-lu", *words, unless=(IN_USE,))
        # Another node was quicker, or the answer was lost.
        if made.trouble and not self._has_unit(export, size):
            raise self.machine.failure(made, "stmfadm", "create-lu")

    def _has_unit(self, export: Export, size: int) -> bool:
        """Whether the unit is there; it is online then, and as large as the volume. Raises WrongUnit."""
        listed = self.machine.ask("stmfadm", "list-lu", "-v", export.guid)
        told = _fields(listed.lines)
        status = told.get("Operational Status", "")
        if listed.says(NOT_FOUND) or status == "unregistered":
            return False
        if not status:
            raise self.machine.failure(listed, "stmfadm", "list-lu")
        if told.get("Data File") != export.device:
            raise WrongUnit(guid=export.guid, found=told.get("Data File"), wanted=export.device)
        if status == "Offline":
            self.machine.do("stmfadm", "online-lu", export.guid)
        if told.get("Size", "").isdigit() and int(told["Size"]) < size:
            self.resize(export, size)
        return True

    def _ensure_view(self, export: Export, node: str) -> int:
        group = GROUP_PREFIX + node
        shown = self._shown(export, group)
        if shown is not None:
            return shown
        if not export.is_shared:
            self._add_view(export, group, 0)
            return 0
        first = int(export.guid[-8:], 16)
        for number in range(LUNS):
            lun = (first + number) % LUNS
            if self._add_view(export, group, lun, "LUN already in use"):
                return lun
        raise NoLun(iqn=export.iqn, count=LUNS)

    def _shown(self, export: Export, group: str) -> int | None:
        """The number by which a host group sees the disk; None if it does not. Raises UnknownLun."""
        entry, shown = self.views(export).entries.get(group, ("", None))
        if shown is not None and not shown.isdigit():
            raise UnknownLun(lun=shown, guid=export.guid, entry=entry)
        return None if shown is None else int(shown)

    def _add_view(self, export: Export, group: str, lun: int, *unless: str) -> bool:
        words = ("-h", group, "-t", export.group, "-n", str(lun), export.guid)
        added = self.machine.do("stmfadm", "add-view", *words, unless=(VIEW_THERE, *unless))
        if added.says(VIEW_THERE) and self._shown(export, group) != lun:
            raise self.machine.failure(added, "stmfadm", "add-view")
        return not added.says(*unless)

    def resize(self, export: Export, size: int) -> None:
        """Tell initiators the volume's new size, which it must have already; no unit is fine."""
        words = ("modify-lu", "-s", str(size), export.guid)
        self.machine.do("stmfadm", *words, unless=(NOT_FOUND, NO_UNIT))

    # --- nodes ------------------------------------------------------------------------------------

    def register(self, node: str, initiator: str) -> None:
        """Make the node's initiator known; the caller has the lock. Raises NotAnInitiator, InitiatorTaken.

        Being in the group is the last step, so it shows that all others were done.
        """
        iscsi_names.check_initiator(initiator)
        group = GROUP_PREFIX + node
        members = self._members(group)
        if members == [initiator]:
            return
        if self.pool["chap"] != "none":
            self._set_secret(initiator)
        crash_point("comstar.secret")
        if members is None:
            self.machine.do("stmfadm", "create-hg", group, unless=THERE)
        for member in members or []:
            if member != initiator:
                self.machine.do("stmfadm", "remove-hg-member", "-g", group, member, unless=(NOT_FOUND,))
        self.machine.do("stmfadm", "add-hg-member", "-g", group, initiator, unless=THERE)
        if self._members(group) != [initiator]:
            raise InitiatorTaken(initiator=initiator)

    def _members(self, group: str) -> list[str] | None:
        """The initiators in a host group; None if there is no such group."""
        listed = self.machine.do("stmfadm", "list-hg", "-v", group, unless=(NOT_FOUND,))
        if listed.trouble:
            return None
        members = [line.split() for line in listed.lines]
        return [words[1] for words in members if words[:1] == ["Member:"]]

    def _set_secret(self, initiator: str) -> None:
        """Upload the initiator's secret, which is never on a command line."""
        secret = self.secret(initiator)
        made = self.machine.do(
            "itadm", "create-initiator", initiator, secret=secret, unless=("already exists",)
        )
        if made.trouble:
            self.machine.do("itadm", "modify-initiator", initiator, secret=secret)

    def authentication(self, export: Export, initiator: str) -> dict[str, str]:
        """What of a connection's data is about CHAP."""
        if self.pool["chap"] == "none":
            return {"auth_method": "None"}
        data = {"auth_method": "CHAP", "auth_username": initiator, "auth_password": self.secret(initiator)}
        if self.pool["chap"] == "mutual":
            data["mutual_auth_username"] = self.target_user(export)
            data["mutual_auth_password"] = self.secret(f"target {export.iqn}")
        return data

    def target_user(self, export: Export) -> str:
        """The name that a target gives when it proves who it is."""
        return f"t-{self.secret(f'user of target {export.iqn}')[:8]}"

    def secret(self, purpose: str) -> str:
        """A secret of 119 bits, computed from the pool's key for an initiator's name, or another purpose."""
        key = secret_files.read_line(self.pool["chap_key_file"]).encode()
        number = int.from_bytes(hmac.digest(key, purpose.encode(), "sha256"), "big")
        letters = []
        for _ in range(PASSWORD_LENGTH):
            number, index = divmod(number, len(ALPHABET))
            letters.append(ALPHABET[index])
        return "".join(letters)

    def forget(self, node: str, dry_run: bool) -> list[str]:
        """Make a node's initiator unknown again. Raises Refused where a volume is still shown to it."""
        group = GROUP_PREFIX + node
        members = self._members(group)
        if members is None:
            return []
        if not dry_run:
            self.machine.do("stmfadm", "delete-hg", group, unless=(NOT_FOUND,))
            for member in members:
                self.machine.do("itadm", "delete-initiator", member, unless=(NOT_FOUND,))
        return [f"host group {group}", *(f"initiator {member}" for member in members)]

    # --- hiding -----------------------------------------------------------------------------------

    def views(self, export: Export) -> Views:
        """To whom the disk is shown."""
        listed = self.machine.do("stmfadm", "list-view", "-l", export.guid, unless=("no views found",))
        return Views(listed.lines)

    def hide(self, export: Export, node: str) -> None:
        """Show the disk to this node no more; other nodes go on with it."""
        try:
            self._remove_view(export, GROUP_PREFIX + node)
        except AnswerLost:
            # The entry may be gone, and its number another node's.
            self._remove_view(export, GROUP_PREFIX + node)

    def _remove_view(self, export: Export, group: str) -> None:
        found = self.views(export).entries.get(group)
        if found is None:
            return
        removed = self.machine.ask_once("stmfadm", "remove-view", "-l", export.guid, found[0])
        if removed.trouble and not removed.says(NOT_FOUND, "no views found"):
            raise self.machine.failure(removed, "stmfadm", "remove-view")

    def cut_off(self, export: Export, node: str) -> None:
        """Hide the disk from a node, and make sure of it. Raises StillShown."""
        self.hide(export, node)
        if GROUP_PREFIX + node in self.views(export).entries:
            raise StillShown(node=node)

    def remove(self, export: Export) -> None:
        """Remove all that shows the disk; what is not there is fine. The unit's views go with it."""
        self.machine.do("stmfadm", "delete-lu", export.guid, unless=(NOT_FOUND,))
        crash_point("comstar.unit-deleted")
        if not export.is_shared:
            self.machine.do("itadm", "delete-target", "-f", export.iqn, unless=(NOT_FOUND,))
            crash_point("comstar.target-deleted")
            self.machine.do("stmfadm", "delete-tg", export.group, unless=(NOT_FOUND,))

    def has_session(self, export: Export, initiator: str) -> bool:
        """Whether an initiator is logged in at the disk's target."""
        listed = self.machine.do("stmfadm", "list-target", "-v", export.iqn, unless=(NOT_FOUND,))
        return any(line.split() == ["Initiator:", initiator] for line in listed.lines)

    # --- checking ---------------------------------------------------------------------------------

    def portals_of_group(self) -> list[str]:
        """The addresses of the pool's portal group, as COMSTAR has them. Raises Refused."""
        group = self.pool["portal_group"]
        listed = self.machine.do("itadm", "list-tpg", "-v", group)
        found = [line.split(":", 1)[1] for line in listed.lines if line.strip().startswith("portals:")]
        return re.split(r"[,\s]+", found[0].strip()) if found else []


def _fields(lines: Iterable[str]) -> dict[str, str]:
    """``Name : value`` lines."""
    pairs = [line.partition(":") for line in lines]
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def digest(text: str) -> str:
    """A text as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
