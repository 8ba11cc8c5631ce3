# SPDX-License-Identifier: Apache-2.0
"""The state of COMSTAR's framework: logical units, who sees them, groups of hosts and of targets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.appliances.comstar.datasets import Dataset, Datasets

MAX_LUN = 16383
MIN_SIZE = 1 << 20
FILE_METADATA = 65536
"""What a unit on a file has less than the file; that of a volume is in a property of the volume."""
UNITS = "kmgtpe"
PROPERTIES = (
    "alias", "blk", "guid", "host-id", "meta", "mgmt-url", "oui", "pid", "serial", "vid", "wcd", "wp",
)  # fmt: skip


class UnitError(Exception):
    """The unit's provider refuses; the two commands have words of their own for ``reason``."""

    def __init__(self, reason: str, operand: str = "") -> None:
        self.reason = reason
        self.operand = operand
        super().__init__(reason)


@dataclass
class Unit:
    """A logical unit; ``guid`` in lower case, ``size`` in bytes."""

    guid: str
    path: str
    size: int
    properties: dict[str, str] = field(default_factory=dict)
    online: bool = True


@dataclass
class View:
    """To whom a unit shows as which LUN; None is everybody, or every target."""

    host_group: str | None
    target_group: str | None
    lun: int
    is_automatic: bool = False
    """COMSTAR chose the number."""

    def overlaps(self, other: View) -> bool:
        """Whether an initiator at a target could see both."""
        hosts = None in (self.host_group, other.host_group) or self.host_group == other.host_group
        targets = None in (self.target_group, other.target_group) or self.target_group == other.target_group
        return hosts and targets


class Stmf:
    """All of it. ``files`` gives the size of a regular file, or None if there is none."""

    status = "online"
    """Of the service: ``online``, ``offline``, ``not found`` or ``not initialized``."""
    late_nodes = 0
    """How often a volume's device node is not there yet when a unit is made on it."""

    def __init__(self, datasets: Datasets) -> None:
        self.datasets = datasets
        self.file_sizes: dict[str, int] = {}
        self.units: dict[str, Unit] = {}
        self.views: dict[str, dict[int, View]] = {}
        """Of a GUID, by the entry's number: there may be no unit of that GUID."""
        self.host_groups: dict[str, list[str]] = {}
        self.target_groups: dict[str, list[str]] = {}
        self.metadata: dict[str, Unit] = {}
        """What a volume or file keeps of the unit that it was, by its path."""
        self._made = 0

    # --- units ------------------------------------------------------------------------------------

    def create(self, path: str, size: str | None, properties: dict[str, str]) -> Unit:
        """Make a unit on a volume's device node or a file. Raises UnitError."""
        self._check_free(path)
        whole = self._backing_size(path)
        wanted = whole if size is None else parse_size(size)
        if wanted < MIN_SIZE or wanted % 512:
            raise UnitError("file size invalid")
        guid = properties.get("guid", "").lower() or self._new_guid()
        if guid in self.units:
            raise UnitError("guid in use")
        return self._register(Unit(guid, path, wanted, properties))

    def import_(self, path: str) -> Unit:
        """Make the unit again that a volume or file was, with its old GUID. Raises UnitError."""
        self._check_free(path)
        self._backing_size(path)
        if path not in self.metadata:
            raise UnitError("meta file error")
        unit = self.metadata[path]
        if unit.guid in self.units:
            raise UnitError("guid in use")
        return self._register(unit)

    def resize(self, unit: Unit, size: str) -> None:
        """Tell initiators another size: whether the volume has it, nobody looks. Raises UnitError."""
        wanted = parse_size(size)
        if wanted < MIN_SIZE or wanted % 512:
            raise UnitError("invalid size", size)
        unit.size = wanted

    def delete(self, guid: str, keep_views: bool) -> bool:
        """Delete a unit, its views too unless they are to stay; whether there was anything of it."""
        unit = self.units.pop(guid, None)
        if unit is not None and (dataset := self.datasets.volume_at(unit.path)):
            self.datasets.busy.discard(dataset.name)
        views = None if keep_views else self.views.pop(guid, None)
        return unit is not None or views is not None

    def volume(self, unit: Unit) -> Dataset | None:
        """The volume below a unit."""
        return self.datasets.volume_at(unit.path)

    def _check_free(self, path: str) -> None:
        if any(unit.path == path for unit in self.units.values()):
            raise UnitError("in use", f"filename {path}")

    def _backing_size(self, path: str) -> int:
        if self.late_nodes:
            self.late_nodes -= 1
            raise UnitError("data file error")
        if path in self.file_sizes:
            return self.file_sizes[path] - FILE_METADATA
        volume = self.datasets.volume_at(path)
        if volume is None:
            raise UnitError("data file error")
        return volume.size

    def _register(self, unit: Unit) -> Unit:
        self.units[unit.guid] = unit
        self.metadata[unit.path] = unit
        if volume := self.volume(unit):
            self.datasets.busy.add(volume.name)
        return unit

    def _new_guid(self) -> str:
        """COMSTAR's own, the machine's number, 0000, the time, a counter."""
        self._made += 1
        return f"600144f0991c8e00000052add63b{self._made:04x}"

    # --- views ------------------------------------------------------------------------------------

    def all_views(self) -> Iterator[tuple[str, View]]:
        """Each view with its unit's GUID."""
        for guid, views in self.views.items():
            for view in views.values():
                yield guid, view

    def free_lun(self, wanted: View) -> int:
        """The lowest LUN that no overlapping view has."""
        taken = {view.lun for _, view in self.all_views() if view.overlaps(wanted)}
        return next(lun for lun in range(MAX_LUN + 1) if lun not in taken)

    def add_view(self, guid: str, view: View) -> int:
        """Add an entry; returns its number, the lowest that is free."""
        views = self.views.setdefault(guid, {})
        number = next(number for number in range(len(views) + 1) if number not in views)
        views[number] = view
        return number

    def seen(self, initiator: str, target: str) -> dict[int, Unit]:
        """The units that an initiator sees at a target, by LUN."""
        found = {}
        for guid, view in self.all_views():
            unit = self.units.get(guid)
            to_host = view.host_group is None or initiator in self.host_groups.get(view.host_group, [])
            at_target = view.target_group is None or target in self.target_groups.get(view.target_group, [])
            if unit and unit.online and to_host and at_target:
                found[view.lun] = unit
        return found

    def is_used(self, group: str, kind: str) -> bool:
        """Whether a view names a group (``host_group`` or ``target_group``)."""
        return any(getattr(view, kind) == group for _, view in self.all_views())


def parse_size(text: str) -> int:
    """Bytes. Raises UnitError."""
    matched = re.match(r"(\d+)([kmgtpe]?)\Z", text, re.IGNORECASE)
    if not matched:
        raise UnitError("invalid size", text)
    return int(matched[1]) << 10 * (UNITS.index(matched[2].lower()) + 1 if matched[2] else 0)


def is_guid(text: str) -> bool:
    """Whether this is 32 hexadecimal digits."""
    return re.match(r"[0-9a-fA-F]{32}\Z", text) is not None


def device_id(text: str) -> str | None:
    """The name of an initiator or target as stmfadm keeps it, in lower case; None if it is none."""
    iqn = re.match(r"iqn\.[A-Za-z0-9.:-]+\Z", text, re.IGNORECASE) and len(text) <= 223
    other = re.match(r"(eui|wwn)\.[0-9a-fA-F]{16}\Z", text, re.IGNORECASE)
    return text.lower() if iqn or other else None
