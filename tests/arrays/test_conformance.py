# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage conformance`` on two nodes with kernels of their own.

Here are those cases that are about the storage, and Ganeti's sequences in which all of it has part; the
others are about what is the same for all providers, and are tried on ``file``.
EXTSTORAGE_TEST_WHOLE_CONFORMANCE=1 runs them all. Half of the cases use the nodes in the other order, so that
both kernels have work at the same time, and the array's other pool, if it has one.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.conftest import CHECKOUT
from tests.lab.calls import RUN_DIR, THERE, at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.arrays.array import Array, ArrayNode

COMMAND = (sys.executable, "-m", "gnt_storage", "conformance")
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
DECLARED = {
    "ganeti-failover-dead-node": "has the volume open (exclusive)",
    "ganeti-migrate-cleanup": "needs 3 nodes",
    "ganeti-migrate-userspace": "no URI",
    "ganeti-userspace": "no URI",
}
"""What two living nodes of an array can't show, and why: the node that is said to be dead lives."""


def test_it_keeps_the_rules(both: list[ArrayNode], array: Array) -> None:
    for node in both:
        # The provider's directory has the same path everywhere.
        node.sh(f"mkdir -p {CHECKOUT.parent}; ln -sfn {THERE} {CHECKOUT}")
    whole = os.environ.get("EXTSTORAGE_TEST_WHOLE_CONFORMANCE") == "1"
    known = [case["case"] for case in _suite(array, "--list")["cases"]]
    assert set(CASES) <= set(known)
    cases = known if whole else CASES
    apart = [case for case in cases if case.startswith("away-")]
    together = [case for case in cases if case not in apart]
    halves = at_once(
        lambda: _conformance(array, together[::2], both, array.POOLS[0]),
        lambda: _conformance(array, together[1::2], both[::-1], array.POOLS[-1]),
    )
    # While the array is away for one half, it would be for the other.
    halves.append(_conformance(array, apart, both, array.POOLS[0]))
    results = {one["case"]: one for half in halves for one in half}
    assert sorted(results) == sorted(cases)
    wrong = {name: one["seen"] for name, one in results.items() if one["outcome"] != "passed"}
    declared = {name: reason for name, reason in DECLARED.items() if name in results}
    assert wrong.keys() == declared.keys(), json.dumps(wrong, indent=1)
    assert all(reason in wrong[name] for name, reason in declared.items()), wrong
    assert array.volumes() == []
    assert both[0].left() == both[1].left() == []


def _conformance(
    array: Array, cases: Sequence[str], nodes: Sequence[ArrayNode], pool: str
) -> list[dict[str, Any]]:
    words = ["--size", str(array.SIZE), "--param", f"pool={pool}"]
    words += [word for case in cases for word in ("--case", case)]
    for node in nodes:
        words += ["--node", f"{node.name}={shlex.join(node.machine.prefix)}"]
    words += ["--away", _order(array, nodes, **array.AWAY), "--back", _order(array, nodes, clear=True)]
    results: list[dict[str, Any]] = _suite(array, *words)["results"]
    return results


def _order(array: Array, nodes: Sequence[ArrayNode], **order: Any) -> str:
    """The command that gives an order; the nodes forget that the array did not answer before."""
    forget = [shlex.join([*node.machine.prefix, f"rm -rf {RUN_DIR}/timed-out"]) for node in nodes]
    return " && ".join([array.order_line(**order), *forget])


def _suite(array: Array, *words: str) -> dict[str, Any]:
    command = [*COMMAND, str(CHECKOUT / "providers" / array.NAME), "--strict", "--json", *words]
    done = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True, text=True)
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document
