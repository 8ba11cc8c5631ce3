# SPDX-License-Identifier: Apache-2.0
"""What ZFS keeps of a volume of the ``comstar`` backend: datasets and user properties.

A volume is a filesystem that is never mounted, named as the volume, and a ZFS volume in it with the data::

    tank/ganeti                          the pool; :pool is its UUID
    tank/ganeti/f7c1.ext.disk0           :volume is the volume's name
    tank/ganeti/f7c1.ext.disk0@holders-8 :holders says who has it open
    tank/ganeti/f7c1.ext.disk0/disk      the data; :made, :origin, :metadata
    tank/ganeti/f7c1.ext.disk0/disk@for-f7c1.ext.disk0.snap
                                         what a snapshot, a volume of its own, is a clone of

One command reads all of that. The volume is complete if its ``disk`` is there, which ZFS makes in one step.

**Holders** need a compare-and-set, and ``zfs set`` is none: it overwrites. But only one of several callers
can make a snapshot of a given name, which sets properties in the same transaction; and the filesystem has
nothing in it, so its snapshots cost nothing. So version 8 of the holders *is* the snapshot ``@holders-8``:
all who have read version 7 try to make it, and one of them succeeds. The newest one counts. Older ones are
destroyed only when a newer one is there, so the newest version's number never falls.

A node may be so slow that another's 8 was made, replaced by 9 and destroyed before it makes its own 8. It
then sees that there is a 9, and has lost. Nobody took its 8 for the truth, since a newer one was there
all the time.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from extstorage_common.backends.base import Holder, Holders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PREFIX = "org.ganeti.extstorage:"
POOL = PREFIX + "pool"
VOLUME = PREFIX + "volume"
MAKER = PREFIX + "maker"
MADE = PREFIX + "made"
ORIGIN = PREFIX + "origin"
METADATA = PREFIX + "metadata"
HOLDERS = PREFIX + "holders"
DISK = "disk"
SNAPSHOT = "@holders-"
CLONED = "@for-"
COLUMNS = ("name", "type", "volsize", "used", "origin", POOL, VOLUME, MAKER, MADE, ORIGIN, METADATA, HOLDERS)
MAX_VALUE = 1000
"""Older Solaris takes 1024 bytes for a property."""
SAFE = "!#$%&()*+,./:;<=>?@[]^_`{|}~-' \""


class Row:
    """One dataset, as ``zfs list`` told of it."""

    def __init__(self, cells: Sequence[str]) -> None:
        self.cells = dict(zip(COLUMNS, cells, strict=True))
        self.name = self.cells["name"]

    def get(self, column: str) -> str:
        """A property; ``""`` if it has none."""
        value = self.cells[column]
        return "" if value == "-" else value


class State:
    """All that ZFS keeps of one volume. ``disk`` is None where it is half-made or half-gone."""

    def __init__(self, container: Row, rows: Iterable[Row]) -> None:
        self.container = container.name
        self.volume = container.get(VOLUME)
        self.pool_uuid = container.get(POOL)
        self.maker = container.get(MAKER)
        self.disk: Row | None = None
        self.versions: dict[int, str] = {}
        for row in rows:
            if row.name == f"{self.container}/{DISK}":
                self.disk = row
            elif row.name.startswith(self.container + SNAPSHOT) and row.name.rpartition("-")[2].isdigit():
                self.versions[int(row.name.rpartition("-")[2])] = row.get(HOLDERS)

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.cell("volsize"))

    def cell(self, column: str) -> str:
        """A property of the disk, ``""`` if it has none."""
        return self.disk.get(column) if self.disk else ""

    @property
    def made(self) -> list[str]:
        """Cluster, node, time, provisioning and layout, as the volume was made."""
        parts = self.cell(MADE).split("/")
        return parts if len(parts) == 5 else ["-"] * 5

    @property
    def layout(self) -> str:
        """``target`` or ``shared``."""
        return self.made[4]

    @property
    def metadata(self) -> str:
        """Ganeti's text."""
        return unquote(self.cell(METADATA))

    @property
    def holders(self) -> Holders:
        """Who has the volume open."""
        version = max(self.versions, default=0)
        return Holders(version, [_holder(text) for text in self.versions.get(version, "").split()])


def parse(lines: Iterable[str], container: str) -> State | None:
    """What ``zfs list`` told of a volume; None if nothing. Lines that are none of its are banners."""
    rows = []
    for line in lines:
        cells = line.split("\t")
        if len(cells) == len(COLUMNS) and (cells[0] + "/").replace("@", "/").startswith(container + "/"):
            rows.append(Row(cells))
    first = next((row for row in rows if row.name == container), None)
    return State(first, rows) if first else None


def dump_holders(entries: Sequence[Holder]) -> str:
    """Holders as one property's value."""
    return " ".join(",".join((one.node, one.mode, one.address, one.since)) for one in entries)


def dump_metadata(text: str) -> str:
    """Ganeti's text as a property's value, printable and of one line."""
    return quote(text, safe=SAFE.replace("%", "")) or "-"


def _holder(text: str) -> Holder:
    return Holder(*text.split(","))
