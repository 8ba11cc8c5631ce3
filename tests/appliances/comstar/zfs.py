# SPDX-License-Identifier: Apache-2.0
"""``zfs`` and ``zpool`` of Solaris and illumos, as far as they have to do with volumes."""

from __future__ import annotations

import getopt
import re
from collections.abc import Callable, Mapping

from tests.appliances.comstar.answers import Failure, Options, leading
from tests.appliances.comstar.datasets import BLOCK, MAX_NAME, Dataset, Datasets

COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.: -]*\Z")
USER_PROPERTY = re.compile(r"[a-z0-9+._-]*:[a-z0-9:+._-]*\Z")
SETTABLE = (
    "volsize",
    "refreservation",
    "compression",
    "primarycache",
    "sync",
    "mountpoint",
    "canmount",
    "quota",
)
ROUNDING = 128 << 10
"""``zfs create -V`` rounds a size up to this; ``zfs set volsize`` does not."""
UNITS = "bkmgtpe"
NEVER = 1 << 62


class Zfs:
    """The commands over the datasets of one machine."""

    max_value = 8192
    """The longest value of a user property; on older Solaris 1024."""
    missing_snapshot = ""
    """What destroying a snapshot that isn't there says on newer illumos, in the place of the usual."""

    def __init__(self, datasets: Datasets) -> None:
        self.datasets = datasets

    def zfs(self, words: list[str]) -> str:
        """Run ``zfs WORDS``; returns what it prints. Raises Failure."""
        commands = {
            "create": self._create, "set": self._set, "inherit": self._inherit, "get": self._get,
            "list": self._list, "snapshot": self._snapshot, "clone": self._clone, "promote": self._promote,
            "rename": self._rename, "destroy": self._destroy,
        }  # fmt: skip
        return _run("zfs", commands, words)

    def zpool(self, words: list[str]) -> str:
        """Run ``zpool WORDS``; returns what it prints. Raises Failure."""
        return _run("zpool", {"list": self._zpool_list}, words)

    # --- making -----------------------------------------------------------------------------------

    def _create(self, words: list[str]) -> str:
        options = leading(words, "spb:o:V:")
        (name,) = _operands(options, 1)
        self._check_new(name, parents="-p" in options)
        properties = self._properties(options, name)
        volsize = options.get("-V")
        if volsize is None:
            self.datasets.add(Dataset(name, "filesystem", properties=properties))
            return ""
        size = -(-_size(volsize, name) // ROUNDING) * ROUNDING
        if "-s" not in options and size > self.datasets.available(_pool(name)):
            raise Failure(f"cannot create '{name}': out of space")
        block = _size(options.get("-b") or str(BLOCK), name)
        self.datasets.add(Dataset(name, "volume", size, "-s" in options, block, properties=properties))
        return ""

    def _snapshot(self, words: list[str]) -> str:
        options = leading(words, "ro:")
        (name,) = _operands(options, 1)
        cannot = f"cannot create snapshot '{name}': "
        volume, at, short = name.partition("@")
        if not at:
            raise Failure(f"{cannot}missing '@' delimiter in snapshot name", 2)
        source = self._existing(volume)
        if not COMPONENT.match(short) or len(name) > MAX_NAME:
            raise Failure(f"{cannot}invalid character in name")
        if name in self.datasets.by_name:
            raise Failure(f"{cannot}dataset already exists")
        reserved = source.kind == "volume" and not source.sparse
        if reserved and self.datasets.written(source) > self.datasets.available(_pool(name)):
            raise Failure(f"{cannot}out of space")
        properties = self._properties(options, name)
        made = Dataset(name, "snapshot", source.size, block=source.block, properties=properties)
        self.datasets.copy(source, self.datasets.add(made))
        return ""

    def _clone(self, words: list[str]) -> str:
        options = leading(words, "po:")
        snapshot, name = _operands(options, 2)
        origin = self._existing(snapshot)
        if origin.kind != "snapshot":
            raise Failure(f"cannot open '{snapshot}': operation not applicable to datasets of this type")
        self._check_new(name, parents="-p" in options)
        properties = self._properties(options, name)
        kind = self.datasets.by_name[snapshot.partition("@")[0]].kind
        made = Dataset(name, kind, origin.size, True, origin.block, snapshot, properties)
        self.datasets.copy(origin, self.datasets.add(made))
        return ""

    def _promote(self, words: list[str]) -> str:
        """A clone and what it was cloned from change places; snapshots up to the clone's go over to it."""
        (name,) = _operands(leading(words, ""), 1)
        clone = self._existing(name)
        if not clone.origin:
            raise Failure(f"cannot promote '{name}': not a cloned filesystem")
        snapshot = self.datasets.by_name[clone.origin]
        old, _, short = snapshot.name.partition("@")
        parent = self.datasets.by_name[old]
        for one in self.datasets.below(old, 1):
            if one.kind == "snapshot" and one.number <= snapshot.number:
                self.datasets.rename(one, f"{name}@{one.name.partition('@')[2]}")
        parent.origin, clone.origin = f"{name}@{short}", parent.origin
        return ""

    def _rename(self, words: list[str]) -> str:
        old, new = _operands(leading(words, ""), 2)
        dataset = self._existing(old)
        cannot = f"cannot rename '{old}': "
        if dataset.kind == "snapshot" and new.partition("@")[0] != old.partition("@")[0]:
            raise Failure(f"{cannot}snapshots must be part of same dataset")
        if new in self.datasets.by_name:
            raise Failure(f"cannot rename '{old}': dataset already exists")
        if any(one.name in self.datasets.busy for one in self.datasets.below(old)):
            raise Failure(f"{cannot}dataset is busy")
        for one in self.datasets.below(old):
            self.datasets.rename(one, new + one.name[len(old) :])
        return ""

    # --- changing ---------------------------------------------------------------------------------

    def _set(self, words: list[str]) -> str:
        assignment, name = _operands(leading(words, ""), 2)
        dataset = self._existing(name)
        key, value = self._property(assignment, name)
        if key == "volsize":
            self._resize(dataset, _size(value, name))
        else:
            dataset.properties[key] = value
        return ""

    def _resize(self, dataset: Dataset, size: int) -> None:
        """A smaller size is taken without a word."""
        cannot = f"cannot set property for '{dataset.name}': "
        if dataset.kind != "volume":
            raise Failure(f"{cannot}'volsize' does not apply to datasets of this type")
        if size % dataset.block:
            block = f"{dataset.block >> 10}K"
            raise Failure(f"{cannot}'volsize' must be a multiple of volume block size ({block})")
        if not dataset.sparse and size - dataset.size > self.datasets.available(_pool(dataset.name)):
            raise Failure(f"{cannot}size is greater than available space")
        self.datasets.resize(dataset, size)

    def _inherit(self, words: list[str]) -> str:
        key, name = _operands(leading(words, "rS"), 2)
        self._existing(name).properties.pop(key, None)
        return ""

    def _destroy(self, words: list[str]) -> str:
        options = leading(words, "rRfd")
        (name,) = _operands(options, 1)
        if self.missing_snapshot and "@" in name and name not in self.datasets.by_name:
            raise Failure(self.missing_snapshot)
        dataset = self._existing(name)
        cannot = f"cannot destroy '{name}': "
        below = [one for one in self.datasets.below(name) if one is not dataset]
        clones = [
            one for low in [dataset, *below] for one in self.datasets.clones(low.name) if one not in below
        ]
        what = dataset.kind
        if below and "-r" not in options:
            raise Failure(f"{cannot}{what} has children\n{_use('-r', below)}")
        if clones:
            raise Failure(f"{cannot}{what} has dependent clones\n{_use('-R', clones)}")
        for one in [*below, dataset]:
            if one.name in self.datasets.busy:
                raise Failure(f"cannot destroy '{one.name}': dataset is busy")
        for one in [*reversed(below), dataset]:
            self.datasets.remove(one)
        return ""

    # --- looking ----------------------------------------------------------------------------------

    def _get(self, words: list[str]) -> str:
        options = leading(words, "Hprd:o:s:t:")
        if len(options.operands) < 2:
            raise Failure("missing dataset argument\nusage:\n\tget [-rHp] <property> <dataset> ...", 2)
        keys = options.operands[0].split(",")
        columns = (options.get("-o") or "name,property,value,source").split(",")
        rows = []
        for dataset in self._chosen(options, options.operands[1:], "filesystem,volume,snapshot"):
            for key in keys:
                value, source = self._value(dataset, key)
                cells = {"name": dataset.name, "property": key, "value": value, "source": source}
                rows.append("\t".join(cells[column] for column in columns) + "\n")
        return "".join(rows)

    def _list(self, words: list[str]) -> str:
        options = leading(words, "Hprd:o:s:t:")
        columns = (options.get("-o") or "name,used,available,referenced,mountpoint").split(",")
        chosen = self._chosen(options, options.operands or list(self.datasets.pools), "filesystem,volume")
        rows = ["\t".join(self._value(one, column)[0] for column in columns) + "\n" for one in chosen]
        header = "" if "-H" in options else "\t".join(column.upper() for column in columns) + "\n"
        return header + "".join(rows) if rows else ""

    def _chosen(self, options: Options, names: list[str], kinds: str) -> list[Dataset]:
        """The datasets that ``get`` or ``list`` shall show. Raises Failure."""
        wanted = (options.get("-t") or kinds).replace("all", "filesystem,volume,snapshot").split(",")
        deep = "-r" in options or "-d" in options or not options.operands
        depth = int(options.get("-d") or NEVER)
        found = []
        for name in names:
            dataset = self._existing(name)
            found += self.datasets.below(name, depth) if deep else [dataset]
            if not deep and "-t" not in options:
                wanted.append(dataset.kind)
        return [one for one in found if one.kind in wanted]

    def _value(self, dataset: Dataset, key: str) -> tuple[str, str]:
        """What a property is, and where that comes from. Raises Failure."""
        if ":" in key:
            return self._user_property(dataset, key)
        if key in dataset.properties:
            return dataset.properties[key], "local"
        is_volume = dataset.kind == "volume"
        written = str(self.datasets.written(dataset))
        values = {
            "name": dataset.name,
            "type": dataset.kind,
            "creation": str(1700000000 + dataset.number),
            "guid": dataset.guid,
            "origin": dataset.origin or "-",
            "available": str(self.datasets.available(_pool(dataset.name))),
            "used": str(self.datasets.used(dataset.name)),
            "refer": written,
            "referenced": written,
            "volsize": str(dataset.size) if dataset.kind != "filesystem" and dataset.size else "-",
            "volblocksize": str(dataset.block) if is_volume else "-",
            "refreservation": ("0" if dataset.sparse else str(dataset.size)) if is_volume else "0",
            "mountpoint": "-" if dataset.kind != "filesystem" else "/" + dataset.name,
        }
        if key not in values:
            raise Failure(f"bad property list: invalid property '{key}'", 2)
        return values[key], "-"

    def _user_property(self, dataset: Dataset, key: str) -> tuple[str, str]:
        """The dataset's own, or that of what it lies below; a clone gets nothing from its origin."""
        name = dataset.name
        while name:
            if key in self.datasets.by_name[name].properties:
                own = name == dataset.name
                return self.datasets.by_name[name].properties[
                    key
                ], "local" if own else f"inherited from {name}"
            name = name.rpartition("@" if "@" in name else "/")[0]
        return "-", "-"

    def _zpool_list(self, words: list[str]) -> str:
        options = leading(words, "Hpo:")
        columns = (options.get("-o") or "name,size,alloc,free,health").split(",")
        rows = []
        for name in options.operands or self.datasets.pools:
            if name not in self.datasets.pools:
                raise Failure(f"cannot open '{name}': no such pool")
            size, used = self.datasets.pools[name], self.datasets.used(name)
            cells = {"name": name, "size": str(size), "alloc": str(used), "free": str(size - used)}
            rows.append("\t".join({**cells, "health": "ONLINE"}[column] for column in columns) + "\n")
        return "".join(rows)

    # --- checking ---------------------------------------------------------------------------------

    def _existing(self, name: str) -> Dataset:
        if name not in self.datasets.by_name:
            raise Failure(f"cannot open '{name}': dataset does not exist")
        return self.datasets.by_name[name]

    def _check_new(self, name: str, parents: bool) -> None:
        cannot = f"cannot create '{name}': "
        if len(name) > MAX_NAME:
            raise Failure(f"{cannot}name is too long")
        if not all(COMPONENT.match(part) for part in name.split("/")):
            raise Failure(f"{cannot}invalid character in name")
        if name in self.datasets.by_name:
            raise Failure(f"{cannot}dataset already exists")
        parent = name.rpartition("/")[0]
        above = self.datasets.by_name.get(parent)
        if above is not None and above.kind != "filesystem":
            raise Failure(f"{cannot}parent is not a filesystem")
        if above is None and (not parents or _pool(name) not in self.datasets.pools):
            raise Failure(f"{cannot}parent does not exist")
        missing = parent.split("/")
        for count in range(1, len(missing) + 1):
            path = "/".join(missing[:count])
            if path not in self.datasets.by_name:
                self.datasets.add(Dataset(path, "filesystem"))

    def _properties(self, options: Options, name: str) -> dict[str, str]:
        return dict(self._property(assignment, name) for assignment in options.all("-o"))

    def _property(self, assignment: str, name: str) -> tuple[str, str]:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise Failure(f"missing '=' for property=value argument\nusage:\n\tset ... {assignment}", 2)
        cannot = f"cannot set property for '{name}': "
        known = key in SETTABLE if ":" not in key else USER_PROPERTY.match(key) and len(key) <= 256
        if not known:
            raise Failure(f"{cannot}invalid property '{key}'")
        if len(value.encode()) >= self.max_value:
            raise Failure(f"{cannot}property value too long")
        return key, value


def _run(program: str, commands: Mapping[str, Callable[[list[str]], str]], words: list[str]) -> str:
    if not words or words[0] not in commands:
        unknown = f"unrecognized command '{words[0]}'" if words else "missing command"
        raise Failure(f"{unknown}\nusage: {program} command args ...", 2)
    try:
        return commands[words[0]](words[1:])
    except getopt.GetoptError as error:
        raise Failure(f"invalid option '{error.opt}'\nusage:\n\t{words[0]} ...", 2) from error


def _operands(options: Options, count: int) -> list[str]:
    if len(options.operands) != count:
        wrong = "missing argument" if len(options.operands) < count else "too many arguments"
        raise Failure(f"{wrong}\nusage:\n\t...", 2)
    return options.operands


def _pool(name: str) -> str:
    return re.split("[/@]", name)[0]


def _use(option: str, datasets: list[Dataset]) -> str:
    listed = "\n".join(one.name for one in datasets)
    return f"use '{option}' to destroy the following datasets:\n{listed}"


def _size(text: str, name: str) -> int:
    """Bytes, or a number with a unit. Raises Failure."""
    matched = re.match(r"(\d+)([bkmgtpe]?)(?:i?b)?\Z", text, re.IGNORECASE)
    if not matched:
        raise Failure(f"bad volume size '{text}': bad numeric value '{text}'", 2)
    size = int(matched[1]) << 10 * UNITS.index(matched[2].lower() or "b")
    if size == 0:
        raise Failure(f"cannot create '{name}': volume size cannot be zero")
    return size
