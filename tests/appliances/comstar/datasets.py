# SPDX-License-Identifier: Apache-2.0
"""The datasets of ZFS pools: filesystems, volumes and their snapshots, what they hold and what they cost."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

MAX_NAME = 255
BLOCK = 8192


@dataclass
class Dataset:
    """A filesystem, a volume or a snapshot; sizes in bytes."""

    name: str
    kind: str
    size: int = 0
    sparse: bool = False
    block: int = BLOCK
    origin: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    """What ``zfs set`` set on this very dataset, user properties and others."""
    number: int = 0
    """Its place in the order of creation."""

    @property
    def guid(self) -> str:
        """The dataset's own number, which it keeps when it is renamed."""
        return str(int(hashlib.sha256(f"{self.number} {self.kind}".encode()).hexdigest()[:16], 16))


class Datasets:
    """All datasets of one machine, by name. A volume's data is a sparse file in ``directory``."""

    def __init__(self, directory: Path, pools: dict[str, int]) -> None:
        self.directory = directory
        self.pools = dict(pools)
        self.busy: set[str] = set()
        """Volumes that a logical unit holds: nothing destroys them."""
        self._numbers = itertools.count(1)
        self.by_name: dict[str, Dataset] = {}
        for left in directory.glob("zvol-*"):
            left.unlink()
        for name in pools:
            self.add(Dataset(name, "filesystem"))

    def add(self, dataset: Dataset) -> Dataset:
        """A new dataset; a volume gets its data."""
        dataset.number = next(self._numbers)
        self.by_name[dataset.name] = dataset
        if dataset.kind == "volume" and not dataset.origin:
            with self.file(dataset).open("wb") as stream:
                stream.truncate(dataset.size)
        return dataset

    def file(self, dataset: Dataset) -> Path:
        """Where the data of a volume or snapshot is, which renaming doesn't change."""
        return self.directory / f"zvol-{dataset.number}"

    def volume_at(self, path: str) -> Dataset | None:
        """The volume of a device node, ``/dev/zvol/rdsk/DATASET``."""
        for prefix in ("/dev/zvol/rdsk/", "/dev/zvol/dsk/"):
            if path.startswith(prefix):
                dataset = self.by_name.get(path.removeprefix(prefix))
                return dataset if dataset and dataset.kind == "volume" else None
        return None

    def below(self, name: str, depth: int | None = None) -> list[Dataset]:
        """A dataset and all that lies below it, snapshots too, sorted; at most ``depth`` deep."""
        found = []
        for one in self.by_name.values():
            rest = one.name[len(name) :]
            if not one.name.startswith(name) or not re.match(r"[/@]|\Z", rest):
                continue
            if depth is None or len(re.findall("[/@]", rest)) <= depth:
                found.append(one)
        return sorted(found, key=lambda one: one.name)

    def clones(self, name: str) -> list[Dataset]:
        """The clones of a snapshot."""
        return [one for one in self.by_name.values() if one.origin == name]

    def resize(self, dataset: Dataset, size: int) -> None:
        """Give a volume another size; what is beyond a smaller one is lost."""
        dataset.size = size
        os.truncate(self.file(dataset), size)

    def copy(self, source: Dataset, target: Dataset) -> None:
        """Let ``target`` have the data of ``source``."""
        if self.file(source).exists():
            command = ["cp", "--sparse=always", "--reflink=auto", "--"]
            subprocess.run([*command, str(self.file(source)), str(self.file(target))], check=True)

    def remove(self, dataset: Dataset) -> None:
        """Forget a dataset and its data."""
        del self.by_name[dataset.name]
        self.file(dataset).unlink(missing_ok=True)

    def rename(self, dataset: Dataset, name: str) -> None:
        """Give a dataset another name; its clones follow."""
        for clone in self.clones(dataset.name):
            clone.origin = name
        del self.by_name[dataset.name]
        dataset.name = name
        self.by_name[name] = dataset

    # --- space ------------------------------------------------------------------------------------

    def available(self, pool: str) -> int:
        """Bytes of a pool that are neither written nor promised."""
        return max(0, self.pools[pool] - self.used(pool))

    def used(self, name: str) -> int:
        """What a dataset and all below it cost: a volume that isn't sparse, its size from the beginning."""
        return sum(self._charge(one) for one in self.below(name))

    def written(self, dataset: Dataset) -> int:
        """The bytes that were written to a volume."""
        file = self.file(dataset)
        return file.stat().st_blocks * 512 if file.exists() else 0

    def _charge(self, dataset: Dataset) -> int:
        if dataset.kind == "volume" and not dataset.sparse:
            return max(dataset.size, self.written(dataset))
        return self.written(dataset)
