# SPDX-License-Identifier: Apache-2.0
"""What a volume of the ``lvm`` backend has besides its data: who may reach it, who has it open.

One file a volume, ``/var/lib/ganeti-extstorage/lvm/<volume group>/<logical volume>``, of mode 0600 since
it has the secrets of CHAP in it::

    {"version": 1, "volume": "f7c1.ext.disk0", "metadata": "originstname+instance1",
     "holders": {"version": 3, "entries": [["node1", "exclusive", "iqn...", "2026-01-01T00:00:00Z"]]},
     "attachments": {"node1": {"initiator": "iqn...", "user": ..., "password": ...,
                               "mutual_user": ..., "mutual_password": ...}},
     "identity": "<UUID of the group><UUID of the logical volume>", "tags": {"gx.made": ...}}

``identity`` and ``tags`` are what the logical volume got when it was made, so that LVM need not be asked
while it is active (``lvm_devices.py``).

The file is changed only under its lock, by a rename that survives a power cut, and always before the kernel's
target: the target is made to agree with the file, never the other way round.
"""

from __future__ import annotations

import errno
import json
import os

from extstorage_common import files, paths, records
from extstorage_common.backends.base import Holder, Holders
from extstorage_common.backends.lvm_commands import MADE
from extstorage_common.errors import ConfigurationError, SystemRefused, VolumeNotFound
from extstorage_common.locks import Lock
from extstorage_common.targets.lio import Secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extstorage_common.deadline import Deadline

VERSION = 1
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
PASSWORD_LENGTH = 20
"""A secret's length: 119 bits; RFC 3720 wants at least 96."""


class BadState(ConfigurationError):
    template = "{file} can't be read ({reason}); it was damaged, or written by a newer version"


class State:
    """What one file says. A volume that has no file was never attached nor opened."""

    def __init__(self, volume: str, told: dict[str, Any]) -> None:
        self.volume = volume
        self.metadata: str = told.get("metadata", "")
        holders = told.get("holders", {"version": 0, "entries": []})
        self.holders = Holders(holders["version"], [Holder(*entry) for entry in holders["entries"]])
        self.attachments: dict[str, dict[str, str]] = told.get("attachments", {})
        self.identity: str = told.get("identity", "")
        self.tags: dict[str, str] = told.get("tags", {})

    @property
    def is_thin(self) -> bool:
        """Whether the logical volume that was made is thin."""
        return self.tags.get(MADE, "").rpartition("/")[2].startswith("thin")

    def attach(self, node: str, initiator: str) -> None:
        """Note that ``node`` may reach the volume as ``initiator``; new secrets unless it has some."""
        if self.attachments.get(node, {}).get("initiator") != initiator:
            self.attachments[node] = {
                "initiator": initiator,
                "user": _user("n"),
                "password": _password(),
                "mutual_user": _user("t"),
                "mutual_password": _password(),
            }

    def initiators(self) -> dict[str, Secrets]:
        """Who may log in, and with what."""
        return {
            one["initiator"]: Secrets(
                one["user"], one["password"], one["mutual_user"], one["mutual_password"]
            )
            for one in self.attachments.values()
        }

    def replace_holders(self, entries: list[Holder]) -> None:
        """Let these be the holders."""
        assert isinstance(self.holders.version, int)
        self.holders = Holders(self.holders.version + 1, entries)

    def dump(self) -> bytes:
        """The file's content."""
        entries = [[one.node, one.mode, one.address, one.since] for one in self.holders.entries]
        told = {
            "version": VERSION,
            "volume": self.volume,
            "metadata": self.metadata,
            "holders": {"version": self.holders.version, "entries": entries},
            "attachments": self.attachments,
            "identity": self.identity,
            "tags": self.tags,
        }
        return json.dumps(told, indent=1).encode("ascii") + b"\n"


def _user(kind: str) -> str:
    return f"{kind}-{os.urandom(4).hex()}"


def _password() -> str:
    import secrets  # with all that it imports, for the one call that makes a password

    return "".join(secrets.choice(ALPHABET) for _ in range(PASSWORD_LENGTH))


def directory(group: str) -> str:
    """Where the files of a volume group are."""
    return os.path.join(paths.state_dir(), "lvm", group)


def check_directory(group: str) -> None:
    """Raise SystemRefused where nothing can be noted any more, since ``/var`` became read-only."""
    where = directory(group)
    while not os.path.exists(where):
        where = os.path.dirname(where)
    if not os.access(where, os.W_OK):
        raise SystemRefused(what=f"noting in {where} what is exported", reason=os.strerror(errno.EROFS))


def path(group: str, lv: str) -> str:
    """A volume's file."""
    return os.path.join(directory(group), lv)


def lock(group: str, lv: str, doing: str, deadline: Deadline) -> Lock:
    """The lock under which a volume's file, and what is exported of it, is changed."""
    return Lock(os.path.join("lvm", group, lv), doing, deadline)


def load(group: str, lv: str, volume: str) -> State:
    """What the volume's file says. Raises BadState."""
    file = path(group, lv)
    try:
        with open(file, "rb") as stream:
            told = json.load(stream)
        if told["version"] != VERSION or told["volume"] != volume:
            raise ValueError(f"version {told['version']} of {told['volume']}")
        return State(volume, told)
    except FileNotFoundError:
        return State(volume, {})
    except (ValueError, LookupError, TypeError) as error:
        raise BadState(file=file, reason=error) from error


def volume(group: str, lv: str) -> str:
    """The name of the volume whose file this is. Raises BadState, VolumeNotFound."""
    file = path(group, lv)
    try:
        with open(file, "rb") as stream:
            return str(json.load(stream)["volume"])
    except FileNotFoundError:
        raise VolumeNotFound(where=file) from None
    except (ValueError, LookupError, TypeError) as error:
        raise BadState(file=file, reason=error) from error


def save(group: str, lv: str, state: State) -> None:
    """Replace the volume's file. Raises Refused, NoSpace."""
    with files.refusals(f"noting what is exported of {state.volume}"):
        os.makedirs(directory(group), mode=0o700, exist_ok=True)
        records.write_file(path(group, lv), state.dump())


def forget(group: str, lv: str) -> None:
    """Remove the volume's file, which need not be there."""
    with files.refusals("forgetting what was exported"):
        records.unlink_if_there(path(group, lv))


def is_there(group: str, lv: str) -> bool:
    """Whether there is a file of this logical volume."""
    return os.path.exists(path(group, lv))


def known(group: str) -> list[str]:
    """The logical volumes that have a file."""
    try:
        return sorted(lv for lv in os.listdir(directory(group)) if not lv.startswith("."))
    except FileNotFoundError:
        return []
