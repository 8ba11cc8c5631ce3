# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage conformance`` with krbd, on nodes with kernels of their own.

Half of the cases use the nodes in the other order, so that both kernels have work. By default these are the
cases in which the device matters; tests/rbd has them all, with volumes without a device.
``EXTSTORAGE_TEST_WHOLE_CONFORMANCE=1`` takes all but those with the storage away, which is tried in
test_holders.
"""

from __future__ import annotations

import fnmatch
import shlex
from typing import TYPE_CHECKING, Any

from tests.conftest import CHECKOUT
from tests.lab import conformance
from tests.lab.calls import THERE, at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.krbd.conftest import KrbdNode, KrbdSite

DEVICES = (
    *("attach-prints-*", "detach-takes-the-device-away", "two-attaches-at-once", "busy-device-stays"),
    *("size-is-exact", "grow-shows-at-once", "new-volume-is-zero", "grown-space-is-zero"),
    *("data-*", "volumes-are-separate", "snapshot-is-a-volume", "one-detach-leaves-the-other"),
    *("ganeti-startup", "ganeti-grow-running", "ganeti-export-running"),
    *("ganeti-migrate", "ganeti-migrate-memory-fails", "ganeti-start-elsewhere"),
)
REFUSED = "ganeti-failover-dead-node"
"""The other node is believed dead and is not, so the volume is not taken from it, which the rule allows."""
THREE_NODES = "ganeti-migrate-cleanup"
LOGS = "/var/log/ganeti/extstorage"
PROVIDER = "rbd"


def test_krbd_keeps_the_rules(site: KrbdSite, n1: KrbdNode, n2: KrbdNode) -> None:
    for node in (n1, n2):
        # The provider's directory has the same path everywhere, and Ganeti's logs have theirs.
        node.sh(f"mkdir -p {LOGS} {CHECKOUT.parent}; ln -sfn {THERE} {CHECKOUT}")
    cases = _cases()
    halves = at_once(
        lambda: _conformance(cases[::2], [n1, n2]),
        lambda: _conformance(cases[1::2], [n2, n1]),
    )
    results = {one["case"]: one for half in halves for one in half}
    others = {name: one for name, one in results.items() if one["outcome"] != "passed"}
    expected = {REFUSED: "refused by provider", THREE_NODES: "not run"}
    wrong = [f"{name}: {one['seen']}" for name, one in others.items() if one["outcome"] != expected.get(name)]
    assert not wrong, "\n".join(wrong)
    assert sorted(results) == sorted(cases)
    assert site.images() == []
    for node in (n1, n2):
        assert node.mappings() == []
        assert node.left() == []


def _cases() -> list[str]:
    names = conformance.known(PROVIDER)
    if conformance.IS_WHOLE:
        return [name for name in names if not name.startswith("away-")]
    return [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in DEVICES)]


def _conformance(cases: Sequence[str], nodes: Sequence[KrbdNode]) -> list[dict[str, Any]]:
    words = conformance.options(cases)
    for node in nodes:
        words += ["--node", f"{node.name}={shlex.join(node.machine.prefix)}"]
    results: list[dict[str, Any]] = conformance.suite(PROVIDER, *words)["results"]
    return results
