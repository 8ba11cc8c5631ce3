# SPDX-License-Identifier: Apache-2.0
"""What is wrong on nodes, told from what they told."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gnt_storage import orphans
from gnt_storage.commands.diagnose import summary
from gnt_storage.nodes.inventory import Node
from gnt_storage.survey import as_ganeti, findings
from gnt_storage.survey.page import page
from gnt_storage.survey.taking import Told

POOL = {
    "uuid": "u",
    "options": {"directory": "/srv"},
    "secrets": {"password_file": ["/s", "0600", 0, "digest"]},
}
REPORT = {
    "suite": "1",
    "library": "/l",
    "problem": "",
    "configured": True,
    "pools": {"gold": POOL},
    "checks": [],
}
PROVIDER = {
    "name": "file", "path": "/share/file", "valid": True, "message": "", "parameters": [["pool", "the pool"]],
    "digests": {"attach": "1", "create": "1"}, "writable": [], "blank": [], "missing": [], "report": REPORT,
    "verify": "",
}  # fmt: skip
GOLD = "providers/0/report/pools/gold"
DOCUMENT = {
    "python": "3.11.2", "kernel": "6.1", "packages": {"lvm2": "2"}, "daemons": [], "initiator": "",
    "logs": {"there": True, "oldest": 0}, "configuration": {"/etc/file.conf": ["0644", 0]}, "time": 0.0,
    "libraries": {"/l": ["1", "digest"]}, "providers": [PROVIDER], "attachments": [], "activated": [],
    "targets": [],
}  # fmt: skip


def nodes(count: int = 4, group: str = "default") -> list[Told]:
    """Nodes that are all well."""
    return [Told(Node(f"n{number}", "", group), copy.deepcopy(DOCUMENT)) for number in range(1, count + 1)]


def changed(path: str, value: Any, count: int = 4) -> list[Told]:
    """Nodes of which the second has another value at a path of keys; a value of ``...``: it is not there."""
    told = nodes(count)
    place: Any = told[1].document
    *way, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    for key in way:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return told


def test_nothing_is_wrong() -> None:
    assert findings.find(nodes()) == []
    assert findings.find([]) == []


@pytest.mark.parametrize(
    ("path", "value", "severity", "problem"),
    [
        ("libraries", {"/l": ["2", "digest"]}, "error", "it has ganeti-extstorage 2, 3 other nodes have 1"),
        ("libraries", {"/l": ["1", "other"]}, "error", "its library is not the one that 3 other nodes"),
        ("python", "3.13.1", "warning", "it has Python 3.13, 3 other nodes have 3.11"),
        ("kernel", "6.12", "warning", "it runs Linux 6.12, on 3 other nodes it is 6.1"),
        ("daemons", ["iscsid"], "warning", "iscsid runs, on 3 other nodes not"),
        ("activated", [["v", "file", "vg-root"]], "error", "uses what a guest has on v, as vg-root"),
        ("packages/lvm2", "3", "warning", "it has lvm2 3, 3 other nodes have 2"),
        ("packages/lvm2", ..., "warning", "it lacks the package lvm2, which 3 other nodes have"),
        ("packages/librbd1", "1", "warning", "it has librbd1 1, which 3 other nodes have not"),
        ("logs/there", False, "error", "is not there, so Ganeti can run no script but attach"),
        ("logs/oldest", 61, "error", "the oldest is 61 days old"),
        ("configuration", {"/f": ["0646", 0]}, "error", "/f can be changed by others than root"),
        ("configuration", {"/f": ["0600", 7]}, "error", "/f can be changed by others than root (owner 7"),
        ("providers", [], "error", "no provider is installed"),
        ("providers/0/path", "/lib/file", "warning", "Ganeti uses /lib/file, on 3 other nodes /share/file"),
        ("providers/0/digests/attach", "2", "error", "its attach differs from that on 3 other nodes"),
        ("providers/0/digests", {}, "error", "its attach, create differ from those on 3 other nodes"),
        ("providers/0/valid", False, "error", ""),
        ("providers/0/blank", ["line 2 is blank"], "error", "/share/file/parameters.list: line 2 is blank"),
        ("providers/0/writable", ["/share/file"], "error", "can be changed by others than root, who runs it"),
        ("providers/0/missing", ["open"], "error", "it has no open: nothing keeps two nodes"),
        ("providers/0/verify", "it hangs", "error", "it hangs"),
        ("providers/0/report/problem", "no pool", "error", "no pool"),
        ("providers/0/report/checks", [["pool", "gold", "away"]], "error", "pool: away"),
        (
            "providers/0/report/checks", [["key", "gold", "away"], ["pool", "gold", "away"]],
            "error", "key: away",
        ),
        ("providers/0/report/configured", False, "error", "it has no configuration, which 3 other"),
        (GOLD.replace("gold", "silver"), POOL, "error",
            "its pools gold, silver have one UUID; if they are one storage, keep only one"),
        (GOLD + "/uuid", "v", "error", "pool 'gold' is another one here: UUID v"),
        (GOLD + "/options/directory", None, "error", "directory is not set, on 3 other"),
        (GOLD + "/secrets/password_file", ["/s", "0640", 0, "digest"], "error", "mode 0640"),
        (
            GOLD + "/secrets/password_file", ["/s", "0600", 0, "other"], "error",
            "the file of password_file holds another secret than on 3 other nodes",
        ),
        ("providers/0/report/pools", {}, "error", "its configuration has no pool 'gold', which 3 other"),
    ],
)  # fmt: skip
def test_one_node_differs(path: str, value: Any, severity: str, problem: str) -> None:
    found = findings.find(changed(path, value))
    assert {one.node for one in found} == {"n2"}
    assert [problem in one.problem for one in found if one.severity == severity].count(True) == 1, found
    assert not any(one.problem.startswith("pool: away") for one in found if problem == "key: away")


def test_two_nodes_that_differ_are_told_of_the_second() -> None:
    found = findings.find(changed("providers/0/digests/attach", "2", count=2))
    assert [(one.node, one.problem) for one in found] == [
        ("n2", "its attach differs from that on another node")
    ]


def test_secrets_are_never_shown() -> None:
    told = changed(GOLD + "/secrets/password_file", ["/s", "0600", 0, "f00d"])
    assert "f00d" not in repr(findings.find(told))


def test_groups_may_differ_in_providers_and_configuration() -> None:
    told = nodes(2) + [Told(Node(f"m{number}", "", "other"), copy.deepcopy(DOCUMENT)) for number in (1, 2)]
    for one in told[2:]:
        assert one.document
        one.document["providers"][0]["report"]["pools"]["gold"]["options"]["directory"] = "/other"
    assert findings.find(told) == []
    for one in told[2:]:
        assert one.document
        one.document["providers"][0]["name"] = "nfs1"
    assert findings.find(told) == []
    # Within a group they may not.
    assert told[3].document
    told[3].document["providers"][0]["name"] = "file"
    problems = {(one.node, one.provider, one.problem.split(",")[0]) for one in findings.find(told)}
    assert {("m2", "nfs1", "it is missing"), ("m1", "file", "it is missing")} <= problems


@pytest.mark.parametrize(("earlier", "later", "problem"), [
    (5.1, 6.0, "its clock is 5 s ahead of this node's"),
    (-7.0, -6.0, "its clock is 6 s behind this node's"),
    (-1.0, 9.0, ""),
    (-9.0, 1.0, ""),
])  # fmt: skip
def test_clocks(earlier: float, later: float, problem: str) -> None:
    """Wrong is only what the time that the answer took can't explain."""
    found = findings.find([Told(Node("n1", ""), copy.deepcopy(DOCUMENT), "", earlier, later)])
    assert [one.problem.split(";")[0] for one in found] == ([problem] if problem else [])


def test_machines_are_compared_within_their_group() -> None:
    told = nodes(2) + [Told(Node(f"m{number}", "", "other"), copy.deepcopy(DOCUMENT)) for number in (1, 2)]
    for one in told[2:]:
        assert one.document
        one.document.update(packages={"librbd1": "1"}, kernel="6.12", daemons=["iscsid"])
    assert findings.find(told) == []
    assert told[3].document
    told[3].document["daemons"] = []
    # Of one and one the first counts.
    assert [(one.node, one.problem) for one in findings.find(told)] == [
        ("m2", "iscsid does not run, on another node it does")
    ]


def test_a_secret_that_a_check_names_is_told_once() -> None:
    told = changed(GOLD + "/secrets/password_file", ["/s", "0640", 0, "digest"])
    assert told[1].document
    told[1].document["providers"][0]["report"]["checks"] = [["array", "gold", "/s can be read by others"]]
    assert [one.problem for one in findings.find(told)] == ["array: /s can be read by others"]


def test_many_nodes_with_one_initiator_name_are_one_line() -> None:
    told = nodes(100)
    for one in told:
        assert one.document
        one.document["initiator"] = "iqn.cloned"
    found = findings.find(told)
    assert len(found) == 100
    (line,) = summary(found)
    assert line.startswith(
        "n1, n2, n3, n4 and 96 more: its iSCSI initiator name iqn.cloned is that of 100 nodes; it must be"
    )


def test_initiator_names_are_compared_without_case() -> None:
    told = nodes(3)
    for one, name in zip(told, ("iqn.a", "iqn.b", "IQN.A"), strict=True):
        assert one.document
        one.document["initiator"] = name
    assert [one.node for one in findings.find(told)] == ["n1", "n3"]


def test_silence_is_a_finding_and_proves_nothing() -> None:
    told = [*nodes(2), Told(Node("n9", "", "default"), None, "it does not answer")]
    assert [(one.node, one.problem) for one in findings.find(told)] == [("n9", "it does not answer")]
    (provider,) = as_ganeti.judgements(told)
    assert [one["node"] for one in provider["nodes"]] == ["n1", "n2"]
    assert provider["groups"] == {"default": True}


def test_groups_without_nodes_are_valid_as_ganeti_says() -> None:
    lines = list(as_ganeti.lines(nodes(1), ["rack10", "default", "rack9"]))
    assert lines[-4:] == [
        "  For nodegroup: default --> valid",
        "  For nodegroup: rack9 --> valid",
        "  For nodegroup: rack10 --> valid",
        "",
    ]


def test_a_terminal_obeys_no_node() -> None:
    found = findings.find([Told(Node("n1", ""), None, "\x1b]0;owned\x07 a\nb \udcff \u202e ü")])
    assert summary(found) == [r"n1: \x1b]0;owned\x07 a\nb \udcff \u202e ü"]


def test_shadowed_provider() -> None:
    told = nodes(1)
    assert told[0].document
    told[0].document["providers"].append({**PROVIDER, "path": "/later/file"})
    assert [one.problem for one in findings.find(told)] == [
        "/later/file is never used, since /share/file comes first"
    ]


def test_page_escapes_what_nodes_say() -> None:
    hostile = "<script>alert(1)</script>&\"'"
    document = {
        "nodes": [{"node": hostile, "group": hostile, "state": "answered"}],
        "providers": [{"name": hostile, "nodes": [{"node": hostile, "path": "/p"}]}],
        "findings": [{"severity": "error", "node": hostile, "provider": hostile, "problem": hostile}],
    }
    text = page(document, hostile, "now")
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 6
    assert "://" not in text


def test_a_session_that_no_attachment_needs_is_an_orphan() -> None:
    found = list(orphans.find({}, changed("targets", ["iqn.2020-01.org.ours"])))
    (one,) = [orphan for orphan in found if isinstance(orphan, orphans.Orphan)]
    assert (one.kind, one.name, one.node, one.removable) == (
        orphans.SESSION, "iqn.2020-01.org.ours", "n2", False,
    )  # fmt: skip
    assert "--logout" in one.reason
