# SPDX-License-Identifier: Apache-2.0
"""Providers that keep the rules pass, and leave nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.conftest import Suite
from tests.conftest import CHECKOUT, loop_devices

if TYPE_CHECKING:
    from pathlib import Path


def test_file_on_three_nodes(suite: Suite, tmp_path: Path) -> None:
    status, results, stderr = suite.run(CHECKOUT / "providers/file")
    wrong = {name: one["seen"] for name, one in results.items() if one["outcome"] != "passed"}
    # A directory of files can't fence, so it never takes a volume from a node that is not marked offline.
    declared = {"ganeti-failover-dead-node", "ganeti-migrate-cleanup"}
    assert set(wrong) == declared, stderr
    assert all(results[name]["outcome"] == "refused by provider" for name in declared)
    assert status == 0
    assert len(results) > 90
    assert [path.name for path in (tmp_path / "pool").iterdir()] == [".ganeti-extstorage-pool"]
    assert loop_devices(tmp_path) == []
    for node in ("n1", "n2", "n3"):
        for kind in ("attachments", "dev", "locks"):
            directory = tmp_path / node / "run" / kind
            assert not directory.exists() or list(directory.iterdir()) == []


def test_foreign_provider_with_the_seven_scripts(suite: Suite) -> None:
    suite.away = suite.back = ""
    status, results, stderr = suite.run(CHECKOUT / "tests/conformance/toy", strict=False)
    assert status == 0, stderr
    outcomes = {one["outcome"] for one in results.values()}
    assert outcomes == {"passed", "not run"}
    reasons = {one["seen"] for one in results.values() if one["outcome"] == "not run"}
    expected = ("no snapshot", "no open", "no URI", "--away")
    assert all(any(word in reason for word in expected) for reason in reasons)


def test_toy_breaks_strict_rules_only(suite: Suite) -> None:
    status, results, _ = suite.run(CHECKOUT / "tests/conformance/toy", "--case", "grow-never-shrinks")
    assert status == 1
    assert results["grow-never-shrinks"]["outcome"] == "failed"
    assert results["grow-never-shrinks"]["required"] is False


def test_one_node_reports_what_needs_two(suite: Suite) -> None:
    suite.nodes = 1
    status, results, _ = suite.run(CHECKOUT / "providers/file", "--case", "ganeti-migrate")
    assert status == 0
    assert results["ganeti-migrate"]["outcome"] == "not run"
    assert "2 nodes" in results["ganeti-migrate"]["seen"]
