# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage conformance`` on two nodes with kernels of their own.

Here are those cases that are about the storage, and Ganeti's sequences in which all of it has part; the
others are about what is the same for all providers, and are tried on ``file``.
EXTSTORAGE_TEST_WHOLE_CONFORMANCE=1 runs them all.
"""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING

from tests.conformance.conftest import Suite
from tests.conftest import CHECKOUT
from tests.lab.calls import THERE
from tests.solidfire.lab import SIZE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.solidfire.lab import LabNode, Storage

CASES = (
    *("new-volume-is-zero", "grow-shows-at-once", "data-reaches-other-node", "snapshot-keeps-old-data"),
    *("snapshot-in-use-stays", "both-may-open-shared", "one-detach-leaves-the-other"),
    *("away-detach-is-finished", "ganeti-export-running", "ganeti-migrate"),
)
NOT_RUN = {"ganeti-migrate-cleanup"}
"""What needs three nodes."""


class LabSuite(Suite):
    """The suite on the nodes of a lab; the provider is at the same place there as here."""

    def __init__(self, directory: Path, lab: Lab, storage: Storage) -> None:
        super().__init__(directory, len(lab.nodes), {})
        self.lab = lab
        self.away = self._order(storage, call="fault", arguments={"kind": "status", "value": 503, "times": 0})
        self.back = self._order(storage, clear=True)
        for node in lab.nodes:
            node.run(["mkdir", "-p", str(CHECKOUT.parent)])
            node.run(["ln", "-sfn", str(THERE), str(CHECKOUT)])

    def _order(self, storage: Storage, **order: object) -> str:
        """The command that gives the cluster an order; the nodes forget that it timed out before."""
        give = ["/usr/bin/python3", f"{THERE}/tests/appliances/control.py", storage.machine.socket]
        commands = [shlex.join([*self.lab.storage.prefix, shlex.join([*give, json.dumps(order)])])]
        forget = "rm -rf /run/ganeti-extstorage/timed-out"
        commands += [shlex.join([*node.prefix, forget]) for node in self.lab.nodes]
        return " && ".join(commands)

    def prefix(self, number: int) -> str:
        return shlex.join(self.lab.nodes[number - 1].prefix)


def test_it_keeps_the_rules(tmp_path: Path, lab: Lab, storage: Storage, nodes: list[LabNode]) -> None:
    storage.begin()
    suite = LabSuite(tmp_path, lab, storage)
    whole = os.environ.get("EXTSTORAGE_TEST_WHOLE_CONFORMANCE") == "1"
    cases = [] if whole else [word for case in CASES for word in ("--case", case)]
    status, results, stderr = suite.run(CHECKOUT / "providers/solidfire", "--size", str(SIZE), *cases)
    wrong = {name: one["seen"] for name, one in results.items() if one["outcome"] != "passed"}
    assert wrong.keys() == NOT_RUN & results.keys(), (wrong, stderr)
    assert whole or sorted(results) == sorted(CASES)
    assert status == 0
    assert storage.volumes() == []
    assert nodes[0].left() == nodes[1].left() == []
