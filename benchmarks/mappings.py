# SPDX-License-Identifier: Apache-2.0
"""Mappings of the ``rbd`` provider against the command ``rbd``, in a kernel of its own that can map.

Its programs start many times slower than on the machine itself; the ratios tell, not the times.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.measure import Row, milli
from tests.ceph.cluster import POOL, Ceph
from tests.lab.calls import compile_libraries
from tests.lab.lab import Lab
from tests.lab.node import Node

ADDRESS = "10.78.1.1"
OTHERS = 40
KEYRING = "/etc/ceph/ceph.client.ganeti.keyring"
COMMANDS = {
    "map": "rbd map",
    "showmapped": "rbd showmapped",
    "unmap": "rbd unmap",
    "bare": "python3 -I -S -c pass",
}
MEASURE = """
import json, statistics, sys
sys.path.insert(0, "/srv/checkout")
from benchmarks.measure import BARE, ENVIRONMENT, interleave, run
PROVIDER = "/srv/checkout/providers/rbd/"
ENVIRONMENT |= {"EXTP_PROVIDER": "rbd", "EXTP_ACCESS": "kernelspace", "VOL_NAME": "own", "VOL_SIZE": "16"}
RBD = ("rbd", "--id", "ganeti", "device")
steps = {
    "attach": lambda: run((PROVIDER + "attach",)),
    "warm attach": lambda: run((PROVIDER + "attach",)),
    "bare": lambda: run(BARE),
    "detach": lambda: run((PROVIDER + "detach",)),
    "map": lambda: run((*RBD, "map", "own")),
    "showmapped": lambda: run((*RBD, "list")),
    "unmap": lambda: run((*RBD, "unmap", "own")),
}
costs = interleave(int(sys.argv[1]), steps)
print(json.dumps({name: statistics.median(cost) for name, cost in costs.items()}))
"""


def all_of_them(directory: str, runs: int) -> list[Row]:
    """A cold and a warm attach, then the same beside many other mappings."""
    compile_libraries()
    with (
        Lab(Path(directory) / "lab", nodes=1, memory=1024) as lab,
        Ceph(Path(directory) / "ceph", address=ADDRESS, network=str(lab.hub)) as ceph,
    ):
        machine = lab.nodes[0]
        _prepare(machine, ceph)
        alone = _measure(machine, runs)
        _map_others(machine, ceph)
        beside = _measure(machine, runs)
    return [*_against_commands(alone), *_growth(alone, beside)]


def _prepare(machine: Node, ceph: Ceph) -> None:
    machine.put("/etc/ceph/ceph.conf", ceph.conf.read_text().replace("keyring = ", "# "))
    machine.put(KEYRING, (ceph.directory / "client.ganeti.keyring").read_bytes(), mode=0o600)
    machine.put("/etc/ganeti/extstorage/rbd.conf", f"[gold]\nrbd_pool = {POOL}\n")
    create = ["env", "VOL_NAME=own", "VOL_SIZE=16", "EXTP_PROVIDER=rbd", "/srv/checkout/providers/rbd/create"]
    machine.run(create)


def _map_others(machine: Node, ceph: Ceph) -> None:
    """Mappings as ours, each with a client of its own."""
    for number in range(OTHERS):
        ceph.rbd("create", "--size", "16M", f"{POOL}/other{number}")
        machine.run(["rbd", "--id", "ganeti", "device", "map", "--options", "noshare", f"other{number}"])


def _measure(machine: Node, runs: int) -> dict[str, float]:
    printed = machine.run(["python3", "-c", MEASURE, str(runs)], timeout=3600).stdout
    told: dict[str, float] = json.loads(printed)
    return told


def _against_commands(alone: dict[str, float]) -> list[Row]:
    rows = []
    for action, commands, goal in (
        ("attach", ("map", "showmapped"), "at most 0.5"),
        ("detach", ("unmap",), ""),
        ("warm attach", ("bare",), "at most 2.0"),
    ):
        cost = sum(alone[command] for command in commands)
        names = ", ".join(COMMANDS[command] for command in commands)
        ratio = f"{alone[action] / cost:.2f}"
        rows.append(Row(action, milli(alone[action]), f"{names}: {milli(cost)}", ratio, goal))
    return rows


def _growth(alone: dict[str, float], beside: dict[str, float]) -> list[Row]:
    rows = []
    for action in ("attach", "warm attach", "detach"):
        more = f"{milli((beside[action] - alone[action]) / OTHERS)} for each"
        what = f"{action} beside {OTHERS} mappings"
        rows.append(Row(what, milli(beside[action]), more, "", "at most 1 ms for each"))
    return rows
