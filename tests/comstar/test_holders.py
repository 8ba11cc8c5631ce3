# SPDX-License-Identifier: Apache-2.0
"""Who has a volume open: a compare-and-set by ZFS, and nodes that are cut off."""

from __future__ import annotations

import threading

import pytest

from extstorage_common.backends import comstar, sessions
from extstorage_common.backends.base import EXCLUSIVE, SHARED, Holder
from extstorage_common.errors import NoSpace, Refused
from tests.comstar.conftest import Site, attach, initiator

CONTAINER = "tank/ganeti/v1"


def holder(node: str, mode: str = EXCLUSIVE) -> Holder:
    return Holder(node, mode, initiator(node), "2026-01-01T00:00:00Z")


def versions(site: Site) -> list[str]:
    """The versions of the holders that are at the machine."""
    listed = site.run(f"zfs list -H -d 1 -t snapshot -o name {CONTAINER}")
    return [line.rpartition("-")[2] for line in listed.split()]


def told(backend: comstar.ComstarBackend) -> list[tuple[str, str, str, str]]:
    entries = backend.read_holders(backend.get_volume("v1")).entries
    return [(one.node, one.mode, one.address, one.since) for one in entries]


def test_holders_are_kept(site: Site) -> None:
    n1, n2 = site.backend("n1"), site.backend("n2")
    volume = n1.create_volume("v1", 16)
    assert told(n1) == []
    for entries in ([holder("n1")], [holder("n1", SHARED), holder("n2", SHARED)], []):
        assert n1.replace_holders(volume, n1.read_holders(volume), entries)
        assert told(n2) == [(one.node, one.mode, one.address, one.since) for one in entries]
    assert versions(site) == ["3"], "only the last one stays"


def test_compare_and_set(site: Site) -> None:
    n1, n2 = site.backend("n1"), site.backend("n2")
    volume = n1.create_volume("v1", 16)
    seen_by_n2 = n2.read_holders(volume)
    assert n1.replace_holders(volume, n1.read_holders(volume), [holder("n1")])
    assert not n2.replace_holders(volume, seen_by_n2, [holder("n2")])
    assert [one[0] for one in told(n2)] == ["n1"]


def test_node_that_slept_has_lost_also_if_its_version_is_free_again(site: Site) -> None:
    """Versions 1 and 2 came and 1 was destroyed while n2 was about to make its own 1."""
    n1, n2 = site.backend("n1"), site.backend("n2")
    volume = n1.create_volume("v1", 16)
    seen_by_n2 = n2.read_holders(volume)
    for entries in ([holder("n1")], [holder("n3")]):
        assert n1.replace_holders(volume, n1.read_holders(volume), entries)
    assert versions(site) == ["2"]
    assert not n2.replace_holders(volume, seen_by_n2, [holder("n2")])
    assert [one[0] for one in told(n2)] == ["n3"]
    assert versions(site) == ["2"]


def test_what_a_killed_call_left_is_removed_by_the_next(site: Site) -> None:
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    site.run(f"zfs snapshot {CONTAINER}@holders-1")
    site.run(f"zfs snapshot -o org.ganeti.extstorage:holders=n1,exclusive,-,- {CONTAINER}@holders-2")
    assert told(backend) == [("n1", EXCLUSIVE, "-", "-")]
    assert backend.replace_holders(volume, backend.read_holders(volume), [])
    assert versions(site) == ["3"]


def test_of_many_one_wins(site: Site) -> None:
    nodes = [site.backend(f"n{number}") for number in range(8)]
    volume = nodes[0].create_volume("v1", 16)
    old = [node.read_holders(volume) for node in nodes]
    won: list[str] = []

    def run(index: int) -> None:
        node = nodes[index]
        if node.replace_holders(volume, old[index], [holder(node.node)]):
            won.append(node.node)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(nodes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [one[0] for one in told(nodes[0])] == won


def test_answer_that_was_lost_is_seen(site: Site) -> None:
    """The connection ends after the change took effect, or before."""
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    site.machine.fault("cut", "zfs snapshot")
    assert backend.replace_holders(volume, backend.read_holders(volume), [holder("n1")])
    assert [one[0] for one in told(backend)] == ["n1"]
    site.machine.fault("drop", "zfs snapshot")
    assert backend.replace_holders(volume, backend.read_holders(volume), [])
    assert told(backend) == []


def test_metadata_and_holders_do_not_meet(site: Site) -> None:
    n1, n2 = site.backend("n1"), site.backend("n2")
    volume = n1.create_volume("v1", 16)
    old = n1.read_holders(volume)
    n2.set_metadata(volume, "text")
    assert n1.replace_holders(volume, old, [holder("n1")])
    assert n2.describe(n2.get_volume("v1"))["metadata"] == "text"


@pytest.mark.parametrize("layout", ["target", "shared"])
def test_fence_takes_one_volume_from_one_node(site: Site, layout: str) -> None:
    n1, n2 = site.backend("n1", layout=layout), site.backend("n2", layout=layout)
    for name in ("v1", "v2"):
        n1.create_volume(name, 16)
        attach(n1, name)
        attach(n2, name)
    n2.fence(n2.get_volume("v1"), holder("n1"))
    assert n2.attached_nodes(n2.get_volume("v1")) == ["n2"]
    assert n2.attached_nodes(n2.get_volume("v2")) == ["n1", "n2"]
    n2.fence(n2.get_volume("v1"), holder("n1"))
    attach(n1)
    assert n2.attached_nodes(n2.get_volume("v1")) == ["n1", "n2"], "a fenced node may come back"


def test_fence_that_has_no_effect_is_no_fence(site: Site) -> None:
    n1, n2 = site.backend("n1"), site.backend("n2")
    volume = n1.create_volume("v1", 16)
    attach(n1)
    site.machine.fault("reply", "remove-view", value={"status": 0})
    with pytest.raises(Refused, match="can still reach"):
        n2.fence(volume, holder("n1"))


def test_a_session_tells_who_is_alive(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comstar, "SILENCE_SECONDS", 5)
    monkeypatch.setattr(sessions, "RETURN_SECONDS", 0.2)
    n1, n2 = site.backend("n1"), site.backend("n2")
    volume = n1.create_volume("v1", 16)
    iqn = attach(n1)["target_iqn"]
    assert not n2.is_alive(volume, holder("n1"))
    site.machine.call("login", target=iqn, initiator=initiator("n1"))
    assert n2.is_alive(volume, holder("n1"))
    assert not n1.is_alive(volume, holder("n2"))


def test_full_pool_is_told_so(site: Site) -> None:
    backend = site.backend()
    volume = backend.create_volume("v1", 16)
    text = "cannot create snapshot 'tank/ganeti/v1@holders-1': out of space"
    site.trouble("^zfs snapshot", text)
    with pytest.raises(NoSpace, match=r"pool on .* is full: .*out of space"):
        backend.replace_holders(volume, backend.read_holders(volume), [holder("n1")])
