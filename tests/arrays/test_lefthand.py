# SPDX-License-Identifier: Apache-2.0
"""What is LeftHand's own: what a call costs, a node's session that ends, answers that are lost."""

from __future__ import annotations

import re

import pytest

from tests.arrays.array import ArrayNode
from tests.arrays.lefthand import LeftHand
from tests.conftest import CHECKOUT

DOCUMENTED = re.compile(r"^   \* - (?P<action>``.*)\n     - (?P<count>\d+)$", re.MULTILINE)
pytestmark = pytest.mark.parametrize("both", ["lefthand"], indirect=True)


def test_what_it_costs(both: list[ArrayNode], array: LeftHand) -> None:
    """As many commands as the documentation says, all of an action over one connection."""
    n1, _ = both
    text = (CHECKOUT / "docs/lefthand.rst").read_text()
    documented = {found["action"]: int(found["count"]) for found in DOCUMENTED.finditer(text)}
    counted = {}

    def asked() -> tuple[list[str], int]:
        verbs = [line.split()[0] for line in array.machine.requests()]
        return verbs, array.machine.order(connections=True)

    def count(name: str) -> None:
        verbs, connections = asked()
        counted[name] = len(verbs)
        assert connections == (1 if verbs else 0), name
        assert "getVolumeInfo" in verbs or not verbs

    asked()
    n1.create()
    count("``create``")
    n1.attach()
    count("``attach``, a node's first")
    n1.attach()
    count("``attach``, warm")
    assert n1.open().status == 0
    count("``open``")
    assert n1.grow(16, 32).status == 0
    count("``grow``, attached")
    n1.ok("setinfo", VOL_METADATA="x")
    count("``setinfo``")
    assert n1.snapshot().status == 0
    count("``snapshot``")
    n1.ok("close")
    count("``close``")
    n1.ok("detach")
    count("``detach``, closed before")
    n1.attach()
    count("``attach``, cold")
    n1.ok("detach")
    asked()
    n1.ok("remove", "v1.snap")
    count("``remove``, of a snapshot")
    n1.ok("remove")
    count("``remove``")
    assert counted == documented


def test_sessions(both: list[ArrayNode], array: LeftHand) -> None:
    """Each node has its own; that of a node that is taken from ends, and the last one with its detach."""
    n1, n2 = both
    n1.create()
    for node in both:
        node.attach()
    assert n1.open().status == 0
    names = {node.machine.initiator for node in both}
    assert {initiator for _, initiator in array.sessions()} == names
    n2.mark_offline(n1)
    assert n2.open().status == 0
    assert [initiator for _, initiator in array.sessions()] == [n2.machine.initiator]
    n1.ok("detach")
    n2.ok("detach")
    assert array.sessions() == []
    assert array.state()["volumes"]["v1"]["servers"] == []


def test_an_answer_that_is_lost_while_attaching(both: list[ArrayNode], array: LeftHand) -> None:
    n1, _ = both
    n1.create()
    for pattern in ("assignVolumeToServer", "createServer", "getClusterInfo"):
        array.machine.fault("cut", pattern)
    n1.attach()
    assert n1.write("x")
    n1.ok("detach")
    n1.ok("remove")


def test_an_array_that_gives_its_targets_name(both: list[ArrayNode], array: LeftHand) -> None:
    """With its secret: a node logs in where it was told to expect that name."""
    n1, _ = both
    array.machine.call("facts", mutual_name_is_target=True)
    n1.configure(chap="mutual")
    n1.create()
    assert n1.call("attach").status != 0
    n1.configure(chap="mutual", mutual_chap_name="target")
    n1.attach()
    assert n1.write("x")


def test_volumes_in_use_are_not_deleted(both: list[ArrayNode], array: LeftHand) -> None:
    """By the array's own word: somebody else's access, which our removal does not know."""
    n1, _ = both
    n1.create()
    n1.attach()
    with pytest.raises(RuntimeError, match="in use"):
        array.run("deleteVolume volumeName=v1 prompt=false")
    n1.ok("remove")
    assert array.volumes() == []
