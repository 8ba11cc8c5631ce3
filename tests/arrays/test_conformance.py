# SPDX-License-Identifier: Apache-2.0
"""The conformance suite on two nodes of an array.

Half of the cases use the nodes in the other order, so that both kernels have work at the same time, and the
array's other pool, if it has one.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from tests.conftest import CHECKOUT
from tests.lab import conformance
from tests.lab.calls import RUN_DIR, THERE, at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.arrays.array import Array, ArrayNode

CASES = [*conformance.CASES, "snapshot-in-use-stays"]


def test_it_keeps_the_rules(both: list[ArrayNode], array: Array) -> None:
    for node in both:
        # The provider's directory has the same path everywhere.
        node.sh(f"mkdir -p {CHECKOUT.parent}; ln -sfn {THERE} {CHECKOUT}")
    known = conformance.known(array.NAME)
    assert set(CASES) <= set(known)
    cases = known if conformance.IS_WHOLE else CASES
    apart = [case for case in cases if case.startswith("away-")]
    together = [case for case in cases if case not in apart]
    halves = at_once(
        lambda: _conformance(array, together[::2], both, array.POOLS[0]),
        lambda: _conformance(array, together[1::2], both[::-1], array.POOLS[-1]),
    )
    # While the array is away for one half, it would be for the other.
    halves.append(_conformance(array, apart, both, array.POOLS[0]))
    assert conformance.names([*halves[0], *halves[1], *halves[2]]) == sorted(cases)
    assert array.volumes() == []
    assert both[0].left() == both[1].left() == []


def _conformance(
    array: Array, cases: Sequence[str], nodes: Sequence[ArrayNode], pool: str
) -> list[dict[str, Any]]:
    words = ["--size", str(array.SIZE), "--param", f"pool={pool}", *conformance.options(cases)]
    for node in nodes:
        words += ["--node", f"{node.name}={shlex.join(node.machine.prefix)}"]
    words += ["--away", _order(array, nodes, **array.AWAY), "--back", _order(array, nodes, clear=True)]
    results: list[dict[str, Any]] = conformance.suite(array.NAME, *words)["results"]
    return results


def _order(array: Array, nodes: Sequence[ArrayNode], **order: Any) -> str:
    """The command that gives an order; the nodes forget that the array did not answer before."""
    forget = [shlex.join([*node.machine.prefix, f"rm -rf {RUN_DIR}/timed-out"]) for node in nodes]
    return " && ".join([array.order_line(**order), *forget])
