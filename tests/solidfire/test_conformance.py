# SPDX-License-Identifier: Apache-2.0
"""The whole conformance suite, on the nodes of a lab."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.conformance.conftest import Suite
from tests.conftest import CHECKOUT
from tests.lab.calls import THERE
from tests.solidfire.lab import SIZE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.solidfire.lab import LabNode, Storage


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


@pytest.mark.parametrize("cases", ["ganeti-*", "away-*", "*"])
def test_conformance(tmp_path: Path, lab: Lab, storage: Storage, nodes: list[LabNode], cases: str) -> None:
    storage.begin()
    suite = LabSuite(tmp_path, lab, storage)
    provider = CHECKOUT / "providers/solidfire"
    status, results, stderr = suite.run(provider, "--size", str(SIZE), "--case", cases)
    wrong = {name: one for name, one in results.items() if one["outcome"] != "passed"}
    assert wrong == {}, stderr
    assert status == 0
    assert storage.volumes() == []
