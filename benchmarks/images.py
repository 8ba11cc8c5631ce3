# SPDX-License-Identifier: Apache-2.0
"""The ``rbd`` provider against the command ``rbd``, on a real Ceph cluster of the benchmark's own.

Volumes have no device here: what a mapping costs is measured where a kernel can map.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import BARE, ENVIRONMENT, Node, Row, interleave, milli, run
from tests.ceph.cluster import POOL, Ceph

MANY = 1000
VARIABLES = {
    "create": {"VOL_SIZE": "16"},
    "open": {"VOL_OPEN_EXCLUSIVE": "True"},
    "grow": {"VOL_SIZE": "16", "VOL_NEW_SIZE": "24"},
    "setinfo": {"VOL_METADATA": "originstname+instance1"},
    "snapshot": {"VOL_SNAPSHOT_NAME": "snapshot", "VOL_SNAPSHOT_SIZE": "16"},
}
ONE = "at most 1.6"
TWO = "below 1.0"


def all_of_them(directory: str, runs: int) -> list[Row]:
    """The actions in an empty pool, then among many images, then the warm attach."""
    with Ceph(Path(directory) / "ceph") as ceph:
        with open(f"{directory}/etc/rbd.conf", "w", encoding="ascii") as config:
            keyring = f"{ceph.directory}/client.ganeti.keyring"
            config.write(f"[gold]\nconf = {ceph.conf}\nkeyring = {keyring}\nuserspace_only = yes\n")
        node = Node(directory, "n1", "rbd", "userspace")
        few = _Rounds(ceph, node).measure(runs)
        _make_images(ceph)
        many = _Rounds(ceph, node).measure(runs)
        return [*_against_commands(few), *_growth(few, many), *_warm(node, runs)]


class _Rounds:
    """Rounds of a volume's life, each action followed by the commands that do its core to an image."""

    def __init__(self, ceph: Ceph, node: Node) -> None:
        self.ceph = ceph
        self.node = node
        self.environment = {**ENVIRONMENT, "CEPH_CONF": str(ceph.conf)}
        self.ioctx = ceph.admin.open_ioctx(POOL)

    def measure(self, runs: int) -> dict[str, float]:
        """Medians, by the name of an action or the words of a command."""
        steps: dict[str, Callable[[], float]] = {"bare": lambda: run(BARE)}
        for action in ("create", "attach", "open", "setinfo", "snapshot", "grow", "close", "detach"):
            steps[action] = self._call(action)
        steps["remove snapshot"] = lambda: self.node.call("remove", VOL_NAME="snapshot")
        steps["quiet"] = self._quiet
        steps["remove"] = self._call("remove")
        steps["quiet again"] = self._quiet
        commands = {
            "create": f"create --size 16M {POOL}/bare",
            "info": f"info {POOL}/bare",
            "image-meta set": f"image-meta set {POOL}/bare key value",
            "snap create": f"snap create --no-progress {POOL}/bare@s",
            "clone": f"clone {POOL}/bare@s {POOL}/clone",
            "resize": f"resize --no-progress --size 24M {POOL}/bare",
            "trash mv": f"trash mv {POOL}/clone",
        }
        for name, words in commands.items():
            steps["rbd " + name] = self._command(words)
        steps["tidy"] = self._tidy
        return {name: statistics.median(costs) for name, costs in interleave(runs, steps).items()}

    def _call(self, action: str) -> Callable[[], float]:
        return lambda: self.node.call(action, **VARIABLES.get(action, {}))

    def _command(self, words: str) -> Callable[[], float]:
        options = ("--id", "ganeti", "--rbd-default-clone-format", "2")
        return lambda: run(("rbd", *options, *words.split()), self.environment)

    def _quiet(self) -> float:
        """Wait for the process that remove leaves behind."""
        import rbd

        while list(rbd.RBD().trash_list(self.ioctx)):
            time.sleep(0.01)
        return 0.0

    def _tidy(self) -> float:
        """Remove what the commands made."""
        import rbd

        for one in rbd.RBD().trash_list(self.ioctx):
            rbd.RBD().trash_remove(self.ioctx, one["id"])
        with rbd.Image(self.ioctx, "bare") as image:
            image.remove_snap("s")
        rbd.RBD().remove(self.ioctx, "bare")
        return 0.0


def _make_images(ceph: Ceph) -> None:
    import rbd

    ioctx: Any = ceph.admin.open_ioctx(POOL)
    for number in range(MANY):
        rbd.RBD().create(ioctx, f"other{number}", 1 << 24, old_format=False)


def _against_commands(costs: dict[str, float]) -> list[Row]:
    """Each action against the command that does its core, or the commands that the command line needs."""
    compared = (
        ("create", ("create",), ONE),
        ("grow", ("resize",), ONE),
        ("snapshot", ("snap create",), ONE),
        ("", ("snap create", "clone"), TWO),
        ("remove", ("trash mv",), ONE),
        ("setinfo", ("image-meta set",), ONE),
        ("attach", ("info",), ""),
        ("open", ("info",), ""),
        ("close", ("info",), ""),
        ("detach", ("info",), ""),
    )
    rows = []
    action = ""
    for name, commands, goal in compared:
        action = name or action
        against = sum(costs["rbd " + command] for command in commands)
        said = " and ".join("rbd " + command for command in commands)
        figure = milli(costs[action]) if name else ""
        ratio = f"{costs[action] / against:.2f}"
        rows.append(Row(name and "rbd: " + name, figure, f"{said}: {milli(against)}", ratio, goal))
    return rows


def _growth(few: dict[str, float], many: dict[str, float]) -> list[Row]:
    actions = ("create", "attach", "open", "setinfo", "snapshot", "grow", "close", "detach", "remove")
    before, after = (sum(costs[action] for action in actions) for costs in (few, many))
    against = f"in an empty pool: {milli(before)}"
    return [
        Row(f"all of these, among {MANY} images", milli(after), against, f"{after / before:.2f}", "about 1")
    ]


def _warm(node: Node, runs: int) -> list[Row]:
    node.call("create", VOL_SIZE="16")
    node.call("attach")
    costs = interleave(runs, {"attach": lambda: node.call("attach"), "bare": lambda: run(BARE)})
    node.call("detach")
    node.call("remove")
    own, bare = statistics.median(costs["attach"]), statistics.median(costs["bare"])
    against = f"{os.path.basename(BARE[0])} -I -S -c pass: {milli(bare)}"
    return [Row("rbd: warm attach", milli(own), against, f"{own / bare:.2f}", "at most 2.0")]
