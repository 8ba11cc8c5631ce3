# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage conformance`` on nodes with kernels of their own: which cases, and what two nodes can't show.

The cases are those that are about the storage, and Ganeti's sequences in which all of it has part; the others
are about what is the same for all providers, and are tried on ``file``. EXTSTORAGE_TEST_WHOLE_CONFORMANCE=1
runs them all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.conftest import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterable

IS_WHOLE = os.environ.get("EXTSTORAGE_TEST_WHOLE_CONFORMANCE") == "1"
CASES = [
    "new-volume-is-zero",
    "grow-shows-at-once",
    "data-reaches-other-node",
    "snapshot-keeps-old-data",
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
"""What two living nodes of iSCSI can't show, and why: the node that is said to be dead lives."""


def options(cases: Iterable[str]) -> list[str]:
    """The words that choose cases."""
    return [word for case in cases for word in ("--case", case)]


def suite(provider: str, *words: str) -> dict[str, Any]:
    """Run the suite from here; what it says."""
    command = [sys.executable, "-m", "gnt_storage", "conformance", str(CHECKOUT / "providers" / provider)]
    done = subprocess.run(
        [*command, "--strict", "--json", *words], cwd=CHECKOUT, check=False, capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def known(provider: str) -> list[str]:
    """The names of all cases."""
    return [case["case"] for case in suite(provider, "--list")["cases"]]


def names(results: Iterable[dict[str, Any]]) -> list[str]:
    """The cases of which these are the results, sorted; each but those that are declared has passed."""
    found = {one["case"]: one for one in results}
    wrong = {name: one["seen"] for name, one in found.items() if one["outcome"] != "passed"}
    declared = {name: reason for name, reason in DECLARED.items() if name in found}
    assert wrong.keys() == declared.keys(), json.dumps(wrong, indent=1)
    assert all(reason in wrong[name] for name, reason in declared.items()), wrong
    return sorted(found)
