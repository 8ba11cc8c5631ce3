# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage conformance`` on two nodes with kernels of their own.

Here are those cases that are about the storage, and Ganeti's sequences in which all of it has part; the
others are about what is the same for all providers, and are tried on ``file``.
EXTSTORAGE_TEST_WHOLE_CONFORMANCE=1 runs them all, in a quarter of an hour. Half of the cases use the nodes in
the other order, so that both kernels have work at the same time.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.conftest import CHECKOUT
from tests.lab.calls import THERE, at_once
from tests.lefthand.lab.nodes import LabSite, LefthandNode

PROVIDER = CHECKOUT / "providers/lefthand"
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
    "ganeti-migrate",
]
NOT_RUN = {"ganeti-migrate-cleanup"}
"""What needs three nodes."""


def test_it_keeps_the_rules(site: LabSite, n1: LefthandNode, n2: LefthandNode) -> None:
    for node in (n1, n2):
        # The provider's directory has the same path everywhere.
        node.sh(f"mkdir -p {CHECKOUT.parent}; ln -sfn {THERE} {CHECKOUT}")
    whole = os.environ.get("EXTSTORAGE_TEST_WHOLE_CONFORMANCE") == "1"
    known = [case["case"] for case in _gnt_storage("--list")["cases"]]
    assert set(CASES) <= set(known)
    cases = known if whole else CASES
    apart = [case for case in cases if case.startswith("away-")]
    together = [case for case in cases if case not in apart]
    halves = at_once(
        lambda: _conformance(site, together[::2], [n1, n2]),
        lambda: _conformance(site, together[1::2], [n2, n1]),
    )
    # While the array is away for one half, it would be for the other.
    halves.append(_conformance(site, apart, [n1, n2]))
    results = {one["case"]: one for half in halves for one in half}
    assert sorted(results) == sorted(cases)
    wrong = {name: one["seen"] for name, one in results.items() if one["outcome"] != "passed"}
    assert wrong.keys() == NOT_RUN & results.keys(), wrong
    state = site.state()
    assert state["volumes"] == state["snapshots"] == {}
    assert site.sessions() == []
    assert n1.left() == n2.left() == []


def _conformance(site: LabSite, cases: Sequence[str], nodes: Sequence[LefthandNode]) -> list[dict[str, Any]]:
    words = [word for case in cases for word in ("--case", case)]
    for node in nodes:
        words += ["--node", f"{node.name}={shlex.join(node.machine.prefix)}"]
    away = site.order_line(fault={"kind": "drop", "pattern": "", "times": 0})
    words += ["--away", away, "--back", site.order_line(clear=True)]
    results: list[dict[str, Any]] = _gnt_storage(*words)["results"]
    return results


def _gnt_storage(*words: str) -> dict[str, Any]:
    done = subprocess.run([*COMMAND, *words], cwd=CHECKOUT, check=False, capture_output=True, text=True)
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document
