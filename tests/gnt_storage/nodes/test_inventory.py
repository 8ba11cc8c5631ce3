# SPDX-License-Identifier: Apache-2.0
"""Which nodes there are, from Ganeti's files and from lists."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gnt_storage import ganeti
from gnt_storage.nodes import inventory
from gnt_storage.nodes.inventory import Node

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURATION: dict[str, dict[str, dict[str, Any]]] = {
    "nodegroups": {"g1": {"name": "rack1"}, "g2": {"name": "rack2"}},
    "nodes": {
        "u2": {
            "name": "b",
            "primary_ip": "10.0.0.2",
            "group": "g2",
            "offline": True,
            "uuid": "u2",
            "vm_capable": True,
        },
        "u1": {
            "name": "a",
            "primary_ip": "10.0.0.1",
            "group": "g1",
            "offline": False,
            "uuid": "u1",
            "vm_capable": True,
        },
    },
}


@pytest.fixture
def ssconf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXTSTORAGE_SSCONF_DIR", str(tmp_path))
    monkeypatch.setenv("EXTSTORAGE_NODE", "a")
    (tmp_path / "ssconf_master_node").write_text("a\n")
    (tmp_path / "ssconf_node_primary_ips").write_text("b 10.0.0.2\na 10.0.0.1\n")
    (tmp_path / "ssconf_ssh_ports").write_text("a=22\nb=2222\n")
    (tmp_path / "ssconf_offline_nodes").write_text("b\n")
    (tmp_path / "ssconf_nodegroups").write_text("g1 rack1\ng2 rack2\n")
    return tmp_path


A = Node("a", "10.0.0.1", "rack1", master=True, uuid="u1")
B = Node("b", "10.0.0.2", "rack2", offline=True, port=2222, uuid="u2")


def test_of_a_master_candidate(ssconf: Path) -> None:
    (ssconf / "config.data").write_text(json.dumps(CONFIGURATION))
    assert inventory.choose() == [A, B]
    assert inventory.choose(groups=["rack2"]) == [B]
    assert inventory.choose(nodes=["a"], groups=["rack2"]) == [A, B]
    assert [node.is_local for node in inventory.choose()] == [True, False]
    with pytest.raises(inventory.UnknownName, match="there is no node group rack3; is rack"):
        inventory.choose(groups=["rack3"])
    with pytest.raises(inventory.UnknownName, match=r"there is no node zebra$"):
        inventory.choose(nodes=["zebra"])


def test_a_group_without_nodes(ssconf: Path) -> None:
    (ssconf / "config.data").write_text(json.dumps(CONFIGURATION))
    (ssconf / "ssconf_nodegroups").write_text("g1 rack1\ng2 rack2\ng3 rack3\n")
    assert inventory.choose(groups=["rack3"]) == []
    assert inventory.choose(groups=["rack3", "rack2"]) == [B]


def test_of_another_node(ssconf: Path) -> None:
    unknown = [
        Node("a", "10.0.0.1", "-", master=True),
        Node("b", "10.0.0.2", "-", offline=True, port=2222),
    ]
    assert inventory.choose() == unknown
    with pytest.raises(ganeti.NotMasterCandidate):
        inventory.choose(groups=["rack1"])
    (ssconf / "ssconf_nodegroups").write_text("g1 default\n")
    assert {node.group for node in inventory.choose()} == {"default"}


def test_nodes_that_are_not_asked(ssconf: Path) -> None:
    (ssconf / "ssconf_node_vm_capable").write_text("a=False\nb=True\n")
    told = {node.name: node.why_not_asked for node in inventory.choose()}
    assert told == {"a": "runs no instances (not vm_capable)", "b": "is marked offline"}
    nodes = {
        name: {**node, "offline": False, "vm_capable": name == "u1"}
        for name, node in CONFIGURATION["nodes"].items()
    }
    (ssconf / "config.data").write_text(json.dumps({**CONFIGURATION, "nodes": nodes}))
    assert [bool(node.why_not_asked) for node in inventory.choose()] == [False, True]


def test_damaged_configuration(ssconf: Path) -> None:
    (ssconf / "config.data").write_text("{")
    with pytest.raises(Exception, match=r"Ganeti's .*config\.data can't be read"):
        inventory.choose()


def test_without_ganeti(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTSTORAGE_SSCONF_DIR", str(tmp_path))
    with pytest.raises(inventory.NoCluster):
        inventory.choose()
    assert inventory.choose(nodes=["a", "b", "a"]) == [Node("a", "a"), Node("b", "b")]
    file = tmp_path / "nodes"
    file.write_text("a\n\nb 10.0.0.2 # the second\nc 10.0.0.3 rack1\n")
    listed = [Node("a", "a"), Node("b", "10.0.0.2"), Node("c", "10.0.0.3", "rack1")]
    assert inventory.choose(nodes_file=str(file)) == listed
    assert inventory.choose(nodes=["b"], nodes_file=str(file)) == listed[1:2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "names no node"),
        ("# nothing\n", "names no node"),
        ("a b c d\n", "line 1: a name, an address and a group"),
        ("a\na\n", "line 2: a is there twice"),
        ("-oProxyCommand=x\n", "no node's name"),
        ("a -oProxyCommand=x\n", "no node's address"),
    ],
)
def test_bad_list(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "nodes"
    file.write_text(text)
    with pytest.raises(inventory.BadNodesFile, match=reason):
        inventory.choose(nodes_file=str(file))


def test_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(inventory.NodesFileUnreadable, match="can't be read"):
        inventory.choose(nodes_file=str(tmp_path / "none"))
