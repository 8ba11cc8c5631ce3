# SPDX-License-Identifier: Apache-2.0
"""What a modelled appliance exports over iSCSI: said as a whole, and brought about.

A model computes from its state all that it exports and publishes that after each change; it need not know
what was exported before. With :class:`Nothing` that is only kept, with :class:`Kernel` this machine's kernel
exports it: real disks, with the array's own target names and disk identities.
"""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONFIGFS = Path("/sys/kernel/config/target")
SILENCE_SECONDS = 10
"""After which an initiator that answers no more has no session."""
NAA_DIGITS = 25
"""Digits of an NAA identity of type 6 after the type and the company, all that the kernel lets choose."""


@dataclass(frozen=True)
class Lun:
    """A disk: the file with its data, and how it presents itself.

    ``naa`` are the 32 hexadecimal digits of its identity, the first of them ``6``; the unit's serial number
    is the last 25 of them, since the kernel makes one of the other.
    """

    backing: Path
    naa: str
    vendor: str = "MODEL"
    product: str = "DISK"
    read_only: bool = False


@dataclass(frozen=True)
class Login:
    """What an initiator must say (CHAP), and what the target then says of itself, if it is asked."""

    user: str
    password: str
    mutual_user: str = ""
    mutual_password: str = ""


@dataclass(frozen=True)
class Access:
    """What one initiator finds at a target: numbers and disks; ``login`` None means without CHAP."""

    luns: Mapping[int, Lun]
    login: Login | None = None


@dataclass(frozen=True)
class Target:
    """A target: its name, its portals (``address:port``), and the initiators that may log in."""

    iqn: str
    portals: tuple[str, ...]
    initiators: Mapping[str, Access] = field(default_factory=dict)


class Exporter(Protocol):
    """Brings about what is published."""

    def publish(self, targets: Sequence[Target]) -> None:
        """Export exactly this; sessions of initiators that lose their access end."""

    def sessions(self) -> list[tuple[str, str]]:
        """The target and the initiator of each session."""


class Nothing:
    """Keeps what was published, for tests to look at."""

    def __init__(self) -> None:
        self.targets: tuple[Target, ...] = ()
        self.logged_in: list[tuple[str, str]] = []

    def publish(self, targets: Sequence[Target]) -> None:
        """Keep it; a session without access is over."""
        self.targets = tuple(targets)
        allowed = {(target.iqn, initiator) for target in targets for initiator in target.initiators}
        self.logged_in = [session for session in self.logged_in if session in allowed]

    def sessions(self) -> list[tuple[str, str]]:
        """Those that a test made up."""
        return list(self.logged_in)


class Kernel:
    """This machine's kernel: a loop device for each file, LIO for the rest. Root only.

    What others export is none of its business; their disks and targets have other names.
    """

    def __init__(self) -> None:
        self.loops: dict[Path, str] = {}
        self.sizes: dict[Path, int] = {}
        self.objects: set[str] = set()
        self.published: dict[str, Target] = {}
        self.numbers: dict[str, dict[str, int]] = {}

    def publish(self, targets: Sequence[Target]) -> None:
        """Make the kernel's configuration equal to this."""
        wanted = {target.iqn: target for target in targets}
        luns = _luns(targets)
        for iqn in [iqn for iqn in self.published if iqn not in wanted]:
            self._remove_target(iqn)
        for target in targets:
            self._prune(target)
        for name in self.objects - luns.keys():
            self._remove_object(name)
        self.objects = set(luns)
        for name, lun in luns.items():
            self._ensure_object(name, lun)
        for target in targets:
            self._ensure_target(target)
        self.published = wanted

    def sessions(self) -> list[tuple[str, str]]:
        """Those of the kernel, of the targets that were published."""
        found = []
        for iqn in self.published:
            for acl in _entries(_group(iqn) / "acls"):
                with contextlib.suppress(OSError):
                    if "No active iSCSI Session" not in (acl / "info").read_text():
                        found.append((iqn, acl.name))
        return found

    # --- disks ------------------------------------------------------------------------------------

    def _ensure_object(self, name: str, lun: Lun) -> None:
        size = lun.backing.stat().st_size
        if lun.backing not in self.loops:
            self.loops[lun.backing] = _run("losetup", "--find", "--show", str(lun.backing))
        elif self.sizes[lun.backing] != size:
            _run("losetup", "--set-capacity", self.loops[lun.backing])
        self.sizes[lun.backing] = size
        place = _object(name)
        if place.is_dir():
            return
        place.mkdir(parents=True)
        device = self.loops[lun.backing]
        read_only = ",readonly=1" if lun.read_only else ""
        (place / "control").write_text(f"udev_path={device}{read_only}")
        (place / "udev_path").write_text(device)
        (place / "wwn/vpd_unit_serial").write_text(lun.naa[-NAA_DIGITS:])
        (place / "wwn/company_id").write_text(f"0x{lun.naa[1:7]}")
        (place / "wwn/vendor_id").write_text(lun.vendor)
        (place / "wwn/product_id").write_text(lun.product)
        (place / "enable").write_text("1")
        with contextlib.suppress(OSError):
            (place / "attrib/emulate_tpu").write_text("1")

    def _remove_object(self, name: str) -> None:
        place = _object(name)
        device = (place / "udev_path").read_text().strip()
        place.rmdir()
        _run("losetup", "--detach", device)
        for backing in [path for path, loop in self.loops.items() if loop == device]:
            del self.loops[backing], self.sizes[backing]

    # --- targets ----------------------------------------------------------------------------------

    def _index(self, target: Target, lun: Lun) -> int:
        """The number of a disk in its target's own list: initiators may know it by others, and it stays."""
        numbers = self.numbers.setdefault(target.iqn, {})
        if lun.naa not in numbers:
            numbers[lun.naa] = next(number for number in range(256) if number not in numbers.values())
        return numbers[lun.naa]

    def _prune(self, target: Target) -> None:
        """Take away what is not said any more: initiators, disks of theirs, disks, portals."""
        said = {lun.naa for lun in _distinct(target)}
        numbers = self.numbers.get(target.iqn, {})
        gone = [naa for naa in numbers if naa not in said]
        group = _group(target.iqn)
        for acl in _entries(group / "acls"):
            access = target.initiators.get(acl.name)
            before = self.published.get(target.iqn)
            changed = before and access and before.initiators[acl.name].login != access.login
            if access is None or changed:
                _remove_tree(acl)
                continue
            for mapped in _entries(acl):
                number = mapped.name.removeprefix("lun_")
                if number != mapped.name:
                    lun = access.luns.get(int(number))
                    if lun is None or _linked_lun(mapped) != f"lun_{self._index(target, lun)}":
                        _remove_tree(mapped)
        wanted = {f"lun_{self._index(target, lun)}": lun for lun in _distinct(target)}
        for place in _entries(group / "lun"):
            if place.name not in wanted or _linked_lun(place) != _name(wanted[place.name]):
                for acl in _entries(group / "acls"):
                    for mapped in _entries(acl):
                        if mapped.name.startswith("lun_") and _linked_lun(mapped) == place.name:
                            _remove_tree(mapped)
                _remove_tree(place)
        for naa in gone:
            del numbers[naa]
        for portal in _entries(group / "np"):
            if portal.name not in target.portals:
                portal.rmdir()

    def _ensure_target(self, target: Target) -> None:
        group = _group(target.iqn)
        group.mkdir(parents=True, exist_ok=True)
        chap = any(access.login for access in target.initiators.values())
        for attribute, value in (("authentication", int(chap)), ("generate_node_acls", 0)):
            (group / "attrib" / attribute).write_text(str(value))
        (group / "param/AuthMethod").write_text("CHAP" if chap else "CHAP,None")
        for lun in _distinct(target):
            _link(group / f"lun/lun_{self._index(target, lun)}", _object(_name(lun)))
        for portal in target.portals:
            (group / "np" / portal).mkdir(exist_ok=True)
        for initiator, access in target.initiators.items():
            self._ensure_initiator(target, group / "acls" / initiator, access)
        (group / "enable").write_text("1")

    def _ensure_initiator(self, target: Target, acl: Path, access: Access) -> None:
        if not acl.is_dir():
            acl.mkdir(parents=True)
            for attribute in ("nopin_timeout", "nopin_response_timeout"):
                (acl / "attrib" / attribute).write_text(str(SILENCE_SECONDS // 2))
            if login := access.login:
                (acl / "auth/userid").write_text(login.user)
                (acl / "auth/password").write_text(login.password)
                if login.mutual_password:
                    (acl / "auth/userid_mutual").write_text(login.mutual_user)
                    (acl / "auth/password_mutual").write_text(login.mutual_password)
        for number, lun in access.luns.items():
            _link(acl / f"lun_{number}", _group(target.iqn) / f"lun/lun_{self._index(target, lun)}")

    def _remove_target(self, iqn: str) -> None:
        group = _group(iqn)
        for acl in _entries(group / "acls"):
            _remove_tree(acl)
        with contextlib.suppress(OSError):
            (group / "enable").write_text("0")
        for lun in _entries(group / "lun"):
            _remove_tree(lun)
        for portal in _entries(group / "np"):
            portal.rmdir()
        group.rmdir()
        group.parent.rmdir()
        self.numbers.pop(iqn, None)


# --- what is where ----------------------------------------------------------------------------------

PREFIX = "model-"


def _luns(targets: Sequence[Target]) -> dict[str, Lun]:
    """All disks, each by the name of its storage object."""
    return {_name(lun): lun for target in targets for lun in _distinct(target)}


def _distinct(target: Target) -> list[Lun]:
    """The disks of a target, each once, in an order that does not change when others are added."""
    found = {lun.naa: lun for access in target.initiators.values() for lun in access.luns.values()}
    return [found[naa] for naa in sorted(found)]


def _name(lun: Lun) -> str:
    return f"{PREFIX}{lun.naa}"


def _object(name: str) -> Path:
    return CONFIGFS / "core/iblock_7777" / name


def _group(iqn: str) -> Path:
    return CONFIGFS / "iscsi" / iqn / "tpgt_1"


def _entries(directory: Path) -> list[Path]:
    """The directories in a directory; none if it is not there."""
    try:
        return sorted(entry for entry in directory.iterdir() if entry.is_dir() and not entry.is_symlink())
    except FileNotFoundError:
        return []


def _link(place: Path, to: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    if not any(entry.is_symlink() for entry in place.iterdir()):
        (place / "link").symlink_to(to)


def _linked_lun(place: Path) -> str:
    """The name of what a directory's link leads to."""
    return next((entry.resolve().name for entry in place.iterdir() if entry.is_symlink()), "")


def _remove_tree(place: Path) -> None:
    """A directory of configfs, with links and mapped disks in it; the rest in it is the kernel's."""
    for entry in list(place.iterdir()):
        if entry.is_symlink():
            entry.unlink()
        elif entry.name.startswith("lun_"):
            _remove_tree(entry)
    place.rmdir()


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
