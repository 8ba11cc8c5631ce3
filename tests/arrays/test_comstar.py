# SPDX-License-Identifier: Apache-2.0
"""What is COMSTAR's own: a fenced node's session that goes on, one that is over, its own points of death."""

from __future__ import annotations

import re

import pytest

from tests.arrays.array import LINK, ArrayNode
from tests.arrays.comstar import Comstar
from tests.conftest import CHECKOUT, MIB

OTHERS = {"comstar.container", "comstar.held", "comstar.resized", "comstar.snapshot"}
in_usual_layout = pytest.mark.parametrize("both", ["comstar"], indirect=True)
in_both_layouts = pytest.mark.parametrize("both", ["comstar", "comstar-shared"], indirect=True)


def test_every_point_is_covered() -> None:
    code = "".join(path.read_text() for path in (CHECKOUT / "extstorage_common").rglob("comstar*.py"))
    points = set(re.findall(r'crash_point\("([^"]+)"\)', code))
    assert points == {*Comstar.ATTACH, *Comstar.REMOVE, *OTHERS}


@in_usual_layout
def test_other_killed_calls_are_finished(both: list[ArrayNode]) -> None:
    n1, _ = both
    n1.dies("comstar.container", "create", VOL_SIZE="16")
    assert "half-made" in n1.fails(4, "attach")
    n1.create()
    n1.attach()
    assert n1.write("data")
    n1.dies("comstar.held", "open", VOL_OPEN_EXCLUSIVE="True")
    assert n1.open().status == 0
    n1.dies("comstar.resized", "grow", VOL_SIZE="16", VOL_NEW_SIZE="24")
    assert n1.grow(16, 24).status == 0
    assert n1.size(LINK) == 24 * MIB
    n1.dies("comstar.snapshot", "snapshot", VOL_SNAPSHOT_NAME="v1.snap", VOL_SNAPSHOT_SIZE="24")
    assert n1.snapshot().status == 0
    n1.attach("v1.snap")
    assert n1.read("v1.snap") == "data"


@in_usual_layout
def test_a_removal_leaves_nothing_of_the_export(both: list[ArrayNode], array: Comstar) -> None:
    n1, _ = both
    n1.create()
    n1.attach()
    assert array.exported() != []
    n1.ok("remove")
    assert array.exported() == []


@in_both_layouts
def test_fenced_node_writes_nothing(both: list[ArrayNode]) -> None:
    """Its session goes on without the disk, so it is told at once."""
    n1, n2 = both
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    n2.attach()
    n2.mark_offline(n1)
    assert n2.open().status == 0
    assert n2.write("mine")
    assert not n1.write("stale")
    assert n2.read() == "mine"


@in_usual_layout
def test_fenced_node_opens_again(both: list[ArrayNode]) -> None:
    """It has its old attachment, which ``open`` finds to be dead, and connects anew."""
    n1, n2 = both
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    n2.attach()
    n2.mark_offline(n1)
    assert n2.open().status == 0
    n2.ok("close")
    assert n1.open().status == 0
    assert n1.write("again")
    assert n2.read() == "again"


@in_usual_layout
def test_dead_node_has_no_session(both: list[ArrayNode]) -> None:
    """It is taken from without the administrator's word, once its session is gone."""
    n1, n2 = both
    n1.create()
    n1.attach()
    assert n1.open().status == 0
    n1.sh("iscsiadm -m node -u")
    n2.attach()
    assert n2.open().status == 0
    n1.ok("detach")
