# SPDX-License-Identifier: Apache-2.0
"""What the storage keeps of a node that left, and that it is forgotten."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Node, Result, Site
from tests.gnt_storage.test_commands import gnt_storage

FORGOTTEN = [
    {"provider": "file", "pool": "default", "volume": "v1", "what": "open, exclusive"},
    {"provider": "file", "pool": "default", "volume": "v1", "what": "attached"},
]


@pytest.fixture
def left(site: Site, n1: Node, n2: Node) -> Node:
    """The node n2, which left with v1 open; n1 has v2 open."""
    (site.ssconf / "ssconf_node_list").write_text("n1\nn3\n")
    (site.ssconf / "ssconf_cluster_name").write_text("here\n")
    for volume, node in (("v1", n2), ("v2", n1)):
        n1.create(volume)
        node.attach(volume)
        assert node.open(volume).status == 0
    return n2


def forget(site: Site, *arguments: str) -> Result:
    variables = {"EXTSTORAGE_SSCONF_DIR": str(site.ssconf)}
    return gnt_storage(site, "node", "forget", *arguments, **variables)


def document(result: Result, status: int = 0) -> dict[str, Any]:
    assert result.status == status, result
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def kept(site: Site, volume: str) -> str:
    """What the pool keeps of nodes with a volume."""
    files = sorted((site.pool / volume).glob("attached-*")) + sorted((site.pool / volume).glob("holders-*"))
    return "\n".join(f"{path.name} {path.read_text()}" for path in files)


def test_a_node_that_left_is_forgotten(site: Site, left: Node, n1: Node) -> None:
    other = kept(site, "v2")
    told = document(forget(site, "n2", "--yes", "--json"))
    assert told == {"version": 1, "node": "n2", "dry_run": False, "forgotten": FORGOTTEN, "failures": []}
    assert "n2" not in kept(site, "v1")
    assert kept(site, "v2") == other
    assert forget(site, "n2", "--yes").stdout == "no storage knows anything of n2\n"
    # The volume is free for another node now.
    n1.attach("v1")
    assert n1.open("v1").status == 0


def test_it_can_be_looked_at_before(site: Site, left: Node) -> None:
    before = kept(site, "v1")
    assert document(forget(site, "n2", "--dry-run", "--json"))["forgotten"] == FORGOTTEN
    shown = forget(site, "n2", "--dry-run")
    assert shown.stdout.splitlines()[0].split("  ")[-1] == "WOULD FORGET"
    assert kept(site, "v1") == before


def test_it_asks(site: Site, left: Node) -> None:
    before = kept(site, "v1")
    result = forget(site, "n2")
    assert (result.status, result.stdout.strip()) == (6, "")
    assert "Is n2 off" in result.stderr
    assert kept(site, "v1") == before


def test_a_node_of_the_cluster_must_be_offline(site: Site, left: Node) -> None:
    (site.ssconf / "ssconf_node_list").write_text("n1\nn2\nn3\n")
    before = kept(site, "v1")
    for option in ("--yes", "--dry-run"):
        result = forget(site, "n2", option)
        assert (result.status, "gnt-node modify -O yes n2" in result.stderr) == (6, True)
    assert kept(site, "v1") == before
    site.offline("n2")
    assert document(forget(site, "n2", "--yes", "--json"))["forgotten"] == FORGOTTEN


def test_a_pool_that_does_not_answer_is_told(site: Site, left: Node) -> None:
    away = site.directory / "away"
    site.configure(f"[gone]\ndirectory = {away}\n[default]\ndirectory = {site.pool}\n")
    (site.config / "broken.conf").write_text("nonsense\n")
    told = document(forget(site, "n2", "--yes", "--json"), status=3)
    assert told["forgotten"] == FORGOTTEN
    assert [(one["provider"], one["pool"], one["status"]) for one in told["failures"]] == [
        ("broken", "-", 3),
        ("file", "gone", 8),
    ]
    (site.config / "broken.conf").unlink()
    result = forget(site, "n2", "--yes")
    assert (result.status, "marker file" in result.stderr) == (8, True)


def test_another_clusters_volumes_are_left_alone(site: Site, left: Node) -> None:
    before = kept(site, "v1")
    (site.ssconf / "ssconf_cluster_name").write_text("elsewhere\n")
    assert document(forget(site, "n2", "--yes", "--json"))["forgotten"] == []
    assert kept(site, "v1") == before
