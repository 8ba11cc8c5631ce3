# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage conformance`` on two nodes with kernels of their own.

Here are those cases that are about the storage, and Ganeti's sequences in which all of it has part; the
others are about what is the same for all providers, and are tried on ``file``.
EXTSTORAGE_TEST_WHOLE_CONFORMANCE=1 runs them all, in a quarter of an hour.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.comstar.lab import LabNode, Storage
from tests.conftest import CHECKOUT
from tests.lab.calls import THERE, at_once

PROVIDER = CHECKOUT / "providers/comstar"
COMMAND = [sys.executable, "-m", "gnt_storage", "conformance", str(PROVIDER), "--strict", "--json"]
CASES = [
    "new-volume-is-zero",
    "grow-shows-at-once",
    "data-reaches-other-node",
    "snapshot-keeps-old-data",
    "snapshot-in-use-stays",
    "both-may-open-shared",
    "one-detach-leaves-the-other",
    "away-detach-is-finished",
    "ganeti-export-running",
    "ganeti-failover-dead-node",
    "ganeti-migrate",
]
NOT_PASSED = {
    # The node that is said to be dead has its session: it lives.
    "ganeti-failover-dead-node": "refused by provider",
    # It needs three nodes.
    "ganeti-migrate-cleanup": "not run",
}


def test_it_keeps_the_rules(both: list[LabNode], storage: Storage) -> None:
    for node in both:
        # The provider's directory has the same path everywhere.
        node.sh(f"mkdir -p {CHECKOUT.parent}; ln -sfn {THERE} {CHECKOUT}")
    whole = os.environ.get("EXTSTORAGE_TEST_WHOLE_CONFORMANCE") == "1"
    known = [case["case"] for case in _gnt_storage("--list")["cases"]]
    assert set(CASES) <= set(known)
    cases = known if whole else CASES
    apart = [case for case in cases if case.startswith("away-")]
    together = [case for case in cases if case not in apart]
    halves = at_once(
        lambda: _conformance(storage, together[::2], both, "target"),
        lambda: _conformance(storage, together[1::2], both[::-1], "shared"),
    )
    # While the machine is away for one half, it would be for the other.
    halves.append(_conformance(storage, apart, both, "target"))
    results = {one["case"]: one for half in halves for one in half}
    assert sorted(results) == sorted(cases)
    wrong = {name: one["outcome"] for name, one in results.items() if one["outcome"] != "passed"}
    seen = {name: results[name]["seen"] for name in wrong}
    assert wrong == {name: NOT_PASSED[name] for name in NOT_PASSED if name in results}, seen
    assert storage.datasets() == []
    assert both[0].left() == both[1].left() == []


def _conformance(
    storage: Storage, cases: Sequence[str], nodes: Sequence[LabNode], pool: str
) -> list[dict[str, Any]]:
    words = [word for case in cases for word in ("--case", case)]
    for node in nodes:
        words += ["--node", f"{node.name}={shlex.join(node.machine.prefix)}"]
    away = storage.order_line(fault={"kind": "drop", "pattern": "", "times": 0})
    words += ["--away", away, "--back", storage.order_line(clear=True), "--param", f"pool={pool}"]
    results: list[dict[str, Any]] = _gnt_storage(*words)["results"]
    return results


def _gnt_storage(*words: str) -> dict[str, Any]:
    done = subprocess.run([*COMMAND, *words], cwd=CHECKOUT, check=False, capture_output=True, text=True)
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document
