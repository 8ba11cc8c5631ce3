# SPDX-License-Identifier: Apache-2.0
"""What is SolidFire's own: a cluster that notices a node's death, and knows its volumes' identities."""

from __future__ import annotations

import pytest

from tests.arrays.array import ArrayNode
from tests.arrays.solidfire import SolidFire

pytestmark = pytest.mark.parametrize("both", ["solidfire"], indirect=True)


def test_the_disk_is_the_clusters(both: list[ArrayNode], array: SolidFire) -> None:
    """Identity and target are those of the cluster; a node has two access groups."""
    n1, _ = both
    n1.create()
    n1.attach()
    told = array.call("ListVolumes")["volumes"][0]
    assert n1.disk("wwid") == "naa." + told["scsiNAADeviceID"]
    assert told["iqn"] in n1.sh("cat /sys/class/iscsi_session/*/targetname")
    assert len(array.groups()) == 2


def test_a_fenced_node_can_not_open(both: list[ArrayNode]) -> None:
    n1, n2 = both
    n1.create()
    for node in both:
        node.attach()
    assert n1.open().status == 0
    n2.mark_offline(n1)
    assert n2.open().status == 0
    assert n1.open().status != 0


def test_a_node_that_crashed_is_noticed(both: list[ArrayNode]) -> None:
    n1, n2 = both
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    assert n1.write("before")
    n1.machine.crash()
    try:
        n2.attach()
        assert n2.open().status == 0
        assert n2.read() == "before"
    finally:
        n1.machine.boot()
        n1.install()
    n1.attach()
    assert n1.read() == "before"
