# SPDX-License-Identifier: Apache-2.0
"""Who may have a volume open: every row of the table, for a storage that can't fence."""

from __future__ import annotations

import pytest

from tests.conftest import Node, Site, get, put


@pytest.fixture
def both(n1: Node, n2: Node) -> tuple[Node, Node]:
    """Two nodes with the volume attached."""
    n1.create()
    n1.attach()
    n2.attach()
    return n1, n2


def test_open_exclusive_twice(both: tuple[Node, Node]) -> None:
    assert both[0].open().status == both[0].open().status == 0


@pytest.mark.parametrize("held", [True, False])
def test_exclusive_against_another_holder(both: tuple[Node, Node], held: bool) -> None:
    n1, n2 = both
    assert n1.open(exclusive=held).status == 0
    result = n2.open()
    assert result.status == 7
    assert "node n1 has the volume open" in result.stderr
    assert result.stderr.count("\n") == 1


def test_shared_against_exclusive(both: tuple[Node, Node]) -> None:
    n1, n2 = both
    assert n1.open().status == 0
    assert n2.open(exclusive=False).status == 7


def test_own_exclusive_becomes_shared_and_back(both: tuple[Node, Node]) -> None:
    n1, n2 = both
    assert n1.open().status == 0
    assert n1.open(exclusive=False).status == 0
    assert n2.open(exclusive=False).status == 0
    assert n1.open().status == 7
    n2.ok("close")
    assert n1.open().status == 0


@pytest.mark.parametrize("held", [True, False])
def test_taken_from_an_offline_node(site: Site, both: tuple[Node, Node], held: bool) -> None:
    n1, n2 = both
    assert n1.open(exclusive=held).status == 0
    site.offline("n1")
    assert n2.open().status == 0
    site.offline()
    assert n1.open().status == 7


def test_taken_where_the_administrator_wants_it_always(site: Site, both: tuple[Node, Node]) -> None:
    n1, n2 = both
    assert n1.open().status == 0
    site.configure(f"[default]\ndirectory = {site.pool}\ntakeover = always\n")
    assert n2.open().status == 0


def test_close_never_refuses(site: Site, both: tuple[Node, Node]) -> None:
    n1, n2 = both
    n2.ok("close")
    n2.ok("close", "never-made")
    assert n1.open().status == 0
    n2.ok("close")
    assert n2.open().status == 7
    n1.ok("close")
    assert n2.open().status == 0


def test_detach_drops_what_open_took(both: tuple[Node, Node]) -> None:
    n1, n2 = both
    assert n1.open().status == 0
    n1.ok("detach")
    assert n2.open().status == 0


def test_busy_device_keeps_what_open_took(both: tuple[Node, Node]) -> None:
    n1, n2 = both
    assert n1.open().status == 0
    with open(n1.attach(), "rb"):
        n1.fails(6, "detach")
        assert n2.open().status == 7


@pytest.mark.parametrize("held", [True, False])
def test_remove_while_another_node_holds(site: Site, both: tuple[Node, Node], held: bool) -> None:
    n1, n2 = both
    assert n1.open(exclusive=held).status == 0
    assert "node n1" in n2.fails(7, "remove")
    assert site.volumes() == ["v1"]
    put(n1.attach(), b"data")
    assert get(n1.attach(), 4) == b"data"


def test_remove_while_another_node_is_merely_attached(site: Site, both: tuple[Node, Node]) -> None:
    n1, n2 = both
    n1.ok("remove")
    assert site.volumes() == []
    n2.fails(4, "attach")
    n2.ok("detach")
    assert site.loop_devices() == []


def test_volume_made_anew_under_an_old_attachment(site: Site, both: tuple[Node, Node]) -> None:
    n1, n2 = both
    put(n2.attach(), b"old")
    n1.ok("remove")
    n1.create()
    assert get(n2.attach(), 3) == bytes(3)
    assert len(site.loop_devices()) == 1


def test_remove_what_an_offline_node_held(site: Site, both: tuple[Node, Node]) -> None:
    n1, n2 = both
    assert n1.open().status == 0
    site.offline("n1")
    n2.ok("remove")
    assert site.volumes() == []


def test_migration(both: tuple[Node, Node]) -> None:
    n1, n2 = both
    assert n1.open().status == 0
    n2.ok("close")
    assert n1.open(exclusive=False).status == 0
    assert n2.open(exclusive=False).status == 0
    n1.ok("close")
    assert n2.open().status == 0
    n1.ok("detach")
    assert n1.open().status == 7


def test_one_of_many_wins(site: Site, n1: Node) -> None:
    n1.create()
    nodes = [site.node(f"n{number}") for number in range(1, 7)]
    for node in nodes:
        node.attach()
    calls = [
        (node, node.start("open", VOL_NAME="v1", VOL_OPEN_EXCLUSIVE="True")) for node in nodes for _ in "abc"
    ]
    winners = {node.name for node, call in calls if call.wait() == 0}
    for _, call in calls:
        call.communicate()
        assert call.returncode in (0, 7)
    assert len(winners) == 1
    states = [path.name for path in (site.pool / "v1").iterdir() if path.name.startswith("holders-")]
    assert len(states) == 1
    assert f"holder {winners.pop()} exclusive" in (site.pool / "v1" / states[0]).read_text()
