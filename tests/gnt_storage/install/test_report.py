# SPDX-License-Identifier: Apache-2.0
"""What is said of the nodes' answers."""

from __future__ import annotations

import json

import pytest

from gnt_storage.install import report
from gnt_storage.install.report import NodeResult, NodesFailed


def test_answers() -> None:
    told = {"result": "failed", "status": 9, "reason": "no", "changes": []}
    assert report.of_answer("n1", json.dumps(told).encode(), b"", "") == NodeResult("n1", "failed", 9, "no")
    away = report.of_answer("n1", b"", b"", "no route")
    assert (away.result, away.status, away.reason) == ("unreachable", 8, "no route")
    broken = report.of_answer("n1", b"", b"Traceback\nKeyError: 'x'\n", "")
    assert (broken.result, broken.status, broken.reason) == ("failed", 1, "the agent failed: KeyError: 'x'")
    assert report.of_answer("n1", b"{}", b"", "").status == 1


def test_nodes_of_which_the_same_is_to_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    changes = [{"path": "etc/x.conf", "change": "changed", "diff": "-a\n+b"}]
    results = [NodeResult(f"n{number}", "changed", changes=changes) for number in (1, 3)]
    report.print_results([results[0], NodeResult("n2", "failed", 9, "no"), results[1]], dry_run=True)
    assert capsys.readouterr().out == (
        "n1, n3: would be changed\n  changed  /etc/x.conf\n    -a\n    +b\nn2: failed: no\n"
    )


def test_the_status_is_that_of_the_first_failure() -> None:
    results = [NodeResult("n1", "changed"), NodeResult("n2", "unreachable", 8), NodeResult("n3", "failed", 9)]
    with pytest.raises(NodesFailed, match="not done on 2 of 3 nodes: n2, n3") as raised:
        report.refuse_failures(results)
    assert raised.value.status == 8
    report.refuse_failures(results[:1])
